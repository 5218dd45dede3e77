#!/usr/bin/env python3
"""audio evaluate: figures of one and two sets of clips, their files, and what is refused."""
import json
import math
import pathlib
import random
import shutil
import struct
import tempfile
import unittest
import wave

import command_line

RATE = 8000
LENGTH = 320
CLIPS = 264  # above 4 d of the small classifier's 64 features: intervals are given
STEPS = {"high": 1.6, "low": 0.2, "middle": 0.7}  # radians per sample
QUICK = ["--bootstrap", "20", "--permutations", "19", "--quiet", "-@", "2"]
TRAINING = ["--batch", "12", "--lr", "5e-3", "--clip-length", str(LENGTH), "-@", "2", "--quiet"]


def write_wav(path, samples):
    path.parent.mkdir(parents=True, exist_ok=True)
    with wave.open(str(path), "wb") as out:
        out.setnchannels(1)
        out.setsampwidth(2)
        out.setframerate(RATE)
        out.writeframes(struct.pack(f"<{len(samples)}h", *(round(32767 * x) for x in samples)))


def write_tones(folder, count, seed, noise=0.02):
    """Files label_number.wav, the labels in turn; pitch and start vary."""
    generator = random.Random(seed)
    for number in range(count):
        label = sorted(STEPS)[number % 3]
        step, start = STEPS[label] * (1 + 0.05 * generator.gauss(0, 1)), generator.uniform(0, 2 * math.pi)
        size = generator.uniform(0.2, 0.4)
        write_wav(folder / f"{label}_{number:03d}.wav",
                  [size * math.sin(step * t + start) + noise * generator.uniform(-1, 1) for t in range(LENGTH)])


