#!/usr/bin/env python3
"""Reads of a given length from the strains held out for testing, to measure speed on.

    cut_reads.py FOLDER LENGTH COUNT > reads.fa

FOLDER is what species_strains.py wrote. Either strand, 0.5 % of the bases replaced, the truth before the
colon of each name; contigs shorter than LENGTH lend nothing. Equal input gives equal output.
"""
import pathlib
import random
import sys

from lambda_reads import COMPLEMENT, held_out_genomes

ERROR_RATE = 0.005


def main():
    if len(sys.argv) != 4:
        sys.exit(__doc__)
    folder, length, count = pathlib.Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
    draw = random.Random(length)
    contigs = [(label, sequence) for label, sequences in held_out_genomes(folder) for sequence in sequences
               if len(sequence) >= length]
    weights = [len(sequence) for _, sequence in contigs]
    for number in range(count):
        label, contig = draw.choices(contigs, weights)[0]
        start = draw.randrange(len(contig) - length + 1)
        read = bytearray(contig[start:start + length].upper().encode())
        if draw.random() < 0.5:
            read = bytearray(read.decode().translate(COMPLEMENT)[::-1].encode())
        for _ in range(round(length * ERROR_RATE)):
            place = draw.randrange(length)
            read[place] = draw.choice([base for base in b"ACGT" if base != read[place]])
        print(f">{label}:{number}\n{read.decode()}")


if __name__ == "__main__":
    main()
