"""From what the user named to documents ready for training: read, tokenized, stored, split and checked for overlap."""

import hashlib
import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import chain, islice
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np

from understudy.config import Files, child_seed, in_range
from understudy.data.chat_template import TokenizedDocument, render_text, render_windows
from understudy.data.conversations import Conversation, read_conversations
from understudy.data.files import DataFiles, Kind, Report
from understudy.data.text import read_documents
from understudy.data.token_store import Indices, TokenStore, build_store, overlap, split
from understudy.data.tokenizers import BPETokenizer, ByteTokenizer, Tokenizer
from understudy.errors import ConfigError, DataError
from understudy.files import write_json

SMALLTALK = "smalltalk"
TOKENIZER_TEXTS = 20_000  # conversations or sections of text that a tokenizer is trained on
GENERATED_TOKENIZER_TEXTS = 4_000

Part = Literal["train", "valid", "test"]


@dataclass(frozen=True)
class DataConfig:
    """What to learn from."""

    data: Files = (SMALLTALK,)
    """Files or globs: conversations (JSONL, ShareGPT) or plain text, also gzip; hub:NAME[:SPLIT[:SUBSET]] for a data
    set of the Hub; smalltalk is the built-in world."""
    valid: Files = ()
    """Files to validate on; without any, a share of the data is held out."""
    valid_share: float = 0.02
    """Share of the conversations or texts held out for validation, where no files are named for it."""
    smalltalk_conversations: int = 20_000
    """How many built-in conversations to make."""
    strict: bool = False
    """Stop at the first malformed line instead of leaving such lines out and counting them."""

    def validate(self) -> None:
        """Resolve the files.

        Raises:
            ConfigError: a number is out of range, or names do not go together.
            DataError: a file is missing, empty or unreadable.
        """
        in_range("valid_share", self.valid_share, 0, 1, above=True, below=True)
        in_range("smalltalk_conversations", self.smalltalk_conversations, 1)
        _ = self.files

    @property
    def is_generated(self) -> bool:
        """Whether the conversations are made rather than read from files."""
        return self.data == (SMALLTALK,)

    @cached_property
    def files(self) -> DataFiles:
        """The files named, resolved when they are first asked for; none where the data are generated."""
        if SMALLTALK in (*self.data, *self.valid) and not (self.is_generated and not self.valid):
            raise ConfigError("--data smalltalk stands alone: it brings its own validation; leave the other files out")
        return DataFiles((), (), "chats") if self.is_generated else DataFiles.resolve(self.data, self.valid)


class ConversationGenerator(Protocol):
    """Makes conversations, as tasks do, where `--data` names no files."""

    @property
    def version(self) -> str:
        """Differs where the same arguments would give other conversations."""

    def conversations(self, count: int, seed: int, part: Part) -> Iterator[Conversation]:
        """Make the first `count` conversations of a part. They depend on the arguments alone."""


@dataclass(frozen=True)
class Dataset:
    """Training and validation documents; they may share a store."""

    train: TokenStore
    train_docs: Indices
    valid: TokenStore
    valid_docs: Indices
    kind: Kind
    summary: str
    """What was read, left out and held out, in a few lines."""


def train_tokenizer(
    kind: Literal["bpe", "bytes"],
    vocab_size: int,
    config: DataConfig,
    seed: int,
    generator: ConversationGenerator | None = None,
) -> Tokenizer:
    """Train a BPE tokenizer on the first part of the training data, or return the one of bytes, which learns nothing.

    Raises:
        DataError: a file cannot be read or holds nothing usable.
    """
    if kind == "bytes":
        return ByteTokenizer()
    files, paths, report = config.files, [file.path for file in config.files.train], Report()
    texts: Iterator[Iterable[str]]
    if config.files.kind == "text":
        texts = ([text] for text in read_documents(paths, report, config.strict, files.text))
    else:
        if config.is_generated:
            assert generator is not None
            count = min(GENERATED_TOKENIZER_TEXTS, config.smalltalk_conversations)
            conversations = generator.conversations(count, child_seed(seed, SMALLTALK), "train")
        else:
            conversations = read_conversations(paths, report, config.strict, files.text)
        texts = ((message.content for message in conversation.messages) for conversation in conversations)
    return BPETokenizer.train(chain.from_iterable(islice(texts, TOKENIZER_TEXTS)), vocab_size)


