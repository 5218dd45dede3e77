#!/usr/bin/env python3
"""Whatever is wrong with an input ends in one clear message and the right exit code, and nothing
half-written stays behind."""
import ctypes
import gzip
import json
import os
import pathlib
import re
import resource
import shutil
import signal
import subprocess
import tempfile
import time
import unittest
import unittest.mock

import command_line
from command_line import FINETUNE, PRETRAIN, TINY, run

import sample_data


def obey_permissions():
    """Lets even root obey the permissions of files: without the capabilities that override them."""
    if os.getuid() == 0:
        prctl, drop_from_bounding_set = ctypes.CDLL(None, use_errno=True).prctl, 24
        for capability in (1, 2):  # CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH
            if prctl(drop_from_bounding_set, capability, 0, 0, 0) != 0:
                raise OSError(ctypes.get_errno(), "prctl")


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
            "empty.fa": (b"", "empty.fa is empty"),
            "truncated.fa.gz": ((self.samples / "genome.fa.gz").read_bytes()[:-500],
                                "is truncated: the compressed data end in the middle"),
            "truncated.fa.bgz": (command_line.bgzip(fasta)[:-400],
                                 "is truncated: the bgzip end-of-file marker is missing"),
            "notes.txt": (b"these are notes\n", "is not FASTA: line 1 starts with \"these are notes\""),
            "duplicate.fa": (b">one\nACGT\n>one\nACGT\n",
                             'record 2, line 3: the contig name "one" occurs twice; first in duplicate.fa, line 1'),
            "empty.fa.gz": (gzip.compress(b""), "empty.fa.gz is empty"),
            "letters.fa": (b">one\nACGT\nAC!T\n", 'record 1 "one", line 3, position 7: the letter "!"'),
            "no_base.fa": (b">one\n\n>two\n", "holds no base: all of its 2 records are empty"),
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
        self.expect(1, self.pretrain("secret.fa"), "secret.fa", "Permission denied", preexec_fn=obey_permissions)

    # Intervals -------------------------------------------------------------------------------------

    def test_intervals(self):
        cases = {
            "chr9\t0\t100\ttest\n": 'line 1: the genome has no contig "chr9"',
            "chr1\t0\t9\ttest\n1\t0\t100\ttest\n": 'line 2: the genome has no contig "1". The genome calls it "chr1"',
            "chr1\t100\t100\ttest\n": "line 1: 100-100 is empty",
            "chr1\t500\t100\ttest\n": "line 1: 500-100 is empty",
            "chr1\t0\t900000\ttest\n": "line 1: 0-900000 ends past contig chr1 of length 60000",
            "chr1\t0\tx\ttest\n": 'line 1: end "x" is not a whole number',
            "chr1\t0\t100\tholdout\n": "label 'holdout' of chr1:1-100",
        }
        for text, pattern in cases.items():
            with self.subTest(text=text):
                self.expect(1, self.pretrain("genome.fa", "--split", self.write("bad.bed", text)), "bad.bed", pattern)

    def test_overlapping_splits(self):
        text = "chr1\t0\t1000\ttest\nchr1\t500\t2000\tvalidation\n"
        self.expect(1, self.pretrain("genome.fa", "--split", self.write("bad.bed", text)),
                    "splits validation and test overlap at chr1:501-1000")

    def test_regions(self):
        self.expect(1, self.pretrain("genome.fa", "--test", "chr7:1-100"),
                    'region "chr7:1-100": the genome has no contig "chr7"')
        self.expect(2, self.pretrain("genome.fa", "--test", "chr1:500-100"),
                    'region "chr1:500-100": the start is greater than the end')

    def test_nothing_left_to_train_on(self):
        self.expect(1, self.pretrain("genome.fa", "--test", "chr1", "--test", "chr2"), "nothing is left")

    # Labelled data ---------------------------------------------------------------------------------

    def finetune(self, data, *more):
        return ["dna", "finetune", data, "-o", "out", *FINETUNE, *more]

    def test_labelled_data(self):
        cases = {
            "one_class.csv": ("sequence,label\nACGT,a\nACGA,a\n", 'one_class.csv has one class only, "a"'),
            "columns.csv": ("bases,class\nACGT,a\nACGT,b\n",
                            "line 1: neither a manifest .*columns found: bases, class"),
            "letters.csv": ("sequence,label\nACGT,a\nAC-T,b\n", 'line 3, position 3 of the sequence: "-"'),
            "no_label.csv": ("sequence,label\nACGT,a\nACGT,\n", "line 3: the label is empty"),
            "no_rows.csv": ("sequence,label\n", "a header but no row"),
            "missing.tsv": ("path\tlabel\nnot_there.fa\ta\nstrains/ecoli_0.fa\tb\n", "line 2: cannot read not_there.fa"),
            "split.tsv": ("path\tlabel\tgroup\tsplit\nstrains/ecoli_0.fa\ta\tg\tlearn\nstrains/ecoli_1.fa\tb\th\ttrain\n",
                          'line 2: the split "learn"'),
            "class_without_training.tsv": (
                "path\tlabel\tgroup\tsplit\nstrains/ecoli_0.fa\ta\tg\ttrain\nstrains/hpylori_0.fa\tb\th\ttest\n",
                'class "b" has no sequences in the training split'),
            "group.tsv": ("path\tlabel\tgroup\tsplit\nstrains/ecoli_0.fa\ta\tg\ttrain\nstrains/hpylori_0.fa\tb\tg\ttest\n",
                          'line 3: the group "g" is in the split "test", but in the split "train"'),
        }
        for name, (text, pattern) in cases.items():
            with self.subTest(name=name):
                self.expect(1, self.finetune(self.write(name, text)), pattern)

    # Reads -----------------------------------------------------------------------------------------

    def test_reads(self):
        fastq = (self.samples / "reads.fastq").read_bytes()
        whole = command_line.bam(self.reads)
        cases = {
            "empty.fastq": (b"", "empty.fastq is empty"),
            "truncated.fastq": (fastq[:-60], 'record 40 ".*", line 160: 91 qualities for 150 bases'),
            "ends_early.fastq": (fastq[:fastq.rindex(b"+")], 'record 40 ".*": the FASTQ file ends in the middle of the record, after line 158'),
            "lengths.fastq": (b"@r\nACGT\n+\nII\n", 'record 1 "r", line 4: 2 qualities for 4 bases'),
            "letters.fastq": (b"@r\nAC-T\n+\nIIII\n", 'record 1 "r", line 2, position 3: "-"'),
            "truncated.bam": (whole[:-28], "is truncated: the bgzip end-of-file marker is missing"),
            "cut.bam": (whole[:len(whole) // 2], "is truncated: the bgzip end-of-file marker is missing"),
            "empty.bam": (b"", "empty.bam is empty"),
            "empty.fastq.gz": (gzip.compress(b""), "empty.fastq.gz is empty"),
            "truncated.fastq.gz": (gzip.compress(fastq)[:-40], "is truncated: the compressed data end in the middle"),
            "truncated.fastq.bgz": (command_line.bgzip(fastq)[:-28], "is truncated: the bgzip end-of-file marker is missing"),
            "truncated.sam": ((self.samples / "reads.sam").read_bytes()[:-200], "record 40 cannot be read: it is truncated or damaged"),
            "no_contigs.sam": (b"r\t0\tchr1\t1\t60\t4M\t*\t0\t0\tACGT\tIIII\n", "the file has no @SQ lines; then add the header"),
            "notes.txt": (b"\x00\x01\x02nothing known", "is none of FASTA, FASTQ, SAM, BAM and CRAM"),
        }
        for name, (content, pattern) in cases.items():
            with self.subTest(name=name):
                self.expect(1, self.classify(self.write(name, content), "-o", "out.tsv"), name, pattern)
                self.assertEqual([], [p.name for p in self.folder.iterdir() if p.name.startswith("out")])

    def test_missing_and_unreadable_reads_and_models(self):
        self.expect(1, self.classify("nothing.fq", "-o", "out.tsv"), "nothing.fq", "No such file")
        self.write("secret.fq", (self.samples / "reads.fastq").read_bytes())
        os.chmod(self.folder / "secret.fq", 0)
        self.expect(1, self.classify("secret.fq"), "secret.fq", "Permission denied", preexec_fn=obey_permissions)
        self.expect(1, ["dna", "classify", "--model", "nowhere", "reads.fa"], "no directory nowhere")
        copy = self.copy_of_species()
        os.chmod(copy / "model.safetensors", 0)
        self.expect(1, ["dna", "classify", "--model", copy, "reads.fa"], "model.safetensors", "permission denied",
                    preexec_fn=obey_permissions)

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

        missing = (lambda p: p.unlink(), "{} is missing")
        hash_is_wrong = "model is damaged: {} is truncated or changed .sha256"
        damages = {
            "model.safetensors": [missing, (changed, hash_is_wrong),
                                  (lambda p: p.write_bytes(p.read_bytes()[:-100]), hash_is_wrong),
                                  (lambda p: p.write_bytes(b""), hash_is_wrong),
                                  (lambda p: p.write_bytes(b"\xff" * 8 + b"{}"), hash_is_wrong)],
            "config.json": [missing, (lambda p: p.write_text(p.read_text()[:20]), hash_is_wrong)],
            "state.json": [missing, (lambda p: p.write_text("{"), "{} is not valid JSON: .*line 1, column 2")],
        }
        for name, ways in damages.items():
            for number, (damage, pattern) in enumerate(ways):
                with self.subTest(name=name, way=number):
                    copy = self.copy_of_species()
                    damage(copy / name)
                    self.expect(1, ["dna", "classify", "--model", copy, "reads.fa"], pattern.format(re.escape(name)))

    def test_damaged_imports(self):
        fixture = command_line.ROOT / "tests/fixtures/hf_mamba_tiny"
        tensors, config = (fixture / "model.safetensors").read_bytes(), (fixture / "config.json").read_bytes()
        cases = [(b"", config, "model.safetensors is not a valid safetensors file: it has 0 bytes"),
                 (tensors[:20000], config, "data_offsets .* lie outside .* the file may be truncated"),
                 (b"\xff" * 7 + b"\x3f" + b"{}" * 50, config, "its header claims [0-9]+ bytes, the file has 108"),
                 (tensors, b"", "config.json is not valid JSON.*line 1, column 1"),
                 (tensors, config[:60], "config.json is not valid JSON")]
        for number, (model, settings, pattern) in enumerate(cases):
            with self.subTest(number=number):
                folder = self.folder / f"hf{number}"
                folder.mkdir()
                (folder / "model.safetensors").write_bytes(model)
                (folder / "config.json").write_bytes(settings)
                self.expect(1, ["model", "import", folder, "-o", "imported"], pattern)
                self.assertFalse((self.folder / "imported").exists())

    def test_missing_and_empty_tables(self):
        self.expect(1, self.pretrain("genome.fa", "--split", self.write("empty.bed", "")), "empty.bed is empty")
        self.expect(1, self.pretrain("genome.fa", "--split", "no.bed"), "no.bed: No such file")
        self.expect(1, self.finetune(self.write("empty.csv", "")), "empty.csv is empty")
        self.expect(1, self.finetune("no.csv"), "no.csv: No such file")

    def test_model_configuration(self):
        good = {"d_model": 16, "stack": "M", "layers": {"M": {"kind": "mamba"}}, "vocab_size": 16, "valid_vocab_size": 12}
        cases = [({"d_modle": 16}, 'model.json.*"d_modle"; did you mean "d_model"'),
                 ({"d_model": -1}, 'model.json.*"d_model" must be an integer from 1 to 65536, got -1'),
                 ({"d_model": "wide"}, 'model.json.*"d_model" must be an integer from 1 to 65536, got "wide"'),
                 ({"stack": "MX"}, 'layer string "MX": no layer is defined for "X"'),
                 ({"layers": {"M": {"kind": "mambo"}}}, 'unknown layer kind "mambo"; did you mean "mamba"'),
                 ({"layers": {"M": {"kind": "mamba", "d_stat": 4}}}, 'unknown key "d_stat"; did you mean "d_state"')]
        words = ["dna", "pretrain", "genome.fa", "-o", "out", *PRETRAIN[len(TINY):], "--model-config", "model.json"]
        for change, pattern in cases:
            with self.subTest(change=change):
                self.write("model.json", json.dumps({"format": "strandwave", "format_version": 1, **good, **change}))
                self.expect(2, words, pattern)

    def test_language_model_cannot_classify(self):
        result = run(self.folder, "dna", "classify", "--model", self.run_folder, "reads.fa")
        self.assertEqual(2, result.returncode, result.stderr)

    # Options ---------------------------------------------------------------------------------------

    def test_usage(self):
        self.expect(2, ["dna", "classify", "reads.fa"], "--model is required")
        self.expect(2, ["dna", "clasify"], "there is no command 'dna clasify': choose one of pretrain, split, finetune, classify")
        self.expect(2, self.pretrain("genome.fa", "--stepz", "3"), "not expected: --stepz", "Did you mean --steps")
        for value in ("fast", "-1", "nan"):
            self.expect(2, self.pretrain("genome.fa", "--lr", value), f"--lr: must be a number greater than 0, got {value}")

    def test_config_file(self):
        words = ["dna", "pretrain", "genome.fa", "-o", "out", *PRETRAIN]
        self.expect(2, [*words, "--config", self.write("recipe.toml", "stepz = 3\n")],
                    "--config .*recipe.toml: 'stepz' is no option of this command; did you mean 'steps'")
        # A flag on the command line would win over the file.
        bare = ["dna", "pretrain", "genome.fa", "-o", "out"]
        self.expect(2, [*bare, "--config", self.write("recipe.toml", "steps = -3\n")],
                    "--steps: must be a number greater than 0, got -3", "recipe.toml gives steps=-3")
        self.expect(2, [*bare, "--config", self.write("recipe.toml", "[train]\nsteps = 3\n")], "a section")
        self.expect(1, [*words, "--config", "nothing.toml"], "--config nothing.toml: the file cannot be read")

    def test_gpu_asked_for_and_absent(self):
        with unittest.mock.patch.dict(os.environ, CUDA_VISIBLE_DEVICES=""):
            for words in (self.classify("reads.fa"), self.pretrain("genome.fa"), self.finetune("strains.tsv"), ["bench", "train"]):
                self.expect(1, [*words, "--device", "cuda"], "--device cpu")
        self.expect(2, self.classify("reads.fa", "--device", "tpu"), "tpu")

    # Resources -------------------------------------------------------------------------------------

    def test_out_of_memory(self):
        def limit():
            resource.setrlimit(resource.RLIMIT_AS, (12 << 30, 12 << 30))

        words = ["dna", "pretrain", "genome.fa", "-o", "out", "--window", "16384", "--batch", "2048", "--d-model", "256",
                 "--layers", "M", "--steps", "1"]
        self.expect(1, words, "memory", "--batch", preexec_fn=limit)

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
