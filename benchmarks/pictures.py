"""The pictures of the README and the docs, from real runs: chats, the checks' verdicts, a comparison, pages, a game.

    python benchmarks/pictures.py [--out docs/pictures]

The chats are with the built-in model, which is trained if there is none yet. The runs of the other two pictures are
made in a folder of their own, which takes about three minutes. Pages are screenshots by headless Chromium.
"""

import argparse
import io
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from report import console
from rich.console import Console
from rich.progress import track
from rich.text import Text

LINES = (
    "Hi there!",
    "I'm Ottoline from Gruvhaven.",
    "I have a dog called Percy and a cat called Simba",
    "Do you know a joke?",
    "What's my name?",
    "and what is my cat called?",
    "How many pets do I have?",
    "What's the weather like?",
)
TINY = "--layers 2 --width 64 --heads 2 --context 128 --batch-size 4 --warmup 10 --vocab-size 512 --sample-every 0"
SETTINGS = json.dumps({"sampling": {"temperature": "0"}})
CHROMIUM = "--headless --no-sandbox --disable-gpu --no-first-run --disable-background-networking --hide-scrollbars"


def understudy(*words: str, runs: Path | None = None, stdin: str = "") -> str:
    """Run a command as a user does, and return what it printed."""
    environment = {**os.environ, **({"UNDERSTUDY_RUNS": str(runs)} if runs else {})}
    command = [sys.executable, "-m", "understudy", *words]
    done = subprocess.run(command, env=environment, input=stdin, capture_output=True, text=True)
    if done.returncode not in (0, 1):  # the doctor ends with 1 where it finds something
        raise SystemExit(f"{' '.join(words)} ended with {done.returncode}: {done.stderr}")
    return done.stdout


def save(recorded: Console, path: Path, title: str) -> None:
    """Write what a console printed as SVG, without the fonts that rich would fetch from a server."""
    picture = recorded.export_svg(title=title)
    path.write_text(re.sub(r"@font-face \{.*?\}\s*", "", picture, flags=re.DOTALL))


def recorder(width: int) -> Console:
    """Return a console that shows nothing and keeps everything."""
    return Console(record=True, width=width, file=io.StringIO(), force_terminal=False)


def picture_chat(path: Path) -> None:
    """Draw a chat with the built-in model."""
    said = understudy("chat", "--temperature", "0", stdin="\n".join(LINES) + "\n")
    drawn = recorder(72)
    for line in said.splitlines():
        speaker, colon, rest = line.partition(": ")
        style = {"you": "bold cyan", "bot": "bold green"}.get(speaker)
        drawn.print(Text.assemble((speaker + colon, style), rest) if style else Text(line, "dim"))
    save(drawn, path, "understudy chat")


def picture_verdicts(path: Path, place: Path) -> None:
    """Draw what the doctor says of a run whose validation file repeats its training data with a word more."""
    sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "doctor"))
    from bugs.conftest import conversations, write

    held_out = conversations(60, seed=2)
    again = [{"messages": [*one["messages"], {"role": "user", "content": "so"}]} for one in held_out]
    write(place / "talk.jsonl", conversations(400, seed=1) + again)
    write(place / "valid.jsonl", held_out)
    data = ["--data", str(place / "talk.jsonl"), "--valid", str(place / "valid.jsonl")]
    understudy("pretrain", *TINY.split(), *data, "--steps", "40", runs=place / "runs")

    os.environ["UNDERSTUDY_RUNS"] = str(place / "runs")
    from understudy.recipes import doctor

    drawn = recorder(136)
    doctor.main(doctor.Config("last"), drawn)
    save(drawn, path, "understudy doctor last")


def picture_comparison(path: Path, place: Path) -> None:
    """Take a screenshot of the page on two learning rates, three seeds each."""
    runs = place / "compared"
    settings = [(rate, seed) for rate in ("2e-3", "8e-3") for seed in ("0", "1", "2")]
    for rate, seed in track(settings, "training", console=console, transient=True):
        words = f"{TINY} --steps 160 --eval-every 40 --smalltalk-conversations 1000 --lr {rate} --seed {seed}"
        understudy("pretrain", *words.split(), runs=runs)
    page = place / "rates.html"
    understudy("runs", "compare", "verb=pretrain", "--group-by", "learner.lr", "--html", str(page), runs=runs)
    screenshot(page, path, "1000,1150")


