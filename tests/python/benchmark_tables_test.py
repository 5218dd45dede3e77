#!/usr/bin/env python3
# label: unit
"""The tables of docs/benchmarks.md are those that its measurements make."""
import importlib.machinery
import importlib.util
import json
import pathlib
import subprocess
import sys
import tempfile
import unittest

ROOT = pathlib.Path(__file__).resolve().parents[2]


def load_tables():
    loader = importlib.machinery.SourceFileLoader("benchmark_tables", str(ROOT / "scripts/benchmark-tables"))
    module = importlib.util.module_from_spec(importlib.util.spec_from_loader(loader.name, loader))
    loader.exec_module(module)
    return module


class BenchmarkTables(unittest.TestCase):
    def test_page_is_up_to_date(self):
        result = subprocess.run([sys.executable, "-B", str(ROOT / "scripts/benchmark-tables"), "--check"],
                                capture_output=True, text=True, check=False)
        self.assertEqual(0, result.returncode, "run scripts/benchmark-tables\n" + result.stdout + result.stderr)

    def test_numbers(self):
        cell = load_tables().cell
        self.assertEqual(["0.0123", "0.123", "1.23", "12.3", "123", "1,235", "131,072", "", "a\\|b", "0"],
                         [cell(v) for v in (0.01234, 0.12345, 1.2345, 12.345, 123.45, 1234.6, 131072, None, "a|b", 0.0)])

    def test_rendering(self):
        tables = load_tables()
        with tempfile.TemporaryDirectory() as folder:
            folder = pathlib.Path(folder)
            (folder / "scan.json").write_text(json.dumps(
                {"title": "Scan", "device": "CPU", "command": "strandwave bench",
                 "rows": [{"shape": "1 x 2", "ms": 1.5}, {"shape": "3 x 4", "ms": 2.5, "share": 0.5}]}))
            page = "before\n<!-- table: scan -->\nold\n<!-- end -->\nafter\n"
            text = tables.rendered(page, folder)
            self.assertIn("| shape | ms | share |\n|---|---:|---:|\n| 1 x 2 | 1.50 |  |\n| 3 x 4 | 2.50 | 0.500 |", text)
            self.assertNotIn("old", text)
            self.assertEqual(text, tables.rendered(text, folder))
            with self.assertRaises(SystemExit):
                tables.rendered("no marker", folder)

    def test_operator_report(self):
        time = {"median_ms": 2.0, "p10_ms": 1.9, "p90_ms": 2.2, "repetitions": 9}
        report = {"benchmark": "operators", "version": "0.1.0", "device": "CPU", "command": "strandwave bench operators",
                  "ceilings": {"bytes_per_second": 1e10, "flops_per_second": 5e10},
                  "results": [{"name": "norm.forward", "shape": "8 x 4", "dtype": "fp32", "device": "cpu", "time": time,
                               "bytes_per_second": 5e9, "bandwidth_share": 0.5},
                              {"name": "scan.forward", "shape": "1 x 2", "dtype": "bf16", "device": "cpu", "time": time,
                               "reference": "ATen", "reference_time": time, "ratio": 20.5}]}
        tables = load_tables()
        text = tables.table(tables.measurement_of(report, "operators_cpu"))
        self.assertIn("| operator | shape | dtype | ms | p10 | p90 | GB/s | of copy, % | faster than |", text)
        self.assertIn("| norm.forward | 8 x 4 | fp32 | 2.00 | 1.90 | 2.20 | 5.00 | 50.0 |  |", text)
        self.assertIn("| ATen: 20.5x |", text)

    def test_training_reports(self):
        report = {"benchmark": "train", "version": "0.1.0", "device": "H200", "command": "strandwave bench train",
                  "d_model": 256, "layers": "M{8}", "vocabulary": 16, "batch": 1, "length": 131072, "precision": "bf16",
                  "recompute": False, "seconds_median": 0.05, "seconds_p10": 0.049, "seconds_p90": 0.051,
                  "tokens_per_second": 2.5e6, "peak_bytes": 4 * 2**30}
        tables = load_tables()
        text = tables.table(tables.measurement_of([report, report], "training"))
        self.assertIn("| 1 x 131,072 | bf16 | no | 2.50 | 50.0 | 49.0 | 51.0 | 4.00 |", text)


if __name__ == "__main__":
    unittest.main()
