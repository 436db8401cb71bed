"""Which models a native step serves, and whether its code is there."""

import subprocess
from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch import nn

from understudy.models.cache import Cache
from understudy.models.language_model import LanguageModel, TokenEmbedding
from understudy.models.lstm import LSTM
from understudy.models.transformer import Transformer

_compiling: "subprocess.Popen[bytes] | None" = None
_failure: str | None = None
_weights: "WeakKeyDictionary[LanguageModel, dict[str, tuple[Any, Any]]]" = WeakKeyDictionary()


def native_session(model: LanguageModel, state: Any, greedy: bool = False) -> Any:
    """Return a `Session` for rows in this state, or None where the plain path must do.

    Where the likeliest token is taken (`greedy`), int8 leaves near ties to float32; not for a batch, in which some row
    is nearly level most of the time.

    Where the code is not there yet it is compiled beside, and the plain path does until then; but a model in int8,
    which the plain path does not know, waits for it.
    """
    format = native_format(model)
    if format is None or not _fits(state) or not compiled(wait=format == "int8"):
        return None
    from understudy.native.session import Session
    from understudy.native.workers import team

    ties = greedy and format == "int8" and _rows(state) == 1
    exact = _weights_of(model, "float32") if ties else None
    return Session(model, _weights_of(model, format), state, team(torch.get_num_threads()), exact)


def _weights_of(model: LanguageModel, format: str) -> Any:
    from understudy.native.weights import Weights

    stamp = tuple((p.data_ptr(), 0 if p.is_inference() else p._version) for p in model.parameters())
    known = _weights.setdefault(model, {})
    if format not in known or known[format][0] != stamp:  # new, trained on, or moved
        known[format] = stamp, Weights(model, format)
    return known[format][1]


def native_format(model: LanguageModel) -> str | None:
    """The number format in which a native step would read the model's weights; None where it cannot."""
    weight = model.embedding.weight
    kinds = {nn.Linear, TokenEmbedding}
    plain = all(type(part) in kinds for part in model.modules() if isinstance(part, nn.Linear | nn.Embedding))
    dropping = model.training and any(part.p > 0 for part in model.modules() if isinstance(part, nn.Dropout))
    unknown = type(model.core) not in (Transformer, LSTM) or (model.speakers and type(model.core) is LSTM)
    if weight.device.type != "cpu" or not plain or dropping or unknown or torch.is_autocast_enabled("cpu"):
        return None
    if weight.dtype == torch.float32:
        return "int8" if model.int8 else "float32"
    return "bfloat16" if weight.dtype == torch.bfloat16 else None


def _rows(state: Any) -> int:
    return len(state.length_B) if isinstance(state, Cache) else int(state.h_LBD.shape[1])


def _fits(state: Any) -> bool:
    """Whether the step can read and write the state's cache where it lies."""
    if not isinstance(state, Cache):
        return True
    return all(part.dtype == torch.float32 and part.is_contiguous() for part in (state.keys_LBHSK, state.values_LBHSK))


def compiled(wait: bool = False) -> bool:
    """Whether the code is there; where not, a process that compiles it is started, and waited for if so wished."""
    global _compiling, _failure
    if _failure:
        return False
    try:
        from understudy.native.compilation import code_file, start_compiling

        if code_file().exists():
            return True
        if _compiling is None:
            _compiling = start_compiling()
        if wait:
            _compiling.wait()
    except (ImportError, OSError) as error:  # PackageNotFoundError is an ImportError
        _failure = str(error)
        return False
    if _compiling.poll() not in (None, 0):
        _failure = f"compiling failed ({_last_line(_compiling)})"
    return code_file().exists()


def _last_line(process: "subprocess.Popen[bytes]") -> str:
    assert process.stderr
    lines = process.stderr.read().decode(errors="replace").strip().splitlines()
    return lines[-1] if lines else f"exit code {process.returncode}"


def announcement(model: LanguageModel) -> tuple[str, bool] | None:
    """What to tell someone who is about to decode with the model, and whether it matters after today.

    None where the native step is ready, or serves no such model.
    """
    if native_format(model) is None or compiled():
        return None
    if _failure:
        instead = "float32, not int8" if model.int8 else "PyTorch's slower steps"
        return f"The native decode step is not at hand ({_failure}): going on with {instead}.", True
    return "Compiling the native decode step, once for this machine: about ten seconds.", False
