import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from understudy.data.chat_template import TokenizedDocument, render, render_text
from understudy.data.conversations import Conversation, Message
from understudy.data.packing import PackedBatches
from understudy.data.token_store import build_store
from understudy.data.tokenizers import BPETokenizer, ByteTokenizer, Tokenizer
from understudy.models.language_model import LanguageModel
from understudy.models.spec import CoreConfig
from understudy.training import evaluation
from understudy.training.evaluation import document_losses, evaluate, scored_bytes
from understudy.training.learner import Learner, LearnerConfig
from understudy.training.objectives import ImitationLoss

Documents = list[TokenizedDocument]
BYTES = ByteTokenizer()
BPE = BPETokenizer.train(["the cat, the hat, the bat"] * 9, vocab_size=270)
CHAT = Conversation((Message("user", "the hat?"), Message("assistant", "the bät")))


def make_model(tokenizer: Tokenizer, core: Any = "transformer", **options: Any) -> LanguageModel:
    torch.manual_seed(3)
    config = CoreConfig(core=core, layers=2, width=16, heads=2, context=64, **options)
    model = LanguageModel(config.resolved(), tokenizer.vocab_size).double()
    torch.nn.init.normal_(model.embedding.weight)
    return model


def batches_of(
    folder: Path, documents: Documents, tokenizer: Tokenizer, batch_size: int = 4, context: int = 64
) -> PackedBatches:
    store = build_store(folder / "store", documents, tokenizer)
    return PackedBatches(store, np.arange(len(store)), batch_size, context, seed=None)


@pytest.mark.parametrize(("tokenizer", "tokens"), [(BYTES, 9), (BPE, None)])
def test_the_figures_of_a_model_that_guesses(tokenizer: Tokenizer, tokens: int | None, tmp_path: Path) -> None:
    """All tokens equally likely: ln V nats for each of the reply's tokens and for its end, over its bytes and one."""
    model = make_model(tokenizer)
    torch.nn.init.zeros_(model.embedding.weight)
    tokens = tokens or len(tokenizer.encode("the bät")) + 1
    size = len("the bät".encode()) + 1
    assert size == 9
    assert tokens == 9 if tokenizer is BYTES else tokens < 9
    figures = evaluate(model, batches_of(tmp_path, [render(CHAT, tokenizer)], tokenizer).eval_batches(), tokenizer)
    vocabulary = tokenizer.vocab_size
    assert figures["val_loss"] == pytest.approx(math.log(vocabulary))
    assert figures["val_perplexity"] == pytest.approx(vocabulary)
    assert figures["val_bpb"] == pytest.approx(tokens * math.log2(vocabulary) / size)


@pytest.mark.parametrize("tokenizer", [BYTES, BPE])
def test_a_text_has_no_end_to_predict(tokenizer: Tokenizer, tmp_path: Path) -> None:
    model = make_model(tokenizer)
    torch.nn.init.zeros_(model.embedding.weight)
    text = "the cat, the hät"
    batches = batches_of(tmp_path, [render_text(text, tokenizer)], tokenizer)
    figures = evaluate(model, batches.eval_batches(), tokenizer)
    tokens, size = len(tokenizer.encode(text)), len(text.encode())
    assert figures["val_bpb"] == pytest.approx(tokens * math.log2(tokenizer.vocab_size) / size)


def test_only_the_reply_is_measured_with_all_before_it_in_view(tmp_path: Path) -> None:
    model, rendered = make_model(BYTES).eval(), render(CHAT, BYTES)
    ids = torch.from_numpy(rendered.ids.astype(np.int64))
    with torch.no_grad():
        log_p = model(ids[None, :-1])[0][0].log_softmax(-1)
    nats = [-log_p[i, ids[i + 1]].item() for i in range(len(ids) - 1) if rendered.loss_mask[i + 1]]
    assert len(nats) == 9
    figures = evaluate(model, batches_of(tmp_path, [rendered], BYTES).eval_batches(), BYTES)
    assert figures["val_loss"] == pytest.approx(sum(nats) / 9, rel=1e-6)
    assert figures["val_bpb"] == pytest.approx(sum(nats) / math.log(2) / 9, rel=1e-6)


def test_bytes_of_special_tokens() -> None:
    counts = scored_bytes(BPE)
    assert counts[BPE.special["<|end|>"]] == 1
    assert all(counts[BPE.special[name]] == 0 for name in BPE.special if name != "<|end|>")
    assert counts[BPE.encode(" the")].sum() == 4
    assert BPE.token_bytes[BPE.special["<|end|>"]] == 0  # the tokenizer's own counts stay as they are


@pytest.fixture(scope="module")
def documents() -> Documents:
    random = np.random.default_rng(2)
    return [
        TokenizedDocument(random.integers(0, 256, length).astype(np.int32), random.random(length) < 0.5)
        for length in (40, 3, 17, 30, 22, 9, 5, 33)
    ]


@pytest.mark.parametrize("core", ["transformer", "lstm"])
def test_neither_batch_size_nor_padding_changes_the_figures(core: Any, documents: Documents, tmp_path: Path) -> None:
    model = make_model(BYTES, core)
    each = [
        evaluate(model, batches_of(tmp_path, documents, BYTES, batch_size, context).eval_batches(), BYTES)
        for batch_size, context in [(1, 40), (2, 40), (64, 40), (3, 64)]
    ]
    for figures in each[1:]:
        assert figures == pytest.approx(each[0], rel=1e-6)


