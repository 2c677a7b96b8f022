"""Take docs/images/web.png: both halves of the page side by side, one in each theme.

    python screenshot.py site ../../docs/images/web.png

``site`` is what build.py wrote. Needs playwright, Pillow and Debian's chromium; with the Inter font installed
(fonts-inter) it looks as it does in the README.
"""

from __future__ import annotations

import functools
import http.server
import io
import sys
import threading
import time
from pathlib import Path
from typing import Any

from PIL import Image
from playwright.sync_api import sync_playwright

WIDTH, HEIGHT = 1124, 900
HALVES = (
    # theme, section, what to wait for, the step to show
    ("light", "#drawing", "draw.writing.drawings.filter(Boolean).length === 16", "draw.writing", 0.8),
    ("dark", "#looking", "draw.reading.result && !draw.reading.player.playing", "draw.reading", 0.5),
)


class Quiet(http.server.SimpleHTTPRequestHandler):
    """A server that keeps its log to itself."""

    def log_message(self, format: str, *args: Any) -> None:
        pass


def main(site: str, out: str, address: str = "#seed=7&picture=3") -> None:
    """Write ``out``; ``address`` picks the seed and the picture."""
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=site))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    with sync_playwright() as playwright:
        arguments = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]
        browser = playwright.chromium.launch(executable_path="/usr/bin/chromium", args=arguments)
        halves = []
        for theme, section, ready, panel, part in HALVES:
            page = browser.new_page(
                viewport={"width": WIDTH, "height": HEIGHT}, color_scheme=theme, reduced_motion="reduce"
            )
            page.goto(f"http://127.0.0.1:{server.server_port}/{address}")
            end = time.monotonic() + 30
            while not page.evaluate(f"Boolean(window.draw && {ready})"):
                if time.monotonic() > end:
                    sys.exit("screenshot.py: error: the page did not get ready")
                page.wait_for_timeout(50)
            page.evaluate(f"{panel}.player.seek(Math.round({part} * {panel}.player.count))")
            box = page.evaluate(
                f"(() => {{ const s = document.querySelector('{section}').getBoundingClientRect(),"
                f"f = document.querySelector('{section} .film-box').getBoundingClientRect();"
                "return [s.top + scrollY, f.bottom + scrollY]; })()"
            )
            clip = {"x": 0, "y": box[0] + 1, "width": WIDTH, "height": box[1] - box[0] + 22}
            halves.append(Image.open(io.BytesIO(page.screenshot(full_page=True, clip=clip))).convert("RGB"))
        browser.close()
    both = Image.new("RGB", (2 * WIDTH, max(half.height for half in halves)))
    for k, half in enumerate(halves):
        both.paste(half.getpixel((2, 2)), (k * WIDTH, 0, (k + 1) * WIDTH, both.height))
        both.paste(half, (k * WIDTH, 0))
    Path(out).parent.mkdir(parents=True, exist_ok=True)
    small = both.quantize(96, method=Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE)
    small.save(out, optimize=True)
    print(f"wrote {out}: {both.width} x {both.height} pixels, {Path(out).stat().st_size:,} bytes")


if __name__ == "__main__":
    main(*sys.argv[1:])
