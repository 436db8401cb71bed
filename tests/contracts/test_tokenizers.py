"""What every tokenizer must do. A new implementation joins by one line in `tokenizer`."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from published.vocabularies import small_gpt1

from understudy.data.tokenizers import (
    SPECIALS,
    BPETokenizer,
    ByteTokenizer,
    Tokenizer,
    load_tokenizer,
)
from understudy.data.tokenizers.base import StreamDecoder
from understudy.data.tokenizers.gpt1 import GPT1Tokenizer
from understudy.errors import CheckpointError, ConfigError

TEXTS = [
    "the cat sat on the mat, and the hat sat on the cat",
    "Ünïcode 🎭 the  the\n\nthe end",
    "don't we'll 123 123",
] * 5
LOSSLESS: dict[str, Tokenizer] = {
    "bytes": ByteTokenizer(),
    "bpe": BPETokenizer.train(TEXTS, vocab_size=300),
    "untrained bpe": BPETokenizer.train([], vocab_size=300),
}
TOKENIZERS = LOSSLESS | {
    "gpt1": GPT1Tokenizer(*small_gpt1()),
    "gpt1 by bert's rules": GPT1Tokenizer(*small_gpt1(), rules="bert"),
}
HARD_TEXTS = [
    "",
    " leading and trailing ",
    "   ",
    "\t\n\r\n\x00\x07\x1b[31m\x7f\x85\u2028",
    "👩‍👩‍👧‍👦 e\u0301 \ufeff \U0010ffff",
    "<|assistant|>",
    "Hi<|end|>\n<|assistant|>Sure!<|pad|><|bos|>",
]
texts = st.text() | st.text(alphabet="the cat\n<|end>'s", max_size=60)


@pytest.fixture(params=TOKENIZERS, scope="module")
def tokenizer(request: pytest.FixtureRequest) -> Tokenizer:
    return TOKENIZERS[request.param]


@pytest.fixture(params=LOSSLESS, scope="module")
def lossless(request: pytest.FixtureRequest) -> Tokenizer:
    return LOSSLESS[request.param]


def test_tokenizers_say_whether_text_comes_back() -> None:
    assert {name for name, tokenizer in TOKENIZERS.items() if tokenizer.lossless} == set(LOSSLESS)


@pytest.mark.parametrize("text", HARD_TEXTS)
def test_hard_texts_come_back(lossless: Tokenizer, text: str) -> None:
    assert lossless.decode(lossless.encode(text)) == text


@given(text=texts)
def test_any_text_comes_back(lossless: Tokenizer, text: str) -> None:
    ids = lossless.encode(text)
    assert lossless.decode(ids) == text
    assert lossless.token_bytes[ids].sum() == len(text.encode())


@settings(deadline=None)  # spaCy takes a while when it is first used
@given(text=texts)
def test_any_text_gives_ordinary_tokens(tokenizer: Tokenizer, text: str) -> None:
    ids = tokenizer.encode(text)
    assert not set(ids) & set(tokenizer.special.values())
    assert isinstance(tokenizer.decode(ids), str)


@pytest.mark.parametrize("special", SPECIALS)
def test_special_tokens_cannot_be_written(tokenizer: Tokenizer, special: str) -> None:
    ids = tokenizer.encode(f"a {special} b{special}")
    assert 0 <= min(ids) <= max(ids) < tokenizer.vocab_size - len(SPECIALS)


def test_special_tokens_follow_the_ordinary_ones(tokenizer: Tokenizer) -> None:
    first = tokenizer.vocab_size - len(SPECIALS)
    assert tokenizer.special == {name: first + i for i, name in enumerate(SPECIALS)}
    assert all(tokenizer.bytes_of(token) for token in range(first))


def test_special_tokens_are_no_text(tokenizer: Tokenizer) -> None:
    ids = [tokenizer.special["<|bos|>"], *tokenizer.encode("cat"), tokenizer.special["<|end|>"]]
    assert tokenizer.decode(ids) == "cat"
    assert tokenizer.bytes_of(tokenizer.special["<|end|>"]) == b""


def test_token_bytes_are_the_lengths_of_the_bytes(tokenizer: Tokenizer) -> None:
    assert tokenizer.token_bytes.dtype == np.int32
    assert tokenizer.token_bytes.tolist() == [len(tokenizer.bytes_of(i)) for i in range(tokenizer.vocab_size)]


@given(many=st.lists(texts, max_size=5))
def test_a_batch_is_its_texts(tokenizer: Tokenizer, many: list[str]) -> None:
    assert tokenizer.encode_batch(many) == [tokenizer.encode(text) for text in many]


def test_half_characters_become_question_marks(lossless: Tokenizer) -> None:
    assert lossless.decode(lossless.encode("a\udc80b")) == "a?b"
    assert lossless.encode_batch(["a\udc80b"]) == [lossless.encode("a?b")]


def test_half_characters_stop_no_tokenizer(tokenizer: Tokenizer) -> None:
    assert tokenizer.decode(tokenizer.encode("a\udc80b"))[0] == "a"


def test_invalid_bytes_are_replaced(tokenizer: Tokenizer) -> None:
    assert tokenizer.decode(tokenizer.encode("é")[:1] if len(tokenizer.encode("é")) > 1 else []) in ("", "\ufffd")


@given(text=texts)
def test_streamed_text_is_the_whole_text(lossless: Tokenizer, text: str) -> None:
    decoder = lossless.stream()
    pieces = [decoder.feed(token) for token in lossless.encode(text)]
    assert decoder.finish() == ""
    assert "".join(pieces) == text


@given(ids=st.lists(st.integers(0, 261)))
def test_streamed_ids_decode_as_at_once(tokenizer: Tokenizer, ids: list[int]) -> None:
    decoder = tokenizer.stream()
    pieces = [decoder.feed(token) for token in ids]
    assert "".join(pieces) + decoder.finish() == tokenizer.decode(ids)


def test_saved_and_loaded_is_the_same(tokenizer: Tokenizer, tmp_path: Path) -> None:
    tokenizer.save(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["tokenizer.json"]
    loaded = load_tokenizer(tmp_path)
    assert type(loaded) is type(tokenizer)
    assert loaded.fingerprint == tokenizer.fingerprint
    assert loaded.vocab_size == tokenizer.vocab_size
    for text in HARD_TEXTS + TEXTS:
        assert loaded.encode(text) == tokenizer.encode(text)


def test_what_a_later_version_wrote_besides_is_ignored(tokenizer: Tokenizer, tmp_path: Path) -> None:
    tokenizer.save(tmp_path)
    path = tmp_path / "tokenizer.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"later": 1}))
    assert load_tokenizer(tmp_path).fingerprint == tokenizer.fingerprint


def test_every_argument_must_be_in_the_file(tmp_path: Path) -> None:
    definition = {"kind": "gpt1", "specials": SPECIALS, "vocabulary": ["<unk>"], "merges": []}
    (tmp_path / "tokenizer.json").write_text(json.dumps(definition))
    with pytest.raises(CheckpointError, match="KeyError\\('rules'\\)"):
        load_tokenizer(tmp_path)


def test_fingerprints_tell_tokenizers_apart() -> None:
    assert len({tokenizer.fingerprint for tokenizer in TOKENIZERS.values()}) == len(TOKENIZERS)


def test_a_stream_holds_back_half_a_character() -> None:
    decoder = StreamDecoder(ByteTokenizer())
    assert [decoder.feed(byte) for byte in "a🎭b".encode()] == ["a", "", "", "", "🎭", "b"]
    assert decoder.feed(0xF0) == ""
    assert decoder.finish() == "\ufffd"
    assert decoder.feed(ord("c")) == "c"


def test_bpe_learns_the_size_asked_for() -> None:
    assert TOKENIZERS["bpe"].vocab_size == 300
    assert len(TOKENIZERS["bpe"].encode(TEXTS[0])) < len(TEXTS[0]) / 2
    assert BPETokenizer.train(["ab"], vocab_size=1000).vocab_size == 256 + len(SPECIALS)


def test_bpe_refuses_a_vocabulary_without_room_for_bytes() -> None:
    with pytest.raises(ConfigError, match="261 is too small: bytes and special tokens take 262"):
        BPETokenizer.train(TEXTS, vocab_size=261)


def test_bpe_training_is_the_same_in_every_process() -> None:
    code = (
        "import sys, json; from understudy.data.tokenizers import BPETokenizer;"
        "print(BPETokenizer.train(json.loads(sys.argv[1]), vocab_size=300).fingerprint)"
    )
    command = [sys.executable, "-c", code, json.dumps(TEXTS)]
    environment = os.environ | {"PYTHONHASHSEED": "7", "TOKENIZERS_PARALLELISM": "false"}
    other = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
    assert other.stdout.strip() == TOKENIZERS["bpe"].fingerprint


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (None, "no tokenizer at"),
        ("{", "was not saved by this package's tokenizers"),
        ('{"kind": "bytes"}', "was not saved by this package's tokenizers: KeyError"),
        ('{"kind": "bytes", "specials": ["<s>"]}', "has the special tokens"),
    ],
)
def test_what_cannot_be_loaded_is_said(tmp_path: Path, content: str | None, problem: str) -> None:
    if content is not None:
        (tmp_path / "tokenizer.json").write_text(content)
    with pytest.raises(CheckpointError, match=problem):
        load_tokenizer(tmp_path)
