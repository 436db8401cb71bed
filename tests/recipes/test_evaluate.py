"""The figures of `eval` against figures worked out by hand, and the recipe from end to end."""

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from recipes.conftest import TINY, Understudy, last_run, record_of, talk
from understudy.data.chat_template import TokenizedDocument, render, render_text
from understudy.data.conversations import Conversation, Message
from understudy.data.token_store import TokenStore, build_store
from understudy.data.tokenizers import BPETokenizer, ByteTokenizer, Tokenizer
from understudy.evaluation.figures import conversations_of, loss_figures, overlap, text_size, variety
from understudy.evaluation.replies import Turn
from understudy.training.evaluation import DocumentLoss

BYTES = ByteTokenizer()
BPE = BPETokenizer.train(["well, yes, that is so"] * 9, vocab_size=280)
CHATS = (
    Conversation((Message("user", "is it so?"), Message("assistant", "Yes, that is só."))),
    Conversation((Message("user", "no"), Message("assistant", "well"), Message("user", "a"), Message("assistant", ""))),
)


def store_of(folder: Path, documents: list[TokenizedDocument], tokenizer: Tokenizer) -> TokenStore:
    return build_store(folder / "store", documents, tokenizer)


@pytest.mark.parametrize("tokenizer", [BYTES, BPE])
def test_loss_figures_by_hand(tokenizer: Tokenizer, tmp_path: Path) -> None:
    """Bytes and words are those of the text, whatever the tokens are; the ends count as bytes and not as words."""
    store = store_of(tmp_path, [render(chat, tokenizer) for chat in CHATS], tokenizer)
    nats, end_nats, tokens = np.array([30.0, 6.0]), np.array([2.0, 1.0]), np.array([20, 10])
    found = loss_figures(DocumentLoss(nats, end_nats, tokens), store, np.arange(2), tokenizer)
    size = len("Yes, that is só.".encode()) + 1 + len("well") + 1 + 1
    words = len(["yes", ",", "that", "is", "só", "."]) + 1
    assert found["loss"].value == pytest.approx(36 / 30)
    assert found["bpb"].value == pytest.approx(36 / math.log(2) / size)
    assert found["perplexity"].value == pytest.approx(math.exp(36 / 30))
    assert found["word_perplexity"].value == pytest.approx(math.exp((36 - 3) / words))
    for estimate in found.values():
        assert estimate.low < estimate.value < estimate.high
    assert found["perplexity"].low == pytest.approx(math.exp(found["loss"].low))


def test_a_text_counts_whole() -> None:
    assert text_size(render_text("Só, it is.", BPE), BPE) == (len("Só, it is.".encode()), 5)
    assert text_size(TokenizedDocument(np.array([1, 2]), np.array([False, False])), BPE) == (0, 0)


def test_windows_of_a_conversation_are_one_conversation(tmp_path: Path) -> None:
    ids, said = np.arange(5, dtype=np.int32), np.ones(5, dtype=np.bool_)
    documents = [TokenizedDocument(ids + i, said, source) for i, source in enumerate([70, 9, 70, None, 9])]
    store = store_of(tmp_path, documents, BYTES)
    assert conversations_of(store, np.array([1, 2, 0, 3, 4])).tolist() == [0, 1, 1, 2, 0]


def turn(conversation: int, text: str) -> Turn:
    return Turn(conversation, [], [], text)


def test_reply_figures_by_hand() -> None:
    turns = [turn(4, "i like cats"), turn(4, "yes"), turn(7, "no"), turn(8, "the sea")]
    texts = ["i like dogs", "yes yes yes yes", "yes", "i like dogs"]
    found = overlap(turns, texts)
    assert found.value == pytest.approx((2 / 3 + 2 / 5 + 0 + 0) / 4)
    figures = variety(turns, texts, [[], [], [], ["oh i like dogs"]])
    assert figures["distinct_1"].value == pytest.approx(4 / 11)
    assert figures["distinct_2"].value == pytest.approx(3 / 11)
    assert figures["repetition"].value == pytest.approx(1 / 4)
    assert figures["repetition_earlier"].value == pytest.approx(1 / 4)
    assert all(0 <= figure.low <= figure.value <= figure.high <= 1 for figure in figures.values())