def load_dataset(
    config: DataConfig,
    tokenizer: Tokenizer,
    context: int,
    seed: int,
    cache: Path,
    generator: ConversationGenerator | None = None,
    hold_out: bool = True,
) -> Dataset:
    """Tokenize what `config` names, once: the token stores are kept in `cache` and found again there.

    Args:
        config: names the data.
        tokenizer: makes the tokens.
        context: tokens of the longest document; a longer conversation is cut into windows.
        seed: of generated conversations, and of the split.
        cache: folder of the token stores.
        generator: makes the conversations where the data are generated.
        hold_out: hold out documents for validation where no files are named for it; otherwise there are none.

    Raises:
        DataError: files are missing, empty or without anything usable.
        ConfigError: options contradict each other.
    """
    cache_of = _TokenCache(cache, tokenizer, context)
    if config.is_generated:
        assert generator is not None
        return _generated(config, cache_of, seed, generator)
    report = Report()
    train = cache_of.documents_of(config, "train", report)
    valid, leaks = train, np.array([], dtype=np.int64)
    if config.valid:
        valid = cache_of.documents_of(config, "valid", report)
        leaks = overlap(train.hashes, valid.hashes)
        train_docs, valid_docs = np.setdiff1d(np.arange(len(train)), leaks), np.arange(len(valid))
        if not len(train_docs):
            raise DataError("every training document stands in the validation files too; name other files")
    elif hold_out:
        train_docs, valid_docs = split(train, config.valid_share, child_seed(seed, "split"))
    else:
        train_docs, valid_docs = np.arange(len(train)), leaks
    assert not len(overlap(train.hashes[train_docs], valid.hashes[valid_docs]))
    lines = [report.summary()] if report.good or report.bad else []
    held_out = f" to learn from, {len(valid_docs):,} held out" if hold_out else ""
    lines.append(f"{len(train_docs):,} documents{held_out}, {train.meta.tokens:,} tokens")
    if len(leaks):
        lines.append(f"{len(leaks):,} training documents left out: they stand in the validation files too")
    return Dataset(train, train_docs, valid, valid_docs, config.files.kind, "\n".join(lines))


def _generated(config: DataConfig, cache: "_TokenCache", seed: int, generator: ConversationGenerator) -> Dataset:
    count = config.smalltalk_conversations
    held_out = max(1, count // 50)

    def made(part: Part, size: int) -> TokenStore:
        conversations = generator.conversations(size, child_seed(seed, SMALLTALK), part)
        documents = render_windows(conversations, cache.tokenizer, cache.context, Report(), strict=True)
        return cache.store(documents, [SMALLTALK, part, size, seed, cache.context, generator.version])

    train, valid = made("train", count), made("valid", held_out)
    summary = f"{count:,} built-in conversations to learn from, {train.meta.tokens:,} tokens; {held_out:,} held out"
    return Dataset(train, np.arange(len(train)), valid, np.arange(len(valid)), "chats", summary)


@dataclass(frozen=True)
class _TokenCache:
    """Token stores in a folder, each found again by what it was made from."""

    folder: Path
    tokenizer: Tokenizer
    context: int

    def documents_of(self, config: DataConfig, part: Part, report: Report) -> TokenStore:
        """The documents of the files of a part; what is wrong with them is reported, whether they are read or found."""
        files, strict, mine = config.files, config.strict, Report()
        inspected, names = (files.train, config.data) if part == "train" else (files.valid, config.valid)
        paths, hashes = [file.path for file in inspected], [file.fingerprint["sha256"] for file in inspected]
        documents: Iterator[TokenizedDocument]
        if files.kind == "text":
            texts = read_documents(paths, mine, strict, files.text)
            documents = (render_text(text, self.tokenizer) for text in texts)
        else:
            conversations = read_conversations(paths, mine, strict, files.text)
            documents = render_windows(conversations, self.tokenizer, self.context, mine, strict)
        try:
            store = self.store(documents, [hashes, files.kind, self.context, strict])
        except DataError as error:
            # All were read, and then all were left out.
            if mine.good and mine.problems:
                raise DataError(f"nothing usable in {' '.join(names)}: {mine.problems[0]}") from error
            raise
        # The report is kept beside the store. It names the files as they were called when they were read.
        kept = store.folder / "report.json"
        if mine.good or mine.bad:
            write_json(kept, mine)
        elif kept.exists():
            mine = Report(**json.loads(kept.read_text()))
        report.add(mine)
        return store

    def store(self, documents: Iterator[TokenizedDocument], source: list[Any]) -> TokenStore:
        """The store made from `source`; built from `documents` where there is none."""
        key = json.dumps([source, self.tokenizer.fingerprint])
        return build_store(self.folder / hashlib.sha256(key.encode()).hexdigest()[:16], documents, self.tokenizer, key)
