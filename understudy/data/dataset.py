"""From what the user named to documents ready for training: read, tokenized, stored, split and checked for leaks."""

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain, islice
from pathlib import Path
from typing import Any, Literal

import numpy as np

from understudy.config import Files, child_seed
from understudy.data.chat_template import Rendered, render_text, render_windows
from understudy.data.conversations import Conversation, read_conversations
from understudy.data.files import Report, expand
from understudy.data.text import kind_of, read_documents
from understudy.data.token_store import Indices, TokenStore, build_store, leaked, split
from understudy.data.tokenizers import BPETokenizer, ByteTokenizer, Tokenizer
from understudy.errors import ConfigError, DataError
from understudy.files import fingerprint, write_json
from understudy.tasks.smalltalk import Split, generate

SMALLTALK = "smalltalk"
TOKENIZER_TEXTS = 20_000  # conversations or sections of text that a tokenizer is trained on


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


@dataclass(frozen=True)
class Corpus:
    """Training and validation documents; they may share a store."""

    train: TokenStore
    train_docs: Indices
    valid: TokenStore
    valid_docs: Indices
    kind: Literal["chats", "text"]
    summary: str
    """What was read, left out and held out, in a few lines."""


def is_smalltalk(config: DataConfig) -> bool:
    """Whether the data are the built-in conversations."""
    return config.data == (SMALLTALK,)


def source_files(config: DataConfig) -> list[Path]:
    """The files that the data lie in; DataError where one is missing."""
    if SMALLTALK in (*config.data, *config.valid) and not (is_smalltalk(config) and not config.valid):
        raise ConfigError("--data smalltalk stands alone: it brings its own validation; leave the other files out")
    return [] if is_smalltalk(config) else expand([*config.data, *config.valid])


def data_kind(config: DataConfig) -> Literal["chats", "text"]:
    """What the data are, by a look at the head of each file.

    Raises:
        DataError: a file is missing or empty.
        ConfigError: some are conversations and others plain text, or a number is out of range.
    """
    if not 0 < config.valid_share < 1:
        raise ConfigError(f"--valid-share {config.valid_share} is out of range; expected a number between 0 and 1")
    if config.smalltalk_conversations < 1:
        raise ConfigError(
            f"--smalltalk-conversations {config.smalltalk_conversations} is out of range; expected 1 or more"
        )
    source_files(config)
    if is_smalltalk(config):
        return "chats"
    kinds = {path: kind_of(path) for path in (*config.data, *config.valid)}
    if len(set(kinds.values())) > 1:
        both = ", ".join(f"{path} is {kind}" for path, kind in kinds.items())
        raise ConfigError(f"conversations and plain text do not mix in one run: {both}")
    return "chats" if "chats" in kinds.values() else "text"


def train_tokenizer(kind: Literal["bpe", "bytes"], vocab_size: int, config: DataConfig, seed: int) -> Tokenizer:
    """Bytes as they are, or a BPE learned from the first part of the training data."""
    if kind == "bytes":
        return ByteTokenizer()
    texts = chain.from_iterable(islice(_texts(config, seed), TOKENIZER_TEXTS))
    return BPETokenizer.train(texts, vocab_size)


def prepare(
    config: DataConfig, tokenizer: Tokenizer, context: int, seed: int, cache: Path, hold_out: bool = True
) -> Corpus:
    """Tokenize what `config` names, once: the token stores are kept in `cache` and found again there.

    Without `hold_out`, and without validation files, every document is a training document.

    Raises DataError for files that are missing, empty or without anything usable, ConfigError for options that
    contradict each other.
    """
    kind = data_kind(config)
    if is_smalltalk(config):
        return _prepare_smalltalk(config, tokenizer, context, seed, cache)
    report = Report()
    train = _store(config.data, kind, config, tokenizer, context, cache, report)
    if not config.valid and not hold_out:
        valid, leaks = train, np.array([], dtype=np.int64)
        train_docs, valid_docs = np.arange(len(train)), leaks
    elif not config.valid:
        train_docs, valid_docs = split(train, config.valid_share, child_seed(seed, "split"))
        valid, leaks = train, np.array([], dtype=np.int64)
    else:
        valid = _store(config.valid, kind, config, tokenizer, context, cache, report)
        leaks = leaked(train.hashes, valid.hashes)
        train_docs = np.setdiff1d(np.arange(len(train)), leaks)
        valid_docs = np.arange(len(valid))
        if not len(train_docs):
            raise DataError("every training document stands in the validation files too; name other files")
    assert not len(leaked(train.hashes[train_docs], valid.hashes[valid_docs]))
    lines = [report.summary()] if report.good or report.bad else []
    held_out = f" to learn from, {len(valid_docs):,} held out" if hold_out else ""
    lines.append(f"{len(train_docs):,} documents{held_out}, {train.meta.tokens:,} tokens")
    if len(leaks):
        lines.append(f"{len(leaks):,} training documents left out: they stand in the validation files too")
    return Corpus(train, train_docs, valid, valid_docs, kind, "\n".join(lines))


