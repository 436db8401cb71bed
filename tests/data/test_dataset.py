import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from understudy.data.conversations import Conversation, Message
from understudy.data.dataset import DataConfig, Dataset, Part, load_dataset, train_tokenizer
from understudy.data.tokenizers import BPETokenizer, ByteTokenizer, Tokenizer
from understudy.errors import ConfigError, DataError, TooLongError

BYTES = ByteTokenizer()
CACHE = Path("cache")


class Counting:
    """Counts: the user says a number, the assistant the next one."""

    version = "1"

    def conversations(self, count: int, seed: int, part: Part) -> Iterator[Conversation]:
        for number in range(seed, seed + count):
            yield Conversation((Message("user", f"{part} {number}"), Message("assistant", f"{number + 1}")))


def chat(*contents: str) -> str:
    roles = ("user", "assistant")
    messages = [{"role": roles[i % 2], "content": content} for i, content in enumerate(contents)]
    return json.dumps({"messages": messages}) + "\n"


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "talk.jsonl").write_text("".join(chat(f"question {i}", f"answer {i}") for i in range(200)))
    (tmp_path / "book.txt").write_text("\n<|endoftext|>\n".join(f"chapter {i}: once upon a time" for i in range(50)))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def prepared(*data: str, tokenizer: Tokenizer = BYTES, context: int = 64, seed: int = 0, **options: Any) -> Dataset:
    hold_out = options.pop("hold_out", True)
    return load_dataset(DataConfig(data=data, **options), tokenizer, context, seed, CACHE, Counting(), hold_out)


def texts(corpus: Dataset, part: str) -> set[str]:
    store, docs = (corpus.train, corpus.train_docs) if part == "train" else (corpus.valid, corpus.valid_docs)
    return {BYTES.decode(store.document(int(index)).ids) for index in docs}


def test_conversations_are_split_and_none_is_on_both_sides() -> None:
    corpus = prepared("talk.jsonl", valid_share=0.2)
    assert corpus.kind == "chats"
    train, valid = texts(corpus, "train"), texts(corpus, "valid")
    assert len(train | valid) == 200
    assert not train & valid
    assert 20 < len(valid) < 60
    assert corpus.train is corpus.valid
    assert corpus.summary.splitlines() == [
        "200 entries read, 0 left out as malformed",
        f"{len(train)} documents to learn from, {len(valid)} held out, {corpus.train.meta.tokens:,} tokens",
    ]


def test_plain_text() -> None:
    corpus = prepared("book.txt", valid_share=0.2)
    assert corpus.kind == "text"
    assert len(corpus.train_docs) + len(corpus.valid_docs) == 50
    assert all(corpus.train.document(0).loss_mask[1:])


def test_the_split_follows_from_the_seed() -> None:
    first, again, other = (texts(prepared("talk.jsonl", valid_share=0.2, seed=seed), "valid") for seed in (0, 0, 1))
    assert first == again
    assert first != other


def test_what_stands_in_the_validation_files_is_not_learned(here: Path) -> None:
    held_out = [chat("question 3", "answer 3"), chat("question 17", "answer 17"), chat("new", "one")]
    (here / "valid.jsonl").write_text("".join(held_out))
    corpus = prepared("talk.jsonl", valid=("valid.jsonl",))
    assert len(texts(corpus, "train")) == 198
    assert len(texts(corpus, "valid")) == 3
    assert not texts(corpus, "train") & texts(corpus, "valid")
    assert "2 training documents left out: they stand in the validation files too" in corpus.summary


def test_a_window_of_a_conversation_gives_the_whole_away(here: Path) -> None:
    """A long conversation is cut into windows: if it is held out, none of them is learned."""
    long = chat(*(f"part {i} of a long talk" for i in range(8)))
    (here / "train.jsonl").write_text(long + chat("a", "b"))
    (here / "valid.jsonl").write_text(long)
    corpus = prepared("train.jsonl", valid=("valid.jsonl",))
    assert len(corpus.train) > 3
    assert texts(corpus, "train") == {"ab"}


