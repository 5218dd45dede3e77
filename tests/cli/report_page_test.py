#!/usr/bin/env python3
"""Reports in a real browser: nothing is wider than the window, light and dark, on a desk and on a phone.

Leaves screenshots in build/.../report_pages for people to look at. Needs Chromium (Debian's package chromium).
"""
import base64
import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile
import unittest

import command_line
import report_samples

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
PICTURES = pathlib.Path(os.environ.get("STRANDWAVE_BINARY_DIR", tempfile.gettempdir())) / "report_pages"

# Shows pages in frames of the wanted widths (a window is never narrower than 500) and writes down how wide their content
# is, what sticks out, and the colours that they chose.
SCRIPT = """
function look(frame) {
  const page = frame.contentDocument, root = page.documentElement, wide = [], cut = [];
  for (const element of page.querySelectorAll("body *:not(svg *)")) {
    if (element.closest(".scroll") && !element.matches(".scroll")) continue;
    if (element.getBoundingClientRect().right > root.clientWidth + 1) wide.push(element.outerHTML.slice(0, 100));
  }
  for (const text of page.querySelectorAll("svg text")) {
    const box = text.getBBox(), view = text.ownerSVGElement.viewBox.baseVal;
    if (!text.hasAttribute("transform") && (box.x < -1 || box.x + box.width > view.width + 1)) cut.push(text.textContent);
  }
  return {client: root.clientWidth, scroll: root.scrollWidth, wide, cut, charts: page.querySelectorAll("svg[role=img]").length,
          background: getComputedStyle(page.body).backgroundColor};
}
onload = () => {
  const seen = {};
  for (const frame of document.querySelectorAll("iframe")) seen[frame.id] = look(frame);
  document.title = "FOUND" + btoa(unescape(encodeURIComponent(JSON.stringify(seen)))) + "END";
};
"""


@unittest.skipUnless(CHROMIUM, "no chromium")
class ReportPages(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.holder = tempfile.TemporaryDirectory()
        cls.folder = pathlib.Path(cls.holder.name)
        PICTURES.mkdir(parents=True, exist_ok=True)
        report_samples.language_model_run(cls.folder / "chr20", resumed=[300, 620], skipped=[400, 401, 402, 705])
        report_samples.language_model_run(cls.folder / "chr20_with_a_rather_long_name", bits=1.7102, end=1.72, seen=0.042,
                                          tokens_per_step=16384, seed=3)
        report_samples.classifier_run(cls.folder / "species")
        report_samples.classifier_run(cls.folder / "hostile", labels=(report_samples.HOSTILE, "x" * 200), lengths=(150,), errors=(0.0,))
        cls.pages = {"single": ["chr20"], "several": ["chr20", "chr20_with_a_rather_long_name", "species"], "hostile": ["hostile"]}
        for name, runs in cls.pages.items():
            result = command_line.run(cls.folder, "report", *runs, "-o", f"{name}.html")
            assert result.returncode == 0, result.stderr

    @classmethod
    def tearDownClass(cls):
        cls.holder.cleanup()

    def browse(self, pages, dark, *options):
        """Shows (page, width) pairs below each other; what the browser prints."""
        height = 1200
        frames = "".join(f'<iframe id="{page} {width}" src="{page}.html" style="border:0;display:block;width:{width}px;'
                         f'height:{height}px"></iframe>' for page, width in pages)
        frame = self.folder / "frame.html"
        frame.write_text(f"<!DOCTYPE html><head><title></title><script>{SCRIPT}</script></head>"
                         f'<body style="margin:0">{frames}</body>')
        widest = max(width for _, width in pages)
        result = subprocess.run(
            [CHROMIUM, "--headless=new", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--allow-file-access-from-files",
             f"--user-data-dir={self.folder}/profile", f"--blink-settings=preferredColorScheme={0 if dark else 1}",
             f"--window-size={max(widest, 500)},{height}", "--virtual-time-budget=3000", *options, f"file://{frame}"],
            capture_output=True, text=True, timeout=120, check=False)
        self.assertEqual(0, result.returncode, result.stderr)
        return result.stdout

    def measured(self, pages, dark):
        found = re.search(r"FOUND([\w+/=]+)END", self.browse(pages, dark, "--dump-dom"))
        self.assertIsNotNone(found, "the pages did not load")
        return json.loads(base64.b64decode(found.group(1)))

    def test_nothing_is_wider_than_the_window(self):
        pages = [(name, width) for name in self.pages for width in (1200, 400)]
        measured = self.measured(pages, dark=False)
        for name, width in pages:
            with self.subTest(page=name, width=width):
                seen = measured[f"{name} {width}"]
                self.assertEqual(width, seen["client"])
                self.assertLessEqual(seen["scroll"], width)
                self.assertEqual([], seen["wide"])
                self.assertEqual([], seen["cut"], "texts that reach out of their chart")
                self.assertGreater(seen["charts"], 3)

    def test_light_and_dark(self):
        def brightness(dark):
            colour = self.measured([("single", 1200)], dark)["single 1200"]["background"]
            return sum(map(int, re.findall(r"\d+", colour)[:3]))
        self.assertGreater(brightness(dark=False), 600)
        self.assertLess(brightness(dark=True), 150)

    def test_pictures(self):
        for width, dark in ((1200, False), (400, True)):
            picture = PICTURES / f"several_{width}_{'dark' if dark else 'light'}.png"
            picture.unlink(missing_ok=True)
            self.browse([("several", width)], dark, f"--screenshot={picture}")
            # A page without content packs into a few kilobytes.
            self.assertGreater(picture.stat().st_size, 20000)


if __name__ == "__main__":
    if not CHROMIUM:
        print("skipped: no chromium (scripts/setup --dev installs it on Debian)")
        sys.exit(77)
    unittest.main()
