#!/usr/bin/env python3
"""Deciding reads early: `dna evaluate --decide-at`, and `dna classify --decide-at` beside it."""
import json
import random
import unittest

from program import ProgramTest


class DecideEarly(ProgramTest):
    def setUp(self):
        super().setUp()
        generator = random.Random(3)
        rows = ["sequence,label,split"]
        for i in range(160):
            gc = [0.25, 0.75][i % 2]
            letters = "".join(generator.choices("ACGT", weights=[1 - gc, gc, gc, 1 - gc], k=150 + i % 5))
            rows.append(f"{letters},{['low', 'high'][i % 2]},{['train', 'train', 'validation', 'test'][i // 2 % 4]}")
        (self.folder / "reads.csv").write_text("\n".join(rows) + "\n")
        test = [row.split(",") for row in rows[1:] if row.endswith("test")]
        self.labels = [label for _, label, _ in test]
        (self.folder / "test.csv").write_text("sequence,label\n" + "".join(f"{s},{l}\n" for s, l, _ in test))
        (self.folder / "test.fa").write_text("".join(f">{i}\n{s}\n" for i, (s, _, _) in enumerate(test)))
        self.succeed("dna", "finetune", "reads.csv", "-o", "run", "--d-model", "16", "--layers", "M", "--d-state", "4",
                     "--batch", "16", "--steps", "30", "--lr", "1e-2", "--device", "cpu", "--threads", "1", "--quiet")

    def evaluate(self, *words):
        return self.run_program("dna", "evaluate", "--model", "run", "test.csv", "--device", "cpu", "--quiet", *words)

    def classify(self, *words):
        lines = self.succeed("dna", "classify", "--model", "run", "test.fa", "--device", "cpu", "--quiet", "--no-PG",
                             *words).splitlines()
        names = lines[0].lstrip("#").split("\t")
        return [dict(zip(names, line.split("\t"))) for line in lines[1:]]

    def test_accuracy_against_bases(self):
        result = self.evaluate("--decide-at", "20,100", "--min-prob", "0.9", "-o", "figures.json")
        self.assertEqual(0, result.returncode, result.stderr.decode())
        early = json.loads((self.folder / "figures.json").read_text())["decide_at"]
        self.assertEqual([20, 100, None], [step["bases"] for step in early["steps"]])
        self.assertEqual([40, 40, 40], [step["reads"] for step in early["steps"]])
        self.assertIn("after bases", result.stdout.decode() + result.stderr.decode())

        # The same decisions, read by read.
        rows = self.classify("--decide-at", "20,100", "--min-prob", "0.9")
        bases = [int(row["bases_read"]) for row in rows]
        self.assertAlmostEqual(early["mean_bases"], sum(bases) / len(bases))
        decided = [bases.count(20), bases.count(100)]
        self.assertEqual(decided, [step["decided"] for step in early["steps"][:2]])
        self.assertLess(0, sum(decided))
        # More bases, more certainty; and whole reads are what --one-strand says.
        losses = [step["log_loss"] for step in early["steps"]]
        self.assertLess(losses[1], losses[0])
        whole = self.classify("--one-strand")
        right = sum(row["label"] == label for row, label in zip(whole, self.labels))
        self.assertAlmostEqual(early["steps"][2]["accuracy"], right / len(self.labels))

    def test_what_makes_no_sense(self):
        for words, part in ((["--decide-at", "100,20"], "ascend"), (["--decide-at", "0"], "--decide-at"),
                            (["--decide-at", "20", "--min-prob", "1.5"], "--min-prob"),
                            (["--decide-at", "20", "--min-prob", "0"], "least probability")):
            result = self.evaluate(*words)
            self.assertEqual(2, result.returncode, words)
            self.assertIn(part, result.stderr.decode())


if __name__ == "__main__":
    unittest.main()
