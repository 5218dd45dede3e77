#!/usr/bin/env python3
"""`dna finetune` of every kind of label, and `dna evaluate` of what it made."""
import csv
import hashlib
import json
import random
import struct
import unittest

from program import ProgramTest

MODEL = ["--d-model", "16", "--layers", "M", "--d-state", "4"]
QUICK = ["--batch", "16", "--lr", "1e-2", "--device", "cpu", "--threads", "1", "--quiet"]


def sequence(generator, length, gc):
    return "".join(generator.choices("ACGT", weights=[1 - gc, gc, gc, 1 - gc], k=length))


def tensors(model):
    """The names and bytes of the tensors in model.safetensors."""
    content = (model / "model.safetensors").read_bytes()
    size = struct.unpack("<Q", content[:8])[0]
    header = json.loads(content[8:8 + size])
    header.pop("__metadata__", None)
    begin = 8 + size
    return {name: content[begin + entry["data_offsets"][0]:begin + entry["data_offsets"][1]]
            for name, entry in header.items()}


def config_of(run):
    return json.loads((run / "config.json").read_text())


class Finetune(ProgramTest):
    def setUp(self):
        super().setUp()
        self.random = random.Random(5)
        self.write("classes.csv", "sequence,label,split,group", self.class_rows())

    def write(self, name, header, rows):
        (self.folder / name).write_text("\n".join([header, *rows]) + "\n")

    def class_rows(self, given=True):
        for i in range(150):
            split = ["train"] * 8 + ["validation", "test"]
            letters = sequence(self.random, 60 + i % 3, [0.2, 0.5, 0.8][i % 3])
            yield f"{letters},{'abc'[i % 3]}" + (f",{split[i // 3 % 10]},{'abc'[i % 3]}{i // 3 % 10}" if given else "")

    def finetune(self, data, output, *words, shape=True):
        return self.succeed("dna", "finetune", data, "-o", output, *(MODEL if shape else []), *QUICK, *words)

    def table(self, name, delimiter=","):
        with (self.folder / name).open() as file:
            return list(csv.DictReader(file, delimiter=delimiter))

    def classify(self, reads, *words):
        lines = self.succeed("dna", "classify", "--model", "run", reads, "--no-PG", "--quiet", "--device", "cpu", *words).splitlines()
        return [dict(zip(lines[0][1:].split("\t"), line.split("\t"), strict=True)) for line in lines[1:]]

    def figures(self, run):
        return json.loads((self.folder / run / "test.json").read_text())

    def named(self, report, name, **where):
        found = [r for r in report["results"] if r["name"] == name and all(r[k] == v for k, v in where.items())]
        self.assertEqual(1, len(found), (name, where))
        return found[0]

    # What is measured --------------------------------------------------------------------------------

    def test_classes_beside_baselines_in_every_cell(self):
        shown = self.finetune("classes.csv", "run", "--steps", "40", "--test-lengths", "0,30", "--test-error-rates",
                              "0,0.2", "--baseline", "cnn")
        report = self.figures("run")
        self.assertEqual(("classifier", ["a", "b", "c"]), (report["kind"], report["labels"]))
        names = ["this model", "majority", "GC content", "6-mer naive Bayes", "31-mer lookup", "CNN"]
        self.assertEqual(names * 4, [r["name"] for r in report["results"]])
        for name in names:
            self.assertEqual(4, shown.count(name))
        model = self.named(report, "this model", length=0, error_rate=0)
        self.assertGreater(model["accuracy"], 0.8)
        self.assertEqual(15, model["n"])
        self.assertEqual(15, sum(map(sum, model["confusion"])))
        low, high = model["intervals"]["accuracy"][1:]
        self.assertTrue(low <= model["accuracy"] <= high)
        self.assertAlmostEqual(1 / 3, self.named(report, "majority", length=30, error_rate=0.2)["accuracy"])
        self.assertGreater(self.named(report, "GC content", length=0, error_rate=0)["accuracy"], 0.8)
        self.assertEqual(0, self.named(report, "31-mer lookup", length=0, error_rate=0)["accuracy"])
        self.assertEqual({"a9", "b9", "c9"}, {g["group"] for g in model["per_group"]})
        self.assertEqual(3, len(report["curves"]["roc"]))
        self.assertGreater(report["rejection"]["temperature"], 0)
        self.assertIn("splits", report["leakage"])
        self.assertIn("dna finetune classes.csv", report["command"])

        rows = self.table("run/predictions.tsv", delimiter="\t")
        self.assertEqual(15, len(rows))
        for row in rows:
            probabilities = {label: float(row[f"p_{label}"]) for label in "abc"}
            self.assertAlmostEqual(1, sum(probabilities.values()), places=5)
            self.assertEqual(row["prediction"], max(probabilities, key=probabilities.get))
        right = sum(row["truth"] == row["prediction"] for row in rows)
        self.assertAlmostEqual(model["accuracy"], right / len(rows))

        # The same figures from the model alone.
        test = [r for r in self.table("classes.csv") if r["split"] == "test"]
        self.write("test.csv", "sequence,label,group", (f"{r['sequence']},{r['label']},{r['group']}" for r in test))
        self.succeed("dna", "evaluate", "--model", "run", "test.csv", "-o", "again.json", "--predictions", "again.tsv",
                     "--baseline", "classes.csv", "--device", "cpu", "--threads", "1", "--quiet")
        again = json.loads((self.folder / "again.json").read_text())
        for name in names[:-1]:
            self.assertAlmostEqual(self.named(report, name, length=0, error_rate=0)["accuracy"],
                                   self.named(again, name)["accuracy"], msg=name)
        self.assertAlmostEqual(model["log_loss"], self.named(again, "this model")["log_loss"], places=5)
        self.assertEqual(16, len((self.folder / "again.tsv").read_text().splitlines()))

    def test_evaluation_says_what_was_seen(self):
        self.finetune("classes.csv", "run", "--steps", "2")
        words = ["dna", "evaluate", "--model", "run", "--device", "cpu", "--quiet"]
        seen = self.run_program(*words, "classes.csv").stderr.decode()
        self.assertRegex(seen, r"\d+(\.\d+)? % of targets were seen in training")
        self.write("new.csv", "sequence,label", self.class_rows(given=False))
        self.assertNotIn("seen in", self.run_program(*words, "new.csv").stderr.decode())
        (self.folder / "few.csv").write_text("".join((self.folder / "new.csv").read_text().splitlines(True)[:2]))
        self.assertRegex(self.run_program(*words, "few.csv").stderr.decode(),
                         r"how much of the targets was seen in training: too few sampled 21-mers to tell \(\d+\)")

    def test_labels(self):
        rows = []
        for i in range(120):
            gc = [0.1, 0.9][i % 2]
            rows.append(f"{sequence(self.random, 50, gc)},{'rich;any' if gc > 0.5 else 'any' if i % 4 else '.'}")
        self.write("labels.csv", "sequence,label", rows)
        self.finetune("labels.csv", "run", "--kind", "multi-label", "--class-weights", "balanced", "--steps", "30")
        report = self.figures("run")
        self.assertEqual(("multi_label", ["any", "rich"]), (report["kind"], report["labels"]))
        model = self.named(report, "this model")
        self.assertGreater([c["auroc"] for c in model["per_class"] if c["label"] == "rich"][0], 0.95)
        self.assertEqual("multi_label", json.loads((self.folder / "run/best/config.json").read_text())["head"]["kind"])
        self.succeed("dna", "evaluate", "--model", "run", "labels.csv", "-o", "again.json", "--quiet", "--device", "cpu")
        self.assertEqual(120, json.loads((self.folder / "again.json").read_text())["results"][0]["n"])

        # The labels of classify are those of predictions.tsv.
        rows = [row.split(",")[0] for row in (self.folder / "labels.csv").read_text().splitlines()[1:]]
        (self.folder / "labels.fa").write_text("".join(f">r{i}\n{letters}\n" for i, letters in enumerate(rows)))
        self.succeed("dna", "evaluate", "--model", "run", "labels.csv", "--predictions", "all.tsv", "--quiet", "--device", "cpu")
        expected = [row["prediction"] for row in self.table("all.tsv", delimiter="\t")]
        found = self.classify("labels.fa")
        self.assertEqual(expected, [row["label"] for row in found])
        self.assertLess(1, len(set(expected)), expected)
        for row in self.classify("labels.fa", "--min-prob", "0.8"):
            sure = [label for label in ("any", "rich") if float(row["p:" + label]) > 0.8]
            self.assertEqual(";".join(sure) or ".", row["label"])
            self.assertEqual("classified", row["status"])
        classify = ["dna", "classify", "--model", "run", "labels.fa", "--device", "cpu"]
        self.refuse(2, *classify, "-O", "kraken", holding=["-O kraken has one class per read", "any number of labels"])
        self.refuse(2, *classify, "-O", "fastq-split", "-o", "split", holding=["-O fastq-split has one class per read"])
        self.refuse(2, *classify, "--decide-at", "20", holding=["deciding early needs a classifier of classes"])

    def test_values(self):
        rows = []
        for i in range(120):
            letters = sequence(self.random, 50, i / 120)
            rows.append(f"{letters},{7000 + 30 * sum(c in 'GC' for c in letters)}")
        self.write("values.csv", "sequence,label", rows)
        self.finetune("values.csv", "run", "--kind", "regression", "--steps", "40", "--baseline", "cnn")
        report = self.figures("run")
        self.assertEqual("regression", report["kind"])
        self.assertGreater(self.named(report, "this model")["r2"], 0.8)
        self.assertGreater(self.named(report, "GC content")["r2"], 0.999)
        self.assertLess(self.named(report, "mean")["r2"], 0.1)
        row = (self.folder / "run/predictions.tsv").read_text().splitlines()[1].split("\t")
        self.assertLess(abs(float(row[2]) - float(row[3])), 500)
        self.assertEqual(row[3], row[4])

        (self.folder / "values.fa").write_text("".join(f">r{i}\n{row.split(',')[0]}\n" for i, row in enumerate(rows)))
        self.succeed("dna", "evaluate", "--model", "run", "values.csv", "--predictions", "all.tsv", "--quiet", "--device", "cpu")
        expected = [float(row["value"]) for row in self.table("all.tsv", delimiter="\t")]
        found = self.classify("values.fa", "--min-length", "50")
        self.assertEqual(["name", "length", "value", "ood", "status"], list(found[0]))
        self.assertEqual({"predicted"}, {row["status"] for row in found})
        for value, row in zip(expected, found, strict=True):
            self.assertAlmostEqual(value, float(row["value"]), delta=0.1)
        classify = ["dna", "classify", "--model", "run", "values.fa", "--device", "cpu"]
        self.assertIn("120 records: 120 predicted, 0 rejected", self.run_program(*classify).stderr.decode())
        for form in ("bam", "cram", "kraken", "fastq-split"):
            self.refuse(2, *classify, "-O", form, "-o", "out", holding=[f"-O {form} has no place for values", "use -O tsv"])
        self.refuse(2, *classify, "--min-prob", "0.5", holding=["--min-prob: this model predicts values"])
        self.refuse(2, *classify, "--report", "r.txt", "--taxonomy", "t.tsv", holding=["--report counts reads by their one class"])

    # How it is trained -------------------------------------------------------------------------------

    def test_frozen_models_stay_bit_for_bit(self):
        self.finetune("classes.csv", "start", "--steps", "4")
        self.finetune("classes.csv", "run", "--model", "start", "--freeze", "--steps", "4", shape=False)
        before, after = tensors(self.folder / "start/best"), tensors(self.folder / "run/best")
        self.assertEqual(before.keys(), after.keys())
        for name, content in before.items():
            self.assertEqual(name.startswith("backbone."), content == after[name], name)
        # The language model that lies in the backbone stays usable.
        head = json.loads((self.folder / "run/best/config.json").read_text())["head"]
        self.assertTrue(head["language_model"])
        training = json.loads((self.folder / "run/log.jsonl").read_text().splitlines()[0])
        self.assertEqual(3 * 16 + 3, training["parameters"])

    def test_patience_ends_a_run_for_good(self):
        words = ["--steps", "400", "--eval-every", "3", "--patience", "2"]
        self.finetune("classes.csv", "run", *words)
        log = [json.loads(line) for line in (self.folder / "run/log.jsonl").read_text().splitlines()]
        values = [record["metrics"]["macro_f1"] for record in log if record["type"] == "eval"]
        self.assertLess(len(values), 400 // 3)
        best = values.index(max(values))
        self.assertEqual(len(values), best + 3)
        self.assertLessEqual(max(values[-2:]), values[best])
        before = hashlib.sha256((self.folder / "run/best/model.safetensors").read_bytes()).hexdigest()
        self.finetune("classes.csv", "run", *words)
        after = hashlib.sha256((self.folder / "run/best/model.safetensors").read_bytes()).hexdigest()
        self.assertEqual(before, after)
        again = [json.loads(line) for line in (self.folder / "run/log.jsonl").read_text().splitlines()]
        self.assertEqual(len(values), sum(record["type"] == "eval" for record in again))

    def test_folds(self):
        self.write("whole.csv", "sequence,label", self.class_rows(given=False))
        shown = self.finetune("whole.csv", "out", "--folds", "3", "--steps", "10")
        self.assertIn("3 folds, mean and standard deviation", shown)
        summary = json.loads((self.folder / "out/folds.json").read_text())
        accuracy = summary["results"][0]["accuracy"]
        single = [self.named(self.figures(f"out/fold-{k}"), "this model") for k in (1, 2, 3)]
        self.assertEqual(accuracy["values"], [r["accuracy"] for r in single])
        self.assertAlmostEqual(accuracy["mean"], sum(accuracy["values"]) / 3)
        self.assertEqual(150, sum(r["n"] for r in single))  # every sequence is tested once

    def test_a_class_left_out(self):
        self.finetune("classes.csv", "run", "--steps", "10", "--leave-one-class-out")
        left_out = self.figures("run")["rejection"]["leave_one_class_out"]
        self.assertEqual(["a", "b", "c"], [entry["label"] for entry in left_out])
        for entry in left_out:
            self.assertTrue(0 <= entry["auroc"] <= 1)
        config = json.loads((self.folder / "run/left-out-b/best/config.json").read_text())
        self.assertEqual(["a", "c"], config["head"]["classes"])
        self.assertRegex(config_of(self.folder / "run/left-out-b")["task"]["description"], "^2 classes, 80 training, .* without b")

    def test_lengths_from_a_file(self):
        """What is said of them: no line twice, nothing internal, and that the sequences are shorter."""
        self.write("reads.tsv", "length\tcount", ["500\t3", "40\t1"])
        words = ["dna", "finetune", "classes.csv", *MODEL, *QUICK[:-1], "--steps", "1", "-o"]
        told = self.run_program(*words, "run", "--length-dist", "reads.tsv").stderr.decode()
        self.assertRegex(told, r"--length-dist: most of its lengths \(40 to 500 bases, mean 385\.0\) exceed the 62 bases of "
                               "the longest training sequence")
        self.assertEqual(1, told.count("3 classes, 120 training"), told)
        self.assertNotRegex(told, r"\([0-9a-f]{8}\)")
        self.assertIn("saving a checkpoint at step 1", told)
        fits = self.run_program(*words, "fits", "--length-dist", "40-60").stderr.decode()
        self.assertNotIn("--length-dist", fits)

    def test_taxids_go_with_the_model(self):
        manifest = (self.folder / "strains.tsv").read_text().splitlines()
        rows = [manifest[0].split("\t") + ["taxid"]]
        for row in manifest[1:]:
            rows.append(row.split("\t") + ["562" if "ecoli" in row else "210"])
        for name in ("one", "two"):
            (self.folder / f"{name}.tsv").write_text("".join("\t".join(row) + "\n" for row in rows))
            rows[1][-1] = "83333"
        words = [*MODEL, *QUICK, "--length", "100", "--steps", "1", "--eval-per-class", "2", "--test-per-class", "2"]
        self.succeed("dna", "finetune", "one.tsv", "-o", "run", *words)
        self.assertEqual("label\ttaxid\necoli\t562\nhpylori\t210\n", (self.folder / "run/best/taxids.tsv").read_text())
        classify = ["dna", "classify", "reads.fa", "-O", "kraken", "--quiet", "--device", "cpu", "--model"]
        for line in self.succeed(*classify, "run").splitlines():
            self.assertIn(line.split("\t")[2], ("562", "210"))
        (self.folder / "ids.tsv").write_text("ecoli\t7\nhpylori\t8\n")
        for line in self.succeed(*classify, "run", "--taxids", "ids.tsv").splitlines():
            self.assertIn(line.split("\t")[2], ("7", "8"))
        # Two for one class are none.
        told = self.run_program("dna", "finetune", "two.tsv", "-o", "unsure", *words).stderr.decode()
        self.assertIn('the class "ecoli" has genomes of different taxids (562, 83333)', told)
        self.refuse(2, *classify, "unsure", holding=['label "ecoli" has no taxid'])

    def test_priors(self):
        self.write("prior.tsv", "a\t1", ["b\t0", "c\t1"])
        self.finetune("classes.csv", "run", "--steps", "4", "--prior", "prior.tsv")
        self.assertEqual(0, sum(row[1] for row in self.figures("run")["results"][0]["confusion"]))
        calibration = json.loads((self.folder / "run/best/calibration.json").read_text())
        for frequency in calibration["class_frequencies"]:
            self.assertAlmostEqual(1 / 3, frequency)

    # What is refused ---------------------------------------------------------------------------------

    def refuse(self, code, *words, holding):
        result = self.run_program(*words)
        self.assertEqual(code, result.returncode, result.stderr.decode())
        for text in holding:
            self.assertIn(text, result.stderr.decode())

    def test_labels_that_are_no_classes(self):
        self.write("values.csv", "sequence,label", (f"{sequence(self.random, 40, 0.5)},{i / 7}" for i in range(60)))
        self.write("reserved.csv", "sequence,label", ["ACGT,a", "ACCT,unclassified"])
        words = ["-o", "out", *MODEL, *QUICK]
        self.refuse(1, "dna", "finetune", "values.csv", *words, holding=["60 different numbers", "--kind regression"])
        self.refuse(1, "dna", "finetune", "reserved.csv", *words, holding=["reserved.csv", "line 3", '"unclassified"'])

    def test_settings_that_make_no_sense(self):
        words = ["dna", "finetune", "classes.csv", "-o", "out", *QUICK, "--steps", "2"]
        shaped = [*words, *MODEL]
        self.refuse(2, *shaped, "--freeze", holding=["--freeze", "--model"])
        self.refuse(2, *shaped, "--patience", "2", holding=["--patience", "--eval-every"])
        self.refuse(2, *shaped, "--prior", "missing.tsv", holding=["missing.tsv"])
        self.refuse(2, *shaped, "--class-weights", "missing.tsv", holding=["--class-weights", "missing.tsv"])
        self.refuse(2, *shaped, "--leave-one-class-out", "--lm-weight", "0", holding=["--lm-weight"])
        self.refuse(2, *shaped, "--kind", "regression", "--leave-one-class-out", holding=["--kind class"])
        self.refuse(2, *shaped, "--baseline", "gru", holding=["cnn"])
        self.refuse(2, *shaped, "--folds", "2", holding=["--folds"])
        self.refuse(1, *shaped, "--kind", "regression", holding=["classes.csv"])
        self.refuse(1, *shaped[:2], "missing.csv", *shaped[3:], holding=["missing.csv"])
        self.write("weights.tsv", "a\t1", ["b\t1", "d\t1"])
        self.refuse(1, *shaped, "--class-weights", "weights.tsv", holding=["weights.tsv line 3", '"d"'])
        self.assertFalse((self.folder / "out").exists())  # nothing was trained before it was said

    def test_a_folder_with_a_run_takes_no_folds(self):
        self.finetune("classes.csv", "run", "--steps", "2")
        self.refuse(2, "dna", "finetune", "classes.csv", "-o", "run", *MODEL, *QUICK, "--folds", "3",
                    holding=["run", "--folds"])

    def test_labels_that_the_model_does_not_know(self):
        self.finetune("classes.csv", "run", "--steps", "2")
        self.write("other.csv", "sequence,label", ["ACGTACGT,a", "ACGGACGT,z"])
        self.refuse(1, "dna", "evaluate", "--model", "run", "other.csv", holding=["other.csv", "z"])
        self.refuse(1, "dna", "evaluate", "--model", "run", "strains.tsv", holding=["strains.tsv", "ecoli"])
        self.refuse(2, "dna", "evaluate", "--model", self.classifier(), "strains.tsv", holding=["their length"])


if __name__ == "__main__":
    unittest.main()
