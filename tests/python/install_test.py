#!/usr/bin/env python3
# label: slow
"""`cmake --install` gives a tree that can be moved, and find_package(strandwave) works from it.

Installs what is built (nothing is rebuilt), moves the tree, builds a small consumer against it and
runs consumer and program. Exit code 77: nothing is built here, or a tool is missing.
"""
import math
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile
import unittest

ROOT = pathlib.Path(__file__).resolve().parents[2]
BUILD = pathlib.Path(os.environ.get("STRANDWAVE_BINARY_DIR", ROOT / "build/release"))
BUILT = ("bin/strandwave", "lib/libstrandwave_kernels.so", "core/libcore_base.a", "core/libcore.a",
         "genomics/libgenomics_io.a", "genomics/libgenomics.a", "audio/libaudio_io.a", "audio/libaudio.a")

CMAKE = """cmake_minimum_required(VERSION 3.25)
project(consumer LANGUAGES CXX)
find_package(strandwave 0.1 REQUIRED)
add_executable(scan scan.cpp)
target_link_libraries(scan PRIVATE strandwave::kernels)
add_executable(model model.cpp)
target_link_libraries(model PRIVATE strandwave::core strandwave::genomics strandwave::audio)
"""

SCAN = """#include <ATen/ATen.h>
#include <cstdio>
#include "kernels/selective_scan/selective_scan.h"

int main() {
  const at::Tensor u = at::ones({1, 4, 2}), A = at::full({2, 3}, -1.0), B = at::ones({1, 4, 3});
  const auto [out, final_state] = strandwave::selective_scan(u, u, A, B, B);
  std::printf("%.6f\\n", out.sum().item<double>());
}
"""

MODEL = """#include <cstdio>
#include "audio/io/audio_file.h"
#include "core/layers/mamba.h"
#include "core/models/layer_string.h"
#include "genomics/io/tokenizer.h"
#include "genomics/sequence_classifier.h"

int main() {
  std::printf("%s %d %d\\n", strandwave::expand_layer_string("(M-){2}").c_str(), strandwave::dna::complement(7),
              strandwave::audio::looks_like_audio("fLaC") ? 1 : 0);
}
"""


def missing():
    """Why the test cannot run here, or None."""
    absent = [name for name in BUILT if not (BUILD / name).exists()]
    if absent:
        return f"{BUILD} does not hold {', '.join(absent)}: build first"
    tools = [tool for tool in ("cmake", "ninja") if not shutil.which(tool)]
    return f"{', '.join(tools)} not found" if tools else None


def expected_sum():
    """The scan of SCAN, by hand: 2 channels of 3 equal states, delta' = softplus(1)."""
    delta = math.log1p(math.e)
    state = total = 0.0
    for _ in range(4):
        state = math.exp(-delta) * state + delta
        total += 2 * 3 * state
    return total


def compiler():
    """The compiler of the build. CMake keeps one that a project chose in this file, not in the cache."""
    text = next(BUILD.glob("CMakeFiles/*/CMakeCXXCompiler.cmake")).read_text()
    return re.search(r'^set\(CMAKE_CXX_COMPILER "(.+)"\)', text, re.MULTILINE).group(1)


class Install(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        holder = tempfile.TemporaryDirectory()
        cls.addClassCleanup(holder.cleanup)
        cls.folder = pathlib.Path(holder.name)
        cls.command("cmake", "--install", BUILD, "--prefix", cls.folder / "first")
        cls.tree = cls.folder / "moved"
        (cls.folder / "first").rename(cls.tree)

    @staticmethod
    def command(*words):
        result = subprocess.run([str(word) for word in words], capture_output=True, text=True, check=False)
        if result.returncode != 0:
            raise AssertionError(f"{words}\n{result.stdout}\n{result.stderr}")
        return result.stdout

    def test_headers_are_complete(self):
        """Whatever an installed header includes from the project is installed too."""
        root = self.tree / "include/strandwave-root"
        headers = list(root.rglob("*.h"))
        self.assertIn(root / "kernels/selective_scan/selective_scan.h", headers)
        lost = [f"{header.relative_to(root)}: {name}" for header in headers
                for name in re.findall(r'^#include "(.+)"', header.read_text(), re.MULTILINE)
                if not (root / name).exists()]
        self.assertEqual([], lost)

    def test_package_names_no_folder_of_the_source(self):
        for path in (self.tree / "lib/cmake/strandwave").glob("*.cmake"):
            # Where LibTorch was at build time is a hint, and may lie in the source's .venv.
            lines = [line for line in path.read_text().splitlines() if "STRANDWAVE_TORCH_HINT" not in line]
            self.assertNotIn(str(ROOT), "\n".join(lines), path.name)

    def test_program_runs_after_the_move(self):
        self.assertIn("strandwave", self.command(self.tree / "bin/strandwave", "--version"))
        # Its operators come from the tree, not from the build folder.
        loaded = self.command("ldd", self.tree / "bin/strandwave")
        self.assertIn(str(self.tree.resolve()), loaded)
        self.assertNotIn(str(BUILD), loaded)

    def test_consumer(self):
        source, build = self.folder / "consumer", self.folder / "consumer-build"
        source.mkdir()
        (source / "CMakeLists.txt").write_text(CMAKE)
        (source / "scan.cpp").write_text(SCAN)
        (source / "model.cpp").write_text(MODEL)
        self.command("cmake", "-S", source, "-B", build, "-G", "Ninja", f"-DCMAKE_PREFIX_PATH={self.tree}",
                     f"-DCMAKE_CXX_COMPILER={compiler()}", "-DCMAKE_BUILD_TYPE=Release")
        self.command("cmake", "--build", build, "-j", "1")
        self.assertAlmostEqual(expected_sum(), float(self.command(build / "scan")), places=4)
        self.assertEqual("M-M- 10 1\n", self.command(build / "model"))


if __name__ == "__main__":
    reason = missing()
    if reason:
        print(f"skipped: {reason}")
        sys.exit(77)
    unittest.main()
