#!/usr/bin/env python3
"""The test of a language model: baselines, whole intervals, regions, and what it saw in training."""
import json
import unittest

import command_line
from command_line import PRETRAIN
from program import ProgramTest

import sample_data

QUICK = ["--device", "cpu", "--threads", "1"]


class LanguageModel(ProgramTest):
    trained = {}  # the files of a run, path -> bytes: trained once

    def setUp(self):
        super().setUp()
        repeats = sample_data.random_genome(6000, chain=1, seed=10)
        self.masked = repeats[:2000] + repeats[2000:3500].lower() + repeats[3500:]
        self.plain = sample_data.random_genome(20000, chain=1, seed=11)
        self.write("two.fa", [("masked", self.masked), ("plain", self.plain)])
        if not LanguageModel.trained:
            self.pretrain("run")
            LanguageModel.trained.update({path.relative_to(self.folder): path.read_bytes()
                                          for path in (self.folder / "run").rglob("*") if path.is_file()})
        for path, content in LanguageModel.trained.items():
            (self.folder / path).parent.mkdir(parents=True, exist_ok=True)
            (self.folder / path).write_bytes(content)

    def write(self, name, records):
        (self.folder / name).write_text(sample_data.fasta(records))

    def told(self, *words):
        result = command_line.run(self.folder, *words)
        self.assertEqual(0, result.returncode, f"{words}\n{result.stderr}")
        return result

    def pretrain(self, output, *more):
        return self.told("dna", "pretrain", "two.fa", "--test", "masked", "--test", "plain:1-8,000", "-o", output,
                         *PRETRAIN, "--device", "cpu", *more)

    def evaluate(self, genome, *more, model="run"):
        result = self.told("dna", "evaluate", "--model", model, genome, *more, "--markov", "1", *QUICK, "-o", "out.json",
                           "--force")
        return json.loads((self.folder / "out.json").read_text()), result.stderr

    def refuse(self, code, *words, holding):
        result = command_line.run(self.folder, *words, *QUICK)
        self.assertEqual(code, result.returncode, f"{words}\n{result.stderr}")
        for text in holding:
            self.assertIn(text, result.stderr)

    def test_a_run_is_tested_beside_all_baselines(self):
        output = self.pretrain("both", "--baseline", "markov,cnn", "--cnn-seconds", "0.5").stdout
        test = json.loads((self.folder / "both/test.json").read_text())
        self.assertEqual("language_model", test["kind"])
        self.assertIn("dna pretrain", test["command"])
        self.assertEqual(128, test["window"])
        names = [(b["name"], b["training"]) for b in test["baselines"]]
        # Four steps of two windows of 128 bases are far less than the training bases.
        self.assertEqual([("Markov order 2", "all"), ("Markov order 2", "seen"), ("causal CNN", "all")], names)
        for baseline in test["baselines"]:
            self.assertAlmostEqual(test["bits_per_base"] - baseline["bits_per_base"], baseline["difference"][0], 5)
            self.assertEqual(["repeats", "non-repeats"], [r["name"] for r in baseline["regions"]])
        self.assertLess(test["baselines"][0]["bits_per_base"], test["baselines"][1]["bits_per_base"])
        self.assertGreaterEqual(test["baselines"][2]["seconds"], 0.5)
        self.assertEqual({"fraction": 0.0, "by": "intervals", "compared": 0}, test["seen_in_training"])
        self.assertEqual(sum(test["block_sums"]["positions"]), test["positions"])
        for text in ("Markov order 2, all bases", "Markov order 2, bases seen", "causal CNN", "non-repeats",
                     "0.0 % of targets were seen in pretraining (exact, by intervals)"):
            self.assertIn(text, output)

    def test_what_was_seen_is_told_wherever_it_lies(self):
        seen, told = self.evaluate("two.fa", "--train", "masked", "--test", "plain")
        self.assertEqual("intervals", seen["seen_in_training"]["by"])
        # 8,000 bases were held out and 500 beside them kept apart.
        self.assertAlmostEqual(11500 / 20000, seen["seen_in_training"]["fraction"])
        self.assertIn("57.5 % of targets were seen in pretraining (exact, by intervals)", told)
        # A piece under another name, on the other strand, beside a sequence never seen.
        piece = sample_data.reverse_complement(self.plain[9000:15000])
        self.write("other.fa", [("piece", piece), ("new", sample_data.random_genome(6000, chain=2, seed=12))])
        seen, told = self.evaluate("other.fa", "--train", "new:5,001-", "--test", "piece", "--test", "new:1-4,000",
                                   "--gap", "0")
        self.assertEqual("sketch", seen["seen_in_training"]["by"])
        self.assertAlmostEqual(0.6, seen["seen_in_training"]["fraction"], delta=0.01)
        self.assertIn("60", told)
        seen, told = self.evaluate("other.fa", "--train", "piece", "--test", "new")
        self.assertLess(seen["seen_in_training"]["fraction"], 0.01)
        self.assertNotIn("were seen in pretraining", told)

    def test_the_record_goes_with_the_model(self):
        self.told("model", "convert", "run", "-o", "copy")
        self.assertEqual((self.folder / "run/checkpoints/step-000000004/training_data.safetensors").read_bytes(),
                         (self.folder / "copy/training_data.safetensors").read_bytes())
        arguments = ["two.fa", "--train", "masked", "--test", "plain:10,001-12,000"]
        self.assertEqual(1, self.evaluate(*arguments, model="copy")[0]["seen_in_training"]["fraction"])
        # A run that starts from a model has seen what that model has seen.
        self.write("next.fa", [("next", sample_data.random_genome(8000, chain=3, seed=13))])
        self.told("dna", "pretrain", "next.fa", "--test", "next:1-3,000", "--model", "copy", "-o", "next", *PRETRAIN[6:],
                  "--device", "cpu")
        self.assertEqual(1, self.evaluate(*arguments, model="next")[0]["seen_in_training"]["fraction"])
        # Damage is found.
        record = self.folder / "copy/training_data.safetensors"
        record.write_bytes(record.read_bytes()[:-1])
        self.refuse(1, "dna", "evaluate", "--model", "copy", *arguments,
                    holding=["training_data.safetensors", "truncated or changed"])

    def test_whole_intervals_in_pieces_of_any_size(self):
        arguments = ["two.fa", "--test", "masked", "--test", "plain:1-8,000", "--gap", "500", "--test-window"]
        whole, _ = self.evaluate(*arguments, "0")
        pieces, _ = self.evaluate(*arguments, "0", "--batch-bases", "300")
        self.assertEqual(14000, whole["positions"])
        self.assertEqual(0, whole["window"])
        self.assertAlmostEqual(whole["bits_per_base"], pieces["bits_per_base"], 5)
        self.assertEqual([0, 128, 1024], [bucket["first"] for bucket in whole["context"]])
        self.assertEqual(8000, whole["context"][-1]["last"])
        windows, _ = self.evaluate(*arguments, "8000")
        self.assertAlmostEqual(whole["bits_per_base"], windows["bits_per_base"], 5)
        first, _ = self.evaluate(*arguments, "0", "--test-bases", "7000")
        self.assertEqual(7000, first["positions"])

    def test_baselines_that_cannot_be(self):
        evaluate = ["dna", "evaluate", "two.fa", "--test", "plain:1-8,000", "--gap", "500"]
        self.refuse(2, *evaluate, "--model", "run", "--baseline", "markov,lstm", holding=["'lstm'", "markov and cnn"])
        self.told("model", "convert", "run", "-o", "copy")
        self.refuse(2, *evaluate, "--model", "copy", "--baseline", "cnn", holding=["log.jsonl", "--cnn-seconds"])
        result, _ = self.evaluate(*evaluate[2:], "--baseline", "cnn", "--cnn-seconds", "0.3", "--test-bases", "3000",
                                  model="copy")
        self.assertEqual(["causal CNN"], [b["name"] for b in result["baselines"]])


if __name__ == "__main__":
    unittest.main()
