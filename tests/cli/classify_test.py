#!/usr/bin/env python3
"""`dna classify` on every kind of input, and what it writes."""
import gzip
import shutil
import subprocess
import unittest

from program import ProgramTest


def rows_of(text):
    return [line.split("\t") for line in text.splitlines() if not line.startswith("#")]


class Classify(ProgramTest):
    def classify(self, *arguments, stdin=None):
        return self.succeed("dna", "classify", "--model", self.classifier(), *arguments, "--device", "cpu", "--quiet",
                            stdin=stdin)

    def test_every_format_gives_the_same(self):
        expected = rows_of(self.classify("reads.fa"))
        self.assertEqual(40, len(expected))
        for row in expected:
            self.assertEqual(6, len(row))
            self.assertEqual("150", row[1])
            self.assertIn(row[2], ("ecoli", "hpylori"))
            self.assertAlmostEqual(1, float(row[4]) + float(row[5]), places=5)
            self.assertEqual(float(row[3]), max(float(row[4]), float(row[5])))
        text = (self.folder / "reads.fa").read_bytes()
        (self.folder / "reads.fa.gz").write_bytes(gzip.compress(text))
        for name in ("reads.fastq", "reads.sam", "reads.fa.gz"):
            self.assertEqual(expected, rows_of(self.classify(name)), name)
        self.assertEqual(expected, rows_of(self.classify("-", stdin=text)))
        samtools = shutil.which("samtools")
        if samtools:
            bam = subprocess.run([samtools, "view", "-b", self.folder / "reads.sam"], capture_output=True, check=True).stdout
            (self.folder / "reads.bam").write_bytes(bam)
            (self.folder / "reads.bam.gz").write_bytes(gzip.compress(bam))
            for name in ("reads.bam", "reads.bam.gz"):
                self.assertEqual(expected, rows_of(self.classify(name)), name)

    def test_strands_do_not_matter(self):
        name = "turned.sam"
        lines = (self.folder / "reads.sam").read_text().splitlines()
        complement = str.maketrans("ACGTN", "TGCAN")
        turned = [lines[0]]
        for line in lines[1:]:
            fields = line.split("\t")
            fields[1] = "20"  # unmapped, reverse strand: SEQ is the reverse complement of the read
            fields[9] = fields[9].translate(complement)[::-1]
            turned.append("\t".join(fields))
        (self.folder / name).write_text("\n".join(turned) + "\n")
        self.assertEqual(rows_of(self.classify("reads.sam", "--one-strand")), rows_of(self.classify(name, "--one-strand")))

    def test_batching_changes_nothing_but_rounding(self):
        whole = rows_of(self.classify("reads.fa", "strains/ecoli_2.fa"))
        pieces = rows_of(self.classify("reads.fa", "strains/ecoli_2.fa", "--batch-bases", "97"))
        self.assertEqual([row[0] for row in whole], [row[0] for row in pieces])
        for a, b in zip(whole, pieces):
            self.assertAlmostEqual(float(a[4]), float(b[4]), delta=2e-5)

    def test_header_and_files(self):
        self.classify("reads.fa", "-o", "out.tsv")
        lines = (self.folder / "out.tsv").read_text().splitlines()
        self.assertTrue(lines[0].startswith("##strandwave="))
        self.assertIn("dna classify --model", lines[1])
        self.assertEqual(len("##model=") + 64, len(lines[2]))
        self.assertEqual(["#name", "length", "label", "probability", "p:ecoli", "p:hpylori"], lines[3].split("\t"))
        plain = self.classify("reads.fa", "--no-PG")
        self.assertEqual(lines[3:], plain.splitlines())
        self.assertEqual(plain, self.classify("reads.fa", "--no-PG", "--threads", "1"))

    def test_a_closed_pipe_ends_quietly(self):
        process = self.start("dna", "classify", "--model", self.classifier(), "reads.fa", "--device", "cpu", "--quiet")
        process.stdout.close()
        self.assertEqual(b"", process.stderr.read())
        process.stderr.close()
        process.wait()

    def test_flags_and_counts(self):
        lines = (self.folder / "reads.sam").read_text().splitlines()
        fields = lines[1].split("\t")
        secondary = "\t".join([fields[0], "260", *fields[2:]])
        without = "\t".join([*fields[:9], "*", "*"])
        (self.folder / "flags.sam").write_text("\n".join([*lines[:4], secondary, without]) + "\n")
        result = self.run_program("dna", "classify", "--model", self.classifier(), "flags.sam", "--device", "cpu")
        self.assertEqual(3, len(rows_of(result.stdout.decode())))
        self.assertIn("5 records: 3 classified, 1 filtered, 1 without sequence", result.stderr.decode())


if __name__ == "__main__":
    unittest.main()
