#!/usr/bin/env python3
"""`dna split`: what it writes, what it reports, and what it refuses."""
import collections
import csv
import json
import pathlib
import random
import tempfile
import unittest

from program import ProgramTest

import sample_data

COMPLEMENT = str.maketrans("ACGT", "TGCA")


def letters(length, seed):
    return "".join(random.Random(seed).choices("ACGT", k=length))


def turned(sequence):
    return sequence.translate(COMPLEMENT)[::-1]


def rows_of(text):
    lines = [line for line in text.splitlines() if not line.startswith("##")]
    return list(csv.DictReader(lines, delimiter="\t"))


class SplitTest(ProgramTest):
    def setUp(self):  # without the sample files
        self.holder = tempfile.TemporaryDirectory()
        self.addCleanup(self.holder.cleanup)
        self.folder = pathlib.Path(self.holder.name)

    def write(self, name, text):
        path = self.folder / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
        return name

    def table(self, name, rows, header="sequence,label"):
        return self.write(name, header + "\n" + "".join(",".join(map(str, row)) + "\n" for row in rows))

    def split(self, data, *more, output="out.tsv"):
        """Rows of the table written, the report and what was printed."""
        printed = self.succeed("dna", "split", data, "-o", output, *more)
        report = json.loads((self.folder / output).with_suffix(".leakage.json").read_text())
        return rows_of((self.folder / output).read_text()), report, printed

    def refuse(self, code, words, *patterns):
        result = self.run_program("dna", "split", *words)
        shown = f"{words}\n{result.returncode}\n{result.stderr.decode()}"
        self.assertEqual(code, result.returncode, shown)
        self.assertIn("[E] ", result.stderr.decode(), shown)
        self.assertNotIn("internal error", result.stderr.decode(), shown)
        for pattern in patterns:
            self.assertRegex(result.stderr.decode(), pattern, shown)


