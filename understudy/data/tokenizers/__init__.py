"""Tokenizers: text to token ids and back, with special tokens that no text can produce."""

from understudy.data.tokenizers.base import (
    FILE_NAME,
    SPECIALS,
    BPETokenizer,
    ByteTokenizer,
    StreamDecoder,
    TextStream,
    Tokenizer,
    byte_characters,
    load_tokenizer,
)

__all__ = [
    "FILE_NAME",
    "SPECIALS",
    "BPETokenizer",
    "ByteTokenizer",
    "StreamDecoder",
    "TextStream",
    "Tokenizer",
    "byte_characters",
    "load_tokenizer",
]