@pytest.fixture
def base(here: Path, understudy: Understudy) -> Path:
    command = ["--data", "talk.jsonl", "--steps", 30, "--eval-every", 0, "--sample-every", 0, "--valid-share", 0.3]
    assert understudy("pretrain", *TINY, *command) == 0
    return last_run()


def figures_of(run: Path) -> dict[str, Any]:
    return record_of(run)["outcome"]


def test_replies_are_ranked_and_generated_the_same_each_time(
    base: Path, here: Path, understudy: Understudy, capsys: Any
) -> None:
    capsys.readouterr()
    assert understudy("eval", base.name, "--conversations", 9, "--max-tokens", 12) == 0
    said = capsys.readouterr().out
    assert "replies of 9 conversations" in said
    assert "hits@1 of 20" in said
    first = figures_of(last_run())
    assert 0 <= first["hits_at_1"] <= 1
    low, high = first["intervals"]["hits_at_1"]
    assert low <= first["hits_at_1"] <= high
    assert {"true_distinct_1", "true_distinct_2", "true_repetition", "f1", "repetition"} <= first.keys()
    assert first["intervals"]["bpb"][0] < first["bpb"] < first["intervals"]["bpb"][1]
    samples = [json.loads(line) for line in (last_run() / "samples.jsonl").read_text().splitlines()]
    assert all(sample["true"] for sample in samples)
    assert len(samples) == 10
    assert understudy("eval", base.name, "--conversations", 9, "--max-tokens", 12) == 0
    assert {**figures_of(last_run()), "checkpoint": 0} == {**first, "checkpoint": 0}
    assert understudy("eval", base.name, "--conversations", 9, "--max-tokens", 12, "--sampling-seed", 1) == 0
    other = figures_of(last_run())
    assert other["hits_at_1"] == first["hits_at_1"]
    assert other["distinct_2"] != first["distinct_2"]


def test_without_replies_the_loss_is_measured_alone(base: Path, understudy: Understudy, capsys: Any) -> None:
    assert understudy("eval", base.name, "--conversations", 0) == 0
    assert "hits_at_1" not in figures_of(last_run())
    assert "word_perplexity" in figures_of(last_run())


def test_too_few_replies_leave_hits_out_and_say_so(base: Path, here: Path, understudy: Understudy, capsys: Any) -> None:
    (here / "few.jsonl").write_text(talk(3, seed=5))
    capsys.readouterr()
    assert understudy("eval", base.name, "--data", "few.jsonl", "--max-tokens", 5) == 0
    assert "hits@1 is left out: it takes 19 other replies that are not alike" in capsys.readouterr().out
    assert "hits_at_1" not in figures_of(last_run())
    assert "f1" in figures_of(last_run())


def test_a_model_of_plain_text_has_its_loss_measured(here: Path, understudy: Understudy, capsys: Any) -> None:
    (here / "text.txt").write_text("\n\n".join(f"the {n} cats sat on mat {n}." for n in range(3000)))
    assert understudy("pretrain", *TINY, "--data", "text.txt", "--steps", 2, "--sample-every", 0) == 0
    assert understudy("eval", "last") == 0
    outcome = figures_of(last_run())
    assert outcome["word_perplexity"] > 1
    assert "f1" not in outcome
    assert understudy("eval", "last:pretrain", "--data", "talk.jsonl") == 0, "conversations, which it never learned"
    assert "f1" not in figures_of(last_run())


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--conversations", -1], "--conversations -1 is out of range; expected 0 or more"),
        (["--batch-size", 0], "--batch-size 0 is out of range; expected 1 or more"),
        (["--temperature", -1], "--temperature -1.0 is out of range; expected 0 to 100"),
    ],
)
def test_numbers_out_of_range_are_named(understudy: Understudy, capsys: Any, options: list[Any], words: str) -> None:
    assert understudy("eval", "last", *options) == 2
    assert words in capsys.readouterr().err
