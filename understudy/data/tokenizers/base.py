"""Tokenizers: text to token ids and back, with special tokens that no text can produce.

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
from tokenizers import Tokenizer as Engine
from tokenizers.models import BPE
from tokenizers.pre_tokenizers import ByteLevel
from tokenizers.trainers import BpeTrainer

from understudy.errors import CheckpointError, ConfigError
from understudy.files import write_atomically

SPECIALS = ("<|bos|>", "<|system|>", "<|user|>", "<|assistant|>", "<|end|>", "<|pad|>")
FILE_NAME = "tokenizer.json"


class Tokenizer(ABC):
    """What every tokenizer can do, from the bytes of each of its ordinary tokens.

    Attributes:
        vocab_size: number of ids, special tokens included.
        special: the id of each of SPECIALS; they follow the ordinary vocabulary.
        token_bytes: int32 [vocab_size], the bytes of text that each token stands for; 0 for special tokens.
        unknown: the id, if any, of whatever the vocabulary lacks. It stands for no text, and a chat never says it.
        lossless: whether any text comes back as it was. Where not, `token_bytes` cannot tell how long a text was.
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
        """The ids of a text: ordinary tokens only, whatever the text says."""

    def encode_batch(self, texts: Sequence[str]) -> list[list[int]]:
        """`encode` for many texts at once."""
        return [self.encode(text) for text in texts]

    def decode(self, ids: Iterable[int]) -> str:
        """The text of some ids; special tokens are skipped and bytes that are no UTF-8 become U+FFFD."""
        return b"".join(self._bytes[i] for i in ids).decode("utf-8", "replace")

    def stream(self) -> "TextStream":
        """Turns ids, as they come one by one, into the text that `decode` gives for them all."""
        return StreamDecoder(self)

    def bytes_of(self, token: int) -> bytes:
        """The bytes that one token stands for; nothing for a special token."""
        return self._bytes[token]

    @abstractmethod
    def definition(self) -> dict[str, Any]:
        """All that tells this tokenizer from others of its kind, as JSON can hold it; `from_definition` reads it."""

    @classmethod
    @abstractmethod
    def from_definition(cls, definition: dict[str, Any]) -> "Tokenizer":
        """The tokenizer that `definition` describes."""

    @cached_property
    def _json(self) -> str:
        return json.dumps({"kind": self.kind, "specials": SPECIALS, **self.definition()})

    @cached_property
    def fingerprint(self) -> str:
        """The sha256 of the definition: equal for tokenizers that always give the same ids."""
        return hashlib.sha256(self._json.encode()).hexdigest()

    def save(self, folder: str | Path) -> None:
        """Write `tokenizer.json` into a folder that is there; `load_tokenizer` reads it."""
        write_atomically(Path(folder) / FILE_NAME, self._json)


class ByteTokenizer(Tokenizer):
    """One token a UTF-8 byte: nothing to train, any language, long sequences.

    >>> tokenizer = ByteTokenizer()
    >>> tokenizer.encode("Hé")
    [72, 195, 169]
    >>> tokenizer.decode([72, 195, 169, tokenizer.special["<|end|>"]])
    'Hé'
    """

    kind = "bytes"

    def __init__(self) -> None:
        super().__init__([bytes([byte]) for byte in range(256)])

    def encode(self, text: str) -> list[int]:
        """The text's UTF-8 bytes."""
        return list(text.encode("utf-8", "replace"))

    def definition(self) -> dict[str, Any]:
        """Nothing: all byte tokenizers are equal."""
        return {}

    @classmethod
    def from_definition(cls, definition: dict[str, Any]) -> "ByteTokenizer":
        """The byte tokenizer."""
        return cls()


