"""Which models the native step serves, and whether its code is compiled."""

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
    """Return a `Session` for rows in this state, or None where the plain path must be taken.

    While the code is not there yet it is compiled in another process, and the plain path is taken meanwhile. A model in
    int8 waits for it, since the plain path does not know int8.
    """
    format = native_format(model)
    # The step reads and writes the cache where it lies.
    parts = (state.keys_LBHSK, state.values_LBHSK) if isinstance(state, Cache) else ()
    fits = all(part.dtype == torch.float32 and part.is_contiguous() for part in parts)
    if format is None or not fits or not compiled(wait=format == "int8"):
        return None
    from understudy.native.session import Session
    from understudy.native.workers import team

    # Near ties of the likeliest tokens go to float32; not in a batch, where some row is nearly tied most of the time.
    rows = len(state.length_B) if isinstance(state, Cache) else state.h_LBD.shape[1]
    exact = _weights_of(model, "float32") if greedy and format == "int8" and rows == 1 else None
    return Session(model, _weights_of(model, format), state, team(torch.get_num_threads()), exact)


def native_batch(model: LanguageModel, slots: int, most: int) -> Any:
    """Return a `NativeBatch` of free slots whose steps take at most `most` tokens, or None where there is none.

    It waits for the code to be compiled.
    """
    format = native_format(model)
    if format is None or not compiled(wait=True):
        return None
    from understudy.native.batch import NativeBatch
    from understudy.native.workers import team

    return NativeBatch(model, _weights_of(model, format), slots, most, team(torch.get_num_threads()))


def _weights_of(model: LanguageModel, format: str) -> Any:
    from understudy.native.weights import Weights

    stamp = tuple((p.data_ptr(), 0 if p.is_inference() else p._version) for p in model.parameters())
    known = _weights.setdefault(model, {})
    # New, trained since, or moved
    if format not in known or known[format][0] != stamp:
        known[format] = stamp, Weights(model, format)
    return known[format][1]


def native_format(model: LanguageModel) -> str | None:
    """Return the number format in which the native step would read the model's weights, None where it cannot."""
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


def compiled(wait: bool = False) -> bool:
    """Return whether the code is there. If not, start a process that compiles it, and with `wait` wait for it."""
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
    # A missing package raises PackageNotFoundError, which is an ImportError.
    except (ImportError, OSError) as error:
        _failure = str(error)
        return False
    if _compiling.poll() not in (None, 0):
        assert _compiling.stderr
        lines = _compiling.stderr.read().decode(errors="replace").strip().splitlines()
        _failure = f"compiling failed ({lines[-1] if lines else f'exit code {_compiling.returncode}'})"
    return code_file().exists()


def announcement(model: LanguageModel) -> tuple[str, bool] | None:
    """Return what to say before decoding with the model, and whether it will still hold tomorrow.

    None where the native step is ready or does not serve the model.
    """
    if native_format(model) is None or compiled():
        return None
    if _failure:
        instead = "float32 instead of int8" if model.int8 else "PyTorch's slower steps instead"
        return f"The native decode step is unavailable ({_failure}); using {instead}.", True
    return "Compiling the native decode step, which takes about ten seconds, once per machine.", False
