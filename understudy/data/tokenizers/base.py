"""What every tokenizer can do, and the special tokens that all of them have.

An implementation knows only its ordinary vocabulary. The special tokens get the ids after it, and only code that asks
for them by name (`tokenizer.special["<|end|>"]`) can place one: the text "<|end|>" is six or so ordinary tokens.
"""

import codecs
import hashlib
import json
from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from typing_extensions import override

from understudy.files import write_atomically

SPECIALS = ("<|bos|>", "<|system|>", "<|user|>", "<|assistant|>", "<|end|>", "<|pad|>")
FILE_NAME = "tokenizer.json"


class TextStream(ABC):
    """Decodes ids that come one by one into text that can be shown at once."""

    @abstractmethod
    def feed(self, token: int) -> str:
        """Return the text that this token completes, which may be none."""

    @abstractmethod
    def finish(self) -> str:
        """Return what was begun and not completed, and start again."""


class Tokenizer(ABC):
    """Base of all tokenizers, made from the bytes of each ordinary token.

    Attributes:
        vocab_size: number of ids, special tokens included.
        special: the id of each of SPECIALS; they follow the ordinary vocabulary.
        token_bytes: int32 [vocab_size], the bytes of text that each token stands for; 0 for special tokens.
        unknown: the id, if any, of whatever the vocabulary lacks. It stands for no text, and a chat never says it.
        lossless: whether any text comes back as it was. If not, `token_bytes` cannot tell how long a text was.
    """

    kind: str  # names the implementation in the saved file
    lossless: ClassVar[bool] = True
    unknown: ClassVar[int | None] = None

    def __init__(self, vocabulary: Sequence[bytes]) -> None:
        self.special = {name: len(vocabulary) + i for i, name in enumerate(SPECIALS)}
        self._bytes = [*vocabulary, *(b"" for _ in SPECIALS)]
        self.vocab_size = len(self._bytes)
        self.token_bytes = np.array([len(token) for token in self._bytes], dtype=np.int32)

    @abstractmethod
    def encode(self, text: str) -> list[int]:
        """Return the ids of a text: ordinary tokens only, whatever the text says."""

    def encode_batch(self, texts: Sequence[str]) -> list[list[int]]:
        """Encode many texts at once."""
        return [self.encode(text) for text in texts]

    def decode(self, ids: Iterable[int]) -> str:
        """Return the text of some ids. Special tokens are skipped; invalid UTF-8 becomes U+FFFD."""
        return b"".join(self._bytes[i] for i in ids).decode("utf-8", "replace")

    def stream(self) -> TextStream:
        """Return a stream whose pieces, joined, are what `decode` gives for all the ids."""
        return StreamDecoder(self)

    def bytes_of(self, token: int) -> bytes:
        """Return the bytes that one token stands for; none for a special token."""
        return self._bytes[token]

    @abstractmethod
    def definition(self) -> dict[str, Any]:
        """Return what distinguishes this tokenizer from others of its kind: its arguments, as JSON values."""

    @cached_property
    def _json(self) -> str:
        return json.dumps({"kind": self.kind, "specials": SPECIALS, **self.definition()})

    @cached_property
    def fingerprint(self) -> str:
        """The sha256 of the definition: equal for tokenizers that always give the same ids."""
        return hashlib.sha256(self._json.encode()).hexdigest()

    def save(self, folder: str | Path) -> None:
        """Write `tokenizer.json` into an existing folder; `load_tokenizer` reads it."""
        write_atomically(Path(folder) / FILE_NAME, self._json)


class StreamDecoder(TextStream):
    """The stream of a tokenizer whose tokens are bytes: a character appears when it is whole.

    >>> from understudy.data.tokenizers import ByteTokenizer
    >>> decoder = StreamDecoder(ByteTokenizer())
    >>> [decoder.feed(token) for token in "é!".encode()]
    ['', 'é', '!']
    >>> decoder.finish()
    ''
    """

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._tokenizer = tokenizer
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")

    @override
    def feed(self, token: int) -> str:
        return self._decoder.decode(self._tokenizer.bytes_of(token))

    @override
    def finish(self) -> str:
        return self._decoder.decode(b"", final=True)
