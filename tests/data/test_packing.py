import time
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from understudy.data.chat_template import TokenizedDocument
from understudy.data.packing import Batch, PackedBatches, pack
from understudy.data.token_store import TokenStore, build_store
from understudy.data.tokenizers import ByteTokenizer
from understudy.errors import DataError

BYTES = ByteTokenizer()
PAD = BYTES.special["<|pad|>"]


def store_of(folder: Path, lengths: list[int]) -> TokenStore:
    """Documents of random tokens and roles, their numbers as their first two tokens."""
    random = np.random.default_rng(len(lengths))
    documents = []
    for number, length in enumerate(lengths):
        ids = random.integers(0, 256, length).astype(np.int32)
        ids[:2] = np.array(divmod(number, 256))[:length]
        documents.append(TokenizedDocument(ids, random.random(length) < 0.5))
    return build_store(folder, documents, BYTES)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> TokenStore:
    return store_of(tmp_path_factory.mktemp("data") / "s", [3, 9, 25, 17, 8, 2, 12, 5, 5, 5, 16, 4, 30, 7] * 5)


Target = tuple[tuple[int, ...], int, float]


def targets_in(batches: list[Batch]) -> Counter[Target]:
    """(the inputs since the last reset, the target, its weight) of every position that is not padding."""
    found: Counter[Target] = Counter()
    for batch in batches:
        for inputs, targets, weights, resets in zip(
            batch.inputs_BT, batch.targets_BT, batch.weights_BT, batch.reset_BT, strict=True
        ):
            start = 0
            for t, (token, target, weight, reset) in enumerate(zip(inputs, targets, weights, resets, strict=True)):
                start = t if reset else start
                if token == PAD:
                    assert (target, weight, reset) == (PAD, 0.0, False)
                else:
                    found[tuple(inputs[start : t + 1].tolist()), int(target), float(weight)] += 1
    return found


def targets_due(store: TokenStore, docs: list[int], context: int, other_weight: float) -> Counter[Target]:
    """The same, straight from the documents: each piece of `context` inputs starts afresh."""
    due: Counter[Target] = Counter()
    for doc in docs:
        document = store.document(doc)
        ids = document.ids.tolist()
        for t in range(1, len(ids)):
            start = (t - 1) // context * context
            due[tuple(ids[start:t]), ids[t], 1.0 if document.loss_mask[t] else other_weight] += 1
    return due


@given(
    lengths=st.lists(st.integers(0, 30), min_size=1, max_size=20),
    context=st.integers(1, 12),
    batch_size=st.integers(1, 4),
    seed=st.sampled_from([None, 1]),
    data=st.data(),
)
def test_every_target_comes_once_an_epoch_with_its_weight_and_its_own_past(
    tmp_path_factory: pytest.TempPathFactory,
    lengths: list[int],
    context: int,
    batch_size: int,
    seed: int | None,
    data: st.DataObject,
) -> None:
    store = store_of(tmp_path_factory.mktemp("data") / "s", [*lengths, 2])
    docs = data.draw(st.lists(st.integers(0, len(lengths)), unique=True)) or [len(lengths)]
    due = targets_due(store, docs, context, other_weight=0.25)
    if not due:
        with pytest.raises(DataError, match="nothing to predict"):
            PackedBatches(store, np.array(docs), batch_size, context, seed=1)
        return
    batches = PackedBatches(store, np.array(docs), batch_size, context, seed, other_weight=0.25)
    steps = batches.batches_per_epoch
    for epoch in (0, 1, 5):
        assert targets_in([batches.batch(epoch * steps + i) for i in range(steps)]) == due
    assert targets_in(list(batches.eval_batches())) == due
    assert batches.targets_per_epoch == due.total()


def test_the_arrays_are_as_declared(store: TokenStore) -> None:
    batch = PackedBatches(store, np.arange(len(store)), 4, 16, seed=0, other_weight=0.5).batch(0)
    arrays = (batch.inputs_BT, batch.targets_BT, batch.weights_BT, batch.reset_BT)
    assert [array.shape for array in arrays] == [(4, 16)] * 4
    assert [array.dtype.name for array in arrays] == ["int64", "int64", "float32", "bool"]
    assert set(np.unique(batch.weights_BT)) <= {0.0, 0.5, 1.0}


def test_targets_are_the_inputs_shifted(store: TokenStore) -> None:
    batches = PackedBatches(store, np.arange(len(store)), 4, 16, seed=0)
    for step in range(batches.batches_per_epoch):
        batch = batches.batch(step)
        goes_on = ~batch.reset_BT[:, 1:] & (batch.inputs_BT[:, 1:] != PAD)
        assert (batch.targets_BT[:, :-1][goes_on] == batch.inputs_BT[:, 1:][goes_on]).all()
        assert (batch.reset_BT[:, 0] | (batch.inputs_BT[:, 0] == PAD)).all()


def equal(one: Batch, other: Batch) -> bool:
    return all(np.array_equal(getattr(one, name), getattr(other, name)) for name in vars(one))


def test_a_batch_depends_only_on_its_step(store: TokenStore) -> None:
    docs = np.arange(len(store))
    one, other = (PackedBatches(store, docs, 4, 16, seed=7) for _ in range(2))
    steps = list(range(3 * one.batches_per_epoch))
    in_order = [one.batch(step) for step in steps]
    for step in np.random.default_rng(0).permutation(steps):
        assert equal(other.batch(int(step)), in_order[step])


