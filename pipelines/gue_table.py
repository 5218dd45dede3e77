#!/usr/bin/env python3
"""One table of a GUE task for `dna finetune`: its train.csv to train on, its dev.csv to test on.

    gue_table.py TASK_FOLDER TABLE.csv

TASK_FOLDER holds train.csv and dev.csv (plain or gzip, columns sequence,label) of the data set that the
paper of DNABERT-2 describes. Rows of dev.csv get the split test; the validation split is cut out of the
training rows by `dna finetune`.
"""
import csv
import gzip
import pathlib
import sys


def rows(folder, name):
    for path in (folder / name, folder / f"{name}.gz"):
        if path.exists():
            opener = gzip.open if path.suffix == ".gz" else open
            with opener(path, "rt", newline="") as lines:
                return [(row["sequence"], row["label"]) for row in csv.DictReader(lines)]
    sys.exit(f"{folder} has no {name} and no {name}.gz")


def main():
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    folder, table = pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2])
    with open(table, "w", newline="") as output:
        writer = csv.writer(output, lineterminator="\n")
        writer.writerow(("sequence", "label", "split"))
        for name, split in (("train.csv", "train"), ("dev.csv", "test")):
            writer.writerows((sequence, label, split) for sequence, label in rows(folder, name))


if __name__ == "__main__":
    main()