class AudioEvaluate(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.holder = tempfile.TemporaryDirectory()
        cls.made = pathlib.Path(cls.holder.name)
        write_tones(cls.made / "real", CLIPS, 1)
        write_tones(cls.made / "near", CLIPS, 2)
        write_tones(cls.made / "far", CLIPS, 3, noise=0.3)
        for path in sorted((cls.made / "real").iterdir())[::4]:
            label, name = path.name.split("_")
            (cls.made / "labelled" / label).mkdir(parents=True, exist_ok=True)
            shutil.copy(path, cls.made / "labelled" / label / name)
        cls.fit("good", "--steps", "60", "--eval-every", "10")
        cls.fit("poor", "--steps", "1", "--eval-every", "1", "--seed", "7")

    @classmethod
    def tearDownClass(cls):
        cls.holder.cleanup()

    @classmethod
    def fit(cls, name, *words):
        result = command_line.run(cls.made, "audio", "finetune", "labelled", "-o", name, *TRAINING, *words)
        if result.returncode != 0:
            raise AssertionError(result.stderr)

    def setUp(self):
        holder = tempfile.TemporaryDirectory()
        self.addCleanup(holder.cleanup)
        self.folder = pathlib.Path(holder.name)

    def evaluate(self, *words):
        return command_line.run(self.folder, "audio", "evaluate", *words, *QUICK)

    def figures(self, *words):
        """The JSON, and what was printed."""
        result = self.evaluate(*words, "-o", "figures.json", "--force")
        self.assertEqual(0, result.returncode, result.stderr)
        return json.loads((self.folder / "figures.json").read_text()), result

    def refuse(self, code, *words):
        result = self.evaluate(*words)
        self.assertEqual(code, result.returncode, result.stdout + result.stderr)
        return result.stderr

    def few(self, count):
        for path in sorted((self.made / "near").iterdir())[:count]:
            (self.folder / "few").mkdir(exist_ok=True)
            shutil.copy(path, self.folder / "few" / path.name)
        return "few"

    def by(self, classifier):
        return ["--model", self.made / classifier]

    # Figures ----------------------------------------------------------------------------------------

    def test_two_sets_by_logmel(self):
        words = [self.made / "near", self.made / "far", "--reference", self.made / "real", "--embedding", "logmel"]
        plain = self.evaluate(*words)
        self.assertEqual(0, plain.returncode, plain.stderr)  # nothing has to be forced
        found, printed = self.figures(*words)
        self.assertEqual(plain.stdout, printed.stdout)
        self.assertIn(f"m = {CLIPS}, features of 96 numbers (logmel)", printed.stdout)
        near, far = found["candidates"]
        self.assertEqual((CLIPS, CLIPS, 96), (near["rows"], found["reference"]["rows"], found["d"]))
        self.assertGreater(far["frechet"]["value"], 2 * near["frechet"]["value"])
        self.assertGreater(far["kad"]["value"], near["kad"]["value"])
        self.assertLess(near["frechet_infinity"]["value"], near["frechet"]["value"])
        self.assertLess(found["p_value"], 0.06)
        self.assertIsNone(near["frechet"]["low"])  # 264 < 4 x 96
        self.assertNotIn("is", near)
        self.assertIn("4 d = 384", printed.stderr)
        again, _ = self.figures(*words)
        self.assertEqual(found, again)

    def test_scores_by_a_classifier(self):
        words = [self.made / "near", self.made / "far", "--reference", self.made / "real", *self.by("good")]
        found, printed = self.figures(*words)
        self.assertEqual("exact", found["profile"])
        for name in ("FID (95 %)", "FID-infinity", "KAD (95 %)", "mIS", "AM", "NDB (expected)", "p ="):
            self.assertIn(name, printed.stdout)
        near, far = found["candidates"]
        for candidate in (near, far):
            self.assertTrue(1 <= candidate["is"] <= 3)
            self.assertGreaterEqual(candidate["mis"], candidate["is"] - 1e-9)
            self.assertLess(candidate["frechet"]["low"], candidate["frechet"]["high"])
            self.assertEqual(CLIPS // 20, candidate["ndb"]["bins"])
        self.assertGreater(far["frechet"]["value"], near["frechet"]["value"])
        self.assertGreater(far["ndb"]["share"], near["ndb"]["share"])
        self.assertEqual(found["embedding"]["classes"], sorted(STEPS))

        published, printed = self.figures(*words, "--profile", "sashimi")
        self.assertIn("profile sashimi", printed.stdout)
        other = published["candidates"][0]
        self.assertEqual(50, other["ndb"]["bins"])
        self.assertNotEqual(near["is"], other["is"])
        self.assertNotEqual(near["mis"], other["mis"])
        for name in ("frechet", "kad"):  # of one definition, and of features that have no temperature
            self.assertEqual(near[name], other[name])
        self.assertEqual(1, published["embedding"]["temperature"])
        self.assertNotEqual(1, found["embedding"]["temperature"])

    def test_a_part_of_the_reference(self):
        words = [self.made / "near", "--reference", self.made / "real", "--embedding", "logmel"]
        rows = [self.figures(*words, "--reference-split", split)[0]["reference"]["rows"]
                for split in ("train", "validation", "test")]
        self.assertEqual(CLIPS, sum(rows))
        self.assertGreater(rows[0], rows[1])
        self.assertGreater(min(rows), 0)

    def test_features_are_kept_and_used_again(self):
        words = [self.made / "near", "--embedding", "logmel"]
        first, _ = self.figures(*words, "--reference", self.made / "real", "--save-features", "real.safetensors")
        second, _ = self.figures(*words, "--reference", "real.safetensors")
        self.assertEqual(first["candidates"], second["candidates"])
        self.assertEqual(first["embedding"], second["embedding"])
        self.assertIn("real.safetensors", self.refuse(2, *words, "--reference", self.made / "real", "--save-features",
                                                      "real.safetensors"))
        self.assertIn("likelihoods", self.refuse(2, "real.safetensors", *words[1:], "--reference", self.made / "real",
                                                 "--keep", "0,0.5"))
        self.assertIn("without splits", self.refuse(2, *words, "--reference", "real.safetensors", "--reference-split",
                                                    "test"))
        self.assertIn("come from different", self.refuse(
            2, self.made / "near", "--embedding", "logmel", "--rate", "16000", "--reference", "real.safetensors"))

    def test_copies_are_named(self):
        self.few(20)
        copied = sorted((self.made / "real").iterdir())[5]
        shutil.copy(copied, self.folder / "few" / "copy.wav")
        found, printed = self.figures("few", "--reference", self.made / "real", "--embedding", "logmel", "--training",
                                      self.made / "real", "--held-out", self.made / "near")
        table = found["memorisation"]
        self.assertEqual((CLIPS, 21, CLIPS), (table["training"], table["generated"]["clips"],
                                              table["held_out"]["clips"]))
        nearest = table["nearest"][0]
        self.assertEqual(("copy.wav", copied.name, 0), tuple(nearest[k] for k in ("clip", "training_clip",
                                                                                  "distance")))
        self.assertGreater(table["held_out"]["least"], 0)
        self.assertGreater(table["nearer_than_held_out"], 0)
        self.assertIn("held out", printed.stdout)
        self.assertIn(copied.name, printed.stdout)
        self.assertIn("go together", self.refuse(2, "few", "--reference", "few", "--embedding", "logmel", "--training",
                                                 "few"))

    def test_clips_are_kept_by_likelihood(self):
        self.few(10)
        names = sorted(path.name for path in (self.folder / "few").iterdir())
        words = ["few", "--reference", self.made / "real", "--embedding", "logmel", "--keep", "0.4,0.95"]
        self.assertIn("manifest.tsv", self.refuse(1, *words))
        order = random.Random(4).sample(names, 10)  # the least likely first
        rows = [f"{name}\t0\t\t{order.index(name) - 400.5}" for name in names]
        manifest = self.folder / "few" / "manifest.tsv"
        manifest.write_text("\n".join(["file\tseed\tclass\tlog_likelihood", *rows]) + "\n")
        kept, _ = self.figures(*words)
        self.assertEqual(5, kept["candidates"][0]["clips"])
        for name in order[4:9]:
            (self.folder / "chosen").mkdir(exist_ok=True)
            shutil.copy(self.folder / "few" / name, self.folder / "chosen" / name)
        chosen, _ = self.figures("chosen", "--reference", self.made / "real", "--embedding", "logmel")
        self.assertAlmostEqual(chosen["candidates"][0]["frechet"]["value"], kept["candidates"][0]["frechet"]["value"],
                               delta=1e-6 * chosen["candidates"][0]["frechet"]["value"])
        by_manifest, _ = self.figures("few/manifest.tsv", *words[1:])
        self.assertEqual(kept["candidates"][0]["frechet"], by_manifest["candidates"][0]["frechet"])
        text = manifest.read_text()
        for wrong in ("likely", "nan", ""):
            manifest.write_text(text.replace("-400.5", wrong))
            message = self.refuse(1, *words)
            self.assertIn(f"line {names.index(order[0]) + 2}: '{wrong}'", message)
        manifest.write_text("\n".join(text.splitlines()[:-1]) + "\n")
        self.assertIn(names[-1], self.refuse(1, *words))
        self.assertIn("--keep", self.refuse(2, *words[:-1], "0.95,0.4"))

    # What is refused --------------------------------------------------------------------------------

    def test_too_few_clips(self):
        words = ["--reference", self.made / "real", "--embedding", "logmel"]
        message = self.refuse(1, self.few(1), *words, "--force")
        self.assertIn("few has 1 clip", message)
        message = self.refuse(2, self.few(30), *words)
        for part in ("few has 30 clips", "96 numbers", "2 d", "--force"):
            self.assertIn(part, message)
        found, printed = self.figures("few", *words)
        self.assertIn("below 2 d", printed.stderr)
        self.assertTrue(any("below 2 d" in note for note in found["notes"]))
        self.assertNotIn("kad", found["candidates"][0])
        message = self.refuse(1, *words[1:2], "--reference", self.few(1) + "/" + sorted(
            path.name for path in (self.folder / "few").iterdir())[0], "--embedding", "logmel")
        self.assertIn("has one clip", message)

    def test_a_poor_classifier_judges_nothing(self):
        words = [self.made / "near", "--reference", self.made / "real", *self.by("poor")]
        message = self.refuse(2, *words)
        for part in ("below 95 %", "--force"):
            self.assertIn(part, message)
        _, printed = self.figures(*words)
        self.assertIn("below 95 %", printed.stderr)

    def test_two_classifiers_are_not_mixed(self):
        self.figures(self.made / "near", "--reference", self.made / "real", *self.by("poor"), "--save-features",
                     "poor.safetensors")
        words = ["poor.safetensors", "--reference", self.made / "real", *self.by("good")]
        message = self.refuse(2, *words)
        for part in ("poor.safetensors", "different weights", "--force"):
            self.assertIn(part, message)
        found, _ = self.figures(*words)
        self.assertTrue(any("different weights" in note for note in found["notes"]))

    def test_what_does_not_go_together(self):
        real = ["--reference", self.made / "real"]
        self.assertIn("--model", self.refuse(2, self.made / "near", *real))
        self.assertIn("--weights", self.refuse(2, self.made / "near", *real, "--embedding", "vggish"))
        self.assertIn("3", self.refuse(2, *[self.made / "near"] * 3, *real, "--embedding", "logmel"))
        (self.folder / "empty").mkdir()
        self.assertIn("empty", self.refuse(1, "empty", *real, "--embedding", "logmel"))
        self.few(3)
        (self.folder / "few" / "broken.wav").write_bytes(b"RIFF")
        message = self.refuse(1, "few", *real, "--embedding", "logmel", "--force")
        self.assertIn("broken.wav", message)
        _, printed = self.figures("few", *real, "--embedding", "logmel", "--bad-files", "skip")
        self.assertIn("broken.wav", printed.stderr)
        self.assertIn("left out", printed.stderr)


if __name__ == "__main__":
    unittest.main()
