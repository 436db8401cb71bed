"""Questions about replies: where the candidates come from, and how they are laid out."""

import json
import random
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from understudy.data.dataset import DataConfig, Dataset, load_dataset
from understudy.data.next_reply import NextReply, pack_candidates, replies_in
from understudy.data.packing import NextReplyQuestion, PackedBatches
from understudy.data.tokenizers import ByteTokenizer
from understudy.errors import DataError

TOKENIZER = ByteTokenizer()
END = TOKENIZER.special["<|end|>"]
CONTEXT = 64


def a_corpus(folder: Path, conversations: list[list[str]]) -> Dataset:
    """Of conversations in which user and assistant take turns; the last one is held out."""
    lines = []
    for said in conversations:
        roles = ("user", "assistant") * len(said)
        messages = [{"role": role, "content": text} for role, text in zip(roles, said, strict=False)]
        lines.append(json.dumps({"messages": messages}))
    (folder / "talk.jsonl").write_text("\n".join(lines[:-1]))
    (folder / "valid.jsonl").write_text(lines[-1])
    data = DataConfig(data=(str(folder / "talk.jsonl"),), valid=(str(folder / "valid.jsonl"),))
    return load_dataset(data, TOKENIZER, CONTEXT, 0, folder / "cache")


@pytest.fixture
def corpus(tmp_path: Path) -> Dataset:
    draw = random.Random(0)
    said = [["".join(draw.choices("abcdef", k=draw.randint(1, 9))) for _ in range(4)] for _ in range(40)]
    return a_corpus(tmp_path, said)


def batches_of(corpus: Dataset, candidates: int = 4, seed: int = 0) -> PackedBatches:
    next_reply = NextReply(corpus.train, corpus.train_docs, CONTEXT, seed, candidates)
    return PackedBatches(corpus.train, corpus.train_docs, 3, CONTEXT, seed, ask=next_reply.questions)


def test_tokens_are_batched_as_ever_and_each_conversation_has_a_question(corpus: Dataset) -> None:
    batches, plain = batches_of(corpus), PackedBatches(corpus.train, corpus.train_docs, 3, CONTEXT, 0)
    for step in range(batches.batches_per_epoch + 1):
        batch, same = batches.batch(step), plain.batch(step)
        for name in ("inputs_BT", "targets_BT", "weights_BT", "reset_BT"):
            assert np.array_equal(getattr(batch, name), getattr(same, name))
        starts = Counter(batch.reset_BT.nonzero()[0].tolist())
        assert Counter(question.row for question in batch.questions) == starts


def test_the_first_candidate_was_said_in_that_row_and_the_others_elsewhere(corpus: Dataset) -> None:
    documents = [corpus.train.document(index) for index in range(len(corpus.train))]
    said = {doc.ids[reply].tobytes(): number for number, doc in enumerate(documents) for reply in replies_in(doc)}
    batches = batches_of(corpus)
    for batch in map(batches.batch, range(batches.batches_per_epoch)):
        for question in batch.questions:
            right, *others = question.candidates
            row = batch.inputs_BT[question.row].astype(np.int32).tobytes()
            assert right[:-1].tobytes() in row  # the end of a conversation is a target only
            heads = [document.ids[: len(right)].tobytes() for document in documents]
            mine = heads.index(right.tobytes())
            start = next(reply.start for reply in replies_in(documents[mine]) if reply.stop == len(right))
            replies = [right[start:], *(ids[start:] for ids in others)]
            assert all(ids[:start].tobytes() == right[:start].tobytes() for ids in others)
            assert len({reply.tobytes() for reply in replies}) == 4
            for reply in replies[1:]:
                assert said[reply.tobytes()] != mine


def test_questions_depend_on_the_seed_and_the_step_alone(corpus: Dataset) -> None:
    def drawn(batches: PackedBatches, step: int) -> list[list[int]]:
        return [ids.tolist() for question in batches.batch(step).questions for ids in question.candidates]

    epoch = batches_of(corpus).batches_per_epoch
    assert drawn(batches_of(corpus), 2) == drawn(batches_of(corpus), 2)
    assert drawn(batches_of(corpus), 2) != drawn(batches_of(corpus), 2 + epoch)
    assert drawn(batches_of(corpus), 2) != drawn(batches_of(corpus, seed=1), 2)


def test_a_reply_too_long_for_the_context_loses_its_middle_and_keeps_its_end(tmp_path: Path) -> None:
    corpus = a_corpus(tmp_path, [["x" * 50, "y"], ["a", "z" * 40], ["hello", "you"]])
    batch = batches_of(corpus, candidates=2).batch(0)
    (short,) = (question for question in batch.questions if ord("y") in question.candidates[0])
    other = short.candidates[1]
    assert len(other) == CONTEXT
    assert other[-1] == END
    assert bytes(other[54:-1].tolist()) == b"z" * 9


def test_conversations_without_enough_others_have_no_question(tmp_path: Path) -> None:
    corpus = a_corpus(tmp_path, [["a", "same"], ["b", "same"], ["c", "other"], ["d", "more"]])
    batches = batches_of(corpus, candidates=3)
    assert batches.batch(0).questions == ()
    asked = batches_of(corpus, candidates=2).batch(0).questions
    assert len(asked) == 3


def test_one_conversation_is_too_few(tmp_path: Path) -> None:
    corpus = a_corpus(tmp_path, [["a", "one"], ["b", "two"]])
    with pytest.raises(DataError, match="come from other conversations, and there is only one"):
        batches_of(corpus)


def test_packed_candidates_are_apart() -> None:
    draw = np.random.default_rng(0)
    questions = [
        NextReplyQuestion(0, tuple(draw.integers(1, 9, size=draw.integers(1, 12)).astype(np.int32) for _ in range(3)))
        for _ in range(20)
    ]
    ids_RT, reset_RT, last_QC = pack_candidates(questions, context=16)
    assert last_QC.shape == (20, 3)
    assert reset_RT.sum() == 60
    flat, starts = ids_RT.flatten(), reset_RT.flatten()
    for question, lasts in zip(questions, last_QC, strict=True):
        for ids, last in zip(question.candidates, lasts, strict=True):
            first = last - len(ids) + 1
            assert flat[first : last + 1].tolist() == ids.tolist()
            assert first // ids_RT.shape[1] == last // ids_RT.shape[1]
            assert starts[first : last + 1].tolist() == [True] + [False] * (len(ids) - 1)
