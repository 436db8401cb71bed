import tracemalloc
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from understudy.data.chat_template import TokenizedDocument, content_hash, render, render_text, render_windows
from understudy.data.conversations import Conversation, Message
from understudy.data.files import Report
from understudy.data.token_store import TokenStore, build_store, overlap, split
from understudy.data.tokenizers import SPECIALS, BPETokenizer, ByteTokenizer, Tokenizer
from understudy.errors import DataError

BYTES = ByteTokenizer()


def build(folder: Path, texts: list[str], key: str = "") -> TokenStore:
    return build_store(folder, (render_text(text, BYTES) for text in texts), BYTES, key)


def unread() -> Iterator[TokenizedDocument]:
    raise AssertionError("the documents were read")
    yield


def same(one: TokenizedDocument, other: TokenizedDocument) -> bool:
    return one.ids.tolist() == other.ids.tolist() and one.loss_mask.tolist() == other.loss_mask.tolist()


@given(texts=st.lists(st.text(max_size=20), min_size=1))
def test_documents_come_back(tmp_path_factory: pytest.TempPathFactory, texts: list[str]) -> None:
    folder = tmp_path_factory.mktemp("data") / "store"
    build(folder, texts)
    store = TokenStore(folder)
    assert len(store) == len(texts)
    for index, text in enumerate(texts):
        rendered = render_text(text, BYTES)
        assert same(store.document(index), rendered)
        assert store.hashes[index] == content_hash(rendered.ids)
    assert store.meta.tokens == len(store.tokens) == len(store.loss_mask) == store.starts[-1]
    assert store.meta.pad == BYTES.special["<|pad|>"]


def test_replies_come_back(tmp_path: Path) -> None:
    rendered = render(Conversation((Message("user", "U"), Message("assistant", "A"))), BYTES)
    assert same(build_store(tmp_path / "s", [rendered], BYTES).document(0), rendered)


class ManyTokens(ByteTokenizer):
    """As wide as asked, to choose the width of the store's integers."""

    def __init__(self, vocab_size: int) -> None:
        Tokenizer.__init__(self, [b"x"] * (vocab_size - len(SPECIALS)))


@pytest.mark.parametrize(("vocab_size", "dtype"), [(65_535, "uint16"), (65_536, "uint32"), (100_000, "uint32")])
def test_the_vocabulary_sets_the_width(tmp_path: Path, vocab_size: int, dtype: str) -> None:
    ids = np.array([0, 1, vocab_size - 1], dtype=np.int32)
    document = TokenizedDocument(ids, np.array([False, True, True]))
    store = build_store(tmp_path / "s", [document], ManyTokens(vocab_size))
    assert store.tokens.dtype == dtype
    assert store.document(0).ids.tolist() == ids.tolist()


def test_a_store_with_the_same_key_is_reused(tmp_path: Path) -> None:
    build(tmp_path / "s", ["a", "b"], key="files 1")
    assert len(build_store(tmp_path / "s", unread(), BYTES, key="files 1")) == 2


def test_another_key_or_tokenizer_replaces_the_store(tmp_path: Path) -> None:
    old = build(tmp_path / "s", ["a", "b"], key="files 1")
    assert len(build(tmp_path / "s", ["c"], key="files 2")) == 1
    assert same(old.document(1), render_text("b", BYTES))  # what was open stays readable
    bpe = BPETokenizer.train([], 262)
    assert len(build_store(tmp_path / "s", [render_text("c", bpe)] * 3, bpe, key="files 2")) == 3
    assert [path.name for path in tmp_path.iterdir()] == ["s"]


def test_a_build_that_fails_leaves_what_was_there(tmp_path: Path) -> None:
    def broken() -> Iterator[TokenizedDocument]:
        yield render_text("x", BYTES)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        build_store(tmp_path / "s", broken(), BYTES)
    assert list(tmp_path.iterdir()) == []
    build(tmp_path / "s", ["a"], key="1")
    with pytest.raises(KeyboardInterrupt):
        build_store(tmp_path / "s", broken(), BYTES, key="2")
    assert [path.name for path in tmp_path.iterdir()] == ["s"]
    assert TokenStore(tmp_path / "s").meta.key == "1"


