"""A test case that runs the real program in a folder with the files of sample_data.py."""
import atexit
import pathlib
import shutil
import subprocess
import tempfile
import unittest

import command_line

import sample_data

_trained = {}


def _trained_folder():
    """A folder with the sample files and a small classifier, made once per test program."""
    if not _trained:
        folder = pathlib.Path(tempfile.mkdtemp())
        atexit.register(shutil.rmtree, folder, ignore_errors=True)
        sample_data.write_samples(folder)
        result = command_line.run(folder, "dna", "finetune", "strains.tsv", "-o", "species", *command_line.FINETUNE)
        if result.returncode != 0:
            raise AssertionError(result.stdout + result.stderr)
        _trained["folder"] = folder
    return _trained["folder"]


class ProgramTest(unittest.TestCase):
    def setUp(self):
        self.holder = tempfile.TemporaryDirectory()
        self.addCleanup(self.holder.cleanup)
        self.folder = pathlib.Path(self.holder.name)
        sample_data.write_samples(self.folder)

    def classifier(self):
        """A trained classifier with the classes ecoli and hpylori."""
        return _trained_folder() / "species"

    def start(self, *words):
        return subprocess.Popen([command_line.PROGRAM, *map(str, words)], cwd=self.folder, stdin=subprocess.DEVNULL,
                                stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                                env=command_line.environment(self.folder))

    def run_program(self, *words, stdin=None):
        """The finished process; `stdin` and its outputs are bytes."""
        return subprocess.run([command_line.PROGRAM, *map(str, words)], cwd=self.folder, input=stdin or b"",
                              capture_output=True, env=command_line.environment(self.folder), timeout=300, check=False)

    def succeed(self, *words, stdin=None):
        """What the program printed; any exit code but 0 fails the test."""
        result = self.run_program(*words, stdin=stdin)
        self.assertEqual(0, result.returncode, f"{words}\n{result.stderr.decode()}")
        return result.stdout.decode()
