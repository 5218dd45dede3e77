#!/usr/bin/env python3
"""docs/commands.md says what --help says, and every option has a help text."""
import importlib.machinery
import importlib.util
import os
import pathlib
import subprocess
import sys
import unittest

ROOT = pathlib.Path(__file__).resolve().parents[2]
PROGRAM = os.environ.get("STRANDWAVE_PROGRAM", str(ROOT / "build/release/bin/strandwave"))


def load_reference():
    loader = importlib.machinery.SourceFileLoader("command_reference", str(ROOT / "scripts/command-reference"))
    module = importlib.util.module_from_spec(importlib.util.spec_from_loader(loader.name, loader))
    loader.exec_module(module)
    return module


REFERENCE = load_reference()

HELP = """Next-base prediction
Usage: strandwave dna pretrain [OPTIONS] genome...

Positionals:
  genome TEXT ... REQUIRED    FASTA files

Options:
  -h,--help                   Print this help message and exit
  -o,--output TEXT REQUIRED   Folder of the run
  -@,--threads INT:INT in [0 - 4096] [2]
                              CPU threads in all;
                              0 takes every core
  --device TEXT [auto]        Where to compute
  --seed UINT:INT in [0 - 9]  Seed
  --log-every INT:POSITIVE=10 Steps between records
  --beta2 FLOAT:FLOAT in [0 - 1]=0.95
                              Decay
  --orders INT:INT in [0 - 12]=2 5 ...
                              Orders to compare with
  --width INT=256 Excludes: --model --model-config
                              Width of the model

Subcommands:
  one                         First
"""


class HelpAndDocs(unittest.TestCase):
    def test_parser(self):
        description, sections = REFERENCE.parse_help(HELP)
        self.assertEqual("Next-base prediction", description)
        options = [REFERENCE.row(left, text) for left, text in sections["options"]]
        self.assertEqual("| `-o`, `--output` | required | Folder of the run |", options[1])
        self.assertEqual("| `-@`, `--threads` | `2` | CPU threads in all; 0 takes every core |", options[2])
        self.assertEqual("| `--device` | `auto` | Where to compute |", options[3])
        self.assertEqual("| `--seed` |  | Seed |", options[4])
        self.assertEqual("| `--log-every` | `10` | Steps between records |", options[5])
        self.assertEqual("| `--beta2` | `0.95` | Decay |", options[6])
        self.assertEqual("| `--orders` | `2 5` | Orders to compare with |", options[7])
        self.assertEqual("| `--width` | `256` | Width of the model |", options[8])
        self.assertEqual([["one", "First"]], sections["subcommands"])
        self.assertIn("--threads", REFERENCE.option_names(sections))

    def test_docs_are_up_to_date(self):
        result = subprocess.run([sys.executable, "-B", str(ROOT / "scripts/command-reference"), PROGRAM, "--check"],
                                capture_output=True, text=True, check=False)
        self.assertEqual(0, result.returncode,
                         "run scripts/command-reference PROGRAM\n" + result.stdout + result.stderr)

    def test_every_option_has_a_help_text(self):
        bare = []
        for words, description, sections in REFERENCE.command_tree(PROGRAM):
            if not description:
                bare.append(" ".join(words) + ": the command")
            for entries in sections.values():
                bare += [" ".join(words) + ": " + left for left, text in entries if not text]
        self.assertEqual([], bare)


if __name__ == "__main__":
    unittest.main()
