"""Bits a byte count the bytes of the text itself, also where the tokenizer loses some."""

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from published.vocabularies import small_gpt1

from understudy.data.chat_template import TokenizedDocument, render, render_text, render_windows
from understudy.data.conversations import Conversation, Message
from understudy.data.files import Report
from understudy.data.packing import PackedBatches
from understudy.data.token_store import build_store
from understudy.data.tokenizers import ByteTokenizer, Tokenizer
from understudy.data.tokenizers.gpt1 import GPT1Tokenizer
from understudy.evaluation.figures import text_size
from understudy.models.language_model import LanguageModel
from understudy.models.spec import CoreConfig
from understudy.training.evaluation import evaluate

LOSSY = GPT1Tokenizer(*small_gpt1())
SAID = [("user", "THE   cat?"), ("assistant", "It  IS 😀 here…"), ("user", "No\n\n\nway"), ("assistant", "Ça va")]
TALK = Conversation(tuple(Message(role, text) for role, text in SAID))  # type: ignore[arg-type]
REPLIES = sum(len(text.encode()) for role, text in SAID if role == "assistant")


def test_the_bytes_of_a_message_are_shared_out_among_its_tokens() -> None:
    rendered = render(TALK, LOSSY)
    assert rendered.sizes is not None
    assert rendered.sizes.sum() == sum(len(text.encode()) for _, text in SAID)
    assert rendered.sizes[rendered.loss_mask].sum() == REPLIES
    marks = np.isin(rendered.ids, list(LOSSY.special.values()))
    assert not rendered.sizes[marks].any()
    text = render_text("The  cat 😀\n", LOSSY)
    assert text.sizes is not None
    assert (text.sizes[0], text.sizes.sum()) == (0, len("The  cat 😀\n".encode()))


@pytest.mark.parametrize("tokenizer", [LOSSY, ByteTokenizer()], ids=["lossy", "lossless"])
def test_eval_counts_the_same_bytes(tokenizer: Tokenizer) -> None:
    assert text_size(render(TALK, tokenizer), tokenizer)[0] == REPLIES + 2


def test_windows_hold_the_bytes_of_their_messages() -> None:
    long = Conversation(TALK.messages * 9)
    windows = list(render_windows([long], LOSSY, 60, Report()))
    assert len(windows) > 2
    assert sum(int(window.sizes[window.loss_mask].sum()) for window in windows) == 9 * REPLIES  # type: ignore[index]


def test_a_lossless_tokenizer_needs_no_sizes(tmp_path: Path) -> None:
    assert render(TALK, ByteTokenizer()).sizes is None
    store = build_store(tmp_path / "store", [render(TALK, ByteTokenizer())], ByteTokenizer())
    assert store.sizes is None
    assert not (tmp_path / "store" / "sizes.bin").exists()


def test_a_store_gives_the_sizes_back(tmp_path: Path) -> None:
    documents = [render(TALK, LOSSY), render_text("The CAT", LOSSY)]
    store = build_store(tmp_path / "store", documents, LOSSY)
    for index, document in enumerate(documents):
        assert store.document(index).sizes.tolist() == document.sizes.tolist()  # type: ignore[union-attr]


@pytest.mark.parametrize("tokenizer", [LOSSY, ByteTokenizer()], ids=["lossy", "lossless"])
@pytest.mark.parametrize("context", [16, 128])
def test_bits_a_byte_are_those_of_the_text(tokenizer: Tokenizer, context: int, tmp_path: Path) -> None:
    """Of replies and their ends, whichever way rows are cut; a model that knows nothing, so that the loss is known."""
    documents: list[TokenizedDocument] = [render(TALK, tokenizer)] * 3
    store = build_store(tmp_path / "store", documents, tokenizer)
    batches = PackedBatches(store, np.arange(3), 2, context, seed=None)
    model = LanguageModel(CoreConfig(layers=1, width=8, heads=2, context=context).resolved(), tokenizer.vocab_size)
    with torch.no_grad():
        model.embedding.weight.zero_()
    bits = 3 * int(documents[0].loss_mask.sum()) * math.log2(tokenizer.vocab_size)
    ends = 2
    figures = evaluate(model, batches.eval_batches(), tokenizer)
    assert figures["val_bpb"] == pytest.approx(bits / (3 * (REPLIES + ends)), rel=1e-5)
