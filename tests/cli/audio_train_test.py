#!/usr/bin/env python3
"""audio train, generate and score: what they write, going on, and what does not go together."""
import json
import math
import pathlib
import random
import shutil
import signal
import struct
import subprocess
import tempfile
import time
import unittest
import wave

import command_line

RATE = 8000
LENGTH = 320

# A model and a number of steps that take a moment.
DEFAULTS = {"--preset": "mamba", "--d-model": 8, "--pool": 4, "--layers": 1, "--steps": 12, "--batch": 4,
            "--lr": "3e-3", "--eval-every": 6, "--samples": 0, "-@": 2}


def training(**changes):
    """Those options with others in place of or beside them; None leaves one out."""
    options = {**DEFAULTS, **{"--" + name.replace("_", "-"): value for name, value in changes.items()}}
    return [str(word) for name, value in options.items() if value is not None for word in (name, value)]


def write_wav(path, samples):
    with wave.open(str(path), "wb") as out:
        out.setnchannels(1)
        out.setsampwidth(2)
        out.setframerate(RATE)
        out.writeframes(b"".join(struct.pack("<h", round(32767 * max(-1, min(1, x)))) for x in samples))


def read_wav(path):
    with wave.open(str(path), "rb") as data:
        assert (data.getnchannels(), data.getsampwidth(), data.getframerate()) == (1, 2, RATE)
        raw = data.readframes(data.getnframes())
    return [value / 32768 for (value,) in struct.iter_unpack("<h", raw)]


def write_clips(folder):
    noise = random.Random(1)
    for label, step in (("high", 0.9), ("low", 0.15)):
        (folder / label).mkdir(parents=True)
        for take in range(12):
            length = LENGTH - 8 * take
            write_wav(folder / label / f"{take:02d}.wav",
                      [0.5 * math.sin(step * t + take) + 0.02 * noise.gauss(0, 1) for t in range(length)])


