#!/usr/bin/env python3
"""Which strains of 16 bacteria are trained on, validated on and tested on.

    species_strains.py GENOMES FOLDER [--lambda FASTA]

GENOMES is the folder examples/ of the Debian package ragout-examples (scripts/demo-data unpacks it).
Writes into FOLDER:

    strains.tsv     manifest for `dna finetune`: one strain of each species for testing, another for validation
    genomes/*.fa    the genomes, for `dna pretrain`
    held_out.bed    the same split for `dna pretrain`

There are only two strains of E. coli: the last tenth of the one is its validation. With --lambda the
genome of a phage becomes one more class; it is known as a whole, and validated on its last tenth.
"""
import argparse
import gzip
import pathlib

TEST = {"E.Coli": "DH1", "H.Pylori": "SJM180", "S.Aureus": "USA300_FPR3757", "V.Cholerae": "H1"}
VALIDATION = {"H.Pylori": "Puno120", "S.Aureus": "JKD6008", "V.Cholerae": "O395"}
LAST_TENTH = ("E.Coli", "MG1655-K12")
LINE = 80


def read_fasta(path):
    """[(name, sequence)] of a FASTA file, plain or gzip."""
    opener = gzip.open if path.suffix == ".gz" else open
    records = []
    with opener(path, "rt") as lines:
        for line in lines:
            if line.startswith(">"):
                records.append((line[1:].split()[0], []))
            else:
                records[-1][1].append(line.strip())
    return [(name, "".join(parts)) for name, parts in records]


def write_fasta(path, records):
    with open(path, "w") as output:
        for name, sequence in records:
            output.write(f">{name}\n")
            output.writelines(sequence[i:i + LINE] + "\n" for i in range(0, len(sequence), LINE))


def parts(records):
    """The first nine tenths and the last tenth of each contig."""
    cuts = [(name, sequence, len(sequence) * 9 // 10) for name, sequence in records]
    return ([(f"{name}_first", sequence[:cut]) for name, sequence, cut in cuts],
            [(f"{name}_last", sequence[cut:]) for name, sequence, cut in cuts])


def split_of(species, strain):
    return "test" if TEST[species] == strain else "validation" if VALIDATION.get(species) == strain else "train"


def strains(folder):
    """(label, group, split, records) of every file to write."""
    for path in sorted(folder.glob("*/references/*.fasta.gz")):
        species, strain = path.parts[-3], path.name.removesuffix(".fasta.gz")
        records = read_fasta(path)
        if (species, strain) == LAST_TENTH:
            for part, split, piece in zip(parts(records), ("train", "validation"), ("first", "last")):
                yield species, f"{species}-{strain}-{piece}", split, part
        else:
            yield species, f"{species}-{strain}", split_of(species, strain), records


def main():
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("genomes", type=pathlib.Path)
    arguments.add_argument("folder", type=pathlib.Path)
    arguments.add_argument("--lambda", dest="phage", type=pathlib.Path)
    options = arguments.parse_args()
    found = list(strains(options.genomes))
    if len(found) != 17:
        arguments.error(f"{options.genomes} holds {len(found)} genomes */references/*.fasta.gz, not 16")
    if options.phage:
        whole = read_fasta(options.phage)
        found += [("lambda", "lambda", "train", whole), ("lambda", "lambda-last", "validation", parts(whole)[1])]

    (options.folder / "genomes").mkdir(parents=True, exist_ok=True)
    rows, bed = ["path\tlabel\tgroup\tsplit"], []
    for label, group, split, records in found:
        write_fasta(options.folder / "genomes" / f"{group}.fa", records)
        rows.append(f"genomes/{group}.fa\t{label}\t{group}\t{split}")
        if split != "train" and label != "lambda":
            bed += [f"{name}\t0\t{len(sequence)}\t{split}" for name, sequence in records]
    (options.folder / "strains.tsv").write_text("\n".join(rows) + "\n")
    (options.folder / "held_out.bed").write_text("\n".join(bed) + "\n")


if __name__ == "__main__":
    main()
