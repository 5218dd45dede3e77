"""Runs the real program, for the tests beside this file."""
import os
import pathlib
import struct
import subprocess
import sys
import zlib

ROOT = pathlib.Path(__file__).resolve().parents[2]
PROGRAM = os.environ.get("STRANDWAVE_PROGRAM", str(ROOT / "build/release/bin/strandwave"))
sys.path.insert(0, str(ROOT / "tests/python"))

# A model and a number of steps that take about a second.
TINY = ["--d-model", "16", "--layers", "M{2}", "--d-state", "4"]
PRETRAIN = [*TINY, "--window", "128", "--batch", "2", "--steps", "4", "--gap", "500", "--eval-bases", "2000",
            "--test-bases", "2000", "--markov", "2", "--threads", "1"]
FINETUNE = [*TINY, "--length", "100", "--batch", "4", "--steps", "4", "--eval-per-class", "4",
            "--test-per-class", "4", "--threads", "1"]


def environment(folder):
    """That of this process, with the cache of packed genomes inside the test's folder."""
    return dict(os.environ, STRANDWAVE_CACHE=str(pathlib.Path(folder) / "cache"))


def run(folder, *words, stdin=subprocess.DEVNULL, **options):
    return subprocess.run([PROGRAM, *map(str, words)], cwd=folder, env=environment(folder), capture_output=True,
                          text=True, stdin=stdin, timeout=300, check=False, **options)


def bgzip_block(data):
    """One BGZF block (SAM specification, section 4.1)."""
    packer = zlib.compressobj(6, zlib.DEFLATED, -15)
    packed = packer.compress(data) + packer.flush()
    size = len(packed) + 25
    return (b"\x1f\x8b\x08\x04" + b"\0" * 4 + b"\0\xff" + struct.pack("<H", 6) + b"BC" + struct.pack("<HH", 2, size)
            + packed + struct.pack("<II", zlib.crc32(data), len(data)))


def bgzip(data):
    blocks = [bgzip_block(data[i:i + 60000]) for i in range(0, len(data), 60000)]
    return b"".join(blocks) + bgzip_block(b"")


def bam(reads, times=1):
    """Unaligned BAM of (name, sequence) pairs, all of them several times."""
    header = b"@HD\tVN:1.6\tSO:unsorted\n"
    records = b""
    for name, sequence in reads:
        codes = ["=ACMGRSVTWYHKDBN".index(letter) for letter in sequence]
        codes += [0] * (len(codes) % 2)
        record = struct.pack("<iiBBHHHiiii", -1, -1, len(name) + 1, 255, 4680, 0, 4, len(sequence), -1, -1, 0)
        record += name.encode() + b"\0"
        record += bytes(a << 4 | b for a, b in zip(codes[::2], codes[1::2])) + bytes([30]) * len(sequence)
        records += struct.pack("<i", len(record)) + record
    return bgzip(b"BAM\1" + struct.pack("<i", len(header)) + header + struct.pack("<i", 0) + records * times)