def picture_page(wide: Path, narrow: Path) -> None:
    """Take screenshots of the chat page: one wide, with a reply's tokens, and one on a phone, in the dark."""
    from playwright.sync_api import sync_playwright

    command = [sys.executable, "-m", "understudy", "serve", "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server, sync_playwright() as playwright:
        try:
            assert server.stdout
            told = next(server.stdout, "")
            if (found := re.search(r"http://[\d.:]+", told)) is None:
                raise SystemExit("understudy serve does not start; `make chat` trains the model that it needs")
            address = found[0]
            browser = playwright.chromium.launch(executable_path=chromium(), args=CHROMIUM.split())
            page = browser.new_page(viewport={"width": 1280, "height": 800})
            chat(page, address, LINES[:6])
            talk = page.url
            page.locator("[aria-label='Good reply']").nth(-2).click()
            page.locator("[aria-label='Tokens and their probabilities']").nth(-2).click()
            page.mouse.move(0, 0)
            page.screenshot(path=wide)
            phone = browser.new_page(
                viewport={"width": 390, "height": 844},
                device_scale_factor=2,
                has_touch=True,
                is_mobile=True,
                color_scheme="dark",
            )
            phone.goto(talk)
            phone.locator("article.assistant").last.wait_for()
            phone.screenshot(path=narrow)
            page.request.delete(f"{address}/api/conversations/{talk.partition('#')[2]}")
            browser.close()
        finally:
            server.terminate()


def picture_play(path: Path, place: Path) -> None:
    """Take a screenshot of a game beside a scripted cook."""
    from playwright.sync_api import sync_playwright

    command = [sys.executable, "-m", "understudy", "play", "--port", "0", "--seed", "1", "--to", str(place / "mine")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server, sync_playwright() as playwright:
        try:
            assert server.stdout
            found = re.search(r"http://[\d.:]+\d", next(server.stdout, ""))
            assert found
            browser = playwright.chromium.launch(executable_path=chromium(), args=CHROMIUM.split())
            page = browser.new_page(viewport={"width": 900, "height": 700})
            page.goto(found[0])
            page.fill("#name", "Ottoline")
            page.keyboard.press("Enter")
            page.locator("#cover").wait_for(state="hidden")
            # Into the corner, out of the other cook's way, and an onion
            for key in ("ArrowUp", "ArrowLeft", " ", "ArrowDown"):
                page.keyboard.press(key)
                page.wait_for_timeout(320)
            page.get_by_text("Pot 1 cooks.").wait_for(state="attached")
            page.wait_for_timeout(1000)
            page.screenshot(path=path)
            page.click("#leave")
            browser.close()
        finally:
            server.terminate()


def picture_watch(path: Path, place: Path) -> None:
    """Take a screenshot of a game that a clone plays with itself; it learned from the scripted cook."""
    from playwright.sync_api import sync_playwright

    runs = place / "clones"
    expert = ("--env", "kitchen/cramped_room", "--expert", "cook", "--games", "20")
    understudy("clone", *expert, "--steps", "150", "--play-games", "0", runs=runs)
    command = [sys.executable, "-m", "understudy", "watch", "last:clone", "--games", "2", "--port", "0"]
    environment = {**os.environ, "UNDERSTUDY_RUNS": str(runs)}
    server = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment)
    with server, sync_playwright() as playwright:
        try:
            assert server.stdout
            found = re.search(r"http://[\d.:]+\d", next(server.stdout, ""))
            assert found
            browser = playwright.chromium.launch(executable_path=chromium(), args=CHROMIUM.split())
            page = browser.new_page(viewport={"width": 1000, "height": 640})
            page.goto(found[0])
            page.locator("#play:enabled").wait_for()
            page.evaluate("step.value = 60; step.dispatchEvent(new Event('input'))")
            page.wait_for_timeout(300)
            page.screenshot(path=path)
            browser.close()
        finally:
            server.terminate()


def chat(page: Any, address: str, lines: Sequence[str]) -> None:
    """Say these lines on the chat page, at temperature 0, each after the reply to the one before."""
    page.add_init_script(f"localStorage.setItem('understudy-settings', {SETTINGS!r})")
    page.goto(address)
    page.locator("#model option").first.wait_for(state="attached")
    for count, line in enumerate(lines, 1):
        page.fill("#message", line)
        page.keyboard.press("Enter")
        page.locator("article.assistant:not([aria-busy])").nth(count - 1).wait_for()


def chromium() -> str:
    """Return the path of Chromium."""
    found = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if found is None:
        raise SystemExit("pages are drawn by Chromium, which is not installed; on Debian: apt install chromium")
    return found


def screenshot(page: Path, path: Path, size: str) -> None:
    """Draw a page as headless Chromium shows it."""
    with tempfile.TemporaryDirectory() as profile:
        words = [
            *CHROMIUM.split(),
            f"--user-data-dir={profile}",
            f"--window-size={size}",
            f"--screenshot={path.resolve()}",
        ]
        subprocess.run([chromium(), *words, page.as_uri()], check=True, capture_output=True)


def main(arguments: Sequence[str] | None = None) -> None:
    """Make all of them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path(__file__).parents[1] / "docs" / "pictures")
    parser.add_argument("--only", choices=("chat", "verdicts", "comparison", "page", "play", "watch"))
    options = parser.parse_args(arguments)
    options.out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as scratch:
        place = Path(scratch)
        if options.only in (None, "chat"):
            picture_chat(options.out / "chat.svg")
        if options.only in (None, "verdicts"):
            picture_verdicts(options.out / "verdicts.svg", place)
        if options.only in (None, "comparison"):
            picture_comparison(options.out / "comparison.png", place)
        if options.only in (None, "play"):
            picture_play(options.out / "play.png", place)
        if options.only in (None, "watch"):
            picture_watch(options.out / "watch.png", place)
    if options.only in (None, "page"):
        picture_page(options.out / "page.png", options.out / "page-phone.png")
    console.print(f"written: {', '.join(str(path) for path in sorted(options.out.iterdir()))}")


if __name__ == "__main__":
    main()
