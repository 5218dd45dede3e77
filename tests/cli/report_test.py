#!/usr/bin/env python3
"""`strandwave report`: what it says about runs of every kind, that its page is well-formed and closed, and its messages."""
import html.parser
import json
import re
import shutil
import unittest
import xml.etree.ElementTree

import command_line
import report_samples
from program import ProgramTest

VOID = {"meta", "br", "hr", "img", "input", "link"}


class Page(html.parser.HTMLParser):
    """Checks that elements are balanced and collects what tests ask for."""

    def __init__(self, text):
        super().__init__(convert_charrefs=True)
        self.open, self.problems, self.text, self.ids, self.links = [], [], [], [], []
        self.names, self.roles = set(), []
        self.feed(text)
        self.close()
        if self.open:
            self.problems.append(f"left open: {self.open}")

    def handle_starttag(self, tag, attributes):
        given = dict(attributes)
        if len(given) != len(attributes):
            self.problems.append(f"<{tag}> gives an attribute twice: {attributes}")
        self.names.add(tag)
        self.ids += [given["id"]] if "id" in given else []
        self.links += [given[key] for key in ("href", "src", "xlink:href", "action", "data") if key in given]
        self.problems += [f"<{tag}> has {key}" for key in given if key.startswith("on") or key == "style"]
        if tag == "svg" and given.get("role") == "img":
            self.roles.append(given.get("aria-label"))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        self.handle_starttag(tag, attributes)
        if tag not in VOID:
            self.open.pop()

    def handle_endtag(self, tag):
        if not self.open or self.open.pop() != tag:
            self.problems.append(f"</{tag}> at {self.getpos()} closes nothing")

    def handle_data(self, data):
        self.text.append(data)


