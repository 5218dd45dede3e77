"""Small files of every kind that the documentation's commands read. Made anew for each test."""
import gzip
import itertools
import math
import pathlib
import random
import struct
import wave

COMPLEMENT = str.maketrans("ACGTN", "TGCAN")


def reverse_complement(sequence):
    return sequence.translate(COMPLEMENT)[::-1]


def random_genome(length, chain, seed, gc=0.5, order=3):
    """`length` bases of a random Markov chain, so that there is something to learn. Genomes of one
    `chain` resemble each other; `seed` tells them apart."""
    weigh, draw = random.Random(chain), random.Random(seed)
    weights = {"".join(context): [w * weigh.uniform(0.2, 2.0) for w in (1 - gc, gc, gc, 1 - gc)]
               for context in itertools.product("ACGT", repeat=order)}
    letters = []
    context = "A" * order
    for _ in range(length):
        letter = draw.choices("ACGT", weights[context])[0]
        letters.append(letter)
        context = context[1:] + letter
    return "".join(letters)


def fasta(records, width=60):
    lines = []
    for name, sequence in records:
        lines.append(">" + name)
        lines += [sequence[i:i + width] for i in range(0, len(sequence), width)]
    return "\n".join(lines) + "\n"


def reads_of(sequence, count, length, seed):
    generator = random.Random(seed)
    for _ in range(count):
        start = generator.randrange(len(sequence) - length + 1)
        read = sequence[start:start + length]
        yield read if generator.random() < 0.5 else reverse_complement(read)


def write_digits(folder):
    """WAV files digit_speaker_take.wav of 8 kHz: a tone and its overtone, two pitches, a little noise."""
    folder.mkdir()
    noise = random.Random(3)
    for digit in range(3):
        for speaker, pitch in (("ann", 0.3), ("bob", 0.17)):
            for take in range(4):
                step, length = pitch * (1 + digit), 400 - 20 * take
                samples = [0.4 * math.sin(step * t + take) + 0.2 * math.sin(2 * step * t) + 0.01 * noise.gauss(0, 1)
                           for t in range(length)]
                with wave.open(str(folder / f"{digit}_{speaker}_{take}.wav"), "wb") as out:
                    out.setnchannels(1)
                    out.setsampwidth(2)
                    out.setframerate(8000)
                    out.writeframes(b"".join(struct.pack("<h", round(32767 * x)) for x in samples))


def write_samples(folder):
    """genome.fa, genome.fa.gz, held_out.bed, strains/*.fa, strains.tsv, labelled.csv, reads.fastq,
    reads.fa, reads.sam, digits/*.wav in `folder`."""
    folder = pathlib.Path(folder)
    write_digits(folder / "digits")
    one, two = random_genome(60000, chain=1, seed=1), random_genome(40000, chain=1, seed=2)
    masked = one[:10000] + one[10000:12000].lower() + "N" * 500 + one[12500:]
    text = fasta([("chr1", masked), ("chr2", two)])
    (folder / "genome.fa").write_text(text)
    with gzip.open(folder / "genome.fa.gz", "wt") as compressed:
        compressed.write(text)
    (folder / "held_out.bed").write_text("chr2\t0\t10000\tvalidation\nchr2\t20000\t40000\ttest\n")

    strains = folder / "strains"
    strains.mkdir()
    rows = ["path\tlabel\tgroup\tsplit"]
    reads = []
    for chain, (label, gc) in enumerate((("ecoli", 0.55), ("hpylori", 0.35)), 10):
        for number, split in enumerate(("train", "train", "test")):
            name = f"{label}_{number}"
            sequence = random_genome(20000, chain, 10 * chain + number, gc)
            (strains / f"{name}.fa").write_text(fasta([(name, sequence)]))
            rows.append(f"strains/{name}.fa\t{label}\t{name}\t{split}")
            if split == "test":
                reads += [(f"{label}:{i}", read) for i, read in enumerate(reads_of(sequence, 20, 150, 7))]
    (folder / "strains.tsv").write_text("\n".join(rows) + "\n")
    (folder / "labelled.csv").write_text("sequence,label\n" + "".join(
        f"{read},{name.split(':')[0]}\n" for name, read in reads))
    (folder / "reads.fa").write_text(fasta(reads))
    (folder / "reads.fastq").write_text("".join(f"@{name}\n{read}\n+\n{'I' * len(read)}\n" for name, read in reads))
    (folder / "reads.sam").write_text("@HD\tVN:1.6\tSO:unsorted\n" + "".join(
        f"{name}\t4\t*\t0\t0\t*\t*\t0\t0\t{read}\t{'I' * len(read)}\n" for name, read in reads))
