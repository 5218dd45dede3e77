#!/usr/bin/env python3
"""A run that was killed goes on exactly where it would have been: every number of the log is the
same, to the last bit, as that of an unbroken run."""
import json
import os
import pathlib
import signal
import subprocess
import tempfile
import time
import unittest

import command_line
from command_line import TINY

import sample_data

DEVICE = os.environ.get("STRANDWAVE_TEST_DEVICE", "cpu")
WORDS = ["dna", "pretrain", "genome.fa", "--split", "held_out.bed", "--gap", "500", *TINY, "--window", "256", "--batch", "4",
         "--steps", "30", "--warmup", "4", "--log-every", "1", "--save-every", "5", "--eval-every", "10", "--ema", "0.9",
         "--eval-bases", "2000", "--test-bases", "2000", "--markov", "-1", "--threads", "2", "--device", DEVICE]
EXACT = ("step", "loss", "bits", "lr", "grad_norm", "tokens", "skipped", "metrics", "best")


class RunTest(unittest.TestCase):
    words = WORDS

    def setUp(self):
        self.holder = tempfile.TemporaryDirectory()
        self.folder = pathlib.Path(self.holder.name)
        sample_data.write_samples(self.folder)

    def tearDown(self):
        self.holder.cleanup()

    def log(self, name):
        path = self.folder / name / "log.jsonl"
        lines = path.read_text().splitlines() if path.exists() else []
        return [json.loads(line) for line in lines if line.endswith("}")]

    def numbers(self, name):
        return [{key: line[key] for key in EXACT if key in line} for line in self.log(name) if line["type"] != "run"]

    def run_whole(self, name):
        result = command_line.run(self.folder, *self.words, "-o", name)
        self.assertEqual(0, result.returncode, result.stderr)

    def run_and_kill(self, name, after_step):
        """Kills the run, with no chance to save, once it has logged `after_step`."""
        process = subprocess.Popen([command_line.PROGRAM, *self.words, "-o", name], cwd=self.folder,
                                   env=command_line.environment(self.folder), stdout=subprocess.DEVNULL,
                                   stderr=subprocess.DEVNULL)
        deadline = time.monotonic() + 120
        while process.poll() is None and time.monotonic() < deadline:
            if any(line.get("step", 0) >= after_step for line in self.log(name) if line["type"] == "train"):
                process.kill()
                break
            time.sleep(0.005)
        return process.wait() == -signal.SIGKILL

    def expect_killed_run_equals_unbroken_run(self):
        self.run_whole("unbroken")
        killed = [self.run_and_kill("killed", after) for after in (7, 18)]
        self.assertTrue(any(killed), "the runs ended before they could be killed")
        self.run_whole("killed")
        self.assertEqual(self.numbers("unbroken"), self.numbers("killed"))
        for name in ("model.safetensors", "training.safetensors"):
            last = "checkpoints/step-000000030"
            self.assertEqual((self.folder / "unbroken" / last / name).read_bytes(),
                             (self.folder / "killed" / last / name).read_bytes(), name)


class Resume(RunTest):
    def test_killed_run_equals_unbroken_run(self):
        self.expect_killed_run_equals_unbroken_run()

    def test_damaged_checkpoint_is_passed_over(self):
        self.run_whole("run")
        unbroken = self.numbers("run")
        newest = self.folder / "run/checkpoints/step-000000030/model.safetensors"
        newest.write_bytes(newest.read_bytes()[:-1])
        result = command_line.run(self.folder, *self.words, "-o", "run")
        self.assertEqual(0, result.returncode, result.stderr)
        self.assertIn("step-000000030", result.stderr)
        self.assertEqual(unbroken, self.numbers("run"))

    def test_other_settings_are_refused(self):
        self.run_whole("run")
        result = command_line.run(self.folder, *self.words, "--lr", "7e-4", "-o", "run")
        self.assertEqual(2, result.returncode, result.stderr)
        self.assertIn("lr", result.stderr)


class ResumeStreams(RunTest):
    """Streams carry the recurrent state from step to step: it survives as well."""
    words = [*WORDS, "--stream", "--accumulation", "2", "--chunk", "100", "--chunk-gradients", "keep"]

    def test_killed_run_equals_unbroken_run(self):
        self.expect_killed_run_equals_unbroken_run()


if __name__ == "__main__":
    unittest.main()