@pytest.mark.parametrize("core", ["transformer", "lstm"])
@pytest.mark.parametrize("training", [True, False])
def test_everything_is_left_as_it_was(core: Any, training: bool, documents: Documents, tmp_path: Path) -> None:
    model = make_model(BYTES, core, dropout=0.5).train(training)
    batches = batches_of(tmp_path, documents, BYTES)
    for parameter in model.parameters():
        parameter.grad = torch.ones_like(parameter)
    torch.manual_seed(8)
    rng = torch.get_rng_state()
    weights = [parameter.detach().clone() for parameter in model.parameters()]
    first = evaluate(model, batches.eval_batches(), BYTES)
    assert evaluate(model, batches.eval_batches(), BYTES) == first  # no dropout
    assert all(module.training == training for module in model.modules())
    assert torch.equal(torch.get_rng_state(), rng)
    for parameter, before in zip(model.parameters(), weights, strict=True):
        assert torch.equal(parameter, before)
        assert parameter.grad is not None
        assert bool((parameter.grad == 1).all())


@pytest.mark.parametrize("core", ["transformer", "lstm"])
def test_a_model_learns_on_after_an_evaluation(core: Any, documents: Documents, tmp_path: Path) -> None:
    config = LearnerConfig(batch_size=4, warmup=0, dtype="float32")
    batches = batches_of(tmp_path, documents, BYTES)
    evaluated, plain = (Learner(ImitationLoss(make_model(BYTES, core)), config, torch.device("cpu")) for _ in range(2))
    evaluate(evaluated.model, batches.eval_batches(), BYTES)
    for step in range(2):
        assert evaluated.step(batches.batch(step)) == plain.step(batches.batch(step))
        evaluate(evaluated.model, batches.eval_batches(), BYTES)


def test_evaluation_in_bfloat16_is_close(documents: Documents, tmp_path: Path) -> None:
    model, batches = make_model(BYTES).float(), batches_of(tmp_path, documents, BYTES)
    exact, rough = (evaluate(model, batches.eval_batches(), BYTES, d) for d in (torch.float32, torch.bfloat16))
    assert exact != rough
    assert rough["val_loss"] == pytest.approx(exact["val_loss"], rel=0.02)


def test_nothing_to_measure_gives_no_division_by_zero(documents: Documents, tmp_path: Path) -> None:
    silent = [replace(document, loss_mask=np.zeros_like(document.loss_mask)) for document in documents]
    figures = evaluate(make_model(BYTES), batches_of(tmp_path, silent, BYTES).eval_batches(), BYTES)
    assert figures["val_loss"] == 0.0


@pytest.mark.parametrize("core", ["transformer", "lstm"])
def test_documents_add_up_to_the_whole(core: Any, documents: Documents, tmp_path: Path) -> None:
    model = make_model(BYTES, core)
    for batch_size, context in [(1, 64), (3, 64), (4, 7)]:
        batches = batches_of(tmp_path, documents, BYTES, batch_size, context)
        found, figures = document_losses(model, batches, BYTES), evaluate(model, batches.eval_batches(), BYTES)
        assert found.nats.sum() / found.tokens.sum() == pytest.approx(figures["val_loss"], rel=1e-6)


def test_each_document_has_its_own_loss(documents: Documents, tmp_path: Path) -> None:
    model = make_model(BYTES)
    chats = [*documents, render(CHAT, BYTES)]
    found = document_losses(model, batches_of(tmp_path, chats, BYTES), BYTES)
    for index, document in enumerate(chats):
        alone = batches_of(tmp_path / str(index), [document], BYTES)
        figures = evaluate(model, alone.eval_batches(), BYTES)
        assert found.tokens[index] == document.loss_mask[1:].sum()
        assert found.nats[index] == pytest.approx(figures["val_loss"] * found.tokens[index], rel=1e-6)
    ids = torch.from_numpy(chats[-1].ids.astype(np.int64))
    with torch.no_grad():
        end = -model(ids[None, :-1])[0][0, -1].log_softmax(-1)[ids[-1]].item()
    assert found.end_nats[-1] == pytest.approx(end, rel=1e-6)


def test_scores_are_taken_in_parts(documents: Documents, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model, batches = make_model(BYTES), batches_of(tmp_path, documents, BYTES)
    whole = document_losses(model, batches, BYTES)
    monkeypatch.setattr(evaluation, "SCORED_AT_ONCE", 3)
    np.testing.assert_allclose(document_losses(model, batches, BYTES).nats, whole.nats, rtol=1e-12)


def test_measuring_documents_leaves_the_model_as_it_was(documents: Documents, tmp_path: Path) -> None:
    model = make_model(BYTES, dropout=0.5).train()
    batches = batches_of(tmp_path, documents, BYTES)
    first = document_losses(model, batches, BYTES)
    np.testing.assert_array_equal(document_losses(model, batches, BYTES).nats, first.nats)
    assert all(module.training for module in model.modules())
