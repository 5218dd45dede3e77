#!/usr/bin/env python3
"""`audio prepare`: what it reads, writes and prints, and what it refuses."""
import array
import json
import math
import pathlib
import struct
import tempfile
import unittest
import wave

from program import ProgramTest


def tone(length=400, frequency=440.0, rate=8000, amplitude=0.4):
    return [amplitude * math.sin(2 * math.pi * frequency * t / rate) for t in range(length)]


def header_of(path):
    """Metadata and tensors of a safetensors file."""
    with open(path, "rb") as file:
        length, = struct.unpack("<Q", file.read(8))
        header = json.loads(file.read(length))
        data = file.read()
    metadata = header.pop("__metadata__")
    return metadata, {name: data[slice(*entry["data_offsets"])] for name, entry in header.items()}


class PrepareTest(ProgramTest):
    def setUp(self):  # without the sample files
        self.holder = tempfile.TemporaryDirectory()
        self.addCleanup(self.holder.cleanup)
        self.folder = pathlib.Path(self.holder.name)

    def sound(self, name, samples, rate=8000, channels=1):
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        with wave.open(str(path), "wb") as out:
            out.setnchannels(channels)
            out.setsampwidth(2)
            out.setframerate(rate)
            out.writeframes(array.array("h", [round(32767 * x) for x in samples]).tobytes())
        return name

    def digits(self, takes=10):
        for digit in range(2):
            for index, speaker in enumerate(("ann", "bob", "cyd")):
                for take in range(takes):
                    self.sound(f"digits/{digit}_{speaker}_{take}.wav",
                               tone(300 + 10 * take, 200 + 100 * digit + 17 * index + take))

    def prepare(self, data, *more, output="clips.safetensors"):
        return self.succeed("audio", "prepare", data, "-o", output, *more)

    def refuse(self, code, data, *more, contains):
        before = sorted(self.folder.rglob("*"))
        result = self.run_program("audio", "prepare", data, "-o", "refused.safetensors", *more)
        text = result.stderr.decode()
        self.assertEqual(code, result.returncode, text)
        for part in contains:
            self.assertIn(part, text)
        self.assertNotIn("internal error", text)
        self.assertEqual(before, sorted(self.folder.rglob("*")), "something was left behind")

    def test_digits(self):
        self.digits()
        printed = self.prepare("digits", "--clip-length", "0.05s", "--rate", 8000, "--split", "regex",
                               "--validation", r"_[67]\.", "--test", r"_[89]\.")
        self.assertIn("60 files of 8000 Hz, now 8000 Hz: 60 clips", printed)
        rows = {line.split()[0]: line.split()[1:] for line in printed.splitlines() if line[:4] in ("trai", "vali", "test")}
        # clips, minutes, classes, speakers, of speakers in training, copies
        self.assertEqual(["36", "0.0", "2", "3", "-", "-"], rows["train"])
        self.assertEqual(["12", "0.0", "2", "3", "12", "0"], rows["test"])
        metadata, tensors = header_of(self.folder / "clips.safetensors")
        self.assertEqual({"sample_rate": 8000, "companding": "mu-law", "scale": "none", "clip_length": 400,
                          "length": "pad", "channels": "mean", "resampler": "soxr HQ"}, json.loads(metadata["audio"]))
        self.assertEqual(["0", "1"], json.loads(metadata["labels"]))
        self.assertEqual(60 * 400, len(tensors["codes"]))
        self.assertEqual({0: 36, 1: 12, 2: 12}, {split: tensors["splits"].count(split) for split in range(3)})
        self.assertEqual("0_ann_0.wav", tensors["names"].decode().splitlines()[0])
        # 300 samples, then silence.
        self.assertEqual(bytes([128]) * 100, tensors["codes"][300:400])
        self.assertEqual(300, struct.unpack_from("<q", tensors["real_lengths"])[0])

    def test_by_speaker_nobody_is_in_two_splits(self):
        self.digits(takes=4)
        printed = self.prepare("digits", "--split", "speaker")
        rows = [line.split() for line in printed.splitlines() if line[:4] in ("vali", "test")]
        self.assertEqual([["1", "0", "0"]] * 2, [row[4:] for row in rows])

    def test_the_same_again_and_from_a_prepared_file(self):
        self.digits(takes=3)
        self.prepare("digits", output="a.safetensors")
        self.prepare("digits", "-@", 1, output="b.safetensors")
        first = (self.folder / "a.safetensors").read_bytes()
        self.assertEqual(first, (self.folder / "b.safetensors").read_bytes())
        self.refuse(2, "a.safetensors", "--rate", 8000, contains=["--rate has no effect", "prepared already"])
        result = self.run_program("audio", "prepare", "digits", "-o", "a.safetensors")
        self.assertEqual(2, result.returncode)
        self.assertIn("--force", result.stderr.decode())

    def test_a_manifest(self):
        self.digits(takes=2)
        lines = ["path\tlabel\tspeaker\tsplit"]
        for index, name in enumerate(sorted(path.name for path in (self.folder / "digits").iterdir())):
            lines.append(f"digits/{name}\t{'even' if index % 2 == 0 else 'odd'}\tx{index}\t{('train', 'valid', 'test')[index % 3]}")
        (self.folder / "clips.tsv").write_text("\n".join(lines) + "\n")
        printed = self.prepare("clips.tsv")
        self.assertIn("classes: by the manifest", printed)
        metadata, tensors = header_of(self.folder / "clips.safetensors")
        self.assertEqual(["even", "odd"], json.loads(metadata["labels"]))
        self.assertEqual(bytes([0, 1, 2] * 4), tensors["splits"])

    def test_channels_and_rates(self):
        self.sound("x/a.wav", [x for pair in zip(tone(800, rate=16000), [0.0] * 800) for x in pair], 16000, 2)
        self.sound("x/b.wav", tone(400))
        self.sound("x/c.wav", tone(400, 500))
        self.refuse(2, "x", contains=["several sampling rates: 2 of 8000 (b.wav), 1 of 16000 (a.wav)", "--rate"])
        printed = self.prepare("x", "--rate", 8000)
        self.assertIn("3 files of 16000 Hz (1), 8000 Hz (2), now 8000 Hz", printed)
        self.assertIn("1 with several channels, averaged", printed)

    def bad_folder(self):
        for take in range(3):
            self.sound(f"bad/good{take}.wav", tone(frequency=300 + take))
        self.sound("bad/silent.wav", [0.0] * 100)
        self.sound("bad/one.wav", [0.5])
        self.sound("bad/quiet.wav", tone(amplitude=0.003))
        (self.folder / "bad/empty.wav").touch()
        (self.folder / "bad/text.mp3").write_text("not music")
        whole = (self.folder / "bad/good0.wav").read_bytes()
        (self.folder / "bad/cut.wav").write_bytes(whole[:-10])
        samples = struct.pack("<4f", 0.1, float("nan"), 0.2, 0.3)
        head = struct.pack("<4sI4s4sIHHIIHH4sI", b"RIFF", 52, b"WAVE", b"fmt ", 16, 3, 1, 8000, 32000, 4, 32, b"data", 16)
        (self.folder / "bad/nan.wav").write_bytes(head + samples)

    BAD = ["cut.wav: was cut short", "empty.wav: is empty", "nan.wav: sample 1 is not finite (NaN)",
           "one.wav: has one sample only", "silent.wav: is silent", "text.mp3: is no audio file"]

    def test_bad_files_are_refused(self):
        self.bad_folder()
        self.refuse(1, "bad", contains=["6 of 10 files cannot be used", "--bad-files skip", *self.BAD])

    def test_bad_files_are_skipped_and_named(self):
        self.bad_folder()
        result = self.run_program("audio", "prepare", "bad", "-o", "clips.safetensors", "--bad-files", "skip")
        text = result.stderr.decode()
        self.assertEqual(0, result.returncode, text)
        for part in self.BAD:
            self.assertIn("[W] left out " + part, text)
        self.assertIn("quiet.wav is nearly silent", text)
        self.assertIn("4 clips", result.stdout.decode())
        metadata, _ = header_of(self.folder / "clips.safetensors")
        self.assertEqual(6, len(json.loads(metadata["facts"])["bad_files"]))

    def test_no_audio_and_wrong_options(self):
        (self.folder / "texts").mkdir()
        (self.folder / "texts/a.txt").write_text("text")
        self.refuse(1, "texts", contains=["no audio file", "1 other files"])
        self.refuse(1, "absent", contains=["there is no such file or folder"])
        self.digits(takes=1)
        self.refuse(2, "digits", "--clip-length", "1s", contains=["needs --rate"])
        self.refuse(2, "digits", "--clip-length", "1.5", contains=["whole number"])
        self.refuse(2, "digits", "--clip-length", "long", contains=["16000, or seconds"])
        self.refuse(2, "digits", "--split", "regex", contains=["--validation and --test"])
        self.refuse(2, "digits", "--label", "(", contains=["no regular expression"])
        self.refuse(1, "digits", "--clip-length", 100, "--length", "error", contains=["has 300 samples, not 100"])

    def test_copies_in_held_out_data_are_a_warning(self):
        self.digits(takes=2)
        (self.folder / "digits/0_ann_9.wav").write_bytes((self.folder / "digits/0_ann_0.wav").read_bytes())
        result = self.run_program("audio", "prepare", "digits", "-o", "clips.safetensors", "--split", "regex",
                                  "--test", r"_9\.")
        self.assertEqual(0, result.returncode)
        self.assertIn("1 clips of test are exact copies of training clips", result.stderr.decode())

    def test_doctor_lists_formats(self):
        printed = self.succeed("doctor")
        line = next(line for line in printed.splitlines() if line.startswith("audio"))
        for part in ("WAV", "FLAC", "Ogg Vorbis", "MP3"):
            self.assertIn(part, line)


if __name__ == "__main__":
    unittest.main()
