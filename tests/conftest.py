"""What tests of several folders share."""

import os
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from forking import Forking
from hypothesis import HealthCheck, settings

# No test may fail because the machine is busy.
settings.register_profile("unhurried", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("unhurried")

# Tests with a home of their own need not compile the native functions there once more.
os.environ.setdefault("XDG_CACHE_HOME", str(Path("~/.cache").expanduser()))

# A shell that runs the tests in the background has them ignore Ctrl-C, and so would the processes that they start.
signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def sharp_model() -> Callable[..., Any]:
    """Makes tiny float64 models that say lower-case letters and what `says` names, and heed all that was said before.

    Their weights are large, so the likeliest token is never tied and one other token far back changes the reply.
    """
    import torch

    from understudy.data.tokenizers import ByteTokenizer
    from understudy.models.language_model import LanguageModel
    from understudy.models.spec import CoreConfig

    kinds: dict[str, dict[str, Any]] = {
        "lstm": {"core": "lstm"},
        **{block: {"block": block} for block in ("modern", "gpt1", "gpt2")},
    }
    seeds = {"lstm": 31, "modern": 5, "gpt1": 14, "gpt2": 3}  # whose models say varied things and end now and then

    def make(kind: str, context: int = 96, tokenizer: Any = None, says: Sequence[str] = ("<|end|>",)) -> LanguageModel:
        tokenizer = tokenizer or ByteTokenizer()
        config = CoreConfig(layers=2, width=16, heads=2, context=context, **kinds[kind])
        letters = [token for token in range(tokenizer.vocab_size) if _is_lower(tokenizer.bytes_of(token))]
        spoken = [*letters, *(tokenizer.special[name] for name in says)]
        random = torch.Generator().manual_seed(seeds[kind])
        model = LanguageModel(config.resolved(), tokenizer.vocab_size).double().eval()
        with torch.no_grad():
            for parameter in model.core.parameters():
                if parameter.dim() > 1:
                    parameter.normal_(std=3 * parameter.shape[1] ** -0.5, generator=random)
            model.embedding.weight.normal_(std=0.1, generator=random)
            model.embedding.weight[spoken] = model.embedding.weight[spoken] * 30
        return model

    return make


def _is_lower(text: bytes) -> bool:
    return text.isascii() and text.replace(b" ", b"a").isalpha() and not any(chr(byte).isupper() for byte in text)


@pytest.fixture(scope="session")
def forking() -> Iterator[Forking]:
    """Runs the command line in processes that need not import torch."""
    process = Forking()
    yield process
    process.close()


@pytest.fixture
def small_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A run takes along this package's checkout and what the process has read; most tests need not wait for that."""
    from understudy.runs.code import opened_files, snapshot

    package = tmp_path / "site-packages" / "understudy"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("")
    monkeypatch.setattr(snapshot, "PACKAGE", package)
    opened_files.begin()
    monkeypatch.setattr(opened_files, "_opened", {})


@pytest.fixture(autouse=True)
def _denormals() -> Iterator[None]:
    """What a verb called within a test does to its process must not reach the next one: hypothesis needs denormals."""
    yield
    if torch := sys.modules.get("torch"):
        torch.set_flush_denormal(False)
