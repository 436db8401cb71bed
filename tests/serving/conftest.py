"""A home that is nobody's, and checkpoints of tiny models."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch) -> Path:
    """A home of its own, so that nobody's history is touched; tests work in an empty folder beside it."""
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.delenv("XDG_STATE_HOME", raising=False)
    monkeypatch.delenv("UNDERSTUDY_RUNS", raising=False)
    monkeypatch.chdir(tmp_path)
    return tmp_path / "home"


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
