"""Tokenizers over bytes: one token per byte, and byte-level BPE. Both give any text back as it was."""

import json
from collections.abc import Iterable, Sequence
from typing import Any

from tokenizers import Tokenizer as Engine
from tokenizers.models import BPE
from tokenizers.pre_tokenizers import ByteLevel
from tokenizers.trainers import BpeTrainer
from typing_extensions import override

from understudy.data.tokenizers.base import SPECIALS, Tokenizer
from understudy.errors import ConfigError


class ByteTokenizer(Tokenizer):
    """One token per UTF-8 byte: nothing to train, any language, long sequences.

    >>> tokenizer = ByteTokenizer()
    >>> tokenizer.encode("Hé")
    [72, 195, 169]
    >>> tokenizer.decode([72, 195, 169, tokenizer.special["<|end|>"]])
    'Hé'
    """

    kind = "bytes"

    def __init__(self) -> None:
        super().__init__([bytes([byte]) for byte in range(256)])

    @override
    def encode(self, text: str) -> list[int]:
        return list(text.encode("utf-8", "replace"))

    @override
    def definition(self) -> dict[str, Any]:
        return {}  # all byte tokenizers are equal


class BPETokenizer(Tokenizer):
    """Byte-level byte-pair encoding of the words that GPT-2's rules cut.

    Args:
        vocabulary: the tokens by id, in GPT-2's spelling of bytes as characters.
        merges: the pairs to join, best first.

    >>> tokenizer = BPETokenizer.train(["the cat, the hat, the bat"] * 9, vocab_size=270)
    >>> [tokenizer.bytes_of(token) for token in tokenizer.encode(" the the")]
    [b' the', b' the']

    References:
        Sennrich et al., 2016, "Neural machine translation of rare words with subword units", arXiv 1508.07909;
        Radford et al., 2019, "Language models are unsupervised multitask learners".
    """

    kind = "bpe"

    def __init__(self, vocabulary: list[str], merges: Iterable[Iterable[str]]) -> None:
        byte_of = {character: bytes([byte]) for byte, character in enumerate(byte_characters())}
        # Tokens that others have added to a vocabulary hold characters that stand for no byte.
        super().__init__([b"".join(byte_of.get(c) or c.encode() for c in token) for token in vocabulary])
        self._vocabulary = vocabulary
        self._merges = [(first, second) for first, second in merges]
        self.engine = Engine(BPE(vocab={token: i for i, token in enumerate(vocabulary)}, merges=self._merges))
        self.engine.pre_tokenizer = ByteLevel(add_prefix_space=False)

    @classmethod
    def train(cls, texts: Iterable[str], vocab_size: int) -> "BPETokenizer":
        """Learn a vocabulary and merges; the same texts give the same tokenizer.

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
        ids = engine.get_vocab()
        return cls(sorted(ids, key=ids.__getitem__), json.loads(engine.to_str())["model"]["merges"])

    @override
    def encode(self, text: str) -> list[int]:
        return self.engine.encode(_valid(text)).ids

    @override
    def encode_batch(self, texts: Sequence[str]) -> list[list[int]]:
        # The library encodes a batch on all cores.
        return [encoding.ids for encoding in self.engine.encode_batch_fast([_valid(text) for text in texts])]

    @override
    def definition(self) -> dict[str, Any]:
        return {"vocabulary": self._vocabulary, "merges": self._merges}


def byte_characters() -> list[str]:
    """Return GPT-2's character for each byte: the byte's own if it is visible, else one from U+0100 on."""
    visible = {*range(ord("!"), ord("~") + 1), *range(0xA1, 0xAC + 1), *range(0xAE, 0xFF + 1)}
    hidden = [byte for byte in range(256) if byte not in visible]
    return [chr(byte) if byte in visible else chr(256 + hidden.index(byte)) for byte in range(256)]


def _valid(text: str) -> str:
    # A terminal may pass on lone surrogates, which UTF-8 cannot hold.
    return text if text.isascii() else text.encode("utf-8", "replace").decode()
