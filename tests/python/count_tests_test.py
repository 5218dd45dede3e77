#!/usr/bin/env python3
# label: unit
"""scripts/count-tests counts single cases and hides no failure."""
import pathlib
import subprocess
import sys
import tempfile
import unittest

ROOT = pathlib.Path(__file__).resolve().parents[2]

REPORT = """<testsuites><testsuite name="S">
<testcase name="a" status="run" result="completed"/>
<testcase name="b" status="run" result="completed"><failure message="x"/></testcase>
<testcase name="c" status="run" result="skipped"><skipped message="no GPU"/></testcase>
</testsuite></testsuites>"""


def count(entries, reports=None):
    """Exit code and printed line for ctest entries (name, status, message) and GoogleTest reports."""
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        lines = [f'<testcase name="{name}" status="{status}"><skipped message="{message}"/></testcase>'
                 for name, status, message in entries]
        (folder / "ctest.junit").write_text("<testsuite>" + "".join(lines) + "</testsuite>")
        for name, text in (reports or {}).items():
            (folder / (name + ".xml")).write_text(text)
        result = subprocess.run([sys.executable, "-B", str(ROOT / "scripts/count-tests"), str(folder)],
                                capture_output=True, text=True, check=False)
    return result.returncode, result.stdout.strip()


class CountTests(unittest.TestCase):
    def test_cases_of_a_program(self):
        self.assertEqual((1, "1 passed, 1 failed, 1 skipped"), count([("p", "fail", "")], {"p": REPORT}))

    def test_script_is_one_case(self):
        self.assertEqual((0, "1 passed, 0 failed, 0 skipped"), count([("p", "run", "")]))

    def test_skipped_on_purpose(self):
        self.assertEqual((0, "1 passed, 0 failed, 1 skipped"),
                         count([("p", "run", ""), ("q", "notrun", "SKIP_RETURN_CODE=77")]))

    def test_missing_program_fails(self):
        self.assertEqual((1, "0 passed, 1 failed, 0 skipped"),
                         count([("p", "notrun", "Unable to find executable")]))

    def test_crash_without_report_fails(self):
        self.assertEqual((1, "0 passed, 1 failed, 0 skipped"), count([("p", "fail", "")]))

    def test_crash_after_a_green_report_fails(self):
        green = REPORT.replace('<failure message="x"/>', "")
        self.assertEqual((1, "2 passed, 1 failed, 1 skipped"), count([("p", "fail", "")], {"p": green}))

    def test_nothing_ran(self):
        self.assertEqual(1, count([])[0])


if __name__ == "__main__":
    unittest.main()