class BPETokenizer(Tokenizer):
    """Byte-level byte-pair encoding with GPT-2's way of cutting text into words; any text comes back as it was.

    >>> tokenizer = BPETokenizer.train(["the cat, the hat, the bat"] * 9, vocab_size=270)
    >>> [tokenizer.bytes_of(token) for token in tokenizer.encode(" the the")]
    [b' the', b' the']

    References:
        Sennrich et al., 2016, "Neural machine translation of rare words with subword units", arXiv 1508.07909;
        Radford et al., 2019, "Language models are unsupervised multitask learners".
    """

    kind = "bpe"

    def __init__(self, vocabulary: list[str], merges: list[tuple[str, str]]) -> None:
        byte_of = {character: bytes([byte]) for byte, character in enumerate(byte_characters())}
        # Characters that stand for no byte occur in the names of tokens that others have added to a vocabulary.
        super().__init__([b"".join(byte_of.get(c) or c.encode() for c in token) for token in vocabulary])
        self._vocabulary = vocabulary
        self._merges = merges
        self._engine = Engine(BPE(vocab={token: i for i, token in enumerate(vocabulary)}, merges=merges))
        self._engine.pre_tokenizer = ByteLevel(add_prefix_space=False)

    @classmethod
    def train(cls, texts: Iterable[str], vocab_size: int) -> "BPETokenizer":
        """Learn merges from texts; the same texts give the same tokenizer.

        Args:
            texts: what to learn from, read once.
            vocab_size: number of ids, special tokens included; fewer come out where the texts hold too few pairs
                that occur twice.

        Raises:
            ConfigError: vocab_size has no room for all bytes and the special tokens.
        """
        least = 256 + len(SPECIALS)
        if vocab_size < least:
            raise ConfigError(f"a BPE vocabulary of {vocab_size} is too small: bytes and special tokens take {least}")
        trainer = BpeTrainer(
            vocab_size=vocab_size - len(SPECIALS),
            min_frequency=2,
            initial_alphabet=sorted(byte_characters()),
            show_progress=False,
        )
        engine = Engine(BPE())
        engine.pre_tokenizer = ByteLevel(add_prefix_space=False)
        engine.train_from_iterator((_valid(text) for text in texts), trainer)
        return cls.from_definition(json.loads(engine.to_str())["model"] | {"vocabulary": _by_id(engine.get_vocab())})

    def encode(self, text: str) -> list[int]:
        """The text's ids, longest-learnt merges applied."""
        return self._engine.encode(_valid(text)).ids

    def encode_batch(self, texts: Sequence[str]) -> list[list[int]]:
        """`encode` for many texts at once, on all cores."""
        return [encoding.ids for encoding in self._engine.encode_batch_fast([_valid(text) for text in texts])]

    def definition(self) -> dict[str, Any]:
        """The tokens by id, in GPT-2's spelling of bytes as characters, and the merges in order."""
        return {"vocabulary": self._vocabulary, "merges": self._merges}

    @classmethod
    def from_definition(cls, definition: dict[str, Any]) -> "BPETokenizer":
        """The tokenizer of this vocabulary and these merges."""
        return cls(definition["vocabulary"], [(first, second) for first, second in definition["merges"]])


class TextStream(ABC):
    """Text that can be shown while its ids come one by one."""

    @abstractmethod
    def feed(self, token: int) -> str:
        """The text that this token completes, which may be none."""

    @abstractmethod
    def finish(self) -> str:
        """What was begun and not completed; the stream starts anew."""


class StreamDecoder(TextStream):
    """The stream of a tokenizer whose tokens are bytes: a character appears when it is whole.

    >>> decoder = StreamDecoder(ByteTokenizer())
    >>> [decoder.feed(token) for token in "é!".encode()]
    ['', 'é', '!']
    >>> decoder.finish()
    ''
    """

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._tokenizer = tokenizer
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")

    def feed(self, token: int) -> str:
        """The text that this token completes, which may be none."""
        return self._decoder.decode(self._tokenizer.bytes_of(token))

    def finish(self) -> str:
        """U+FFFD for a character that was begun and never ended, else nothing; the decoder starts anew."""
        return self._decoder.decode(b"", final=True)


def _kinds() -> dict[str, type[Tokenizer]]:
    from understudy.data.tokenizers.gpt1 import GPT1Tokenizer

    return {kind.kind: kind for kind in (ByteTokenizer, BPETokenizer, GPT1Tokenizer)}


def load_tokenizer(folder: str | Path) -> Tokenizer:
    """The tokenizer that was saved into a folder.

    Raises:
        CheckpointError: there is none, or its file is damaged or of a kind unknown here.
    """
    path = Path(folder) / FILE_NAME
    try:
        definition = json.loads(path.read_text(encoding="utf-8"))
        if tuple(definition["specials"]) != SPECIALS:
            raise CheckpointError(f"{path} has the special tokens {definition['specials']}; expected {list(SPECIALS)}")
        return _kinds()[definition["kind"]].from_definition(definition)
    except OSError as error:
        raise CheckpointError(
            f"no tokenizer at {path} ({error.strerror}); expected a run's or checkpoint's folder"
        ) from error
    except (ValueError, KeyError, TypeError) as error:
        raise CheckpointError(
            f"{path} is no tokenizer of this package: {error!r}; expected one that it saved"
        ) from error


def byte_characters() -> list[str]:
    """GPT-2's character for each byte: the byte's own where that can be seen, else one from U+0100 on."""
    visible = {*range(ord("!"), ord("~") + 1), *range(0xA1, 0xAC + 1), *range(0xAE, 0xFF + 1)}
    hidden = [byte for byte in range(256) if byte not in visible]
    return [chr(byte) if byte in visible else chr(256 + hidden.index(byte)) for byte in range(256)]


def _by_id(vocabulary: dict[str, int]) -> list[str]:
    return sorted(vocabulary, key=vocabulary.__getitem__)


def _valid(text: str) -> str:
    """The text, with "?" for lone surrogates, which a terminal may pass on and UTF-8 cannot hold."""
    return text if text.isascii() else text.encode("utf-8", "replace").decode()