class AudioTrain(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.holder = tempfile.TemporaryDirectory()
        cls.addClassCleanup(cls.holder.cleanup)
        cls.folder = pathlib.Path(cls.holder.name)
        write_clips(cls.folder / "tones")
        cls.data = ["tones", "--clip-length", str(LENGTH), "--validation-fraction", "0.25", "--test-fraction", "0"]
        cls.told = cls.run_checked("audio", "train", *cls.data, "--by-class", "-o", "run", *training(samples=2))
        cls.run_checked("audio", "train", *cls.data, "-o", "plain", *training())

    @classmethod
    def run_checked(cls, *words, **more):
        result = command_line.run(cls.folder, *words, **more)
        if result.returncode != 0:
            raise AssertionError(f"{words}\n{result.stdout}{result.stderr}")
        return result

    def refuse(self, code, *words, holding=()):
        result = command_line.run(self.folder, *words)
        self.assertEqual(code, result.returncode, f"{words}\n{result.stderr}")
        for text in holding:
            self.assertIn(text, result.stderr)
        self.assertNotIn("internal error", result.stderr)

    def manifest(self, folder):
        lines = (self.folder / folder / "manifest.tsv").read_text().splitlines()
        rows = [line.split("\t") for line in lines if not line.startswith("#")]
        return [dict(zip(rows[0], row)) for row in rows[1:]]

    def clips(self, folder):
        return {path.name: path.read_bytes() for path in sorted((self.folder / folder).glob("*.wav"))}

    # Training ----------------------------------------------------------------------------------------

    def test_the_test_stands_beside_baselines(self):
        test = json.loads((self.folder / "run" / "test.json").read_text())
        self.assertEqual("next_sample", test["kind"])
        self.assertEqual("validation", test["split"])
        self.assertEqual(["unigram", "order 1", "LPC-16"], [row["name"] for row in test["baselines"]])
        self.assertGreater(test["padding_samples"], 0)
        self.assertEqual(["high", "low"], [row["name"] for row in test["classes"]])
        self.assertEqual("mu-law", test["measure"]["format"]["companding"])
        # A dozen steps teach little: the warning comes.
        self.assertIn("[W] the model predicts worse", self.told.stderr)
        self.assertIn("LPC-16 (", self.told.stderr)
        for row in test["baselines"]:
            self.assertIn(f"{row['bits_per_sample']:.4f}", self.told.stdout)
        # Selection measured the same clips with the same parameters.
        log = [json.loads(line) for line in (self.folder / "run" / "log.jsonl").read_text().splitlines()]
        best = min(line["metrics"]["bits_per_sample"] for line in log if line["type"] == "eval")
        self.assertAlmostEqual(best, test["bits_per_sample"], places=4)

    def test_reports_compare_only_what_measures_the_same(self):
        result = self.run_checked("report", "run", "plain", "-o", "report.html")
        self.assertIn("report.html", result.stdout)
        page = (self.folder / "report.html").read_text()
        for text in ("bits per sample", "LPC-16", "order 1"):
            self.assertIn(text, page)
        self.run_checked("audio", "train", *self.data, "--scale", "peak", "-o", "peak", *training(steps=2))
        self.refuse(2, "report", "run", "peak", "-o", "no.html", holding=["cannot be compared", "scale"])

    def test_evaluations_leave_clips_to_hear(self):
        for step in (6, 12):
            folder = self.folder / "run" / "samples" / f"step-{step:09d}"
            self.assertEqual(2, len(list(folder.glob("*.wav"))))
            self.assertEqual(LENGTH, len(read_wav(next(folder.glob("*.wav")))))
        page = (self.folder / "run" / "samples" / "index.html").read_text()
        self.assertEqual(4, page.count("<audio "))
        self.assertEqual(4, page.count("data:image/png;base64,"))
        self.assertNotIn("src=\"http", page)
        self.assertFalse((self.folder / "plain" / "samples").exists())

    def test_windows_may_carry_their_state(self):
        words = ["audio", "train", "tones", "--validation-fraction", "0.25", "--test-fraction", "0",
                 *training(steps=4, window=64), "--carry-state"]
        self.run_checked(*words, "-o", "carried")
        first = json.loads((self.folder / "carried" / "test.json").read_text())
        self.assertEqual(64, first["measure"]["chunk"])
        # Scored from its beginning in one piece, a recording has the same bits.
        scores = self.run_checked("audio", "score", "carried", "tones", "--no-PG", "-@", "2").stdout.splitlines()[1:]
        self.assertEqual(24, len(scores))

    def test_training_says_what_does_not_go_together(self):
        train = ["audio", "train", *self.data, "-o", "never"]
        self.refuse(2, *train, *training(layers="1,2,3"), holding=["--layers has 3 values", "2 stages"])
        self.refuse(2, *train, *training(label="none"), "--by-class", holding=["no classes"])
        data = ["audio", "train", *self.data, "-o", "never", "--steps", "2"]
        self.refuse(2, *data, "--model", "run", holding=["2 classes"])
        self.refuse(2, *data, "--model", "plain", "--companding", "linear", holding=["mu-law", "linear"])
        self.assertFalse((self.folder / "never").exists())

    # Generation --------------------------------------------------------------------------------------

    def test_defaults_are_those_of_the_training(self):
        result = self.run_checked("audio", "generate", "run", "-o", "sixteen", "-@", "2")
        self.assertIn("16 made", result.stdout)
        self.assertIn("real-time factor", result.stderr + result.stdout)
        rows = self.manifest("sixteen")
        self.assertEqual(16, len(rows))
        self.assertEqual(["high", "low"] * 8, [row["label"] for row in rows])
        self.assertEqual({"0"}, {row["seed"] for row in rows})
        for row in rows:
            self.assertEqual(LENGTH, len(read_wav(self.folder / "sixteen" / row["file"])))
            self.assertLess(float(row["log_likelihood"]), 0)
        text = (self.folder / "sixteen" / "manifest.tsv").read_text()
        self.assertIn("##strandwave=", text)
        self.assertIn("##model=", text)
        page = (self.folder / "sixteen" / "index.html").read_text()
        self.assertEqual(16, page.count("<audio "))
        # The folder is a set of clips that other commands read.
        self.run_checked("audio", "score", "run", "sixteen/manifest.tsv", "-@", "2")

    def test_a_rerun_makes_only_what_is_missing(self):
        words = ["audio", "generate", "run", "-o", "again", "--batch", "4", "-@", "2", "-n", "6"]
        self.run_checked(*words)
        before = self.clips("again")
        self.assertEqual(6, len(before))
        self.assertEqual(6, len(set(before.values())))
        victim = self.folder / "again" / "00001_low.wav"
        victim.unlink()
        other = self.folder / "again" / "00000_high.wav"
        changed = other.stat().st_mtime_ns
        result = self.run_checked(*words[:-1], "8")
        self.assertIn("3 made, 5 were there", result.stdout)
        after = self.clips("again")
        self.assertEqual(8, len(after))
        self.assertEqual(before, {name: after[name] for name in before})
        self.assertEqual(changed, other.stat().st_mtime_ns)
        self.refuse(2, *words, "--temperature", "0.5", holding=["temperature", "--force"])
        self.run_checked(*words, "--temperature", "0.5", "--force")
        self.assertEqual(6, len(self.clips("again")))
        self.assertNotEqual(before, self.clips("again"))

    def test_an_interrupted_generation_goes_on(self):
        words = ["audio", "generate", "plain", "-o", "long", "-n", "2", "--duration", "0.3", "--seed", "5", "-@", "2"]
        process = subprocess.Popen([command_line.PROGRAM, *words], cwd=self.folder, stdout=subprocess.PIPE,
                                   stderr=subprocess.PIPE, env=command_line.environment(self.folder))
        while not (self.folder / "long" / "generation.json").exists():
            time.sleep(0.02)
        time.sleep(0.1)
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=120)
        self.assertEqual(75, process.returncode, errors.decode())
        self.assertIn("the same command goes on", errors.decode())
        self.assertTrue((self.folder / "long" / "unfinished.safetensors").exists())
        self.assertEqual({}, self.clips("long"))
        self.run_checked(*words)
        self.assertFalse((self.folder / "long" / "unfinished.safetensors").exists())
        self.run_checked(*[*words[:4], "unbroken", *words[5:]])
        self.assertEqual(self.clips("unbroken"), self.clips("long"))
        self.assertEqual(self.manifest("unbroken"), self.manifest("long"))

    def test_sampling_options_count(self):
        words = ["audio", "generate", "run", "-n", "2", "--class", "low", "-@", "2"]
        # Without chance all clips of a class are one, whatever the seed.
        for seed, more in (("1", []), ("2", ["--guidance", "1.5"])):
            self.run_checked(*words, "-o", "greedy" + seed, "--temperature", "0", "--seed", seed, *more)
            self.assertEqual({"00000_low.wav", "00001_low.wav"}, set(self.clips("greedy" + seed)))
            self.assertEqual(1, len(set(self.clips("greedy" + seed).values())))
        self.assertNotEqual(self.clips("greedy1"), self.clips("greedy2"))
        self.assertEqual({"0.000000"}, {row["log_likelihood"] for row in self.manifest("greedy1")})

    def test_clips_go_on_from_a_prefix(self):
        prefix = read_wav(self.folder / "tones" / "low" / "00.wav")[:200]
        write_wav(self.folder / "prefix.wav", prefix)
        self.run_checked("audio", "generate", "plain", "-o", "continued", "-n", "2", "--prefix", "prefix.wav",
                         "--prefix-duration", "0.02", "-@", "2")
        for name in self.clips("continued"):
            samples = read_wav(self.folder / "continued" / name)
            self.assertEqual(LENGTH, len(samples))
            for got, wanted in zip(samples[:160], prefix):
                self.assertLess(abs(got - wanted), 0.02)
        self.refuse(2, "audio", "generate", "plain", "-o", "no", "--prefix", "prefix.wav", "--duration", "0.01",
                    holding=["prefix of 200 samples"])

    def test_clips_may_be_flac(self):
        self.run_checked("audio", "generate", "plain", "-n", "1", "-@", "2", "-o", "flac", "--format", "flac")
        self.assertTrue((self.folder / "flac" / "00000.flac").read_bytes().startswith(b"fLaC"))
        self.assertIn("data:audio/flac;base64,", (self.folder / "flac" / "index.html").read_text())

    def test_generation_says_what_it_cannot(self):
        self.refuse(2, "audio", "generate", "plain", "-o", "no", "--class", "low", holding=["without classes"])
        self.refuse(2, "audio", "generate", "run", "-o", "no", "--class", "middle", holding=["high, low"])
        self.refuse(2, "audio", "generate", "plain", "-o", "no", "--guidance", "2", holding=["guidance"])
        self.refuse(2, "audio", "generate", "plain", "-o", "tones", holding=["other files"])
        shutil.copytree(self.folder / "plain" / "best", self.folder / "broken")
        tensors = self.folder / "broken" / "model.safetensors"
        tensors.write_bytes(tensors.read_bytes()[:-8])
        self.refuse(1, "audio", "generate", "broken", "-o", "no", holding=["model.safetensors"])

    # Scores ------------------------------------------------------------------------------------------

    def score(self, *words, stdin=None):
        result = subprocess.run([command_line.PROGRAM, "audio", "score", "plain", *words, "--no-PG", "-@", "2"],
                                cwd=self.folder, input=stdin or b"", capture_output=True, timeout=120, check=False,
                                env=command_line.environment(self.folder))
        self.assertEqual(0, result.returncode, result.stderr.decode())
        return [line.split("\t") for line in result.stdout.decode().splitlines()]

    def test_scores_do_not_depend_on_the_chunk(self):
        clip = "tones/high/03.wav"
        whole = self.score(clip)
        self.assertEqual(["file", "samples", "bits_per_sample"], whole[0])
        self.assertEqual([clip, "296"], whole[1][:2])
        row = self.score(clip, "--chunk", "7")[1]
        self.assertAlmostEqual(float(whole[1][2]), float(row[2]), places=3)

    def test_frames_add_up_to_the_file(self):
        clip = "tones/high/03.wav"
        rows = self.score(clip, "--by", "frame")
        self.assertEqual(["file", "start", "samples", "bits_per_sample"], rows[0])
        self.assertEqual(4, len(rows) - 1)
        self.assertEqual(["0.030000", "56"], rows[-1][1:3])
        total = sum(int(row[2]) * float(row[3]) for row in rows[1:])
        self.assertAlmostEqual(float(self.score(clip)[1][2]), total / 296, places=3)

    def test_standard_input_is_scored_as_it_comes(self):
        clip = self.folder / "tones" / "high" / "03.wav"
        expected = float(self.score("tones/high/03.wav")[1][2])
        self.assertAlmostEqual(expected, float(self.score("-", stdin=clip.read_bytes())[1][2]), places=4)
        raw = clip.read_bytes()[44:]
        # The line of a frame is there while the sound still goes on.
        process = subprocess.Popen([command_line.PROGRAM, "audio", "score", "plain", "-", "--raw", "8000", "--by",
                                    "frame", "--no-PG", "-@", "2"], cwd=self.folder, stdin=subprocess.PIPE,
                                   stdout=subprocess.PIPE, env=command_line.environment(self.folder))
        process.stdin.write(raw[:160])
        process.stdin.flush()
        self.assertEqual(b"file\tstart\tsamples\tbits_per_sample\n", process.stdout.readline())
        self.assertTrue(process.stdout.readline().startswith(b"-\t0.000000\t80\t"))
        process.stdin.write(raw[160:])
        process.stdin.close()
        self.assertEqual(3, len(process.stdout.read().splitlines()))
        self.assertEqual(0, process.wait(timeout=60))
        process.stdout.close()

    def test_scoring_says_what_it_cannot(self):
        score = ["audio", "score", "plain"]
        self.refuse(1, *score, "-", holding=["no WAV stream"])
        self.refuse(2, *score, "-", "tones", holding=["alone"])
        self.refuse(1, *score, "absent.wav", holding=["absent.wav"])


if __name__ == "__main__":
    unittest.main()