def test_nothing_left_to_learn() -> None:
    with pytest.raises(DataError, match="every training document stands in the validation files too"):
        prepared("talk.jsonl", valid=("talk.jsonl",))


def test_without_holding_out_all_is_there() -> None:
    corpus = prepared("talk.jsonl", hold_out=False)
    assert len(corpus.train_docs) == 200
    assert len(corpus.valid_docs) == 0
    assert corpus.summary.splitlines()[-1] == f"200 documents, {corpus.train.meta.tokens:,} tokens"


def test_kinds_do_not_mix() -> None:
    for config in (DataConfig(data=("talk.jsonl", "book.txt")), DataConfig(data=("book.txt",), valid=("talk.jsonl",))):
        with pytest.raises(ConfigError, match=r"do not mix.*(talk|book).* is (chats|text)"):
            config.validate()


def test_the_built_in_conversations_stand_alone() -> None:
    assert (DataConfig().files.kind, DataConfig().files.train) == ("chats", ())
    for config in (
        DataConfig(data=("smalltalk", "talk.jsonl")),
        DataConfig(data=("talk.jsonl",), valid=("smalltalk",)),
    ):
        with pytest.raises(ConfigError, match="stands alone"):
            config.validate()


def test_numbers_out_of_range() -> None:
    with pytest.raises(ConfigError, match=r"--valid-share 1\.5"):
        DataConfig(valid_share=1.5).validate()
    with pytest.raises(ConfigError, match="--smalltalk-conversations 0"):
        DataConfig(smalltalk_conversations=0).validate()


def stores() -> set[str]:
    """Names of the token stores; each has its time, so that one built a second time is another."""
    return {f"{store.name} {store.stat().st_mtime_ns}" for store in CACHE.iterdir()}


@pytest.mark.parametrize("data", ["talk.jsonl", "book.txt", "smalltalk"])
def test_what_was_tokenized_once_is_not_read_again(data: str) -> None:
    first, built = prepared(data, smalltalk_conversations=30), stores()
    again = prepared(data, smalltalk_conversations=30)
    assert stores() == built
    assert np.array_equal(first.train.tokens, again.train.tokens)
    assert np.array_equal(first.train_docs, again.train_docs)


COUNTER = """
import collections, hashlib, os, sys
from understudy.data.dataset import DataConfig, load_dataset, train_tokenizer
from understudy.data.packing import PackedBatches
from pathlib import Path

counts, name = collections.Counter(), sys.argv[1]

def audit(event, arguments):
    if event == "glob.glob":
        counts["globs"] += 1
    elif event == "open" and os.path.basename(str(arguments[0])) == name:
        counts["opens"] += 1

def counting(file, kind):
    counts["hashes"] += os.path.basename(str(file.name)) == name
    return file_digest(file, kind)

class Digest:
    def __init__(self, data=b""):
        self.inner, self.size = sha256(data), len(data)
    def update(self, data):
        self.inner.update(data)
        self.size += len(data)
    def hexdigest(self):
        counts["hashes"] += self.size == os.path.getsize(name)
        return self.inner.hexdigest()
    def __getattr__(self, name):
        return getattr(self.inner, name)

sys.addaudithook(audit)
sha256, hashlib.sha256 = hashlib.sha256, Digest
file_digest, hashlib.file_digest = hashlib.file_digest, counting
config = DataConfig(data=(name.replace("o", "?"),))
config.validate()
with config.files.kept_open():
    tokenizer = train_tokenizer("bpe", 300, config, 0)
    dataset = load_dataset(config, tokenizer, 64, 0, Path("cache"))
for file in config.files.train:
    file.fingerprint
PackedBatches(dataset.train, dataset.train_docs, 4, 64, 0).batch(0)
print(counts["globs"], counts["opens"], counts["hashes"])
"""


@pytest.mark.parametrize("name", ["more.jsonl", "book.txt"])
def test_a_file_is_looked_for_once_opened_twice_and_hashed_once(here: Path, name: str) -> None:
    (here / "talk.jsonl").rename("more.jsonl")
    done = subprocess.run([sys.executable, "-c", COUNTER, name], stdout=subprocess.PIPE, text=True, check=True)
    assert done.stdout.split() == ["1", "2", "1"]


