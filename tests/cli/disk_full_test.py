#!/usr/bin/env python3
"""A disk that fills up ends a run with a message, and nothing half-written stays on it. The disk is a
small tmpfs in a mount namespace of its own; exit code 77 where the system allows none."""
import json
import subprocess
import sys
import unittest

import command_line
from program import ProgramTest

NAMESPACES = (["unshare", "--mount"], ["unshare", "--user", "--map-root-user", "--mount"])


def namespace():
    """The command that starts another one where a disk can be mounted; None if there is none."""
    for words in NAMESPACES:
        try:
            result = subprocess.run([*words, "mount", "-t", "tmpfs", "tmpfs", "/mnt"], capture_output=True, check=False)
        except FileNotFoundError:
            return None
        if result.returncode == 0:
            return words
    return None


class DiskFull(ProgramTest):
    def run_on_disk(self, size, *words):
        """Runs the program with `disk` of that size. Returns what it printed to stderr; what was on the disk afterwards
        is in `left`."""
        disk = self.folder / "disk"
        disk.mkdir()
        script = f'mount -t tmpfs -o size={size} tmpfs disk || exit 99\n"$@"\ncode=$?\ncp -R disk left\nexit $code'
        result = subprocess.run([*namespace(), "sh", "-c", script, "-", command_line.PROGRAM, *map(str, words)],
                                cwd=self.folder, env=command_line.environment(self.folder), capture_output=True,
                                text=True, check=False)
        self.assertEqual(1, result.returncode, result.stdout + result.stderr)
        return result.stderr

    def test_while_saving_a_checkpoint(self):
        errors = self.run_on_disk("96k", "dna", "pretrain", "genome.fa", "--split", "held_out.bed", "-o", "disk/out",
                                  *command_line.PRETRAIN)
        self.assertIn("disk is full", errors)
        run = self.folder / "left/out"
        # What has its final name is whole, and nothing else is there.
        checkpoints = list((run / "checkpoints").iterdir())
        self.assertLess(len(checkpoints), 4)  # the run would have saved four
        for checkpoint in checkpoints:
            self.assertRegex(checkpoint.name, "^step-[0-9]{9}$")
            self.succeed("model", "info", checkpoint)
        if (run / "best").exists():
            self.succeed("model", "info", "left/out/best")
        names = {path.name for path in run.iterdir()}
        self.assertLessEqual(names, {"best", "checkpoints", "config.json", "events.out.tfevents.strandwave", "log.jsonl",
                                     "split.bed"})
        json.loads((run / "config.json").read_text())
        for line in (run / "log.jsonl").read_text().splitlines():
            json.loads(line)

    def test_while_writing_a_table(self):
        (self.folder / "many.fa").write_bytes((self.folder / "reads.fa").read_bytes() * 50)
        errors = self.run_on_disk("16k", "dna", "classify", "--model", self.classifier(), "many.fa", "-o", "disk/out.tsv",
                                  "--quiet")
        self.assertIn("disk is full", errors)
        self.assertEqual([], list((self.folder / "left").iterdir()))


if __name__ == "__main__":
    if namespace() is None:
        print("skipped: mounting a small disk needs root or user namespaces (unshare)")
        sys.exit(77)
    unittest.main()
