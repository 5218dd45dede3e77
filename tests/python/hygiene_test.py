#!/usr/bin/env python3
# label: unit
"""What lies in the repository is small, portable and says nothing about the machine it was written on."""
import os
import pathlib
import re
import subprocess
import unittest

ROOT = pathlib.Path(__file__).resolve().parents[2]
IGNORED_FOLDERS = {".git", "build", ".venv", ".cache", "dist", "__pycache__"}
LARGEST = 512 * 1024
LARGEST_MODEL = 4 * 1024 * 1024
BINARY = (".safetensors", ".png", ".gz", ".bam", ".cram", ".wav", ".flac", ".pt")

# Folders of one machine. /tmp and /usr, /etc, /proc, /dev are on every system.
ABSOLUTE = re.compile(r"(?<![\w.$}{/-])/(home|root|work|Users|mnt|data|srv|workspace)/\w")
# URLs lead to what a reader can look up, never to a mirror or a registry of one machine.
URL = re.compile(r"\b(?:https?|ftp)://([^\s/\"'<>()`]+)")
ALLOWED_HOSTS = {"arxiv.org", "github.com", "huggingface.co", "www.apache.org", "keepachangelog.com",
                 "semver.org", "doi.org", "samtools.github.io", "www.ncbi.nlm.nih.gov"}


def files():
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=False) \
        if (ROOT / ".git").exists() and _has_git() else None
    if listed and listed.returncode == 0:
        names = [name for name in listed.stdout.decode().split("\0") if name]
        return [ROOT / name for name in names if (ROOT / name).is_file()]
    found = []
    for folder, folders, names in os.walk(ROOT):
        folders[:] = [name for name in folders if name not in IGNORED_FOLDERS]
        found += [pathlib.Path(folder) / name for name in names]
    return found


def _has_git():
    return any((pathlib.Path(folder) / "git").exists() for folder in os.environ["PATH"].split(":"))


def lines():
    for path in files():
        if path.suffix in BINARY or path == pathlib.Path(__file__).resolve():
            continue
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
            yield f"{path.relative_to(ROOT)}:{number}", line


class Hygiene(unittest.TestCase):
    def test_sizes(self):
        large = []
        for path in files():
            name = path.relative_to(ROOT).as_posix()
            limit = LARGEST_MODEL if name.startswith("data/models/") else LARGEST
            if path.stat().st_size > limit:
                large.append(f"{name}: {path.stat().st_size} bytes, limit {limit}")
        self.assertEqual([], large)

    def test_no_paths_of_one_machine(self):
        found = [f"{where}: {line.strip()}" for where, line in lines() if ABSOLUTE.search(line)]
        # Inside the bare root of scripts/try-bare the home folders are its own.
        found = [line for line in found if not line.startswith("scripts/try-bare:")]
        self.assertEqual([], found, "\n".join(found))

    def test_urls(self):
        found = [f"{where}: {host}" for where, line in lines() for host in URL.findall(line)
                 if host not in ALLOWED_HOSTS and not host.startswith(("localhost", "127.0.0.1"))]
        found = [line for line in found if not line.startswith("LICENSE:")]
        self.assertEqual([], found, "\n".join(found))

    def test_text_ends_properly(self):
        found = [where for where, line in lines() if line != line.rstrip() and not where.startswith("LICENSE")]
        self.assertEqual([], found, "blanks at the end of lines")

    def test_no_unfinished_marks(self):
        marks = re.compile(r"\b(TODO|FIXME|XXX|HACK)\b")
        found = [f"{where}: {line.strip()}" for where, line in lines()
                 if marks.search(line) and not where.startswith("tests/fixtures/")]
        self.assertEqual([], found, "\n".join(found))

    def test_scripts_are_executable(self):
        found = []
        for path in files():
            with open(path, "rb") as content:
                script = content.read(2) == b"#!"
            if script and path.parent.name in ("scripts", ".ci") and not os.access(path, os.X_OK):
                found.append(str(path.relative_to(ROOT)))
        self.assertEqual([], found)


if __name__ == "__main__":
    unittest.main()
