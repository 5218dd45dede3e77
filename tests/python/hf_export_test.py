#!/usr/bin/env python3
# label: transformers
"""What `model export` writes, Hugging Face transformers loads, and it computes what we compute.

    hf_export_test.py

Two models: the fixture, imported and exported, must give the logits of the original; one trained here
must give the bits per base that `dna evaluate` prints. Exit code: 77 when torch or transformers cannot
be imported (docs/building.md says what they need).
"""
import json
import math
import os
import pathlib
import subprocess
import sys
import tempfile
import unittest

import sample_data

try:
    import torch
    from safetensors.torch import load_file
    from transformers import MambaForCausalLM
except Exception as error:  # a LibTorch without Python's dependencies, or no transformers
    print(f"skipped: {sys.executable} cannot import torch and transformers: {error}")
    sys.exit(77)

ROOT = pathlib.Path(__file__).resolve().parents[2]
PROGRAM = os.environ.get("STRANDWAVE_PROGRAM", str(ROOT / "build/release/bin/strandwave"))
FIXTURE = ROOT / "tests/fixtures/hf_mamba_tiny"
BOS, IDS, VALID = 2, {"A": 7, "C": 8, "G": 9, "T": 10}, 12
HELD_OUT = 1000  # bases


class Export(unittest.TestCase):
    def setUp(self):
        holder = tempfile.TemporaryDirectory()
        self.addCleanup(holder.cleanup)
        self.folder = pathlib.Path(holder.name)

    def program(self, *words):
        # The program has LibTorch of its own; Python's must not reach it.
        environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
        environment["STRANDWAVE_CACHE"] = str(self.folder / "cache")
        result = subprocess.run([PROGRAM, *map(str, words)], cwd=self.folder, env=environment, capture_output=True,
                                text=True, check=False)
        self.assertEqual(0, result.returncode, f"{words}\n{result.stdout}\n{result.stderr}")

    def load(self, folder):
        model, info = MambaForCausalLM.from_pretrained(self.folder / folder, output_loading_info=True)
        self.assertEqual([], list(info["unexpected_keys"]))
        self.assertEqual([], [key for key in info["missing_keys"] if key != "lm_head.weight"])  # tied
        self.assertEqual([], list(info["mismatched_keys"]))
        return model.eval()

    def test_fixture(self):
        self.program("model", "import", FIXTURE, "-o", "ours")
        self.program("model", "export", "ours", "-o", "theirs")
        expected = load_file(FIXTURE / "expected.safetensors")
        with torch.no_grad():
            logits = self.load("theirs")(expected["prompt"], use_cache=False).logits
        error = (logits - expected["logits"]).abs().max().item()
        self.assertLess(error, 1e-4 * expected["logits"].abs().max().item())

    def test_trained(self):
        sample_data.write_samples(self.folder)
        held_out = ["genome.fa", "--test", f"chr2:1-{HELD_OUT}", "--gap", "500"]
        self.program("dna", "pretrain", *held_out, "-o", "run", "--d-model", "32", "--layers", "M{2}", "--d-state", "8",
                     "--window", "512", "--batch", "4", "--steps", "60", "--markov", "-1", "--device", "cpu")
        self.program("dna", "evaluate", "--model", "run", *held_out, "--test-window", HELD_OUT, "--markov", "-1", "-o",
                     "figures.json", "--device", "cpu")
        self.program("model", "export", "run", "-o", "theirs")
        figures = json.loads((self.folder / "figures.json").read_text())
        sequence = (self.folder / "genome.fa").read_text().split(">chr2\n")[1].replace("\n", "")[:HELD_OUT].upper()
        targets = torch.tensor([IDS[base] for base in sequence])
        inputs = torch.cat([torch.tensor([BOS]), targets[:-1]])
        with torch.no_grad():
            model = self.load("theirs")
            self.assertEqual(VALID, model.config.valid_vocab_size)  # ours; transformers keeps it
            logits = model(inputs[None], use_cache=False).logits[0, :, :VALID]
        bits = torch.nn.functional.cross_entropy(logits.double(), targets).item() / math.log(2)
        self.assertLess(bits, 3)  # it has learned something: untrained it is near log2(12)
        self.assertAlmostEqual(bits, figures["bits_per_base"], delta=1e-4)


if __name__ == "__main__":
    unittest.main()