def _prepare_smalltalk(config: DataConfig, tokenizer: Tokenizer, context: int, seed: int, cache: Path) -> Corpus:
    count = config.smalltalk_conversations
    stores = {}
    parts: tuple[tuple[Split, int], ...] = (("train", count), ("valid", max(1, count // 50)))
    for part, size in parts:
        conversations = (talk.conversation for talk in generate(size, child_seed(seed, SMALLTALK), part))
        documents = render_windows(conversations, tokenizer, context, Report(), strict=True)
        stores[part] = _cached(
            cache, documents, tokenizer, [SMALLTALK, part, size, seed, context, _generator_version()]
        )
    train, valid = stores["train"], stores["valid"]
    (_, learned), (_, held_out) = parts
    summary = f"{learned:,} built-in conversations to learn from, {train.meta.tokens:,} tokens; {held_out:,} held out"
    return Corpus(train, np.arange(len(train)), valid, np.arange(len(valid)), "chats", summary)


def _texts(config: DataConfig, seed: int) -> Iterator[list[str]]:
    """The training data's texts, a list for each conversation or section."""
    if is_smalltalk(config):
        for talk in generate(min(4000, config.smalltalk_conversations), child_seed(seed, SMALLTALK), "train"):
            yield _contents(talk.conversation)
    elif data_kind(config) == "text":
        for text in read_documents(config.data, Report(), config.strict):
            yield [text]
    else:
        for conversation in read_conversations(config.data, Report(), config.strict):
            yield _contents(conversation)


def _contents(conversation: Conversation) -> list[str]:
    return [message.content for message in conversation.messages]


def _store(
    paths: tuple[str, ...],
    kind: str,
    config: DataConfig,
    tokenizer: Tokenizer,
    context: int,
    cache: Path,
    report: Report,
) -> TokenStore:
    """The documents of some files as tokens; what was wrong with them goes to the report, cached or not."""
    documents: Iterator[Rendered]
    mine = Report()
    if kind == "text":
        documents = (render_text(text, tokenizer) for text in read_documents(paths, mine, config.strict))
    else:
        conversations = read_conversations(paths, mine, config.strict)
        documents = render_windows(conversations, tokenizer, context, mine, config.strict)
    contents = [fingerprint(path)["sha256"] for path in expand(paths)]
    try:
        store = _cached(cache, documents, tokenizer, [contents, kind, context, config.strict])
    except DataError as error:
        if mine.good and mine.problems:  # read, and then left out one and all
            raise DataError(f"nothing usable in {' '.join(paths)}: {mine.problems[0]}") from error
        raise
    told = store.folder / "report.json"
    if mine.good or mine.bad:
        write_json(told, mine)
    elif told.exists():  # found in the cache: nothing was read, and files are named as they were then
        mine = Report(**json.loads(told.read_text()))
    report.add(mine)
    return store


def _cached(cache: Path, documents: Iterator[Rendered], tokenizer: Tokenizer, key: list[Any]) -> TokenStore:
    text = json.dumps([key, tokenizer.fingerprint])
    return build_store(cache / hashlib.sha256(text.encode()).hexdigest()[:16], documents, tokenizer, text)


def _generator_version() -> str:
    """A digest of the generator's source: conversations made by other code are made anew."""
    folder = Path(__file__).parents[1] / "tasks" / SMALLTALK
    digest = hashlib.sha256()
    for path in sorted([*folder.rglob("*.py"), *folder.rglob("*.toml")]):
        digest.update(path.read_bytes())
    return digest.hexdigest()[:16]
