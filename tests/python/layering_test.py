#!/usr/bin/env python3
# label: unit
"""#include lines keep to the order of the layers: apps -> genomics, audio -> core -> kernels."""
import os
import pathlib
import re
import tempfile
import unittest

ROOT = pathlib.Path(__file__).resolve().parents[2]
RANK = {"kernels": 0, "core": 1, "genomics": 2, "audio": 2, "apps": 3, "tests": 4}
SOURCES = (".cpp", ".h", ".cu", ".cuh", ".inc")
INCLUDE = re.compile(r'^\s*#\s*include\s*([<"])([^>"]+)[>"]')

TORCH = re.compile(r"^(torch|ATen|c10|caffe2)/")
CUDA = re.compile(r"^(cuda|cub/|thrust/|nv|cooperative_groups|c10/cuda|ATen/cuda|mma\.h)")
# Libraries that only certain places may include, in .cpp files only.
C_LIBRARIES = {
    re.compile(r"^(htslib/|zlib\.h)"): "genomics/",
    re.compile(r"^(sndfile|soxr|fftw3)"): "audio/",
}

# Libraries that docs/dependencies.md does not list: output goes through core/base/progress.h.
UNWANTED = re.compile(r"^(spdlog|fmt|absl|boost|benchmark)/")


def is_raw(path):
    """Raw kernels and what they include: no LibTorch."""
    name = path.split("/")[-1]
    return path.startswith("kernels/") and (
        name.endswith((".cu", ".cuh", "_simd.cpp", "_simd.h", "_params.h", "_raw.h")))


def needs_no_torch(path):
    return is_raw(path) or path.startswith(
        ("core/base/", "core/report/", "core/statistics/", "genomics/io/", "genomics/baselines/",
         "genomics/report_", "audio/io/", "audio/dsp/"))


def may_include_cuda(path):
    name = path.split("/")[-1]
    if path.startswith("tests/"):
        return True
    return path.startswith(("kernels/", "core/runtime/")) and (
        name.endswith((".cu", ".cuh", "_cuda.cpp", "_cuda.h")) or name.startswith("cuda_"))


def includes_of(path):
    """(line number, brackets or quotes, name) of each #include."""
    with open(path, encoding="utf-8") as text:
        for number, line in enumerate(text, 1):
            found = INCLUDE.match(line)
            if found:
                yield number, found.group(1), found.group(2)


def source_files(root):
    for area in RANK:
        for folder, _, names in os.walk(root / area):
            for name in sorted(names):
                if name.endswith(SOURCES):
                    yield (pathlib.Path(folder) / name).relative_to(root).as_posix()


def project_violation(path, target):
    area, other = path.split("/")[0], target.split("/")[0]
    if other not in RANK:
        return "is not written from the root of the project"
    if RANK[other] > RANK[area]:
        return f"points upwards ({area} must not know {other})"
    if RANK[other] == RANK[area] and area != other:
        return f"points sideways ({area} and {other} must not know each other)"
    return None


def library_violation(path, target):
    if TORCH.match(target) and needs_no_torch(path):
        return "is LibTorch, in a file that must build without it"
    if CUDA.match(target) and not may_include_cuda(path):
        return "is CUDA; it belongs into *.cu and *_cuda.cpp of kernels/ and core/runtime/"
    for pattern, place in C_LIBRARIES.items():
        # zlib's and htslib's types stay out of headers, so that their users need neither.
        allowed = path.startswith("tests/") or (path.startswith(place) and path.endswith(".cpp"))
        if pattern.match(target) and not allowed:
            return f"is a C library; it belongs into .cpp files of {place}"
    if UNWANTED.match(target):
        return "is no dependency of this project (docs/dependencies.md)"
    if target.startswith("hwy/") and not path.startswith(("kernels/", "tests/")):
        return "is highway; SIMD belongs into kernels/"
    return None


def reached_torch(root, path, seen):
    """The chain of project headers through which `path` includes LibTorch, or None."""
    if path in seen or not (root / path).exists():
        return None
    seen.add(path)
    for _, kind, target in includes_of(root / path):
        if TORCH.match(target):
            return [path, target]
        if kind == '"':
            chain = reached_torch(root, target, seen)
            if chain:
                return [path] + chain
    return None


def violations(root):
    found = []
    for path in source_files(root):
        for number, kind, target in includes_of(root / path):
            project = kind == '"' and not TORCH.match(target)
            reason = project_violation(path, target) if project else library_violation(path, target)
            if reason:
                found.append(f"{path}:{number}: {target} {reason}")
        if needs_no_torch(path):
            chain = reached_torch(root, path, set())
            if chain and len(chain) > 2:
                found.append(f"{path}: reaches LibTorch through {' -> '.join(chain[1:])}")
    return found


def conditional_cuda(root):
    """Outside the kernels a file is chosen by CMake, not by #ifdef."""
    pattern = re.compile(r"^\s*#\s*(if|ifdef|ifndef|elif)\b.*CUDA")
    found = []
    for path in source_files(root):
        if path.startswith(("kernels/", "tests/")):
            continue
        with open(root / path, encoding="utf-8") as text:
            found += [f"{path}:{number}: {line.strip()}" for number, line in enumerate(text, 1)
                      if pattern.match(line)]
    return found


class Layering(unittest.TestCase):
    def test_includes(self):
        found = violations(ROOT)
        self.assertEqual([], found, "\n".join(found))

    def test_no_conditional_cuda(self):
        self.assertEqual([], conditional_cuda(ROOT))

    def test_finds_what_it_should(self):
        files = {
            "kernels/a/a.cu": '#include <torch/torch.h>\n',
            "kernels/a/a_simd.cpp": '#include "kernels/a/a_params.h"\n',
            "kernels/a/a_params.h": '#include "kernels/a/a.h"\n',
            "kernels/a/a.h": '#include <ATen/core/Tensor.h>\n',
            "kernels/a/b.cpp": '#include "core/layers/m.h"\n',
            "genomics/x.cpp": '#include "audio/y.h"\n',
            "audio/y.h": '#include <sndfile.h>\n',
            "core/layers/m.h": '#include <cuda_runtime.h>\n',
            "core/layers/n.cpp": '#include "m.h"\n',
            "core/training/t.cpp": '#include <spdlog/spdlog.h>\n',
            "core/layers/good.cpp": '#include "kernels/a/a.h"\n#include <vector>\n',
        }
        with tempfile.TemporaryDirectory() as folder:
            root = pathlib.Path(folder)
            for name, text in files.items():
                (root / name).parent.mkdir(parents=True, exist_ok=True)
                (root / name).write_text(text)
            found = violations(root)
        blamed = {line.split(":")[0] for line in found}
        self.assertEqual(set(files) - {"core/layers/good.cpp", "kernels/a/a.h"}, blamed)


if __name__ == "__main__":
    unittest.main()
