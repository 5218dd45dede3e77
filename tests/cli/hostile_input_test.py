#!/usr/bin/env python3
"""Whatever is wrong with an input ends in one clear message and the right exit code, and nothing
half-written stays behind."""
import json
import os
import pathlib
import resource
import shutil
import signal
import subprocess
import tempfile
import time
import unittest

import command_line
from command_line import FINETUNE, PRETRAIN, TINY, run

import sample_data


class BadInput(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.holder = tempfile.TemporaryDirectory()
        cls.samples = pathlib.Path(cls.holder.name) / "samples"
        cls.samples.mkdir()
        sample_data.write_samples(cls.samples)
        cls.reads = [line.split("\t")[::9][:2] for line in (cls.samples / "reads.sam").read_text().splitlines()[1:]]
        for words in (["dna", "pretrain", "genome.fa", "--split", "held_out.bed", "-o", "run", *PRETRAIN],
                      ["dna", "finetune", "strains.tsv", "-o", "species", *FINETUNE]):
            result = run(cls.samples, *words)
            if result.returncode != 0:
                raise AssertionError(f"{words}\n{result.stdout}\n{result.stderr}")

    @classmethod
    def tearDownClass(cls):
        cls.holder.cleanup()

    def setUp(self):
        self.folder = pathlib.Path(tempfile.mkdtemp(dir=self.holder.name))
        for entry in self.samples.iterdir():
            if entry.name not in ("run", "species", "cache"):
                (self.folder / entry.name).symlink_to(entry)
        self.run_folder, self.species = self.samples / "run", self.samples / "species"

    def write(self, name, content):
        path = self.folder / name
        path.unlink(missing_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return name

    def expect(self, code, words, *patterns, **options):
        """The program ends with `code` and one message on stderr that holds all patterns."""
        result = run(self.folder, *words, **options)
        shown = f"{' '.join(map(str, words))}\nexit code {result.returncode}\n{result.stdout}\n{result.stderr}"
        self.assertEqual(code, result.returncode, shown)
        self.assertIn("[E] ", result.stderr, shown)
        self.assertNotIn("internal error", result.stderr, shown)
        for pattern in patterns:
            self.assertRegex(result.stderr, pattern, shown)
        return result

    def pretrain(self, genome, *more):
        return ["dna", "pretrain", genome, "-o", "out", *PRETRAIN, *more]

    def classify(self, reads, *more):
        return ["dna", "classify", "--model", self.species, reads, *more]

    # Genomes ---------------------------------------------------------------------------------------

    def test_genome_files(self):
        fasta = (self.samples / "genome.fa").read_bytes()
        cases = {
            "empty.fa": (b"", "empty"),
            "truncated.fa.gz": ((self.samples / "genome.fa.gz").read_bytes()[:-500], "truncated|damaged"),
            "truncated.fa.bgz": (command_line.bgzip(fasta)[:-400], "truncated|damaged"),
            "notes.txt": (b"these are notes\n", "not FASTA"),
            "duplicate.fa": (b">one\nACGT\n>one\nACGT\n", "one"),
            "letters.fa": (b">one\nACGT\nAC!T\n", "line 3|position 7"),
            "no_base.fa": (b">one\n\n>two\n", "no base|empty"),
        }
        for name, (content, pattern) in cases.items():
            with self.subTest(name=name):
                self.expect(1, self.pretrain(self.write(name, content)), name, pattern)
                self.assertFalse((self.folder / "out" / "checkpoints").exists())

    def test_missing_genome(self):
        self.expect(1, self.pretrain("nothing.fa"), "nothing.fa", "No such file")

    def test_unreadable_genome(self):
        self.write("secret.fa", (self.samples / "genome.fa").read_bytes())
        os.chmod(self.folder / "secret.fa", 0)
        os.chmod(self.holder.name, 0o755)
        os.chmod(self.folder, 0o777)
        options = {"user": 65534, "group": 65534} if os.getuid() == 0 else {}
        self.expect(1, self.pretrain("secret.fa", "--cache", "own"), "secret.fa", "Permission denied", **options)

    # Intervals -------------------------------------------------------------------------------------

    def test_intervals(self):
        cases = {
            "chr9\t0\t100\ttest\n": "chr9",
            "1\t0\t100\ttest\n": "chr1",
            "chr1\t100\t100\ttest\n": "line 1",
            "chr1\t0\t900000\ttest\n": "line 1: .* ends past",
            "chr1\t0\tx\ttest\n": "line 1",
            "chr1\t0\t100\tholdout\n": "holdout",
        }
        for text, pattern in cases.items():
            with self.subTest(text=text):
                self.expect(1, self.pretrain("genome.fa", "--split", self.write("bad.bed", text)), "bad.bed", pattern)

    def test_overlapping_splits(self):
        text = "chr1\t0\t1000\ttest\nchr1\t500\t2000\tvalidation\n"
        self.expect(1, self.pretrain("genome.fa", "--split", self.write("bad.bed", text)), "overlap")

    def test_regions(self):
        self.expect(1, self.pretrain("genome.fa", "--test", "chr7:1-100"), "chr7")
        self.expect(2, self.pretrain("genome.fa", "--test", "chr1:500-100"), "chr1:500-100")

    def test_nothing_left_to_train_on(self):
        self.expect(1, self.pretrain("genome.fa", "--test", "chr1", "--test", "chr2"), "nothing is left")

    # Labelled data ---------------------------------------------------------------------------------

    def finetune(self, data, *more):
        return ["dna", "finetune", data, "-o", "out", *FINETUNE, *more]

    def test_labelled_data(self):
        cases = {
            "one_class.csv": ("sequence,label\nACGT,a\nACGA,a\n", "one class"),
            "columns.csv": ("bases,class\nACGT,a\nACGT,b\n", "sequence"),
            "letters.csv": ("sequence,label\nACGT,a\nAC-T,b\n", "line 3"),
            "no_label.csv": ("sequence,label\nACGT,a\nACGT,\n", "line 3"),
            "no_rows.csv": ("sequence,label\n", "no row"),
            "missing.tsv": ("path\tlabel\nnot_there.fa\ta\nstrains/ecoli_0.fa\tb\n", "line 2.*not_there.fa"),
            "split.tsv": ("path\tlabel\tgroup\tsplit\nstrains/ecoli_0.fa\ta\tg\tlearn\nstrains/ecoli_1.fa\tb\th\ttrain\n",
                          "learn"),
            "class_without_training.tsv": (
                "path\tlabel\tgroup\tsplit\nstrains/ecoli_0.fa\ta\tg\ttrain\nstrains/hpylori_0.fa\tb\th\ttest\n",
                'class "b" has no sequences'),
            "group.tsv": ("path\tlabel\tgroup\tsplit\nstrains/ecoli_0.fa\ta\tg\ttrain\nstrains/hpylori_0.fa\tb\tg\ttest\n",
                          'group "g"'),
        }
        for name, (text, pattern) in cases.items():
            with self.subTest(name=name):
                self.expect(1, self.finetune(self.write(name, text)), pattern)

    # Reads -----------------------------------------------------------------------------------------

    def test_reads(self):
        fastq = (self.samples / "reads.fastq").read_bytes()
        whole = command_line.bam(self.reads)
        cases = {
            "empty.fastq": (b"", "empty"),
            "truncated.fastq": (fastq[:-60], "record 40|truncated"),
            "lengths.fastq": (b"@r\nACGT\n+\nII\n", "record 1|line"),
            "letters.fastq": (b"@r\nAC-T\n+\nIIII\n", "position 3"),
            "truncated.bam": (whole[:-28], "truncated"),
            "cut.bam": (whole[:len(whole) // 2], "truncated|damaged"),
            "notes.txt": (b"\x00\x01\x02nothing known", "none of FASTA"),
        }
        for name, (content, pattern) in cases.items():
            with self.subTest(name=name):
                self.expect(1, self.classify(self.write(name, content), "-o", "out.tsv"), name, pattern)
                self.assertEqual([], [p.name for p in self.folder.iterdir() if p.name.startswith("out")])

    def test_formats_agree(self):
        """The files above are wrong in the one way that they are meant to be: whole ones work."""
        self.write("reads.bam", command_line.bam(self.reads))
        self.write("reads.fa.bgz", command_line.bgzip((self.samples / "reads.fa").read_bytes()))
        outputs = set()
        for name in ("reads.fa", "reads.fastq", "reads.sam", "reads.bam", "reads.fa.bgz"):
            result = run(self.folder, *self.classify(name, "--no-PG"))
            self.assertEqual(0, result.returncode, result.stderr)
            outputs.add(result.stdout)
        self.assertEqual(1, len(outputs))
        with open(self.samples / "reads.sam", "rb") as stdin:
            result = run(self.folder, *self.classify("-", "--no-PG"), stdin=stdin)
        self.assertEqual({result.stdout}, outputs)

    def test_output_exists(self):
        self.write("out.tsv", "mine\n")
        self.expect(2, self.classify("reads.fa", "-o", "out.tsv"), "out.tsv", "--force")
        self.assertEqual("mine\n", (self.folder / "out.tsv").read_text())

    def test_full_standard_output(self):
        with open("/dev/full", "w") as full:
            result = subprocess.run([command_line.PROGRAM, *map(str, self.classify("reads.fa"))], cwd=self.folder,
                                    env=command_line.environment(self.folder), stdout=full, stderr=subprocess.PIPE, text=True,
                                    check=False)
        self.assertEqual(1, result.returncode)
        self.assertIn("standard output", result.stderr)

    def test_closed_pipe_ends_quietly(self):
        words = " ".join([command_line.PROGRAM, "dna", "classify", "--model", str(self.species), "--quiet", "many.fa"])
        self.write("many.fa", (self.samples / "reads.fa").read_bytes() * 50)
        result = subprocess.run(["bash", "-c", f"{words} | head -1"], cwd=self.folder, capture_output=True, text=True,
                                env=command_line.environment(self.folder), check=False)
        self.assertEqual("", result.stderr)

    # Models ----------------------------------------------------------------------------------------

    def copy_of_species(self):
        copy = self.folder / "model"
        shutil.rmtree(copy, ignore_errors=True)
        shutil.copytree(self.species / "best", copy)
        return copy

    def test_damaged_models(self):
        def changed(path):
            content = bytearray(path.read_bytes())
            content[-1] ^= 1
            path.write_bytes(content)

        damages = {
            "model.safetensors": [lambda p: p.unlink(), changed, lambda p: p.write_bytes(p.read_bytes()[:-100]),
                                  lambda p: p.write_bytes(b""), lambda p: p.write_bytes(b"\xff" * 8 + b"{}")],
            "config.json": [lambda p: p.unlink(), lambda p: p.write_text(p.read_text()[:20])],
            "state.json": [lambda p: p.unlink(), lambda p: p.write_text("{")],
        }
        for name, ways in damages.items():
            for number, damage in enumerate(ways):
                with self.subTest(name=name, way=number):
                    copy = self.copy_of_species()
                    damage(copy / name)
                    self.expect(1, ["dna", "classify", "--model", copy, "reads.fa"], name)

    def test_model_configuration(self):
        good = {"d_model": 16, "stack": "M", "layers": {"M": {"kind": "mamba"}}, "vocab_size": 16, "valid_vocab_size": 12}
        cases = [({"d_modle": 16}, "d_model"), ({"d_model": -1}, "d_model"), ({"stack": "MX"}, "X"),
                 ({"layers": {"M": {"kind": "mambo"}}}, "mamba"), ({"layers": {"M": {"kind": "mamba", "d_stat": 4}}}, "d_state"),
                 ({"d_model": "wide"}, "d_model")]
        for change, pattern in cases:
            with self.subTest(change=change):
                self.write("model.json", json.dumps({"format": "strandwave", "format_version": 1, **good, **change}))
                result = run(self.folder, *self.pretrain("genome.fa", "--model-config", "model.json"))
                self.assertIn(result.returncode, (1, 2), result.stderr)
                self.assertRegex(result.stderr, pattern)
                self.assertNotIn("internal error", result.stderr)

    def test_language_model_cannot_classify(self):
        result = run(self.folder, "dna", "classify", "--model", self.run_folder, "reads.fa")
        self.assertEqual(2, result.returncode, result.stderr)

    # Options ---------------------------------------------------------------------------------------

    def test_usage(self):
        self.expect(2, ["dna", "classify", "reads.fa"], "--model")
        self.expect(2, ["dna", "clasify"], "clasify|subcommand")
        self.expect(2, self.pretrain("genome.fa", "--stepz", "3"), "--stepz")
        self.expect(2, self.pretrain("genome.fa", "--lr", "fast"), "--lr")

    def test_config_file(self):
        words = ["dna", "pretrain", "genome.fa", "-o", "out", *PRETRAIN]
        self.expect(2, [*words, "--config", self.write("recipe.toml", "stepz = 3\n")], "stepz")
        self.expect(1, [*words, "--config", "nothing.toml"], "nothing.toml")

    def test_gpu_asked_for_and_absent(self):
        doctor = run(self.folder, "doctor").stdout
        gpu = [line for line in doctor.splitlines() if line.startswith("GPU")]
        if not gpu or "none" not in gpu[0]:
            self.skipTest("a GPU is here")
        self.expect(1, self.classify("reads.fa", "--device", "cuda"), "--device cpu")
        self.expect(2, self.classify("reads.fa", "--device", "tpu"), "tpu")

    # Resources -------------------------------------------------------------------------------------

    def test_out_of_memory(self):
        def limit():
            resource.setrlimit(resource.RLIMIT_AS, (12 << 30, 12 << 30))

        words = ["dna", "pretrain", "genome.fa", "-o", "out", "--window", "16384", "--batch", "2048", "--d-model", "256",
                 "--layers", "M", "--steps", "1"]
        self.expect(1, words, "memory", "--batch", preexec_fn=limit)

    def test_disk_full_while_saving(self):
        disk = self.folder / "disk"
        disk.mkdir()
        script = (f'mount -t tmpfs -o size=96k tmpfs {disk} && exec "$@"')
        words = [command_line.PROGRAM, "dna", "pretrain", "genome.fa", "--split", "held_out.bed", "-o", str(disk / "out"), *PRETRAIN]
        result = subprocess.run(["unshare", "--mount", "sh", "-c", script, "-", *words], cwd=self.folder,
                                env=command_line.environment(self.folder), capture_output=True, text=True, check=False)
        if "must be superuser" in result.stderr or "Operation not permitted" in result.stderr or "unshare" in result.stderr:
            self.skipTest("mounting a small disk needs root")
        self.assertEqual(1, result.returncode, result.stdout + result.stderr)
        self.assertIn("disk is full", result.stderr)

    def test_interrupt_saves_and_the_same_command_continues(self):
        words = [command_line.PROGRAM, "dna", "pretrain", "genome.fa", "--split", "held_out.bed", "-o", "out", *TINY,
                 "--window", "128", "--batch", "2", "--steps", "1000000", "--gap", "500", "--log-every", "1", "--threads", "1"]
        steps = []
        for number in (signal.SIGINT, signal.SIGTERM):
            process = subprocess.Popen(words, cwd=self.folder, env=command_line.environment(self.folder),
                                       stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
            lines_before = self.log_lines()
            deadline = time.monotonic() + 120
            while self.log_lines() < lines_before + 3 and process.poll() is None and time.monotonic() < deadline:
                time.sleep(0.05)
            process.send_signal(number)
            _, errors = process.communicate(timeout=120)
            self.assertEqual(75, process.returncode, errors)
            steps.append(max(int(p.name.split("-")[1]) for p in (self.folder / "out/checkpoints").iterdir()))
        self.assertLess(steps[0], steps[1])

    def log_lines(self):
        log = self.folder / "out/log.jsonl"
        return len(log.read_text().splitlines()) if log.exists() else 0


if __name__ == "__main__":
    unittest.main()
