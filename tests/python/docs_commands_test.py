#!/usr/bin/env python3
"""Runs the commands that the documentation shows.

Every shell block of README.md, CONTRIBUTING.md, docs/, pipelines/ and data/ says what it is:

    ```sh run       runs in a folder with the files of sample_data.py, block after block of a page
    ```sh shown     costs too much, or needs a GPU or a network: scripts, commands, options, their choices
                    and CMake's presets are checked, as in `strandwave ...` within a sentence

A page makes its commands cheap for the test with comments that replace or add options:

    <!-- test: dna pretrain --steps 4 --window 64 -->
"""
import importlib.machinery
import importlib.util
import json
import os
import pathlib
import re
import shlex
import subprocess
import sys
import tempfile
import unittest

import sample_data

ROOT = pathlib.Path(__file__).resolve().parents[2]
PROGRAM = os.environ.get("STRANDWAVE_PROGRAM", str(ROOT / "build/release/bin/strandwave"))
STARTS_WITH_COMMAND = re.compile(r"(strandwave|(\./)?(scripts|pipelines)/\S+)\s")
FENCE = re.compile(r"^\s*```(.*)$")
OVERRIDE = re.compile(r"<!-- test: (.+?) -->")
SHELLS = ("sh", "bash", "shell", "console")
IN_SENTENCE = re.compile(r"`((?:strandwave|scripts/[\w-]+|cmake) [^`<]+)`")
CHOICES = re.compile(r":\{([^}]*)\}")

WRAPPER = '''#!{python}
import json, os, sys
words = sys.argv[1:]
for override in json.loads(os.environ["STRANDWAVE_DOCS_OVERRIDES"]):
    verb = [w for i, w in enumerate(override) if all(not x.startswith("-") for x in override[:i + 1])]
    if words[:len(verb)] != verb:
        continue
    options = override[len(verb):]
    # Which options are replaced, and whether a value follows them.
    names = {{w: i + 1 < len(options) and not options[i + 1].startswith("-")
             for i, w in enumerate(options) if w.startswith("-")}}
    kept, skip = [], False
    for i, word in enumerate(words):
        if skip:
            skip = False
        elif word.split("=")[0] in names:
            skip = "=" not in word and names[word]
        else:
            kept.append(word)
    words = kept + options
os.execv({program!r}, [{program!r}, *words])
'''


def pages():
    found = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md")),
             *sorted((ROOT / "pipelines").rglob("*.md")), *sorted((ROOT / "data").rglob("*.md"))]
    return [page for page in found if page.exists()]


def blocks_of(text):
    """(line number, info string, block) of every fenced block."""
    blocks, info, start, lines = [], None, 0, []
    for number, line in enumerate(text.splitlines(), 1):
        fence = FENCE.match(line)
        if fence and info is None:
            info, start, lines = fence.group(1).strip(), number, []
        elif fence:
            blocks.append((start, info, "\n".join(lines)))
            info = None
        else:
            lines.append(line)
    return blocks


def commands_of(block):
    """Commands of a block as word lists: continued lines joined, comments and prompts left out."""
    for line in block.replace("\\\n", " ").splitlines():
        line = line.strip()
        if line and not line.startswith("#"):
            for part in re.split(r"\s(?:\||&&|;)\s", line):
                yield shlex.split(part, comments=True)


def load_reference():
    loader = importlib.machinery.SourceFileLoader("command_reference", str(ROOT / "scripts/command-reference"))
    module = importlib.util.module_from_spec(importlib.util.spec_from_loader(loader.name, loader))
    loader.exec_module(module)
    return module


def choices_of_options(reference, sections):
    """{"--steps": [], "--precision": ["bf16", "fp32"]}: each option's names, and its values where they are listed."""
    found = {}
    for section, entries in sections.items():
        if section != "subcommands":
            for left, text in entries:
                choices = CHOICES.search(left)
                found.update({name: choices.group(1).split(",") if choices else []
                              for name in reference.option_names({section: [(left, text)]})})
    return found