def test_two_builders_of_one_store_agree(tmp_path: Path) -> None:
    def slow() -> Iterator[TokenizedDocument]:
        build(tmp_path / "s", ["a"], key="1")  # another process is done first
        yield render_text("a", BYTES)

    assert len(build_store(tmp_path / "s", slow(), BYTES, key="1")) == 1
    assert [path.name for path in tmp_path.iterdir()] == ["s"]


def test_a_folder_of_something_else_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("years of work")
    with pytest.raises(DataError, match="exists and is not a token store"):
        build(tmp_path, ["a"])
    with pytest.raises(DataError, match="exists and is not a token store"):
        build(tmp_path / "thesis.txt", ["a"])
    assert (tmp_path / "thesis.txt").read_text() == "years of work"


def test_a_store_needs_documents(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no documents"):
        build(tmp_path / "s", [])
    assert list(tmp_path.iterdir()) == []


def test_what_is_no_store_cannot_be_opened(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no token store"):
        TokenStore(tmp_path)
    (tmp_path / "meta.json").write_text('{"version": 0}')
    with pytest.raises(DataError, match="no token store of version 1"):
        TokenStore(tmp_path)


def test_building_needs_little_memory(tmp_path: Path) -> None:
    document = render_text("x" * 50_000, BYTES)
    tracemalloc.start()
    store = build_store(tmp_path / "s", (document for _ in range(200)), BYTES)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert store.meta.tokens == 200 * 50_001
    assert peak < 2e6


@given(
    numbers=st.lists(st.integers(0, 30), min_size=2, max_size=60),
    fraction=st.floats(0.01, 0.99),
    seed=st.integers(0, 2**64),
)
def test_a_split_leaks_nothing(
    tmp_path_factory: pytest.TempPathFactory, numbers: list[int], fraction: float, seed: int
) -> None:
    store = build(tmp_path_factory.mktemp("data") / "s", [str(number) for number in numbers])
    if len(set(numbers)) < 2:
        with pytest.raises(DataError, match="only one distinct document"):
            split(store, fraction, seed)
        return
    train, valid = split(store, fraction, seed)
    assert sorted([*train, *valid]) == list(range(len(numbers)))
    assert len(train) > 0
    assert len(valid) > 0
    assert overlap(store.hashes[train], store.hashes[valid]).tolist() == []


def test_a_split_holds_out_its_fraction_by_the_seed(tmp_path: Path) -> None:
    store = build(tmp_path / "s", [str(number) for number in range(5000)])
    valid = split(store, 0.1, seed=0)[1]
    assert 420 < len(valid) < 580
    assert valid.tolist() == split(store, 0.1, seed=0)[1].tolist()
    by_chance = len(set(valid) & set(split(store, 0.1, seed=1)[1]))
    assert 20 < by_chance < 90
    assert np.abs(np.mean(valid) - 2500) < 250  # taken from everywhere


def test_more_documents_move_none(tmp_path: Path) -> None:
    few = split(build(tmp_path / "few", [str(number) for number in range(500)]), 0.2, seed=3)[1]
    many = split(build(tmp_path / "many", [str(number) for number in range(1000)]), 0.2, seed=3)[1]
    assert few.tolist() == [index for index in many.tolist() if index < 500]


def test_windows_of_one_conversation_stay_together(tmp_path: Path) -> None:
    talks = [
        Conversation(tuple(Message(role, f"{number} {turn}") for turn in range(4) for role in ("user", "assistant")))
        for number in range(40)
    ]
    windows = [list(render_windows([talk], BYTES, 15, Report())) for talk in talks]
    store = build_store(tmp_path / "s", [window for some in windows for window in some], BYTES)
    assert {len(some) for some in windows} == {4}
    train, valid = split(store, 0.5, seed=0)
    assert {index // 4 for index in train.tolist()} & {index // 4 for index in valid.tolist()} == set()


def test_leaks_are_found_by_content(tmp_path: Path) -> None:
    train, valid = build(tmp_path / "t", ["a", "b", "c", "b"]), build(tmp_path / "v", ["x", "b"])
    assert overlap(train.hashes, valid.hashes).tolist() == [1, 3]