def test_epochs_and_seeds_differ_in_order(store: TokenStore) -> None:
    docs = np.arange(len(store))
    batches = PackedBatches(store, docs, 4, 16, seed=7)
    first = batches.batch(0)
    assert not equal(first, batches.batch(batches.batches_per_epoch))
    assert not equal(first, PackedBatches(store, docs, 4, 16, seed=8).batch(0))


def rows_of(batches: PackedBatches, epoch: int) -> list[list[int]]:
    steps = range(epoch * batches.batches_per_epoch, (epoch + 1) * batches.batches_per_epoch)
    return [row for step in steps for row in batches.batch(step).inputs_BT.tolist()]


def test_an_epoch_shuffles_the_rows(tmp_path: Path) -> None:
    store = store_of(tmp_path / "s", list(range(10, 18)) * 2)  # each fills its row's larger part
    batches = PackedBatches(store, np.arange(16), 1, 16, seed=0)
    lengths = [[16 - row.count(PAD) for row in rows_of(batches, epoch)] for epoch in (0, 1)]
    assert lengths[0] != lengths[1]
    assert sorted(lengths[0]) == sorted(lengths[1]) != lengths[0]


def test_an_epoch_shuffles_who_shares_a_row(tmp_path: Path) -> None:
    batches = PackedBatches(store_of(tmp_path / "s", [9] * 40), np.arange(40), 1, 16, seed=0)
    partners = [{tuple(sorted((row[1], row[9]))) for row in rows_of(batches, epoch)} for epoch in (0, 1)]
    assert len(partners[0]) == len(partners[1]) == 20
    assert len(partners[0] & partners[1]) < 5


def test_unshuffled_epochs_are_all_the_same(store: TokenStore) -> None:
    batches = PackedBatches(store, np.arange(len(store)), 4, 16, seed=None)
    evaluated = list(batches.eval_batches())
    assert equal(batches.batch(0), batches.batch(5 * batches.batches_per_epoch))
    assert equal(evaluated[0], next(iter(PackedBatches(store, np.arange(len(store)), 4, 16, seed=1).eval_batches())))
    assert len(evaluated) == batches.batches_per_epoch


def test_rows_are_spread_evenly_over_an_epoch(tmp_path: Path) -> None:
    store = store_of(tmp_path / "s", [17] * 33)
    batches = PackedBatches(store, np.arange(33), 32, 16, seed=0)
    assert [int((batches.batch(i).inputs_BT[:, 0] != PAD).sum()) for i in range(2)] == [16, 17]
    assert [int((batch.inputs_BT[:, 0] != PAD).sum()) for batch in batches.eval_batches()] == [32, 1]


def test_only_the_documents_asked_for_are_taken(store: TokenStore) -> None:
    found = targets_in(list(PackedBatches(store, np.array([3, 50]), 4, 64, seed=0).eval_batches()))
    assert found == targets_due(store, [3, 50], 64, other_weight=0.0)


@given(lengths=st.lists(st.integers(1, 30), max_size=60), slack=st.integers(0, 10))
def test_packing_is_best_fit_decreasing(lengths: list[int], slack: int) -> None:
    lengths = sorted(lengths, reverse=True)
    context = 30 + slack
    rows, columns = pack(np.array(lengths, dtype=np.int64), context)
    used: list[int] = []  # the plain way: look at every row
    for length, row, column in zip(lengths, rows, columns, strict=True):
        fitting = [u for u in used if u + length <= context]
        if fitting:
            assert column == used[row] == max(fitting)
            used[row] += length
        else:
            assert (row, column) == (len(used), 0)
            used.append(length)


def test_typical_conversations_fill_the_rows(tmp_path: Path) -> None:
    lengths = np.clip(np.random.default_rng(0).lognormal(4.6, 0.6, 3000), 10, 513).astype(int)
    batches = PackedBatches(store_of(tmp_path / "s", lengths.tolist()), np.arange(3000), 32, 512, seed=0)
    assert batches.targets_per_epoch == lengths.sum() - 3000
    assert batches.targets_per_epoch > 0.98 * batches.rows * 512


def test_planning_and_assembling_are_quick(tmp_path: Path) -> None:
    """With much room to spare: what this notices is a plan that costs the square, a batch made token by token."""
    lengths = np.random.default_rng(0).integers(20, 257, 100_000)
    start = time.process_time()
    pack(np.sort(lengths)[::-1], 256)
    assert time.process_time() - start < 1
    store = store_of(tmp_path / "s", lengths[:4000].tolist())
    batches = PackedBatches(store, np.arange(4000), 32, 256, seed=0)
    start = time.process_time()
    for step in range(50):
        batches.batch(step)
    assert time.process_time() - start < 50 * 0.002


@pytest.mark.parametrize(("context", "batch_size"), [(30, 1), (12, 3), (5, 64)])
def test_each_target_is_told_of_its_document(store: TokenStore, context: int, batch_size: int) -> None:
    docs = np.arange(3, len(store), 2)
    batches = PackedBatches(store, docs, batch_size, context, seed=0)
    counted: Counter[int] = Counter()
    for batch, document_BT in zip(batches.eval_batches(), batches.eval_documents(), strict=True):
        assert ((document_BT == -1) == (batch.inputs_BT == PAD)).all()
        for document in set(document_BT[document_BT >= 0].tolist()):
            here = document_BT == document
            counted[document] += int(here.sum())
            assert set(batch.targets_BT[here].tolist()) <= set(store.document(document).ids[1:].tolist())
    assert counted == {doc: len(store.document(doc).ids) - 1 for doc in docs.tolist()}
