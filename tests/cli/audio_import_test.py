#!/usr/bin/env python3
"""audio import of released SaShiMi checkpoints and what model info says of them."""
import json
import os
import pathlib
import subprocess
import tempfile
import unittest

PROGRAM = os.environ.get("STRANDWAVE_PROGRAM", "build/release/bin/strandwave")
FIXTURES = pathlib.Path(__file__).resolve().parents[1] / "fixtures/sashimi"


def run(*words):
    return subprocess.run([PROGRAM, *map(str, words)], capture_output=True, text=True)


class AudioImport(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.TemporaryDirectory()
        self.addCleanup(self.folder.cleanup)
        self.out = pathlib.Path(self.folder.name) / "model"

    def test_import_and_info(self):
        done = run("audio", "import", FIXTURES / "sashimi_v3.pt", "-o", self.out, "--rate", 8000)
        self.assertEqual(done.returncode, 0, done.stderr)
        config = json.loads((self.out / "config.json").read_text())
        self.assertEqual(config["kind"], "sashimi")
        self.assertEqual(config["audio"]["sample_rate"], 8000)
        self.assertEqual(config["audio"]["companding"], "s4")
        info = run("model", "info", self.out, "--tensors")
        self.assertEqual(info.returncode, 0, info.stderr)
        self.assertIn("kind        sashimi", info.stdout)
        self.assertIn("stages.2.layers.0.mixer.kernel.C\t[1, 16, 3, 2]", info.stdout)
        again = run("audio", "import", FIXTURES / "unet_v4.pt", "-o", self.out)
        self.assertEqual(again.returncode, 2)
        self.assertIn("--force", again.stderr)
        again = run("audio", "import", FIXTURES / "unet_v4.pt", "-o", self.out, "--force")
        self.assertEqual(again.returncode, 0, again.stderr)
        self.assertEqual(json.loads((self.out / "config.json").read_text())["skips"], "layers")

    def test_other_files_are_refused(self):
        text = pathlib.Path(self.folder.name) / "notes.pt"
        text.write_text("no checkpoint")
        for file, said in ((text, "torch.save"), (FIXTURES / "expected.pt", "does not belong to a SaShiMi")):
            refused = run("audio", "import", file, "-o", self.out)
            self.assertEqual(refused.returncode, 1, refused.stderr)
            self.assertIn(said, refused.stderr)
            self.assertFalse(self.out.exists())

    def test_a_dna_command_says_what_the_model_is(self):
        self.assertEqual(run("audio", "import", FIXTURES / "unet_v4.pt", "-o", self.out).returncode, 0)
        refused = run("model", "convert", self.out, "-o", self.out.with_name("other"))
        self.assertEqual(refused.returncode, 1)
        self.assertIn('of kind "sashimi"', refused.stderr)


if __name__ == "__main__":
    if "audio import" not in run("audio", "import", "--help").stdout:
        print("this program has no audio half")
        raise SystemExit(77)
    unittest.main()
