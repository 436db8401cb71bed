"""Tokenizers: text to token ids and back, with special tokens that no text can produce."""

import json
from inspect import signature
from pathlib import Path

from understudy.data.tokenizers.base import FILE_NAME, SPECIALS, TextStream, Tokenizer
from understudy.data.tokenizers.bytes_bpe import BPETokenizer, ByteTokenizer
from understudy.data.tokenizers.gpt1 import GPT1Tokenizer
from understudy.errors import CheckpointError

KINDS: dict[str, type[Tokenizer]] = {kind.kind: kind for kind in (ByteTokenizer, BPETokenizer, GPT1Tokenizer)}

__all__ = ["SPECIALS", "BPETokenizer", "ByteTokenizer", "GPT1Tokenizer", "TextStream", "Tokenizer", "load_tokenizer"]


def load_tokenizer(folder: str | Path) -> Tokenizer:
    """Load the tokenizer that was saved into a folder.

    Raises:
        CheckpointError: there is none, or its file is damaged or of an unknown kind.
    """
    path = Path(folder) / FILE_NAME
    try:
        definition = json.loads(path.read_text(encoding="utf-8"))
        if tuple(definition["specials"]) != SPECIALS:
            raise CheckpointError(f"{path} has the special tokens {definition['specials']}; expected {list(SPECIALS)}")
        kind = KINDS[definition["kind"]]
        # Each argument must be there; whatever else a later version wrote is ignored.
        return kind(**{name: definition[name] for name in signature(kind).parameters})
    except OSError as error:
        raise CheckpointError(
            f"no tokenizer at {path} ({error.strerror}); expected a run's or checkpoint's folder"
        ) from error
    except (ValueError, KeyError, TypeError) as error:
        raise CheckpointError(
            f"{path} was not saved by this package's tokenizers: {error!r}; expected one that was"
        ) from error
