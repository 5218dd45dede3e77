#!/usr/bin/env python3
"""Options: files that lie there already, recipes and flags, models that do not fit, interruption."""
import json
import os
import pathlib
import resource
import signal
import subprocess
import time
import unittest

import command_line
from command_line import FINETUNE, PRETRAIN, TINY
from program import ProgramTest


def replaced(words, index, word):
    return [*words[:index], word, *words[index + 1:]]


class Options(ProgramTest):
    def refuse(self, code, *words, holding=(), **options):
        """The message of a command that ends with `code`."""
        result = command_line.run(self.folder, *words, **options)
        shown = f"{words}\nexit code {result.returncode}\n{result.stdout}\n{result.stderr}"
        self.assertEqual(code, result.returncode, shown)
        self.assertNotIn("internal error", result.stderr, shown)
        for text in holding:
            self.assertIn(text, result.stderr, shown)
        return result.stderr

    def pretrain(self, output, *more):
        return ["dna", "pretrain", "genome.fa", "--split", "held_out.bed", "-o", output, *PRETRAIN, *more]

    def model_folder(self):
        self.succeed("model", "convert", self.classifier(), "-o", "model")
        return self.folder / "model"

    def test_bare_program_prints_its_help(self):
        self.refuse(2, holding=["Usage:", "doctor"])

    # Resuming ----------------------------------------------------------------------------------------

    def test_run_resumes_only_on_the_same_data(self):
        self.succeed(*self.pretrain("run"))
        self.succeed(*self.pretrain("run"))
        shifted = "chr2\t1000\t11000\tvalidation\nchr2\t20000\t40000\ttest\n"
        (self.folder / "shifted.bed").write_text(shifted)
        self.refuse(2, *replaced(self.pretrain("run"), 4, "shifted.bed"), holding=["task.splits"])
        bases = self.pretrain("run").index("--eval-bases") + 1
        self.refuse(2, *replaced(self.pretrain("run"), bases, "1000"), holding=["task.evaluation_bases"])
        without_shape = ["dna", "pretrain", "genome.fa", "--split", "held_out.bed", *PRETRAIN[len(TINY):]]
        self.succeed("model", "convert", "run", "-o", "start")
        self.succeed(*without_shape, "--model", "start", "-o", "second")
        self.succeed(*without_shape, "--model", "start", "-o", "second")
        self.refuse(2, *without_shape, "--model", "run", "-o", "second", holding=["task.start_model"])

    def test_classifier_resumes_only_on_the_same_data(self):
        words = ["dna", "finetune", "strains.tsv", "-o", "out", *FINETUNE]
        self.succeed(*words)
        (self.folder / "elsewhere").mkdir()
        os.rename(self.folder / "strains", self.folder / "elsewhere/strains")
        os.rename(self.folder / "strains.tsv", self.folder / "elsewhere/strains.tsv")
        words[2] = "elsewhere/strains.tsv"
        self.succeed(*words)
        self.refuse(2, *words, "--error-rate", "0.01", holding=["task.error_rate"])
        manifest = self.folder / words[2]
        manifest.write_text(manifest.read_text().replace("ecoli_1\ttrain", "ecoli_1\ttest"))
        self.refuse(2, *words, holding=["task.data"])

    def test_force_removes_what_the_old_run_left(self):
        self.succeed(*self.pretrain("run"))
        self.assertTrue((self.folder / "run/test.json").exists())
        self.succeed("dna", "finetune", "strains.tsv", "-o", "run", "--force", *FINETUNE)
        self.assertFalse((self.folder / "run/split.bed").exists())

    # Models ------------------------------------------------------------------------------------------

    def test_model_output(self):
        model = self.model_folder()
        before = (model / "model.safetensors").read_bytes()
        for output in ("model", "model/", "./model", "model/inner", "."):
            self.refuse(2, "model", "convert", "model", "-o", output, "--force", holding=["-o"])
        self.refuse(2, "model", "convert", "model", "-o", "strains", "--force", holding=["holds no model"])
        self.refuse(2, "model", "convert", "model", "-o", "reads.fa", "--force", holding=["holds no model"])
        self.assertEqual(before, (model / "model.safetensors").read_bytes())
        self.succeed("model", "convert", "model", "-o", "other")
        self.refuse(2, "model", "convert", "model", "-o", "other", holding=["--force"])
        self.succeed("model", "convert", "model", "-o", "other", "--precision", "fp32", "--force")
        other = (self.folder / "other/model.safetensors").read_bytes()
        self.assertGreater(len(other), len(before))
        # What cannot be made leaves the old one: a classifier has no Hugging Face form.
        self.refuse(2, "model", "export", "model", "-o", "other", "--force")
        self.assertEqual(other, (self.folder / "other/model.safetensors").read_bytes())
        self.assertEqual([], [p.name for p in self.folder.iterdir() if ".tmp-" in p.name])

    def changed_config(self, **changes):
        good = {"format": "strandwave", "format_version": 1, "d_model": 16, "stack": "M",
                "layers": {"M": {"kind": "mamba"}}, "vocab_size": 16, "valid_vocab_size": 12}
        (self.folder / "model.json").write_text(json.dumps({**good, **changes}))
        return ["--model-config", "model.json"]

    def test_models_that_are_not_for_dna(self):
        words = ["dna", "pretrain", "genome.fa", "-o", "out", *PRETRAIN[len(TINY):]]
        self.refuse(2, *words, *self.changed_config(vocab_size=8, valid_vocab_size=0), holding=["8 tokens", "12"])
        self.refuse(2, *words, *self.changed_config(tokenizer="bytes"), holding=['"bytes"', "dna-nucleotide"])
        head = {"kind": "classifier", "classes": ["a", "b"]}
        self.refuse(2, *words, *self.changed_config(head=head, tie_embeddings=True), holding=["no language model"])
        self.refuse(2, *words, "--model", self.classifier(), holding=["no language model"])
        self.assertFalse((self.folder / "out").exists())

    def test_a_model_has_its_shape_already(self):
        for option in (["--d-model", "8"], ["--layers", "M"], ["--d-state", "4"], ["--model-config", "x"]):
            self.refuse(2, "dna", "finetune", "strains.tsv", "--length", "100", "--model", self.classifier(), *option,
                      "-o", "out", holding=[option[0], "--model"])

    # Recipes -----------------------------------------------------------------------------------------

    def test_flags_win_over_the_recipe_by_any_name(self):
        (self.folder / "recipe.toml").write_text('output = "wrong.tsv"\nthreads = 1\nmin-MQ = 7\nbatch-bases = 4096\n'
                                                 "exclude-flags = 4\n")
        words = ["dna", "classify", "--model", self.classifier(), "reads.sam", "--config", "recipe.toml", "--quiet"]
        for flags in (["-o", "right.tsv", "-F", "0", "-@", "2", "-q", "0"], ["-oright.tsv", "-F0", "-@2", "-q0"],
                      ["--output=right.tsv", "--exclude-flags=0", "--threads=2", "--min-MQ", "0"]):
            self.succeed(*words, *flags)
            self.assertFalse((self.folder / "wrong.tsv").exists())
            rows = [line for line in (self.folder / "right.tsv").read_text().splitlines() if line[0] != "#"]
            self.assertEqual(40, len(rows))
            (self.folder / "right.tsv").unlink()
        self.succeed(*words)
        self.assertTrue((self.folder / "wrong.tsv").exists())

    # Values ------------------------------------------------------------------------------------------

    def test_values(self):
        self.refuse(2, "dna", "classify", "--model", self.classifier(), "reads.sam", "-F", "65536", holding=["65535"])
        self.refuse(2, "dna", "classify", "--model", self.classifier(), "reads.sam", "-f", "-1", holding=["65535"])
        self.refuse(2, *self.pretrain("out", "--warmup", "9"), holding=["--warmup 9", "--steps 4"])

    def test_no_test_split_is_said(self):
        manifest = self.folder / "strains.tsv"
        lines = [line for line in manifest.read_text().splitlines() if not line.endswith("\ttest")]
        manifest.write_text("\n".join(lines) + "\n")
        result = command_line.run(self.folder, "dna", "finetune", "strains.tsv", "-o", "out", *FINETUNE)
        self.assertEqual(0, result.returncode, result.stderr)
        self.assertIn("no test split", result.stderr)

    def test_log_levels(self):
        genome = self.folder / "genome.fa"
        genome.write_text(genome.read_text() + ">empty\n")
        lines = {"error": [], "warning": ["[W] "], "info": ["[W] ", "step "], "debug": ["[W] ", "step ", "[D] "]}
        for level, shown in lines.items():
            with self.subTest(level=level):
                result = command_line.run(self.folder, *self.pretrain(level, "--log-level", level))
                self.assertEqual(0, result.returncode, result.stderr)
                for text in ("[W] ", "step ", "[D] "):
                    self.assertEqual(text in shown, text in result.stderr, f"{level}: {text}\n{result.stderr}")
        self.refuse(2, *self.pretrain("out", "--log-level", "loud"), holding=["--log-level", "debug"])

    # Output files ------------------------------------------------------------------------------------

    def test_figures_are_not_overwritten(self):
        evaluate = ["dna", "evaluate", "--model", self.classifier(), "labelled.csv", "--device", "cpu"]
        bench = ["bench", "train", *TINY, "--length", "64", "--warmup", "0", "--repeats", "1", "--device", "cpu"]
        operators = ["bench", "operators", "--filter", "embedding.forward positions 16384", "--seconds", "0.01",
                     "--device", "cpu"]
        for words in (evaluate, bench, operators):
            with self.subTest(words=words[:2]):
                figures = self.folder / "figures.json"
                figures.write_text("mine")
                self.refuse(2, *words, "-o", "figures.json", holding=["figures.json", "--force"])
                self.assertEqual("mine", figures.read_text())
                self.refuse(2, *words, "-o", "strains", holding=["folder"])
                self.succeed(*words, "-o", "figures.json", "--force")
                self.assertIn("command", json.loads(figures.read_text()) if words is not evaluate else figures.read_text())
                self.assertIn("command", json.loads(self.succeed(*words, "-o", "-")))

    def test_devices_stay_devices(self):
        self.succeed("dna", "classify", "--model", self.classifier(), "reads.fa", "-o", "/dev/null", "--quiet")
        self.assertTrue(pathlib.Path("/dev/null").is_char_device())

    def test_baseline_sees_short_genomes(self):
        (self.folder / "short.tsv").write_text("path\tlabel\nshort.fa\tecoli\nstrains/hpylori_0.fa\thpylori\n")
        (self.folder / "short.fa").write_text(">short\n" + "ACGTTGCA" * 20 + "\n")
        self.succeed("dna", "evaluate", "--model", self.classifier(), "labelled.csv", "--baseline", "short.tsv")

    # Resources and signals ---------------------------------------------------------------------------

    def test_memory_advice_names_options_of_the_command(self):
        def limit():
            resource.setrlimit(resource.RLIMIT_AS, (12 << 30, 12 << 30))

        self.refuse(1, "bench", "train", *TINY, "--length", "4000000000", "--device", "cpu",
                  holding=["out of memory on cpu", "--length"], preexec_fn=limit)

    def writes_a_file(self, process):
        """Whether it has a file open in the test's folder, which has no name before it is complete."""
        open_files = pathlib.Path(f"/proc/{process}/fd").iterdir()
        return any(os.path.realpath(file).startswith(os.path.realpath(self.folder) + "/") for file in open_files)

    def test_waiting_threads_leave_the_cores_to_others(self):
        for given, expected in (({}, "GOMP_SPINCOUNT=1000"), ({"GOMP_SPINCOUNT": "7"}, "GOMP_SPINCOUNT=7"),
                                ({"OMP_WAIT_POLICY": "active"}, None)):
            with self.subTest(given=given):
                environment = {key: value for key, value in command_line.environment(self.folder).items()
                               if key not in ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY")}
                process = subprocess.Popen(
                    [command_line.PROGRAM, "dna", "classify", "--model", str(self.classifier()), "-", "-o", "out.tsv", "--force"],
                    cwd=self.folder, env={**environment, **given}, stdin=subprocess.PIPE, stderr=subprocess.PIPE)
                deadline = time.monotonic() + 60
                while not self.writes_a_file(process.pid) and time.monotonic() < deadline:
                    time.sleep(0.02)
                variables = pathlib.Path(f"/proc/{process.pid}/environ").read_bytes().decode().split("\0")
                process.communicate(b">one\nACGT\n")
                self.assertEqual(0, process.returncode)
                found = [variable for variable in variables if variable.startswith("GOMP_SPINCOUNT=")]
                self.assertEqual([expected] if expected else [], found)

    def test_interrupt_while_waiting_for_input(self):
        for number in (signal.SIGINT, signal.SIGTERM):
            with self.subTest(signal=number):
                process = subprocess.Popen(
                    [command_line.PROGRAM, "dna", "classify", "--model", str(self.classifier()), "-", "-o", "out.tsv"],
                    cwd=self.folder, env=command_line.environment(self.folder), stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE, stderr=subprocess.PIPE)
                deadline = time.monotonic() + 60
                while not self.writes_a_file(process.pid) and time.monotonic() < deadline:
                    time.sleep(0.02)
                process.stdin.write(b">one\nACGT\n")
                process.stdin.flush()
                time.sleep(0.2)
                process.send_signal(number)
                process.wait(timeout=20)  # the pipe is still open
                errors = process.stderr.read().decode()
                for pipe in (process.stdin, process.stdout, process.stderr):
                    pipe.close()
                self.assertEqual(1, process.returncode, errors)
                self.assertIn("stopped by", errors)
                self.assertEqual([], list(self.folder.glob("out.tsv*")))


if __name__ == "__main__":
    unittest.main()