def test_what_was_left_out_is_told_again_where_nothing_is_read(here: Path) -> None:
    with (here / "talk.jsonl").open("a") as file:
        file.write("{\n")
    first, again = (prepared("talk.jsonl").summary for _ in range(2))
    assert first == again
    assert "talk.jsonl:201: invalid JSON" in first
    assert "200 entries read, 1 left out as malformed" in first


@pytest.mark.parametrize("change", ["content", "tokenizer", "context", "strict", "name"])
def test_what_a_store_depends_on(change: str, here: Path) -> None:
    prepared("talk.jsonl")
    built, name = stores(), "talk.jsonl"
    options: dict[str, Any] = {}
    if change == "content":
        (here / "talk.jsonl").write_text((here / "talk.jsonl").read_text().replace("answer 3", "answer three"))
    elif change == "tokenizer":
        options["tokenizer"] = BPETokenizer.train(["question answer"] * 9, 270)
    elif change == "context":
        options["context"] = 65
    elif change == "strict":
        options["strict"] = True
    else:
        name = "renamed.jsonl"
        (here / "talk.jsonl").rename(name)
    prepared(name, **options)
    assert len(stores() - built) == (change != "name")


def test_the_seed_and_size_of_generated_conversations_count() -> None:
    prepared("smalltalk", smalltalk_conversations=20)
    assert len(stores()) == 2
    prepared("smalltalk", smalltalk_conversations=20, seed=1)
    assert len(stores()) == 4
    prepared("smalltalk", smalltalk_conversations=60)
    assert len(stores()) == 5  # the one to validate on is there from before


def test_the_generator_makes_what_is_held_out() -> None:
    corpus = prepared("smalltalk", smalltalk_conversations=100)
    assert len(texts(corpus, "train")) == 100
    assert all(text.startswith("valid") for text in texts(corpus, "valid"))
    assert corpus.summary == (
        f"100 built-in conversations to learn from, {corpus.train.meta.tokens:,} tokens; 2 held out"
    )


def test_what_is_too_long_is_left_out_or_the_end(here: Path) -> None:
    (here / "long.jsonl").write_text(chat("hi", "hello " * 20) + chat("a", "b") + chat("c", "d"))
    corpus = prepared("long.jsonl", hold_out=False)
    assert len(corpus.train) == 2
    assert "long.jsonl:1: an exchange of" in corpus.summary
    with pytest.raises(TooLongError, match=r"long\.jsonl:1: an exchange of"):
        prepared("long.jsonl", strict=True)
    (here / "long.jsonl").write_text(chat("hi", "hello " * 20))
    with pytest.raises(DataError, match=r"nothing usable in long.jsonl: .*does not fit a context of 64 tokens"):
        prepared("long.jsonl")


def test_missing_and_empty_files(here: Path) -> None:
    (here / "empty.txt").write_text("\n \n")
    for path, words in [("tlak.jsonl", "did you mean talk.jsonl"), ("empty.txt", "is empty")]:
        with pytest.raises(DataError, match=words):
            DataConfig(data=("talk.jsonl",), valid=(path,)).validate()


def test_a_tokenizer_learns_from_the_training_data_alone(here: Path) -> None:
    assert train_tokenizer("bytes", 300, DataConfig(), 0).fingerprint == BYTES.fingerprint
    (here / "valid.jsonl").write_text(chat("zyzzyva " * 30, "zyzzyva"))
    config = DataConfig(data=("talk.jsonl",), valid=("valid.jsonl",))
    trained = train_tokenizer("bpe", 320, config, 0)
    assert len(trained.encode("question")) <= 2
    assert len(trained.encode("zyzzyva")) == 7
    assert train_tokenizer("bpe", 320, config, 5).fingerprint == trained.fingerprint
    text = train_tokenizer("bpe", 300, DataConfig(data=("book.txt",)), 0)
    assert len(text.encode("chapter")) <= 2
