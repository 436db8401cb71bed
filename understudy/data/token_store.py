"""Documents as tokens on disk, memory-mapped: of any size, opened at once, and split without leaks.

tokens.bin   uint16 (uint32 for a vocabulary over 65,535) [tokens], all documents end to end
reply.bin    uint8 [tokens], 1 where the token carries loss
sizes.bin    uint32 [tokens], bytes of text that the token stands for; only if the tokenizer is not lossless
starts.npy   int64 [documents + 1], where each document starts; the last one is the end
hashes.npy   uint64 [documents], the content hash of the document or of the conversation that it was cut from
meta.json    what it was built from, and its sizes
"""

import json
import os
import secrets
import shutil
from array import array
from collections.abc import Iterable
from contextlib import ExitStack, suppress
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from understudy.data.chat_template import TokenizedDocument, content_hash
from understudy.data.tokenizers import Tokenizer
from understudy.errors import DataError
from understudy.files import whole

Indices = npt.NDArray[np.int64]
Hashes = npt.NDArray[np.uint64]

VERSION = 1


@dataclass(frozen=True)
class Meta:
    """What a store was built from (the caller's key, the tokenizer's fingerprint) and its sizes."""

    version: int
    key: str
    tokenizer: str
    vocab_size: int
    pad: int
    dtype: str
    documents: int
    tokens: int


class TokenStore:
    """Documents on disk as memory-mapped arrays, with the shapes given at the head of this file.

    Raises:
        DataError: the folder holds no store, or one of another version.
    """

    def __init__(self, folder: Path) -> None:
        meta = _read_meta(folder)
        if meta is None:
            raise DataError(f"no token store of version {VERSION} in {folder}; expected one that build_store made")
        self.folder, self.meta = folder, meta
        # Views as plain arrays: slicing np.memmap itself costs several times as much.
        self.tokens: npt.NDArray[np.unsignedinteger] = np.memmap(folder / "tokens.bin", meta.dtype, "r").view(
            np.ndarray
        )
        self.loss_mask: npt.NDArray[np.uint8] = np.memmap(folder / "reply.bin", np.uint8, "r").view(np.ndarray)
        self.starts: Indices = np.load(folder / "starts.npy", mmap_mode="r").view(np.ndarray)
        self.hashes: Hashes = np.load(folder / "hashes.npy", mmap_mode="r").view(np.ndarray)
        self.sizes: npt.NDArray[np.uint32] | None = None
        if (folder / "sizes.bin").exists():
            self.sizes = np.memmap(folder / "sizes.bin", np.uint32, "r").view(np.ndarray)

    def __len__(self) -> int:
        return len(self.starts) - 1

    def document(self, index: int) -> TokenizedDocument:
        """Return one document as it was tokenized."""
        span = slice(self.starts[index], self.starts[index + 1])
        sizes = None if self.sizes is None else self.sizes[span].astype(np.int32)
        return TokenizedDocument(self.tokens[span].astype(np.int32), self.loss_mask[span].astype(np.bool_), sizes=sizes)


def build_store(
    folder: Path, documents: Iterable[TokenizedDocument], tokenizer: Tokenizer, key: str = ""
) -> TokenStore:
    """Write documents as they come, in 16 bytes of memory per document, or open the store that holds them already.

    The folder is written atomically. If it holds a store that was built with the same key and tokenizer, that is opened
    and `documents` is not read. A store of another key is replaced.

    Args:
        folder: where the store is to be.
        documents: the tokenized documents.
        tokenizer: the one that made them.
        key: names the source of the documents, such as the fingerprints of files and the context.

    Raises:
        DataError: there are no documents, or the folder holds something else.
    """

    def is_there() -> bool:
        meta = _read_meta(folder)
        return meta is not None and (meta.key, meta.tokenizer) == (key, tokenizer.fingerprint)

    if is_there():
        return TokenStore(folder)
    if folder.exists() and not (folder / "meta.json").exists():
        raise DataError(f"{folder} exists and is not a token store; expected a free name")
    folder.parent.mkdir(parents=True, exist_ok=True)
    replaced = folder.with_name(f".{folder.name}-{secrets.token_hex(4)}-replaced")
    try:
        with whole(folder) as building:
            building.mkdir()
            _write(building, documents, tokenizer, key)
            with suppress(FileNotFoundError):
                os.rename(folder, replaced)
    except OSError:
        if not is_there():  # else another process has put the same store there meanwhile
            raise
    finally:
        shutil.rmtree(replaced, ignore_errors=True)
    return TokenStore(folder)


def split(store: TokenStore, fraction: float, seed: int) -> tuple[Indices, Indices]:
    """Hold out about `fraction` of the documents. Returns sorted (training, validation) indices.

    A document's side depends only on its hash and the seed: duplicates, and windows of one conversation, stay together,
    and adding documents moves none. Each side gets at least one.

    Raises:
        DataError: there are fewer than two distinct documents.
    """
    assert 0 < fraction < 1
    scores = _mix(store.hashes ^ _mix(np.array([seed % 2**64], dtype=np.uint64)))
    lowest, highest = scores.min(), scores.max()
    if lowest == highest:
        raise DataError(
            "the data hold only one distinct document, so none can be held out; add data, or name a file to validate on"
        )
    held_out = (scores < np.uint64(fraction * 2**64)) & (scores != highest) | (scores == lowest)
    return np.flatnonzero(~held_out), np.flatnonzero(held_out)


def overlap(train_hashes: Hashes, valid_hashes: Hashes) -> Indices:
    """Return the indices of the training documents that are among the validation documents too.

    >>> overlap(np.array([5, 6, 7], dtype=np.uint64), np.array([7, 8], dtype=np.uint64)).tolist()
    [2]
    """
    return np.flatnonzero(np.isin(train_hashes, valid_hashes))


def _read_meta(folder: Path) -> Meta | None:
    try:
        values = json.loads((folder / "meta.json").read_text())
        return Meta(**values) if values["version"] == VERSION else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _write(folder: Path, documents: Iterable[TokenizedDocument], tokenizer: Tokenizer, key: str) -> None:
    dtype = np.dtype(np.uint16 if tokenizer.vocab_size <= 65_535 else np.uint32)
    starts, hashes = array("q", [0]), array("Q")
    with ExitStack() as stack:
        tokens, reply = (stack.enter_context((folder / f"{name}.bin").open("wb")) for name in ("tokens", "reply"))
        sizes = None if tokenizer.lossless else stack.enter_context((folder / "sizes.bin").open("wb"))
        for document in documents:
            tokens.write(document.ids.astype(dtype).tobytes())
            reply.write(document.loss_mask.astype(np.uint8).tobytes())
            if sizes and document.sizes is not None:
                sizes.write(document.sizes.astype(np.uint32).tobytes())
            starts.append(starts[-1] + len(document.ids))
            hashes.append(content_hash(document.ids) if document.source is None else document.source)
    if not starts[-1]:
        raise DataError("no documents to learn from; expected at least one")
    np.save(folder / "starts.npy", np.frombuffer(starts, dtype=np.int64))
    np.save(folder / "hashes.npy", np.frombuffer(hashes, dtype=np.uint64))
    pad = tokenizer.special["<|pad|>"]
    counts = {"documents": len(hashes), "tokens": starts[-1]}
    meta = Meta(VERSION, key, tokenizer.fingerprint, tokenizer.vocab_size, pad, dtype.name, **counts)
    (folder / "meta.json").write_text(json.dumps(asdict(meta), indent=2))


def _mix(x: Hashes) -> Hashes:
    # SplitMix64's finalizer: each bit of the result depends on every bit of x.
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))
