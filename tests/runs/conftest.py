"""Each test works in a folder of its own, with a git that knows no user."""

import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty current folder outside any repository; runs go below it."""
    for name in [name for name in os.environ if name.startswith("GIT_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("GIT_CONFIG_NOSYSTEM", "1")
    monkeypatch.delenv("UNDERSTUDY_RUNS", raising=False)
    folder = tmp_path / "work"
    folder.mkdir()
    monkeypatch.chdir(folder)
    return folder


@pytest.fixture(autouse=True)
def _small_package(small_package: None) -> None:
    """For every test here."""


Git = Callable[..., str]


@pytest.fixture
def git(here: Path) -> Git:
    """Runs git in the current folder, or in `at`, as a user with a name."""

    def run(*arguments: str, at: Path = here) -> str:
        person = ["-c", "user.name=Ada", "-c", "user.email=ada@example.org", "-c", "protocol.file.allow=always"]
        done = subprocess.run(["git", *person, *arguments], cwd=at, capture_output=True, check=True)
        return os.fsdecode(done.stdout)

    return run


@pytest.fixture
def repository(here: Path, git: Git) -> Path:
    """A repository in the current folder with one commit."""
    git("init", "--quiet", "--initial-branch=main")
    (here / "kept.py").write_text("kept = 1\n")
    (here / "edited.py").write_text("before = 1\n")
    (here / "deleted.py").write_text("gone = 1\n")
    (here / "sub").mkdir()
    (here / "sub" / "deep.py").write_text("deep = 1\n")
    (here / ".gitignore").write_text("*.ignored\n")
    git("add", ".")
    git("commit", "--quiet", "--message=first")
    return here
