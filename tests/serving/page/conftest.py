"""Models for the page."""

from pathlib import Path

import pytest

from understudy.training.loading import Loaded, load_model


@pytest.fixture(scope="session")
def models(save, sharp_model) -> dict[str, Loaded]:
    """Two models to choose from, and one that did not learn from conversations."""
    kinds = {
        "brave-otter": ("modern", "chats"),
        "20261123-1412-calm-heron": ("lstm", "chats"),
        "plain-text": ("modern", "text"),
    }
    return {name: load_model(Path(save(sharp_model(core), kind, name))) for name, (core, kind) in kinds.items()}