class Report(ProgramTest):
    def report(self, *runs):
        """The page on these runs, checked, with its text in `words`."""
        text = self.succeed("report", *runs, "-o", "-")
        self.assertLess(len(text), 1 << 20)
        page = Page(text)
        self.assertEqual([], page.problems)
        self.assertEqual(len(page.ids), len(set(page.ids)))
        # Nothing is loaded and nothing runs.
        self.assertNotIn("script", page.names)
        self.assertEqual([], [link for link in page.links if not link.startswith("#")])
        self.assertEqual(set(), {link[1:] for link in page.links} - set(page.ids))
        self.assertEqual([], re.findall(r"(?:https?:)?//[\w.]+", re.sub(r"<(code|td|dd|p)[^>]*>[^<]*</\1>", "", text)))
        self.assertNotIn("url(", text)
        self.assertNotIn("@import", text)
        drawings = re.findall(r"<svg viewBox.*?</svg>\n(?=</figure>|<details>)", text, re.DOTALL)
        self.assertEqual(len(page.roles), len(drawings))
        for drawing in drawings:
            root = xml.etree.ElementTree.fromstring(drawing)
            self.assertEqual("img", root.get("role"))
            self.assertTrue(root.get("aria-label"))
        self.assertEqual(text.count("<figure>"), text.count("<figcaption>"))
        page.words = " ".join(" ".join(page.text).split())
        return page

    def assert_says(self, page, *texts):
        for text in texts:
            self.assertTrue(text in page.words, text)

    def test_language_model(self):
        report_samples.language_model_run(self.folder / "chr20", resumed=[300], skipped=[401, 402, 705])
        page = self.report("chr20")
        self.assert_says(page, "1.7412", "Markov order 11: 1.7482", "-0.0070 (-0.0240 to +0.0120)", "no clear difference",
                         "resumed", "2 skipped up to step 410", "1 skipped up to step 710", "bits per base",
                         "Bits per base in repeats", "1.6212", "7,400,000", "strandwave dna pretrain genome.fa",
                         "trainer.lr", "0.1.0")
        self.assertEqual(9, len(page.roles))
        self.assertEqual(len(page.roles), len(set(page.roles)))

    def test_few_sampled_kmers_are_no_measure(self):
        report_samples.language_model_run(self.folder / "chr20")
        figures = json.loads((self.folder / "chr20/test.json").read_text())
        figures["seen_in_training"] = {"fraction": 0.0, "by": "sketch", "compared": 7}
        report_samples.write_json(self.folder / "chr20/test.json", figures)
        self.assert_says(self.report("chr20"), "too few sampled 21-mers to tell (7)")

    def test_classifier(self):
        report_samples.classifier_run(self.folder / "species")
        page = self.report("species")
        self.assert_says(page, "0.8425", "31-mer lookup: 0.9600", "Confusion matrix", "E.Coli taken for H.Pylori: 26",
                         "ROC", "Precision and recall", "Calibration", "1.183", "Accuracy at 1,000 bases", "By group",
                         "exact duplicates 54", "share half of 31 mers 147")

    def test_many_classes_and_other_kinds(self):
        report_samples.classifier_run(self.folder / "many", labels=[f"class {i}" for i in range(60)], lengths=(150,), errors=(0.0,))
        page = self.report("many")
        self.assert_says(page, "The first 8 of 60 classes")
        self.assertNotIn("Confusion matrix, many", page.roles)
        report_samples.write_log(self.folder / "table", metric="mse")
        report_samples.write_json(self.folder / "table/config.json", report_samples.config("regression"))
        report_samples.write_json(self.folder / "table/test.json", report_samples.regression_test())
        self.assert_says(self.report("table"), "R2", "0.6100 (0.5600 to 0.6600)", "GC content", "Pearson r")

    def test_several_runs(self):
        report_samples.language_model_run(self.folder / "a/run", skipped=[300])
        report_samples.language_model_run(self.folder / "b/run", bits=1.7102, seed=2, seen=0.042, tokens_per_step=16384)
        report_samples.classifier_run(self.folder / "species")
        page = self.report("a/run", "b/run/", "species")
        self.assert_says(page, "Report on 3 runs", "a/run", "b/run", "Differences between the runs", "4.20 %", "bases read",
                         "-0.0310", "Language models", "Classifier")
        self.assertRegex(page.words, r"\+0\.0310 \(\+0\.02\d\d to \+0\.03\d\d\)")

    def test_classifiers_on_the_same_sequences(self):
        for name, right in (("one", 35), ("two", 25)):
            report_samples.classifier_run(self.folder / name, groups=1, accuracy=right / 40, lengths=(150,), errors=(0.0,))
            rows = [f"read_{i}\t.\tE.Coli\t{'E.Coli' if i < right else 'S.Aureus'}\n" for i in range(40)]
            (self.folder / name / "predictions.tsv").write_text("name\tgroup\ttruth\tprediction\n" + "".join(rows))
        self.assertRegex(self.report("one", "two").words, r"\+0\.2500 \(\+0\.1\d+ to \+0\.[34]\d+\)")
        (self.folder / "two/predictions.tsv").write_text("".join(rows[::-1]))
        self.assertNotIn("(+0.1", self.report("one", "two").words)

    def test_runs_of_this_program(self):
        self.succeed("dna", "pretrain", "genome.fa", "--split", "held_out.bed", "-o", "run", *command_line.PRETRAIN, "--log-every", "1")
        page = self.report("run")
        bits = json.loads((self.folder / "run/test.json").read_text())["bits_per_base"]
        self.assert_says(page, f"{bits:.4f}", "Markov order 2", "finished, 4 steps", "Loss", "Gradient norm", "next base")
        result = self.run_program("report", self.classifier(), "run", "-o", "both.html")
        self.assertEqual(0, result.returncode, result.stderr)
        self.assertIn("report: both.html", result.stdout.decode())
        self.assertEqual(b"", result.stderr)
        self.assertIn("ecoli", (self.folder / "both.html").read_text())
        again = self.run_program("report", "run", "-o", "both.html")
        self.assertEqual(2, again.returncode)
        self.assertIn(b"--force", again.stderr)
        self.assertEqual(self.succeed("report", "run", "-o", "-"), self.succeed("report", "run", "-o", "-"))

    def test_figures_of_evaluate(self):
        self.succeed("dna", "evaluate", "--model", self.classifier(), "labelled.csv", "-o", "figures.json")
        accuracy = json.loads((self.folder / "figures.json").read_text())["results"][0]["accuracy"]
        self.assert_says(self.report("figures.json"), f"{accuracy:.4f}", "dna evaluate")

    def test_unfinished_and_strange_runs(self):
        for name, options in {"part": {"done": 400}, "begun": {"done": 0}}.items():
            report_samples.write_log(self.folder / name, **options)
            report_samples.write_json(self.folder / name / "config.json", report_samples.config())
        self.assert_says(self.report("part"), "unfinished: step 400 of 1,000", "test.json is missing", "Loss")
        self.assert_says(self.report("begun"), "no training records yet")
        report_samples.write_log(self.folder / "sounds", metric="mel_distance")
        report_samples.write_json(self.folder / "sounds/config.json", {"task": {"objective": "vocoding"}, "trainer": {"lr": 0.1}})
        self.assert_says(self.report("sounds"), "Validation: mel distance", "Learning rate", "trainer.lr")
        self.assert_says(self.report("part", "begun", "sounds"), "part", "begun", "sounds")

    def test_hostile_names(self):
        hostile = report_samples.HOSTILE
        folder = self.folder / hostile.replace("/", "_")
        report_samples.classifier_run(folder, labels=(hostile, "</svg><img src=x onerror=alert(1)>"))
        log = (folder / "log.jsonl").read_text().replace("next base, 51.2 M training bases", "]]>--><p onclick=x>")
        (folder / "log.jsonl").write_text(log)
        self.report(folder.name)
        test = json.loads((folder / "test.json").read_text())
        test["command"] = "echo '</code></pre><script src=http://localhost/x.js></script>'"
        (folder / "test.json").write_text(json.dumps(test))
        self.assert_says(self.report(folder.name), "</code></pre><script src=http://localhost/x.js></script>")

    def test_long_logs_stay_small(self):
        report_samples.write_log(self.folder / "long", steps=200000, log_every=10)
        report_samples.write_json(self.folder / "long/config.json", report_samples.config())
        page = self.succeed("report", "long", "-o", "-")
        self.assertLess(len(page), 300000)
        self.assertIn("one in 500 of 20,000 records", page)

    def fails(self, code, *words):
        result = self.run_program("report", *words, "-o", "page.html")
        self.assertEqual(code, result.returncode, result.stderr)
        self.assertFalse((self.folder / "page.html").exists())
        return result.stderr.decode()

    def test_messages(self):
        self.assertIn("there is no run nowhere: name the folder", self.fails(1, "nowhere"))
        self.assertIn("holds no run", self.fails(1, "strains"))
        self.assertIn("not valid JSON", self.fails(1, "labelled.csv"))
        self.assertIn("RUN", self.fails(2))
        run = report_samples.language_model_run(self.folder / "run")
        self.assertIn("given twice", self.fails(2, "run", "run/"))
        lines = (run / "log.jsonl").read_text().splitlines()
        (run / "log.jsonl").write_text("\n".join([*lines[:4], lines[4][:50], *lines[5:]]) + "\n")
        self.assertRegex(self.fails(1, "run"), r"run/log\.jsonl, line 5: .*Delete that line")
        (run / "log.jsonl").write_text("\n".join([*lines[:4], lines[4][:50]]))
        result = self.run_program("report", "run", "-o", "-")
        self.assertEqual(0, result.returncode)
        self.assertIn("line 5 is cut off", result.stderr.decode())
        (run / "test.json").write_text('{"kind": "language_model",\n "bits_per_base": ')
        self.assertRegex(self.fails(1, "run"), r"test\.json.*line 2.*move it away")
        shutil.rmtree(run)
        run.mkdir()
        (run / "config.json").write_text("[]")
        self.assertIn("not a JSON object", self.fails(1, "run"))


if __name__ == "__main__":
    unittest.main()
