#!/usr/bin/env python3
"""audio finetune, classify and import: what they write, going on, and what does not go together."""
import json
import math
import pathlib
import random
import shutil
import struct
import subprocess
import sys
import tempfile
import unittest
import wave

import command_line

RATE = 8000
LENGTH = 1600
STEPS = {"low": 0.2, "middle": 0.7, "high": 1.6}  # radians per sample
TRAINING = ["--batch", "12", "--lr", "5e-3", "--eval-every", "10", "--clip-length", str(LENGTH), "-@", "2", "--quiet"]
OTHER_NAMES = "0\tlow\n1\tmiddle\n2\thigh\n"


def write_wav(path, samples, rate=RATE):
    path.parent.mkdir(parents=True, exist_ok=True)
    with wave.open(str(path), "wb") as out:
        out.setnchannels(1)
        out.setsampwidth(2)
        out.setframerate(rate)
        out.writeframes(b"".join(struct.pack("<h", round(32767 * x)) for x in samples))


def tone(step, take, generator):
    length = LENGTH - 20 * (take % 5)
    return [0.4 * math.sin(step * (1 + 0.01 * take) * t) + 0.02 * generator.gauss(0, 1) for t in range(length)]


class AudioClassifier(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.holder = tempfile.TemporaryDirectory()
        cls.made = pathlib.Path(cls.holder.name)
        generator = random.Random(2)
        for label, step in STEPS.items():
            for take in range(20):
                write_wav(cls.made / "tones" / label / f"{take:02d}.wav", tone(step, take, generator))
        cls.output = cls.finetune(cls.made, "tones", "run", "--steps", "40")

    @classmethod
    def tearDownClass(cls):
        cls.holder.cleanup()

    @classmethod
    def finetune(cls, folder, data, output, *words):
        result = command_line.run(folder, "audio", "finetune", data, "-o", output, *TRAINING, *words)
        if result.returncode != 0:
            raise AssertionError(result.stderr)
        return result.stdout

    def setUp(self):
        holder = tempfile.TemporaryDirectory()
        self.addCleanup(holder.cleanup)
        self.folder = pathlib.Path(holder.name)

    def succeed(self, *words):
        result = command_line.run(self.folder, "audio", *words)
        self.assertEqual(0, result.returncode, result.stderr)
        return result

    def refuse(self, code, *words):
        result = command_line.run(self.folder, "audio", *words)
        self.assertEqual(code, result.returncode, result.stderr)
        return result.stderr

    def table(self, text):
        rows = [line.split("\t") for line in text.splitlines() if not line.startswith("##")]
        return [dict(zip(rows[0], row)) for row in rows[1:]]

    # What is made ------------------------------------------------------------------------------------

    def test_a_run_is_calibrated_and_tested(self):
        report = json.loads((self.made / "run/test.json").read_text())
        self.assertGreaterEqual(report["test"]["accuracy"], 5 / 6)
        self.assertEqual(6, report["test"]["n"])
        self.assertEqual(6, report["validation"]["n"])
        self.assertIn("raw_ece", report["validation"])
        self.assertGreater(report["temperature"], 0)
        self.assertIn("temperature", self.output)
        kept = json.loads((self.made / "run/best/classifier.json").read_text())
        self.assertEqual(report["temperature"], kept["temperature"])
        info = command_line.run(self.made, "model", "info", "run")
        self.assertIn("audio-classifier", info.stdout, info.stderr)

    def test_classify_writes_every_probability(self):
        result = self.succeed("classify", self.made / "tones", "--model", self.made / "run", "--quiet")
        rows = self.table(result.stdout)
        self.assertEqual(60, len(rows))
        self.assertEqual(["file", "label", "probability", "high", "low", "middle"], list(rows[0]))
        for row in rows:
            shares = {name: float(row[name]) for name in STEPS}
            self.assertAlmostEqual(1, sum(shares.values()), delta=1e-4)
            self.assertEqual(row["label"], max(shares, key=shares.get))
            self.assertEqual(float(row["probability"]), max(shares.values()))
        self.assertGreater(sum(row["file"].startswith(row["label"]) for row in rows), 54)
        for line in ("##strandwave=", "##command=", "##model="):
            self.assertIn(line, result.stdout)
        bare = self.succeed("classify", self.made / "tones", "--model", self.made / "run", "--quiet", "--no-PG", "-o",
                            "out.tsv")
        self.assertEqual("", bare.stdout)
        self.assertTrue((self.folder / "out.tsv").read_text().startswith("file\tlabel"))
        self.assertIn("out.tsv", self.refuse(2, "classify", self.made / "tones", "--model", self.made / "run", "-o",
                                             "out.tsv"))

    def test_truth_by_name_and_by_translation(self):
        found = self.succeed("classify", self.made / "tones", "--model", self.made / "run", "--truth", "--quiet")
        self.assertIn("60 clips: accuracy", found.stderr)
        rows = self.table(found.stdout)
        self.assertTrue(all(row["file"].startswith(row["truth"]) for row in rows))
        for number, label in enumerate(("low", "middle", "high")):
            shutil.copytree(self.made / "tones" / label, self.folder / "numbers" / str(number))
        message = self.refuse(1, "classify", "numbers", "--model", self.made / "run", "--truth")
        for part in ('"0"', '"1"', '"2"', "high, low, middle", "--map"):
            self.assertIn(part, message)
        (self.folder / "map.tsv").write_text(OTHER_NAMES)
        mapped = self.succeed("classify", "numbers", "--model", self.made / "run", "--truth", "--map", "map.tsv",
                              "--quiet")
        self.assertEqual([line for line in found.stderr.splitlines() if "accuracy" in line],
                         [line for line in mapped.stderr.splitlines() if "accuracy" in line])

    def test_prepared_clips_are_classified_and_trained_on(self):
        self.succeed("prepare", self.made / "tones", "-o", "tones.clips", "--clip-length", LENGTH, "--quiet")
        result = self.succeed("classify", "tones.clips", "--model", self.made / "run", "--truth", "--quiet")
        self.assertEqual(60, len(self.table(result.stdout)))
        training = [word for word in TRAINING if word not in ("--clip-length", str(LENGTH))]
        self.succeed("finetune", "tones.clips", "-o", "again", *training, "--steps", "40")
        first, second = (pathlib.Path(folder, "best/model.safetensors").read_bytes()
                         for folder in (self.made / "run", self.folder / "again"))
        self.assertEqual(first, second)

    def test_another_start_and_other_classes(self):
        for number, label in enumerate(("low", "high")):
            shutil.copytree(self.made / "tones" / label, self.folder / "two" / str(number))
        self.finetune(self.folder, "two", "new", "--steps", "2", "--model", self.made / "run")
        config = json.loads((self.folder / "new/best/config.json").read_text())
        self.assertEqual(["0", "1"], config["classes"])
        message = self.refuse(2, "finetune", "two", "-o", "x", "--model", self.made / "run", "--network", "resnext")
        self.assertIn("--network", message)

    def test_going_on_after_a_stop_gives_the_same_network(self):
        self.finetune(self.folder, self.made / "tones", "run", "--steps", "40", "--save-every", "10", "--keep", "9")
        whole = (self.folder / "run/checkpoints/step-000000040/model.safetensors").read_bytes()
        for step in (20, 30, 40):
            shutil.rmtree(self.folder / f"run/checkpoints/step-{step:09d}")
        self.finetune(self.folder, self.made / "tones", "run", "--steps", "40", "--save-every", "10", "--keep", "9")
        again = (self.folder / "run/checkpoints/step-000000040/model.safetensors").read_bytes()
        self.assertEqual(whole, again)

    # What is refused ---------------------------------------------------------------------------------

    def test_one_class_one_clip_and_no_labels(self):
        shutil.copytree(self.made / "tones/low", self.folder / "one/low")
        self.assertIn("two classes", self.refuse(2, "finetune", "one", "-o", "run", *TRAINING, "--steps", "2"))
        shutil.copytree(self.made / "tones/high", self.folder / "one/high")
        self.assertIn("label", self.refuse(2, "finetune", "one", "-o", "run", "--label", "none", *TRAINING, "--steps",
                                           "2"))
        rows = [f"one/low/{take:02d}.wav\tlow\t{'validation' if take < 4 else 'train'}" for take in range(20)]
        (self.folder / "clips.tsv").write_text("\n".join(
            ["path\tlabel\tsplit", *rows, "one/high/00.wav\thigh\tvalidation"]) + "\n")
        message = self.refuse(1, "finetune", "clips.tsv", "-o", "run", *TRAINING, "--steps", "2")
        self.assertIn('class "high" has no training clip', message)
        self.assertFalse((self.folder / "run").exists())

    def test_settings_that_do_not_go_together(self):
        tones = self.made / "tones"
        self.assertIn("--ema", self.refuse(2, "finetune", tones, "-o", "run", *TRAINING, "--ema", "0.9"))
        self.assertIn("--batch 2", self.refuse(2, "finetune", tones, "-o", "run", "--batch", "1"))
        message = self.refuse(2, "finetune", tones, "-o", "run", "--rate", "16000", "--model", self.made / "run")
        self.assertIn("--rate 8000", message)
        (self.folder / "map.tsv").write_text("low high\n")
        self.assertIn("line 1", self.refuse(1, "finetune", tones, "-o", "run", "--map", "map.tsv"))
        self.assertIn("--truth", self.refuse(2, "classify", tones, "--model", self.made / "run", "--map", "map.tsv"))
        self.assertFalse((self.folder / "run").exists())

    def test_bad_files_and_models(self):
        write_wav(self.folder / "clips/good.wav", tone(0.3, 0, random.Random(1)))
        write_wav(self.folder / "clips/silent.wav", [0.0] * 500)
        (self.folder / "clips/cut.wav").write_bytes((self.folder / "clips/good.wav").read_bytes()[:1000])
        (self.folder / "clips/none.wav").write_bytes(b"")
        message = self.refuse(1, "classify", "clips", "--model", self.made / "run")
        for name in ("silent.wav", "cut.wav", "none.wav"):
            self.assertIn(name, message)
        kept = self.succeed("classify", "clips", "--model", self.made / "run", "--bad-files", "skip")
        self.assertEqual(["good.wav"], [row["file"] for row in self.table(kept.stdout)])
        self.assertIn("silent.wav", kept.stderr)
        self.assertIn("holds no model", self.refuse(1, "classify", "clips", "--model", "clips"))
        self.assertIn("no label", self.refuse(1, "classify", "clips/good.wav", "--model", self.made / "run", "--truth"))

    # The published network ---------------------------------------------------------------------------

    def test_the_published_network_is_imported(self):
        if subprocess.run([sys.executable, "-c", "import torch"], capture_output=True, check=False).returncode != 0:
            self.skipTest("no torch in this Python, which writes the state dict")
        script = f"""
import sys
sys.path.insert(0, {str(command_line.ROOT / "tests/python")!r})
import torch
from resnext import ResNeXt
torch.manual_seed(0)
state = ResNeXt().state_dict()
torch.save(state, "plain.pt")
torch.save({{"module." + name: value for name, value in state.items()}}, "parallel.pt")
state.pop("bn_1.bias")
torch.save(state, "short.pt")
"""
        subprocess.run([sys.executable, "-c", script], cwd=self.folder, check=True)
        for name in ("plain", "parallel"):
            shown = self.succeed("import", f"{name}.pt", "-o", name).stdout
            self.assertIn("34425546 parameters", shown)
        self.assertEqual((self.folder / "plain/model.safetensors").read_bytes(),
                         (self.folder / "parallel/model.safetensors").read_bytes())
        message = self.refuse(1, "import", "short.pt", "-o", "short")
        self.assertIn("bn_1.bias", message)
        self.assertFalse((self.folder / "short").exists())
        write_wav(self.folder / "clip.wav", tone(0.3, 0, random.Random(1)))
        rows = self.table(self.succeed("classify", "clip.wav", "--model", "plain", "--quiet").stdout)
        self.assertEqual(["zero", "one", "two"], list(rows[0])[3:6])


if __name__ == "__main__":
    unittest.main()
