#!/usr/bin/env python3
"""`dna classify` on every kind of input, and what it writes."""
import gzip
import http.server
import os
import shutil
import subprocess
import threading
import unittest
import unittest.mock

import command_line
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
            self.assertEqual(8, len(row))
            self.assertEqual("classified", row[7])
            self.assertGreater(float(row[6]), -2)
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
        for more in (("--batch-bases", "97"), ("--batch-bases", "1050"), ("--batch-bases", "9600", "--threads", "1")):
            pieces = rows_of(self.classify("reads.fa", "strains/ecoli_2.fa", *more))
            self.assertEqual([row[0] for row in whole], [row[0] for row in pieces])
            for a, b in zip(whole, pieces):
                for column in (3, 4, 5, 6):
                    self.assertAlmostEqual(float(a[column]), float(b[column]), delta=1.1e-5 if column < 6 else 1e-4)

    def test_header_and_files(self):
        self.classify("reads.fa", "-o", "out.tsv")
        lines = (self.folder / "out.tsv").read_text().splitlines()
        self.assertTrue(lines[0].startswith("##strandwave="))
        self.assertIn("dna classify --model", lines[1])
        self.assertEqual(len("##model=") + 64, len(lines[2]))
        self.assertEqual(["#name", "length", "label", "probability", "p:ecoli", "p:hpylori", "ood", "status"],
                         lines[3].split("\t"))
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
        self.assertIn("5 records: 3 classified, 0 unclassified, 0 short, 1 filtered, 1 without sequence", result.stderr.decode())
        # As samtools takes them, by name too.
        for words, left in ((["-F", "0"], 4), (["-F", "SECONDARY,DUP"], 3), (["-f", "secondary", "-F", "0x400"], 1),
                            (["--require-flags", "256", "--exclude-flags", "DUP"], 1)):
            self.assertEqual(left, len(rows_of(self.classify("flags.sam", *words))), words)
        self.refuse(2, "--exclude-flags: must be a number from 0 to 65535 or names such as SECONDARY,DUP .*, got SECONDRY", "flags.sam", "-F", "SECONDRY")

    def test_filters_of_alignments_do_nothing_to_reads(self):
        result = self.run_program("dna", "classify", "--model", self.classifier(), "reads.fa", "reads.fastq", "-q", "20",
                                  "--device", "cpu")
        self.assertEqual(80, len(rows_of(result.stdout.decode())))
        self.assertEqual(1, result.stderr.decode().count("-q, -f and -F select alignments and have no effect on FASTA and FASTQ"))

    # Alignments in and out -------------------------------------------------------------------------

    def aligned(self):
        """x.bam with its index: reads of 100 bases every 50 bases of chr1, and two of them once more as duplicate and
        without sequence. None without samtools."""
        samtools = shutil.which("samtools")
        if not samtools:
            self.skipTest("samtools is not installed")
        contig = "".join((self.folder / "genome.fa").read_text().split(">chr2")[0].splitlines()[1:]).upper()
        lines = ["@HD\tVN:1.6\tSO:coordinate", f"@SQ\tSN:chr1\tLN:{len(contig)}", "@PG\tID:map\tPN:map"]
        for start in range(0, 5000, 50):
            flag = 16 if start % 100 else 0
            fields = [f"r{start}", flag, "chr1", start + 1, 60, "100M", "*", 0, 0, contig[start:start + 100], "I" * 100,
                      "NM:i:0"]
            lines.append("\t".join(map(str, fields)))
            if start == 50:
                lines.append("\t".join(map(str, [fields[0], 1024, *fields[2:]])))
                lines.append("\t".join(map(str, [*fields[:9], "*", "*"])))
        (self.folder / "x.sam").write_text("\n".join(lines) + "\n")
        for words in (["view", "-b", "-o", "x.bam", "--no-PG", "x.sam"], ["index", "x.bam"], ["faidx", "genome.fa"],
                      ["view", "-C", "-T", "genome.fa", "--no-PG", "-o", "x.cram", "x.sam"], ["index", "x.cram"]):
            subprocess.run([samtools, *words], cwd=self.folder, check=True, env=self.no_network())
        return samtools

    def no_network(self):
        return dict(os.environ, REF_PATH="/dev/null")

    def view(self, samtools, *words):
        return subprocess.run([samtools, "view", *words], cwd=self.folder, check=True, capture_output=True, text=True,
                              env=self.no_network()).stdout.splitlines()

    def test_alignments_come_back_with_tags(self):
        samtools = self.aligned()
        table = {row[0]: row for row in rows_of(self.classify("x.bam", "--min-prob", "0.5"))}
        for name, form, source in (("out.bam", "bam", "x.bam"), ("out.cram", "cram", "x.cram")):
            self.classify(source, "-T", "genome.fa", "-O", form, "-o", name, "--min-prob", "0.5")
            subprocess.run([samtools, "quickcheck", "-v", name], cwd=self.folder, check=True)
            before, after = (self.view(samtools, "-T", "genome.fa", path) for path in (source, name))
            self.assertEqual(len(before), len(after))
            for old, new in zip(before, after):
                old, new = old.split("\t"), new.split("\t")
                self.assertEqual(old[:11], new[:11])
                tags = dict(tag.split(":", 1) for tag in new[11:])
                self.assertEqual(old[11:], [tag for tag in new[11:] if tag[:2] not in ("sl", "sp", "so")])
                if int(new[1]) & 1024 or new[9] == "*":
                    self.assertFalse({"sl", "sp", "so"} & set(tags), new)
                else:
                    row = table[new[0]]
                    self.assertEqual("Z:" + row[2], tags["sl"])
                    self.assertAlmostEqual(float(row[3]), float(tags["sp"][2:]), delta=1e-5)
                    self.assertAlmostEqual(float(row[6]), float(tags["so"][2:]), delta=1e-4)
            header = [line for line in self.view(samtools, "-H", "--no-PG", name) if line.startswith("@PG")]
            self.assertIn("ID:strandwave\tPN:strandwave\tPP:map\tVN:", header[1])
            self.assertIn("CL:strandwave dna classify", header[1])

    def test_regions(self):
        samtools = self.aligned()
        (self.folder / "two.bed").write_text("chr1\t1000\t1120\nchr1\t1100\t1200\nchr1\t90\t100\n")
        bare = self.folder / "bare.bam"
        shutil.copy(self.folder / "x.bam", bare)
        stdin = bare.read_bytes()
        for words in (["-L", "two.bed"], ["-r", "chr1:1,001-1,200", "-r", "chr1:91-100", "-r", "chr1:1100-1100"]):
            expected = [line.split("\t")[0] for line in self.view(samtools, "-F", "0xF00", "-L", "two.bed", "x.bam")
                        if line.split("\t")[9] != "*"]
            self.assertEqual(len(set(expected)), len(expected))
            self.assertGreater(len(expected), 4)
            for source in ("x.bam", "bare.bam", "x.cram", "-"):
                rows = rows_of(self.classify(source, *words, "-T", "genome.fa", stdin=stdin))
                self.assertEqual(expected, [row[0] for row in rows], source)
        result = self.run_program("dna", "classify", "--model", self.classifier(), "x.bam", "-r", "1:5-9")
        self.assertEqual(1, result.returncode)
        self.assertIn('x.bam calls it "chr1"', result.stderr.decode())
        # Intervals on contigs that the file lacks are passed over, as in samtools.
        (self.folder / "more.bed").write_text("chrZ\t1\t2\n" + (self.folder / "two.bed").read_text())
        words = ["dna", "classify", "--model", self.classifier(), "x.bam", "--device", "cpu", "-L"]
        result = self.run_program(*words, "more.bed")
        self.assertEqual(expected, [row[0] for row in rows_of(result.stdout.decode())])
        self.assertEqual(1, result.stderr.decode().count("more.bed: 1 of 4 intervals lie on contigs that"))
        (self.folder / "none.bed").write_text("chrZ\t1\t2\n1\t1\t2\n")
        self.refuse(1, 'none.bed, line 1: .*x.bam has no contig "chrZ"', "x.bam", "-L", "none.bed")

    def test_cram_without_its_reference(self):
        self.aligned()
        network = []
        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                network.append(self.path)
                self.send_error(404)
        server = http.server.HTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        self.addCleanup(server.server_close)
        self.addCleanup(server.shutdown)
        address = f"http://127.0.0.1:{server.server_address[1]}/%s"
        with unittest.mock.patch.dict(os.environ, {"REF_PATH": address, "HOME": str(self.folder)}):
            (self.folder / "genome.fa").rename(self.folder / "elsewhere.fa")
            result = self.run_program("dna", "classify", "--model", self.classifier(), "x.cram", "--device", "cpu")
            self.assertEqual(1, result.returncode)
            self.assertRegex(result.stderr.decode(), r"x\.cram, record 1 cannot be decoded: contig chr1 \(M5 [0-9a-f]{32}\) "
                                                     "has no reference: give its FASTA with --reference")
            self.assertEqual([], network)

    # Other outputs ---------------------------------------------------------------------------------

    def test_kraken_and_report(self):
        (self.folder / "taxonomy.tsv").write_text(
            "label\ttaxid\tparent\trank\tname\n.\t2\t1\tsuperkingdom\tBacteria\n"
            "ecoli\t562\t2\tspecies\tEscherichia coli\nhpylori\t210\t2\tspecies\tHelicobacter pylori\n")
        table = rows_of(self.classify("reads.fa", "--min-prob", "0.5"))
        lines = self.classify("reads.fa", "-O", "kraken", "--taxonomy", "taxonomy.tsv", "--report", "report.txt",
                              "--min-prob", "0.5").splitlines()
        taxids = {"ecoli": "562", "hpylori": "210", "unclassified": "0"}
        self.assertEqual([["U" if row[2] == "unclassified" else "C", row[0], taxids[row[2]], "150", row[2] + ":150"]
                          for row in table], [line.split("\t") for line in lines])
        report = [line.split("\t") for line in (self.folder / "report.txt").read_text().splitlines()]
        self.assertEqual(["U", "0", "unclassified"], report[0][3:])
        counts = {line[4]: int(line[2]) for line in report}
        for label, taxid in taxids.items():
            self.assertEqual(sum(row[2] == label for row in table), counts.get(taxid, 0))
        self.assertEqual(40, int(report[0][1]) + int(report[1][1]))
        result = self.run_program("dna", "classify", "--model", self.classifier(), "reads.fa", "-O", "kraken")
        self.assertEqual(2, result.returncode)
        self.assertIn('label "ecoli" has no taxid', result.stderr.decode())

    def test_kraken_lines_of_pairs(self):
        """One line and one count per pair, as Kraken 2 has them."""
        reads = (self.folder / "reads.fa").read_text().split(">")[1:]
        mates = ["".join(read.splitlines()[1:]) for read in reads]
        (self.folder / "1.fa").write_text("".join(f">p{i}/1\n{mates[i]}\n" for i in range(20)))
        (self.folder / "2.fa").write_text("".join(f">p{i}/2\n{mates[20 + i][:100]}\n" for i in range(20)))
        (self.folder / "taxonomy.tsv").write_text("label\ttaxid\tparent\trank\tname\necoli\t562\t1\tspecies\tE\n"
                                                  "hpylori\t210\t1\tspecies\tH\n")
        table = rows_of(self.classify("1.fa", "2.fa", "--paired"))
        lines = [line.split("\t") for line in
                 self.classify("1.fa", "2.fa", "--paired", "-O", "kraken", "--taxonomy", "taxonomy.tsv", "--report",
                               "report.txt").splitlines()]
        taxids = {"ecoli": "562", "hpylori": "210"}
        self.assertEqual([["C", f"p{i}", taxids[table[2 * i][2]], "150|100", f"{table[2 * i][2]}:150 |:| {table[2 * i][2]}:100"]
                          for i in range(20)], lines)
        report = [line.split("\t") for line in (self.folder / "report.txt").read_text().splitlines()]
        self.assertEqual((0, 20), (int(report[0][1]), int(report[1][1])))

    def test_files_by_label(self):
        table = rows_of(self.classify("reads.fastq"))
        self.classify("reads.fastq", "-O", "fastq-split", "-o", "split", "--gzip")
        original = (self.folder / "reads.fastq").read_text().splitlines()
        records = {original[i].split()[0][1:]: original[i:i + 4] for i in range(0, len(original), 4)}
        found = 0
        for path in (self.folder / "split").iterdir():
            lines = gzip.decompress(path.read_bytes()).decode().splitlines()
            for i in range(0, len(lines), 4):
                name = lines[i].split()[0][1:]
                self.assertEqual(records[name], lines[i:i + 4])
                self.assertEqual(path.name, next(row[2] for row in table if row[0] == name) + ".fastq.gz")
                found += 1
        self.assertEqual(40, found)
        result = self.run_program("dna", "classify", "--model", self.classifier(), "reads.fa", "-O", "fastq-split", "-o", "split")
        self.assertEqual(2, result.returncode)
        self.assertIn("-o split exists", result.stderr.decode())

    def test_early_decisions(self):
        result = self.run_program("dna", "classify", "--model", self.classifier(), "reads.fa", "--decide-at", "50,100",
                                  "--min-prob", "0.5", "--device", "cpu")
        self.assertEqual(0, result.returncode, result.stderr.decode())
        rows = rows_of(result.stdout.decode())
        self.assertEqual({"50"}, {row[8] for row in rows})  # of two classes one has half at once
        self.assertRegex(result.stderr.decode(), r"50 bases +40 +100\.0 %")
        self.assertRegex(result.stderr.decode(), r"mean 50 bases read of 150, [0-9.]+ ms per decision")
        self.assertRegex(result.stderr.decode(), r"6\.00 k bases, 2\.00 k of them read, ")
        samtools = shutil.which("samtools")
        if samtools:
            self.classify("reads.sam", "--decide-at", "50,100", "--min-prob", "0.5", "-O", "bam", "-o", "early.bam")
            for line in self.view(samtools, "early.bam"):
                self.assertIn("sb:i:50", line.split("\t"))

    # What cannot be done -----------------------------------------------------------------------------

    def refuse(self, code, pattern, *words):
        """The program ends with `code` and one message, and leaves nothing behind."""
        before = sorted(self.folder.iterdir())
        result = self.run_program("dna", "classify", "--model", self.classifier(), *words, "--device", "cpu", "--quiet")
        message = result.stderr.decode()
        self.assertEqual(code, result.returncode, message)
        self.assertRegex(message, r"^\[E\] strandwave: .*" + pattern)
        self.assertEqual(before, sorted(self.folder.iterdir()))

    def test_what_cannot_be_done_is_said(self):
        reads = [line.split("\t")[::9][:2] for line in (self.folder / "reads.sam").read_text().splitlines()[1:]]
        whole = command_line.bam(reads)
        (self.folder / "reads.bam").write_bytes(whole)
        (self.folder / "cut.bam").write_bytes(command_line.bgzip_block(b"")[:10] + whole[10:len(whole) // 2])
        (self.folder / "bad.bed").write_text("chr1\t5\n")
        (self.folder / "two.fastq").write_text("@a\nACGT\n+\nIIII\n@b\nACGT\n+\nIIII\n")
        (self.folder / "ids.tsv").write_text("ecoli\tx\n")
        # A sound output stays when a later run fails.
        for form in ("bam", "cram", "fastq-split"):
            self.refuse(1, "cut.bam is truncated", "cut.bam", "-O", form, "-o", "out")
        self.refuse(2, "reads.bam is a second input", "reads.bam", "reads.bam", "-O", "bam", "-o", "out.bam")
        self.refuse(2, "-O fastq-split writes a folder", "reads.fa", "-O", "fastq-split")
        self.refuse(2, "--gzip belongs to -O fastq-split", "reads.fa", "--gzip")
        self.refuse(2, "--report needs --taxonomy", "reads.fa", "--report", "r.txt")
        self.refuse(1, "ids.tsv, line 1: \"x\" is no taxid", "reads.fa", "-O", "kraken", "--taxids", "ids.tsv")
        self.refuse(1, "bad.bed, line 1: 2 columns", "reads.bam", "-L", "bad.bed")
        self.refuse(1, "regions need alignments", "reads.fa", "-r", "chr1")
        self.refuse(1, 'record 1 "a" and .*record 2 "b" are not mates', "two.fastq", "--paired")
        self.refuse(2, "--flush-every soon: write a time", "reads.fa", "--flush-every", "soon")
        self.refuse(2, "output-format|-O", "reads.fa", "-O", "vcf")
        self.refuse(2, "--target-fpr|false-positive", "reads.fa", "--target-fpr", "0.7")

    # Live input and memory -------------------------------------------------------------------------

    def test_live_input(self):
        process = subprocess.Popen(
            [command_line.PROGRAM, "dna", "classify", "--model", self.classifier(), "-", "--device", "cpu", "--quiet",
             "--no-PG", "--flush-every", "100ms"], cwd=self.folder, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            stderr=subprocess.PIPE, env=command_line.environment(self.folder))
        process.stdin.write(b"@one\n" + b"ACGT" * 20 + b"\n+\n" + b"I" * 80 + b"\n")
        process.stdin.flush()
        self.assertTrue(process.stdout.readline().startswith(b"#name"))
        self.assertTrue(process.stdout.readline().startswith(b"one\t80\t"))  # while the pipe is open
        process.stdin.write(b"@two\n" + b"ACGT" * 10 + b"\n+\n" + b"I" * 40 + b"\n")
        rest, errors = process.communicate()
        self.assertEqual(0, process.returncode, errors.decode())
        self.assertTrue(rest.startswith(b"two\t40\t"))

    def peak(self, *words):
        """Greatest resident memory in KiB of classifying a file."""
        with open(os.devnull, "wb") as nothing:
            process = subprocess.Popen(
                [command_line.PROGRAM, "dna", "classify", "--model", self.classifier(), *words, "--device", "cpu", "--quiet",
                 "--threads", "1"], cwd=self.folder, stdin=subprocess.DEVNULL, stdout=nothing,
                env=dict(command_line.environment(self.folder), OMP_WAIT_POLICY="passive"))
            _, status, usage = os.wait4(process.pid, 0)
            process.returncode = os.waitstatus_to_exitcode(status)
        self.assertEqual(0, process.returncode)
        return usage.ru_maxrss

    @staticmethod
    def records(fastq):
        lines = fastq.splitlines(True)
        return [b"".join(lines[i:i + 4]) for i in range(0, len(lines), 4)]

    def test_memory_does_not_grow_with_the_input(self):
        """Ten times the input, where little is computed of much that is read: holding it would show."""
        reads = (self.folder / "reads.fastq").read_bytes()
        letters = "".join((self.folder / "genome.fa").read_text().split(">chr2")[0].splitlines()[1:])
        (self.folder / "1.fastq").write_bytes(reads * 200)
        (self.folder / "10.fastq").write_bytes(reads * 2000)
        (self.folder / "1.fa").write_text(">contig\n" + letters * 80 + "\n")
        (self.folder / "10.fa").write_text(">contig\n" + letters * 800 + "\n")
        mates = b"".join(read * 2 for read in self.records(reads))
        (self.folder / "mates.fastq").write_bytes(mates * 100)
        (self.folder / "10mates.fastq").write_bytes(mates * 1000)
        alignments = [line.split("\t")[::9][:2] for line in (self.folder / "reads.sam").read_text().splitlines()[1:]]
        (self.folder / "1.bam").write_bytes(command_line.bam(alignments, 200))
        (self.folder / "10.bam").write_bytes(command_line.bam(alignments, 2000))
        early = ["--decide-at", "8", "--min-prob", "0.5"]
        for small, large, words in ((["1.fastq"], ["10.fastq"], early),
                                    (["mates.fastq"], ["10mates.fastq"], [*early, "--paired"]),
                                    (["1.bam"], ["10.bam"], early),
                                    (["1.fa"], ["10.fa"], ["--min-length", "1000000000"])):
            self.assertLess(self.peak(*large, *words), 1.05 * self.peak(*small, *words), (large, words))


if __name__ == "__main__":
    unittest.main()
