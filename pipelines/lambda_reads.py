#!/usr/bin/env python3
"""Phage reads among bacterial ones, alike in all but where they come from.

    lambda_reads.py READS.fq[.gz]... --strains FOLDER [--bacteria N] -o FOLDER

READS are those of the Debian package bowtie2-examples (folder examples/reads/): simulated from the
lambda phage, 30 to 350 bases with 3.3 % of them wrong and 1.4 % N. FOLDER of --strains is what
species_strains.py wrote. For each of the N bacterial reads (default 40,000) a read lends its length, its
qualities and its N: so many bases of a strain held out for testing, from either strand, 3.3 % of them
replaced. (The qualities of these reads would make it 17 %; the alignment to the phage says 3.3.) Writes reads.fastq, the truth before the colon of each name, and
reads.csv (sequence,label) for `dna evaluate`. Equal input gives equal output.
"""
import argparse
import gzip
import pathlib
import random

from species_strains import read_fasta

ERROR_RATE = 0.033
COMPLEMENT = str.maketrans("ACGTN", "TGCAN")


def read_fastq(path):
    """(sequence, qualities) of each record."""
    opener = gzip.open if path.suffix == ".gz" else open
    with opener(path, "rt") as lines:
        while lines.readline():
            sequence = lines.readline().strip()
            lines.readline()
            yield sequence, lines.readline().strip()


def held_out_genomes(folder):
    """[(label, [sequence, ...])] of the manifest's test strains."""
    rows = [line.split("\t") for line in (folder / "strains.tsv").read_text().splitlines()[1:]]
    return [(label, [sequence for _, sequence in read_fasta(folder / path)])
            for path, label, _, split in rows if split == "test"]


def bacterial_read(contigs, lender, draw):
    sequence, qualities = lender
    contig = draw.choices(contigs, [len(c) for c in contigs])[0]
    start = draw.randrange(len(contig) - len(sequence) + 1)
    true = contig[start:start + len(sequence)].upper()
    if draw.random() < 0.5:
        true = true.translate(COMPLEMENT)[::-1]
    letters = []
    for base, lent in zip(true, sequence):
        if lent == "N":
            base = "N"
        elif draw.random() < ERROR_RATE:
            base = draw.choice([other for other in "ACGT" if other != base])
        letters.append(base)
    return "".join(letters), qualities


def main():
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("reads", type=pathlib.Path, nargs="+")
    arguments.add_argument("--strains", type=pathlib.Path, required=True)
    arguments.add_argument("--bacteria", type=int, default=40000)
    arguments.add_argument("-o", dest="folder", type=pathlib.Path, required=True)
    options = arguments.parse_args()
    draw = random.Random(1)
    phage = [read for path in options.reads for read in read_fastq(path)]
    genomes = held_out_genomes(options.strains)
    reads = [("lambda", read) for read in phage]
    for number in range(options.bacteria):
        label, contigs = genomes[number % len(genomes)]
        reads.append((label, bacterial_read(contigs, phage[number % len(phage)], draw)))
    draw.shuffle(reads)
    options.folder.mkdir(parents=True, exist_ok=True)
    with open(options.folder / "reads.fastq", "w") as fastq, open(options.folder / "reads.csv", "w") as table:
        table.write("sequence,label\n")
        for number, (label, (sequence, qualities)) in enumerate(reads):
            fastq.write(f"@{label}:{number}\n{sequence}\n+\n{qualities}\n")
            table.write(f"{sequence},{label}\n")


if __name__ == "__main__":
    main()
