"""A home that is nobody's, checkpoints of tiny models, and headless Chromium."""

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

WORDS = ("--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update")


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch) -> Path:
    """A home of its own, so that nobody's history is touched; tests work in an empty folder beside it."""
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.delenv("XDG_STATE_HOME", raising=False)
    for name in ("UNDERSTUDY_RUNS", "UNDERSTUDY_RECORDINGS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)
    return tmp_path / "home"


@pytest.fixture(scope="session", autouse=True)
def patience() -> None:
    """Whoever asks a server here waits longer than httpx does by default: the machine may be busy."""
    httpx._config.DEFAULT_TIMEOUT_CONFIG.__init__(120)  # type: ignore[misc]


@pytest.fixture(scope="session")
def model(sharp_model) -> Any:
    return sharp_model("modern", context=200)


@pytest.fixture(scope="session")
def save(tmp_path_factory) -> Callable[..., str]:
    """Saves a model as a checkpoint, whose folder is returned."""
    import torch

    from understudy.data.tokenizers import ByteTokenizer
    from understudy.training.checkpoint import save_checkpoint
    from understudy.training.learner import Learner, LearnerConfig
    from understudy.training.objectives import ImitationLoss

    def save(model: Any, kind: str = "chats", name: str = "run") -> str:
        learner = Learner(ImitationLoss(model), LearnerConfig(), torch.device("cpu"))
        return str(save_checkpoint(tmp_path_factory.mktemp(name), learner, ByteTokenizer(), kind=kind))

    return save


@pytest.fixture(scope="session")
def checkpoint(save, model) -> str:
    return save(model)


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
