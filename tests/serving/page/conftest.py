"""Headless Chromium, and a page to look at."""

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from understudy.training.loading import Loaded, load_model

WORDS = ("--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update")


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    program = shutil.which("chromium")
    if program is None:
        pytest.skip("the page is tested in Chromium, which is not installed; on Debian: apt install chromium")
    sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed (extra dev)")
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=list(WORDS))
        yield browser
        browser.close()


@pytest.fixture(scope="session")
def models(save, sharp_model) -> dict[str, Loaded]:
    """Two models to choose from, and one that did not learn from conversations."""
    kinds = {
        "brave-otter": ("modern", "chats"),
        "20261123-1412-calm-heron": ("lstm", "chats"),
        "plain-text": ("modern", "text"),
    }
    return {name: load_model(Path(save(sharp_model(core), kind, name))) for name, (core, kind) in kinds.items()}
