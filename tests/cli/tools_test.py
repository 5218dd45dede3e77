#!/usr/bin/env python3
"""`bench train`, `bench generate`, `bench operators`, `doctor` and `model info|import|export|convert` on small inputs."""
import json
import struct
import unittest

import command_line
from program import ProgramTest

HUGGING_FACE = command_line.ROOT / "tests/fixtures/hf_mamba_tiny"
DTYPE_BYTES = {"F32": 4, "BF16": 2}


def tensors_of(path):
    """{name: (dtype, shape, bytes)} of a safetensors file."""
    content = path.read_bytes()
    size = struct.unpack("<Q", content[:8])[0]
    header, data = json.loads(content[8:8 + size]), content[8 + size:]
    return {name: (entry["dtype"], tuple(entry["shape"]), data[slice(*entry["data_offsets"])])
            for name, entry in header.items() if name != "__metadata__"}


def to_bf16(floats):
    """float32 bytes rounded to nearest even, as bfloat16 bytes. None of the values is NaN."""
    words = struct.unpack(f"<{len(floats) // 4}I", floats)
    return struct.pack(f"<{len(words)}H", *((word + 0x7FFF + (word >> 16 & 1)) >> 16 for word in words))


class Bench(ProgramTest):
    def bench(self, *words):
        text = self.succeed("bench", *words, "--device", "cpu", "--threads", "1", "-o", "figures.json")
        figures = json.loads((self.folder / "figures.json").read_text())
        for key in ("version", "command", "device"):
            self.assertIsInstance(figures[key], str)
            self.assertTrue(figures[key], key)
        return text, figures

    def check_timing(self, timing):
        self.assertGreater(timing["p10_ms"], 0)
        self.assertLessEqual(timing["p10_ms"], timing["median_ms"])
        self.assertLessEqual(timing["median_ms"], timing["p90_ms"])
        self.assertGreaterEqual(timing["repetitions"], 1)

    def test_train(self):
        text, figures = self.bench("train", "--d-model", "16", "--layers", "M{2}", "--d-state", "4", "--length", "96",
                                   "--batch", "2", "--warmup", "1", "--repeats", "3")
        expected = {"benchmark": "train", "d_model": 16, "layers": "M{2}", "vocabulary": 16, "batch": 2, "length": 96,
                    "precision": "fp32", "recompute": False}
        self.assertEqual(expected, {key: figures[key] for key in expected})
        self.assertGreater(figures["seconds_p10"], 0)
        self.assertLessEqual(figures["seconds_p10"], figures["seconds_median"])
        self.assertLessEqual(figures["seconds_median"], figures["seconds_p90"])
        self.assertAlmostEqual(2 * 96 / figures["seconds_median"], figures["tokens_per_second"], delta=1)
        self.assertGreater(figures["parameters"], 16 * 16)
        self.assertGreater(figures["peak_bytes"], 1 << 20)
        self.assertIn("Mtok/s", text)

    def test_train_recomputes(self):
        _, figures = self.bench("train", "--d-model", "16", "--layers", "M", "--length", "64", "--warmup", "0",
                                "--repeats", "1", "--recompute")
        self.assertTrue(figures["recompute"])

    def test_generate(self):
        text, figures = self.bench("generate", "--preset", "mamba", "--d-model", "8", "--pool", "4", "--layers", "1",
                                   "--batch", "3", "--samples", "20", "--repeats", "3")
        expected = {"benchmark": "generate", "batch": 3, "samples": 20, "recorded": False}
        self.assertEqual(expected, {key: figures[key] for key in expected})
        self.assertEqual([4], figures["model"]["pool"])
        self.assertGreater(figures["seconds_p10"], 0)
        self.assertLessEqual(figures["seconds_median"], figures["seconds_p90"])
        self.assertAlmostEqual(3 * 20 / figures["seconds_median"], figures["samples_per_second"], delta=1)
        self.assertIn("samples/s", text)

    def test_operators(self):
        text, figures = self.bench("operators", "--filter", "embedding.forward positions 16384", "--seconds", "0.01")
        self.assertEqual("operators", figures["benchmark"])
        self.assertGreater(figures["ceilings"]["bytes_per_second"], 0)
        self.assertGreater(figures["ceilings"]["flops_per_second"], 0)
        self.assertEqual(1, len(figures["results"]))
        result = figures["results"][0]
        self.assertEqual(("embedding.forward", "fp32", "cpu"), tuple(result[key] for key in ("name", "dtype", "device")))
        self.assertIn("vocabulary 16", result["shape"])
        self.check_timing(result["time"])
        self.check_timing(result["reference_time"])
        self.assertAlmostEqual(result["reference_time"]["median_ms"] / result["time"]["median_ms"], result["ratio"],
                               places=6)
        share = result["bytes_per_second"] / figures["ceilings"]["bytes_per_second"]
        self.assertAlmostEqual(share, result["bandwidth_share"], places=6)
        self.assertIn("embedding.forward", text)

    def test_a_filter_that_selects_nothing(self):
        for words in ([], ["--list"]):
            result = self.run_program("bench", "operators", "--filter", "embeding.forward", "--device", "cpu", *words)
            self.assertEqual((2, b""), (result.returncode, result.stdout), result.stderr)
            self.assertIn(b"did you mean 'embedding.forward'?", result.stderr)
            self.assertIn(b"--list", result.stderr)

    def test_every_operator_is_listed(self):
        names = self.succeed("bench", "operators", "--list", "--device", "cpu").splitlines()
        listed = {line.split(".")[0] for line in names}
        folders = {path.parent.name for path in command_line.ROOT.glob("kernels/*/*_benchmark.cpp")}
        self.assertEqual({name.replace("norm", "add_rms_norm") for name in folders}, listed)


