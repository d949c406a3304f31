"""A page seen by a browser: headless Chromium, where one is installed."""

import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest

# What a browser says of a page that it has shown: every picture's width as it was drawn, every <svg>'s shapes.
_ASKED = """<script>addEventListener('load', () => {
  const told = {
    images: [...document.images].map(i => [i.complete, i.naturalWidth]),
    charts: [...document.querySelectorAll('svg')].map(s => s.getBBox().width),
    wide: document.documentElement.scrollWidth - innerWidth, ran: window.ran || 0,
    background: getComputedStyle(document.body).backgroundColor }
  document.title = 'told' + JSON.stringify(told) })</script>"""


def seen(page: Path, *, width: int = 1200, dark: bool = False, tries: int = 2) -> dict:
    """What headless Chromium finds on a page: `images`, `charts`, `wide`, `ran` and the console's `errors`.

    The question is asked by a script in a copy of the page whose policy lets it run; the page has none.
    """
    browser = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if not browser:
        pytest.skip("no Chromium is installed")
    text = page.read_text()
    assert "default-src 'none'; " in text
    asked = text.replace("default-src 'none'; ", "default-src 'none'; script-src 'unsafe-inline'; ", 1)
    copy = page.with_name(f"{page.stem}-asked.html")
    copy.write_text(asked.replace("</body>", f"{_ASKED}</body>"))
    options = ["--headless", "--no-sandbox", "--disable-gpu", "--enable-logging=stderr", "--dump-dom"]
    options += ["--hide-scrollbars", f"--window-size={width},900", "--virtual-time-budget=20000"]
    options += ["--blink-settings=preferredColorScheme=0"] if dark else []
    done = subprocess.run([browser, *options, copy.as_uri()], capture_output=True, text=True, timeout=240)
    copy.unlink()
    told = re.search(r"<title>told(.*?)</title>", done.stdout, re.DOTALL)
    assert told, done.stderr[-2000:]
    errors = [line for line in done.stderr.splitlines() if "CONSOLE" in line]
    return {**json.loads(told[1].replace("&quot;", '"')), "errors": errors}
