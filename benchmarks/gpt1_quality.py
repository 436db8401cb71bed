"""What rounding the weights costs: a small GPT-1 is trained, then predicts and continues the same text in each format.

Random weights would not tell: their scores have no margins.
"""

import copy
import math
import os
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch

from understudy.acting.engine import Engine, prefill
from understudy.acting.rows import RowState
from understudy.acting.sampling import SamplingConfig
from understudy.data.chat_template import render
from understudy.data.tokenizers import Tokenizer
from understudy.models.language_model import LanguageModel
from understudy.models.spec import CoreConfig
from understudy.native.dispatch import native_session
from understudy.recipes import pretrain
from understudy.recipes.launch import launch
from understudy.tasks.smalltalk import generate
from understudy.training.evaluation import scored_bytes
from understudy.training.loading import Loaded, load_model

PROMPTS, PROMPT, NEW = 200, 32, 64
SCORED = 20
"""Documents whose bits a byte are counted."""


@dataclass(frozen=True)
class Quality:
    """How a format does."""

    bits_a_byte: float
    like_float32: int
    """Of `PROMPTS` prompts, how many it continues greedily over `NEW` tokens as float32 does."""


def train(steps: int) -> Loaded:
    """A GPT-1 of 3 layers, trained on the built-in conversations, every token alike."""
    config = pretrain.Config(model=CoreConfig(size="small", block="gpt1"), other_weight=1.0)
    config = replace(config, data=replace(config.data, smalltalk_conversations=5000))
    config = replace(config, learner=replace(config.learner, steps=steps, lr=0.002))
    with tempfile.TemporaryDirectory() as folder:
        os.environ["UNDERSTUDY_RUNS"] = folder
        return load_model(launch("pretrain", pretrain.main, config, []))


def bits_a_byte(model: LanguageModel, documents: Sequence[list[int]], loaded: Loaded) -> float:
    """Of the documents after their first token, predicted token by token as in decoding."""
    nats, size, bytes_of = 0.0, 0, scored_bytes(loaded.tokenizer)
    for ids in documents:
        logits_BV, state = prefill(model, [ids[:1]])
        session = native_session(model, state)
        assert session, "the native step is not compiled"
        for token in ids[1:]:
            nats -= float(logits_BV[0].log_softmax(dim=-1)[token])
            size += int(bytes_of[token])
            logits_BV, state = session.step(torch.tensor([token]), state, None)
    return nats / math.log(2) / size


def continued(model: LanguageModel, tokenizer: Tokenizer, prompt: list[int]) -> list[int]:
    """The next tokens, the likeliest each time, whatever they are."""
    row = RowState(model, tokenizer, prompt, SamplingConfig(temperature=0.0))
    engine = Engine(model, [row], *prefill(model, [prompt]))
    said = []
    for _ in range(NEW):
        engine.step()
        said.append(int(engine.ids_B))
    return said


def quality(quick: bool) -> dict[str, Quality]:
    """float32, bfloat16 and int8, each as `--dtype` would have it."""
    loaded = train(60 if quick else 1500)
    talks = generate(4 * PROMPTS, 1, "test")
    documents = [render(talk.conversation, loaded.tokenizer).ids[:256].tolist() for talk in talks]
    documents = [ids for ids in documents if len(ids) >= PROMPT][:PROMPTS]
    models = {name: copy.deepcopy(loaded.model) for name in ("float32", "bfloat16", "int8")}
    models["bfloat16"].bfloat16()
    models["int8"].int8 = True
    exact = [continued(models["float32"], loaded.tokenizer, ids[:PROMPT]) for ids in documents]
    found = {}
    with torch.inference_mode():
        for name, model in models.items():
            same = sum(
                continued(model, loaded.tokenizer, ids[:PROMPT]) == said
                for ids, said in zip(documents, exact, strict=True)
            )
            found[name] = Quality(bits_a_byte(model, documents[: 2 if quick else SCORED], loaded), same)
    return found