class Doctor(ProgramTest):
    def test_doctor(self):
        lines = self.succeed("doctor").splitlines()
        found = dict(line.split(maxsplit=1) for line in lines if line and not line[0].isspace())
        for name in ("strandwave", "LibTorch", "CPU", "memory", "GPU", "htslib", "cache"):
            self.assertTrue(found.get(name), "\n".join(lines))
        self.assertRegex(found["strandwave"], r"^[0-9]+\.[0-9]+")
        self.assertRegex(found["CPU"], r"[1-9][0-9]* cores, AVX2 (yes|no), AVX-512 (yes|no)")
        self.assertRegex(found["memory"], r"^[1-9].* GiB")
        self.assertIn(str(self.folder / "cache"), found["cache"])


class Model(ProgramTest):
    def imported(self):
        self.succeed("model", "import", HUGGING_FACE, "-o", "model")
        return self.folder / "model"

    def info(self, model):
        """(the printed fields, config, names and shapes of the tensors)"""
        text = self.succeed("model", "info", model, "--tensors")
        config = json.JSONDecoder().raw_decode(text[text.index("{"):])[0]
        tensors = dict(line.split("\t") for line in text.splitlines() if "\t" in line)
        fields = dict(line.split(maxsplit=1) for line in text.splitlines() if line[:1].isalpha() and "\t" not in line)
        return fields, config, tensors

    def test_import_and_info(self):
        fields, config, tensors = self.info(self.imported())
        self.assertEqual("strandwave", config["format"])
        self.assertEqual((24, 32), (config["d_model"], config["vocab_size"]))
        self.assertEqual((8, 3), (config["layers"]["M"]["d_state"], config["layers"]["M"]["dt_rank"]))
        self.assertRegex(fields["sha256"], "^[0-9a-f]{64}$")
        original = tensors_of(HUGGING_FACE / "model.safetensors")
        values = sum(len(data) // DTYPE_BYTES[dtype] for dtype, _, data in original.values())
        self.assertEqual(str(values), fields["parameters"].replace(",", ""))
        self.assertEqual("[32, 24]", tensors["backbone.embedding.weight"])
        self.assertEqual(len(original), len(tensors))

    def test_export_gives_back_what_was_imported(self):
        self.imported()
        self.succeed("model", "export", "model", "-o", "exported")
        self.assertEqual(tensors_of(HUGGING_FACE / "model.safetensors"),
                         tensors_of(self.folder / "exported/model.safetensors"))
        theirs = json.loads((HUGGING_FACE / "config.json").read_text())
        ours = json.loads((self.folder / "exported/config.json").read_text())
        for key in ("architectures", "model_type", "hidden_size", "num_hidden_layers", "state_size", "time_step_rank",
                    "vocab_size", "conv_kernel"):
            self.assertEqual(theirs[key], ours[key], key)

    def test_convert_halves_the_matrices(self):
        model = self.imported()
        self.succeed("model", "convert", "model", "-o", "half")
        self.succeed("model", "convert", "half", "-o", "whole", "--precision", "fp32")
        before = tensors_of(model / "model.safetensors")
        half = tensors_of(self.folder / "half/model.safetensors")
        whole = tensors_of(self.folder / "whole/model.safetensors")
        self.assertEqual(set(before), set(half))
        self.assertEqual({"F32", "BF16"}, {dtype for dtype, _, _ in half.values()})
        self.assertEqual({"F32"}, {dtype for dtype, _, _ in whole.values()})
        for name, (_, shape, data) in before.items():
            dtype, half_shape, half_data = half[name]
            self.assertEqual(shape, half_shape)
            self.assertEqual(to_bf16(data) if dtype == "BF16" else data, half_data, name)
            self.assertEqual(half_data, to_bf16(whole[name][2]) if dtype == "BF16" else whole[name][2], name)
        self.assertEqual("BF16", half["backbone.embedding.weight"][0])
        self.assertTrue(all(half[name][0] == "F32" for name in half if name.endswith(("A_log", ".D", "norm.weight"))))

    def test_outputs_are_not_overwritten(self):
        model = self.imported()
        before = (model / "model.safetensors").read_bytes()
        for verb in ("import", "export", "convert"):
            source = HUGGING_FACE if verb == "import" else "model"
            (self.folder / "taken").mkdir(exist_ok=True)
            (self.folder / "taken/mine.txt").write_text("mine\n")
            result = self.run_program("model", verb, source, "-o", "taken")
            self.assertEqual(2, result.returncode, result.stderr)
            self.assertIn(b"--force", result.stderr)
            self.assertEqual("mine\n", (self.folder / "taken/mine.txt").read_text())
        self.succeed("model", "convert", "model", "-o", "half")
        self.succeed("model", "convert", "model", "-o", "half", "--force")
        self.assertEqual(before, (model / "model.safetensors").read_bytes())

    def test_a_classifier_cannot_be_exported(self):
        result = self.run_program("model", "export", self.classifier(), "-o", "exported")
        self.assertIn(result.returncode, (1, 2), result.stderr)
        self.assertIn(b"[E] ", result.stderr)
        self.assertFalse((self.folder / "exported").exists())


if __name__ == "__main__":
    unittest.main()