def command_options():
    """{"dna pretrain": {"--steps": [], ...}} of the built program."""
    reference = load_reference()
    return {" ".join(words): choices_of_options(reference, sections)
            for words, _, sections in reference.command_tree(PROGRAM)}


def problem_of_values(words, options):
    """The first option whose value is none of its choices."""
    for word, following in zip(words, [*words[1:], ""]):
        name, equals, value = word.partition("=")
        choices = options.get(name) if name.startswith("-") else None
        if choices and (value if equals else following) not in choices:
            return f"{name} must be one of {', '.join(choices)}"
    return None


def problem_of_preset(words):
    presets = json.loads((ROOT / "CMakePresets.json").read_text(encoding="utf-8"))["configurePresets"]
    known = [preset["name"] for preset in presets]
    named = [value for word, value in zip(words, words[1:]) if word == "--preset"]
    return next((f"CMakePresets.json has no preset {name}" for name in named if name not in known), None)


def problem_of_command(words, known):
    """What is wrong with a command that is only shown, or None."""
    while words and re.match(r"^[A-Za-z_]\w*=", words[0]):
        words = words[1:]
    if not words:
        return None
    name = words[0].removeprefix("./")
    if name.startswith(("scripts/", "pipelines/")):
        script = ROOT / name
        if not os.access(script, os.X_OK):
            return f"{name} does not exist"
        head = script.read_text(encoding="utf-8")[:4000]
        missing = [w for w in words[1:] if w.startswith("--") and w.split("=")[0] not in head]
        return f"{name} does not know {missing}" if missing else None
    if name.split("/")[-1] == "strandwave":
        verb = " ".join(words[1:3]) if " ".join(words[1:3]) in known else words[1] if len(words) > 1 else ""
        if verb not in known:
            return f"there is no command '{' '.join(words[:3])}'"
        missing = [w for w in words if re.match(r"^--?[A-Za-z@]", w) and w.split("=")[0] not in known[verb]]
        if missing:
            return f"strandwave {verb} does not know {missing}"
        return problem_of_values(words, known[verb])
    return problem_of_preset(words) if name == "cmake" else None


def commands_in_sentences(text):
    """(line number, words) of each command that stands in a sentence, not in a block."""
    inside = False
    for number, line in enumerate(text.splitlines(), 1):
        if FENCE.match(line):
            inside = not inside
        elif not inside:
            for command in IN_SENTENCE.findall(line):
                yield number, command.replace("[", "").replace("]", "").split()


class DocsCommands(unittest.TestCase):
    def test_every_block_is_marked(self):
        unmarked = [f"{page.relative_to(ROOT)}:{line}: ```{info}" for page in pages()
                    for line, info, _ in blocks_of(page.read_text(encoding="utf-8"))
                    if info.split(" ")[0] in SHELLS and info not in ("sh run", "sh shown")]
        unmarked += [f"{page.relative_to(ROOT)}:{line}: ```{info}" for page in pages()
                     for line, info, block in blocks_of(page.read_text(encoding="utf-8"))
                     if info.split(" ")[0] not in SHELLS and STARTS_WITH_COMMAND.match(block)]
        self.assertEqual([], unmarked, "write ```sh run or ```sh shown")

    def test_shown_commands_exist(self):
        known = command_options()
        problems = []
        for page in pages():
            for line, info, block in blocks_of(page.read_text(encoding="utf-8")):
                if info in ("sh run", "sh shown"):
                    found = [problem_of_command(words, known) for words in commands_of(block)]
                    problems += [f"{page.relative_to(ROOT)}:{line}: {text}" for text in found if text]
            if page.name not in ("design.md", "CHANGELOG.md"):  # they speak of what is not built yet
                for line, words in commands_in_sentences(page.read_text(encoding="utf-8")):
                    problem = problem_of_command(words, known)
                    problems += [f"{page.relative_to(ROOT)}:{line}: {problem}"] if problem else []
        self.assertEqual([], problems, "\n".join(problems))

    def test_commands_run(self):
        for page in pages():
            text = page.read_text(encoding="utf-8")
            blocks = [(line, block) for line, info, block in blocks_of(text) if info == "sh run"]
            if blocks:
                with self.subTest(page=str(page.relative_to(ROOT))), tempfile.TemporaryDirectory() as folder:
                    self.run_page(page, text, blocks, pathlib.Path(folder))

    def run_page(self, page, text, blocks, folder):
        work, tools = folder / "work", folder / "bin"
        work.mkdir()
        tools.mkdir()
        sample_data.write_samples(work)
        wrapper = tools / "strandwave"
        wrapper.write_text(WRAPPER.format(python=sys.executable, program=PROGRAM))
        wrapper.chmod(0o755)
        environment = dict(os.environ, PATH=f"{tools}:{os.environ['PATH']}", STRANDWAVE_CACHE=str(folder / "cache"),
                           STRANDWAVE_PIPELINES=str(ROOT / "pipelines"), STRANDWAVE_DOCS_OVERRIDES=json.dumps([shlex.split(o) for o in OVERRIDE.findall(text)]))
        for line, block in blocks:
            result = subprocess.run(["bash", "-euo", "pipefail", "-c", block], cwd=work, env=environment,
                                    capture_output=True, text=True, stdin=subprocess.DEVNULL, check=False)
            self.assertEqual(0, result.returncode,
                             f"{page.relative_to(ROOT)}:{line}\n{block}\n{result.stdout}\n{result.stderr}")