class Sequences(SplitTest):
    def clustered(self, name="data.csv", families=60, size=4):
        rows = []
        for family in range(families):
            whole = letters(200, family)
            rows += [(whole[20 * i:20 * i + 100], "ab"[family % 2]) for i in range(size)]
        return self.table(name, rows)

    def test_clusters_stay_whole(self):
        rows, report, printed = self.split(self.clustered())
        self.assertEqual(240, len(rows))
        splits = collections.defaultdict(set)
        for i, row in enumerate(rows):
            splits[i // 4].add(row["split"])
            self.assertEqual(rows[i // 4 * 4]["name"], row["cluster"])
            self.assertEqual("0", row["overlaps_training"])
        self.assertTrue(all(len(found) == 1 for found in splits.values()))
        counts = collections.Counter((row["split"], row["label"]) for row in rows)
        for label in "ab":
            self.assertEqual([96, 12, 12], [counts[split, label] for split in ("train", "validation", "test")])
        self.assertEqual(60, report["units"])
        self.assertEqual([0, 0], [held["overlapping"] for held in report["held_out"]])
        self.assertIn("240 sequences", printed)

        rows, report, _ = self.split("data.csv", "--split", "random", output="random.tsv")
        self.assertEqual(240, len(rows))
        overlapping = sum(row["overlaps_training"] == "1" for row in rows)
        self.assertGreater(overlapping, 30)
        self.assertEqual(overlapping, sum(held["overlapping"] for held in report["held_out"]))

    def test_a_given_split_is_reported_with_and_without_what_overlaps(self):
        train = [(letters(100, i), i % 2) for i in range(20)]
        dev = [(train[0][0], 0), (turned(train[1][0]), 1),                      # copies
               (train[2][0][:70] + letters(30, 50), 0),                         # 40 of 70 31-mers
               (train[3][0][:60] + letters(40, 51), 1), (letters(100, 52), 0),  # 30 of 70; new
               ("ACGT", 0)]
        self.table("gue/train.csv", train)
        self.table("gue/dev.csv", dev)
        rows, report, _ = self.split("gue")
        self.assertEqual(["1", "1", "1", "0", "0", "0"], [row["overlaps_training"] for row in rows[20:]])
        self.assertEqual({"split": "validation", "sequences": 6, "exact": 2, "overlapping": 3, "without_overlap": 3},
                         report["held_out"][0])
        self.assertEqual("given", report["policy"])
        # dev as the test, validation out of training; the result is taken as it is.
        rows, report, _ = self.split("train=gue/train.csv,test=gue/dev.csv", output="second.tsv")
        counts = collections.Counter(row["split"] for row in rows)
        self.assertEqual({"train": 18, "validation": 2, "test": 6}, dict(counts))
        again, report, _ = self.split("second.tsv", output="third.tsv")
        self.assertEqual([row["split"] for row in rows], [row["split"] for row in again])
        self.assertEqual("given", report["policy"])

    def test_copies_and_conflicts(self):
        rows = [(letters(50, i), "ab"[i % 2]) for i in range(30)]
        extra = [(turned(rows[0][0]), "a"), (rows[1][0], "a"), (letters(50, 99), "b")]
        written, report, printed = self.split(self.table("data.csv", rows + extra))
        self.assertEqual(30, len(written))  # without the copy and both rows that conflict
        self.assertNotIn(rows[1][0], [row["sequence"] for row in written])
        self.assertEqual([2, 2, 30], [report[key] for key in ("copies", "conflicting", "kept")])
        self.assertIn("2 with conflicting labels; 30 kept", printed)

    def test_groups_labels_and_names_come_through(self):
        rows = [(letters(60, i), "x;y" if i % 3 else ".", f"p{i // 5}", f'"the {i}th, ""{i}"""') for i in range(60)]
        written, report, _ = self.split(
            self.table("data.csv", rows, "sequence,label,group,name"), "--kind", "multi-label")
        self.assertEqual([row[1] for row in rows], [row["label"] for row in written])
        self.assertEqual('the 7th, "7"', written[7]["name"])
        groups = collections.defaultdict(set)
        for row in written:
            groups[row["group"]].add(row["split"])
        self.assertEqual(12, len(groups))
        self.assertTrue(all(len(found) == 1 for found in groups.values()))
        self.assertEqual(12, report["units"])

    def test_folds_and_repetition(self):
        data = self.clustered()
        tested = collections.Counter()
        for fold in (1, 2, 3):
            rows, report, _ = self.split(data, "--folds", 3, "--fold", fold, "--force")
            tested.update(row["name"] for row in rows if row["split"] == "test")
            self.assertEqual(80, sum(row["split"] == "validation" for row in rows))
        self.assertEqual({1}, set(tested.values()))
        self.assertEqual(240, len(tested))
        first = self.succeed("dna", "split", data, "-o", "-", "--no-PG")
        self.assertEqual(first, self.succeed("dna", "split", data, "-o", "-", "--no-PG"))
        self.assertNotEqual(first, self.succeed("dna", "split", data, "-o", "-", "--no-PG", "--split-seed", 1))
        self.assertNotIn("##", first)

    def test_finetune_divides_as_split_does(self):
        data = self.clustered()
        self.split(data)
        tiny = ["--d-model", "16", "--layers", "M{1}", "--d-state", "4", "--batch", "4", "--steps", "2",
                "--eval-per-class", "4", "--test-per-class", "4", "--threads", "1", "--device", "cpu"]
        texts = []
        for source, run in ((data, "a"), ("out.tsv", "b")):
            result = self.run_program("dna", "finetune", source, "-o", run, *tiny)
            self.assertEqual(0, result.returncode, result.stderr.decode())
            self.assertIn("192 training, 24 validation and 24 test sequences", result.stderr.decode())
            texts.append(json.loads((self.folder / run / "config.json").read_text())["task"]["data"])
        self.assertEqual(*texts)

    def test_bad_tables(self):
        good = [(letters(40, i), "ab"[i % 2]) for i in range(10)]
        refuse = lambda rows, header, *patterns, code=1: self.refuse(
            code, [self.table("bad.csv", rows, header), "-o", "out.tsv"], *patterns)
        refuse([(*row, "g", "train" if i else "test") for i, row in enumerate(good)], "sequence,label,group,split",
               r'bad.csv, line 3: the group "g" is in the split "train", but in the split "test" at bad.csv, line 2')
        refuse([(row[0], "a") for row in good], "sequence,label", 'one class only, "a"')
        refuse([good[0], good[1], (turned(good[1][0]), "a")], "sequence,label",
               'the class "b" has no sequences in the training split of bad.csv, after 2 copies')
        refuse([(*row, "train") for row in good], "sequence,label,spilt", 'the column "spilt" is unknown: is it "split"')
        refuse(good, "dna,class", "columns found: dna, class")
        self.refuse(1, [self.write("empty.csv", ""), "-o", "out.tsv"], "empty.csv")
        self.assertFalse((self.folder / "out.tsv").exists())

    def test_wrong_usage(self):
        data = self.clustered(families=10)
        self.refuse(2, [data, "-o", "out.tsv", "--folds", "3"], "--fold which of them is the test, 1 to 3")
        self.refuse(2, [data, "-o", "out.tsv", "--folds", "3", "--fold", "4"], "there are 3 folds")
        self.refuse(2, [data, "-o", "out.tsv", "--test-fraction", "0.6", "--validation-fraction", "0.5"],
                    "leave something for training")
        self.split(data)
        self.refuse(2, [data, "-o", "out.tsv"], "out.tsv exists")
        self.refuse(2, ["out.tsv", "-o", "folds.tsv", "--folds", "3", "--fold", "1"], "holds out sequences already")
        self.refuse(1, [data, "-o", "nowhere/out.tsv"], "nowhere")


class Genomes(SplitTest):
    def manifest(self, name="all.tsv", strains=4):
        lines = ["path\tlabel\tgroup\ttaxid"]
        for chain, label in ((10, "ecoli"), (11, "hpylori")):
            for number in range(strains):
                file = f"strains/{label}_more{number}.fa"
                sequence = sample_data.random_genome(3000, chain, 1000 * chain + number)
                self.write(file, sample_data.fasta([(f"{label}{number}", sequence)]))
                lines.append(f"{file}\t{label}\t{label}{number}\t{chain}")
        return self.write(name, "\n".join(lines) + "\n")

    def test_whole_groups_and_paths_from_the_new_file(self):
        (self.folder / "sub").mkdir()
        rows, report, printed = self.split(self.manifest(), output="sub/out.tsv")
        counts = collections.Counter((row["split"], row["label"]) for row in rows)
        self.assertEqual({2, 1}, set(counts.values()))
        self.assertEqual(6, len(counts))
        for row in rows:
            self.assertTrue((self.folder / "sub" / row["path"]).is_file(), row)
            self.assertFalse(row["path"].startswith("/"))
        self.assertEqual("10", rows[0]["taxid"])
        self.assertEqual(4, len(report["held_out"]))
        self.assertIn("31-mers of held-out groups", printed)
        again, _, _ = self.split("sub/out.tsv", output="again.tsv")
        self.assertEqual([row["split"] for row in rows], [row["split"] for row in again])
        self.assertTrue(rows_of(self.succeed("dna", "split", "all.tsv", "-o", "-"))[0]["path"].startswith("/"))

    def test_shares_of_a_held_out_genome(self):
        base = {name: letters(2000, i) for i, name in enumerate("abn")}
        self.write("m/a.fa", sample_data.fasta([("a", base["a"])]))
        self.write("m/b.fa", sample_data.fasta([("b", base["b"])]))
        mix = base["a"][:530] + "N" + turned(base["b"])[:280] + "N" + base["n"][:280]
        self.write("m/mix.fa", sample_data.fasta([("mix", mix)]))
        self.write("m/m.tsv", "path\tlabel\tgroup\tsplit\na.fa\ta\ta\ttrain\nb.fa\tb\tb\ttrain\nmix.fa\ta\tmix\ttest\n")
        _, report, printed = self.split("m/m.tsv", output="m/out.tsv")
        mix, = report["held_out"]
        self.assertEqual(("mix", "a", "test", 1000), (mix["group"], mix["label"], mix["split"], mix["kmers"]))
        self.assertAlmostEqual(0.5, mix["in_own_class"])
        self.assertAlmostEqual(0.25, mix["in_other_classes"])
        self.assertRegex(printed, r"mix +a +test +50\.00 +25\.00")
        self.assertEqual(2, report["genomes_with_validation_ends"])

    def test_bad_manifests(self):
        self.manifest()
        bad = lambda text: [self.write("bad.tsv", text), "-o", "out.tsv"]
        start = "path\tlabel\tgroup\tsplit\nstrains/ecoli_more0.fa\te\tg\ttrain\n"
        self.refuse(1, bad(start + "strains/hpylori_more0.fa\th\tg\ttest\n"),
                    'bad.tsv, line 3: the group "g" is in the split "test", but in the split "train" at bad.tsv, line 2')
        self.refuse(1, bad(start + "strains/nothing.fa\th\th\t\n"), "line 3: cannot read strains/nothing.fa")
        self.refuse(1, bad("path\tlabel\tgruop\nstrains/ecoli_more0.fa\te\tx\nstrains/hpylori_more0.fa\th\ty\n"),
                    'the column "gruop" is unknown: is it "group"')
        self.refuse(2, [self.write("n.tsv", "path\tlabel\nstrains/ecoli_more0.fa\te\nstrains/hpylori_more0.fa\th\n"), "-o",
                        "out.tsv", "--folds", "3", "--fold", "1"], "n.tsv has no groups")
        self.assertFalse((self.folder / "out.tsv").exists())


if __name__ == "__main__":
    unittest.main()
