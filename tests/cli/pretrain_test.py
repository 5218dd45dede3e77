#!/usr/bin/env python3
"""dna pretrain: splits, soft masks, genome weights, streams and pieces, and what does not go together."""
import json
import unittest

import command_line
from command_line import PRETRAIN
from program import ProgramTest

import sample_data


class Pretrain(ProgramTest):
    def words(self, output, *more, genome=("genome.fa",), split=("--split", "held_out.bed")):
        return ["dna", "pretrain", *genome, *split, "-o", output, *PRETRAIN, *more]

    def told(self, *words):
        """What the program says on stderr."""
        result = command_line.run(self.folder, *words)
        self.assertEqual(0, result.returncode, f"{words}\n{result.stderr}")
        return result.stderr

    def refuse(self, code, *words, holding=()):
        result = command_line.run(self.folder, *words)
        self.assertEqual(code, result.returncode, f"{words}\n{result.stderr}")
        for text in holding:
            self.assertIn(text, result.stderr)
        self.assertNotIn("internal error", result.stderr)

    def task(self, run):
        return json.loads((self.folder / run / "config.json").read_text())["task"]

    def losses(self, run):
        lines = [json.loads(line) for line in (self.folder / run / "log.jsonl").read_text().splitlines()]
        return [line["loss"] for line in lines if line["type"] == "train"]

    def bed(self, run):
        rows = [line.split("\t") for line in (self.folder / run / "split.bed").read_text().splitlines()
                if not line.startswith("#")]
        return [(contig, int(start), int(end), split) for contig, start, end, split in rows]

    # Splits ------------------------------------------------------------------------------------------

    def test_blocks_hold_out_what_the_seed_draws(self):
        blocks = ["--split-blocks", "5000", "--test-fraction", "0.2", "--validation-fraction", "0.1"]
        self.told(*self.words("one", split=blocks))
        rows = self.bed("one")
        held_out = [row for row in rows if row[3] != "train"]
        self.assertEqual(20000, sum(end - start for _, start, end, split in rows if split == "test"))
        self.assertEqual(10000, sum(end - start for _, start, end, split in rows if split == "validation"))
        for contig, start, end, split in rows:
            if split == "train":
                for other, low, high, _ in held_out:
                    self.assertFalse(other == contig and start < high + 500 and low - 500 < end)
        self.told(*self.words("two", split=[*blocks, "--split-seed", "1"]))
        self.assertNotEqual(rows, self.bed("two"))
        # What was saved is what --split reads: the same split, the same run.
        self.told(*self.words("again", split=["--split", "one/split.bed"]))
        self.assertEqual(rows, self.bed("again"))
        self.assertEqual(self.task("one"), self.task("again"))
        self.refuse(2, *self.words("x", split=[*blocks, "--test", "chr2"]), holding=["--split-blocks", "--test"])
        self.refuse(2, *self.words("x", split=["--test-fraction", "0.2"]), holding=["--split-blocks"])
        self.refuse(1, *self.words("x", split=["--split-blocks", "90000", "--test-fraction", "0.9",
                                               "--validation-fraction", "0.05"]), holding=["use smaller blocks"])

    def test_overlap_is_an_error_unless_allowed(self):
        overlapping = ["--train", "chr1", "--test", "chr1:1-5,000"]
        self.refuse(1, *self.words("run", split=overlapping),
                    holding=["the splits train and test overlap at chr1:1-5000", "--allow-overlap"])
        self.assertFalse((self.folder / "run").exists())
        told = self.told(*self.words("run", "--allow-overlap", split=overlapping))
        self.assertEqual(1, told.count("the splits train and test overlap at chr1:1-5000"), told)
        evaluate = ["dna", "evaluate", "--model", "run", "genome.fa", "--split", "run/split.bed", "--test-window", "128",
                    "--test-bases", "2000", "--markov", "-1"]
        self.refuse(1, *evaluate, holding=["overlap"])
        self.assertIn("overlap", self.told(*evaluate, "--allow-overlap"))

    # Soft mask ---------------------------------------------------------------------------------------

    def test_header_says_what_masked_bases_count(self):
        told = self.told(*self.words("weight"))
        self.assertIn("soft-masked bases (1 of 2 contigs carry a mask) count 0.1", told)
        self.assertEqual(1, told.count("1 of 2 training contigs carry no soft mask"), told)
        self.assertEqual(0.1, self.task("weight")["soft_mask_weight"])
        for policy, weight in (("upper", 1), ("weight=0.25", 0.25), ("ignore", 0)):
            told = self.told(*self.words(policy, "--soft-mask", policy))
            self.assertIn(f"count {weight}, others 1", told)
            self.assertEqual(weight, self.task(policy)["soft_mask_weight"])
            self.assertEqual(policy != "upper", "carry no soft mask" in told)
        for policy in ("lower", "weight=2", "weight="):
            self.refuse(2, *self.words("x", "--soft-mask", policy), holding=["weight=W"])

    # Genomes -----------------------------------------------------------------------------------------

    def test_genome_weights(self):
        other = sample_data.random_genome(30000, chain=5, seed=9)
        (self.folder / "other.fa").write_text(sample_data.fasta([("other", other)]))
        both = ("genome.fa", "other.fa")
        told = self.told(*self.words("run", "--genome-weights", "1,3", genome=both))
        self.assertIn("windows of genome.fa 25 %, other.fa 75 %", told)
        self.assertEqual([1, 3], self.task("run")["genome_weights"])
        self.refuse(2, *self.words("x", "--genome-weights", "1", genome=both), holding=["1 genome weights for 2"])
        self.refuse(2, *self.words("x", "--genome-weights", "0,0", genome=both), holding=["all genome weights are 0"])
        self.refuse(2, *self.words("x", "--genome-weights", "1,-1", genome=both), holding=["--genome-weights"])
        (self.folder / "all_test.bed").write_text("other\t0\t30000\ttest\n")
        self.refuse(1, *self.words("x", "--genome-weights", "1,1", genome=both, split=["--split", "all_test.bed"]),
                    holding=["other.fa", "weight 0"])
        self.told(*self.words("second", "--genome-weights", "1,0", genome=both, split=["--split", "all_test.bed"]))

    # Streams and pieces ------------------------------------------------------------------------------

    def test_pieces_do_not_change_the_result(self):
        self.told(*self.words("whole", "--log-every", "1"))
        told = self.told(*self.words("kept", "--log-every", "1", "--chunk", "50"))
        self.assertIn("pieces of 50 with gradients kept", told)
        self.told(*self.words("cut", "--log-every", "1", "--chunk", "50", "--chunk-gradients", "cut"))
        for step, (whole, kept) in enumerate(zip(self.losses("whole"), self.losses("kept"), strict=True)):
            self.assertAlmostEqual(whole, kept, delta=1e-5 * whole, msg=f"step {step + 1}")
        self.assertNotEqual(self.losses("whole"), self.losses("cut"))

    def test_streams(self):
        told = self.told(*self.words("run", "--stream", "--chunk", "64", "--accumulation", "2"))
        self.assertIn("4 streams along the chromosomes", told)
        last = json.loads((self.folder / "run/log.jsonl").read_text().splitlines()[-2])
        self.assertEqual(4 * 2 * 2 * 128, last["tokens"])
        self.refuse(2, *self.words("run", "--chunk", "64", "--accumulation", "2"), holding=["task.stream"])

    def test_what_does_not_go_together(self):
        warmup = ["--warmup-window", "32", "--warmup-window-steps", "2"]
        self.refuse(2, *self.words("x", "--stream", *warmup), holding=["--warmup-window does not go with --stream"])
        self.refuse(2, *self.words("x", "--chunk", "129"), holding=["--chunk 129", "--window 128"])
        self.refuse(2, *self.words("x", "--chunk-gradients", "cut"), holding=["--chunk"])
        self.refuse(1, *self.words("x", "--stream", "--accumulation", "4000"), holding=["streams", "shorter windows"])
        self.assertFalse((self.folder / "x").exists())
        self.told(*self.words("run", "--chunk", "64", *warmup))

    def test_a_million_bases_in_a_window(self):
        long = sample_data.random_genome(30000, chain=1, seed=3) * 40
        (self.folder / "long.fa").write_text(sample_data.fasta([("long", long), ("test", long[:20000])]))
        words = ["--split", "test.bed", "--gap", "0", "--d-model", "8", "--layers", "M", "--d-state", "2", "--window",
                 "1048576", "--batch", "1", "--steps", "1", "--markov", "-1", "--test-window", "1000"]
        (self.folder / "test.bed").write_text("test\t0\t20000\ttest\n")
        for name, more in (("whole", []), ("pieces", ["--chunk", "131072"])):
            self.told("dna", "pretrain", "long.fa", "-o", name, *words, *more)
        whole, pieces = self.losses("whole")[0], self.losses("pieces")[0]
        self.assertAlmostEqual(whole, pieces, delta=1e-4 * whole)


if __name__ == "__main__":
    unittest.main()