class Parsing(unittest.TestCase):
    def test_blocks_and_commands(self):
        text = "a\n```sh run\nstrandwave dna classify --model run \\\n  reads.fa | head -2  # shows\n```\n"
        (line, info, block), = blocks_of(text)
        self.assertEqual((2, "sh run"), (line, info))
        self.assertEqual([["strandwave", "dna", "classify", "--model", "run", "reads.fa"], ["head", "-2"]],
                         list(commands_of(block)))

    def test_problems(self):
        known = {"": {}, "dna": {}, "dna classify": {"--model": [], "--precision": ["bf16", "fp32"]},
                 "doctor": {"--json": []}}
        self.assertIsNone(problem_of_command(["strandwave", "dna", "classify", "--model", "x"], known))
        self.assertIn("--modle", problem_of_command(["strandwave", "dna", "classify", "--modle", "x"], known))
        self.assertIn("no command", problem_of_command(["strandwave", "rna", "classify"], known))
        self.assertIsNone(problem_of_command(["A=1", "strandwave", "doctor", "--json"], known))
        self.assertIn("does not exist", problem_of_command(["scripts/nothing"], known))
        self.assertIn("--nothing", problem_of_command(["scripts/setup", "--nothing"], known))
        classify = ["build/release/bin/strandwave", "dna", "classify", "--precision"]
        self.assertIsNone(problem_of_command([*classify, "bf16"], known))
        self.assertIn("bf16, fp32", problem_of_command([*classify, "fp8"], known))
        self.assertIn("bf16, fp32", problem_of_command([*classify[:-1], "--precision=fp8"], known))
        self.assertIsNone(problem_of_command(["cmake", "--preset", "release"], known))
        self.assertIn("no preset fast", problem_of_command(["cmake", "--preset", "fast"], known))

    def test_commands_in_sentences(self):
        text = "Run `strandwave dna classify [--model M]`.\n```sh run\n`scripts/not this`\n```\nSee `a` and `scripts/setup --dev`.\n"
        self.assertEqual([(1, ["strandwave", "dna", "classify", "--model", "M"]), (5, ["scripts/setup", "--dev"])],
                         list(commands_in_sentences(text)))

    def test_choices(self):
        sections = {"options": [["-h,--help", "Help"], ["--precision TEXT:{bf16,fp32} [bf16]", "Of the matrices"]],
                    "subcommands": [["one", "First"]]}
        self.assertEqual({"-h": [], "--help": [], "--precision": ["bf16", "fp32"]},
                         choices_of_options(load_reference(), sections))


if __name__ == "__main__":
    unittest.main()
