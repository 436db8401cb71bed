"""How long a person waits: from the press of a key to the frame that shows what it did, in headless Chromium.

    python benchmarks/play_latency.py [--quick]

`understudy play` serves a kitchen over loopback at its own pace, with a scripted partner. Keys are pressed at moments
that have nothing to do with the game's steps. A step has to pass before a press can show, so the time is at least what
is left of the step (half of one in the mean); the limit is that wait alone, as a clock in the page would have it. The
target is a p95 of at most one step and 30 ms.
"""

import argparse
import random
import subprocess
import sys
import tempfile

import numpy as np
from playwright.sync_api import sync_playwright
from report import finish, table

STEP = 150.0
"""Milliseconds of a step."""
ALLOWED = STEP + 30
KEYS = ("ArrowUp", "ArrowDown", "ArrowLeft", "ArrowRight", " ")


def measure(presses: int) -> list[float]:
    """Return milliseconds from each press to its frame."""
    with tempfile.TemporaryDirectory() as folder:
        command = (sys.executable, "-m", "understudy", "play", "--port", "0", "--option", "horizon=30000")
        server = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=folder)
        try:
            assert server.stdout
            said = server.stdout.readline()
            address = next(word for word in said.split() if word.startswith("http://")).rstrip(".")
            with sync_playwright() as playwright:
                browser = playwright.chromium.launch(executable_path="/usr/bin/chromium", args=["--no-sandbox"])
                page = browser.new_page()
                page.goto(address)
                page.locator("#start").wait_for()
                page.keyboard.press("Enter")
                page.locator("#cover").wait_for(state="hidden")
                moments = random.Random(0)
                for _ in range(presses):
                    page.wait_for_timeout(2 * STEP + moments.uniform(0, STEP))
                    page.keyboard.press(moments.choice(KEYS))
                page.wait_for_timeout(3 * STEP)
                script = "performance.getEntriesByName('press to frame').map((entry) => entry.duration)"
                found: list[float] = page.evaluate(script)
                browser.close()
        finally:
            server.terminate()
            server.wait()
    assert len(found) == presses, f"{presses} presses, but {len(found)} frames showed one"
    return found


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--quick", action="store_true", help="under a minute")
    presses = 60 if parser.parse_args().quick else 600
    found = measure(presses)
    ours = {name: float(np.percentile(found, share)) for name, share in (("median", 50), ("p95", 95), ("p99", 99))}
    waits = np.random.default_rng(0).uniform(0, STEP, 100_000)
    limit = {name: float(np.percentile(waits, share)) for name, share in (("median", 50), ("p95", 95), ("p99", 99))}
    rows = [
        [name, *(f"{value:.0f}" for value in row.values())]
        for name, row in (("ours", ours), ("the wait for the step alone", limit))
    ]
    table(f"Milliseconds from a key to its frame, {presses} presses", ["", *ours], rows)
    finish("play_latency_p95", "ms", ours["p95"], {}, limit["p95"], ALLOWED / ours["p95"], 1.0)


if __name__ == "__main__":
    main()
