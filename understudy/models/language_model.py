"""A language model: embedding, core and tied head."""

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, replace
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from typing_extensions import override

from understudy.models.sequence_model import SequenceModel, exact, make_core
from understudy.models.spec import CoreSpec


class TokenEmbedding(nn.Embedding):
    """One vector per token, used for input and output alike (Press & Wolf 2017)."""

    def logits(self, hidden: Tensor) -> Tensor:
        """Return logits over the vocabulary for hidden vectors of shape (..., D)."""
        return F.linear(hidden, self.weight)


class LanguageModel(SequenceModel):
    """Predicts the next token; the head is the embedding transposed (Press & Wolf 2017).

    >>> from understudy.models.spec import CoreConfig
    >>> model = LanguageModel(CoreConfig(layers=1, width=8, heads=2).resolved(), vocab_size=11)
    >>> logits_BTV, _ = model(torch.zeros(2, 5, dtype=torch.long))
    >>> logits_BTV.shape
    torch.Size([2, 5, 11])
    """

    def __init__(self, spec: CoreSpec, vocab_size: int):
        super().__init__()
        self.spec = spec
        self.core = make_core(spec)
        self.embedding = TokenEmbedding(vocab_size, spec.width)
        nn.init.normal_(self.embedding.weight, std=0.02)
        self.choice: nn.Linear | None = None
        """The next-reply head (Wolf 2019), if any: scores a reply by the output at its last token."""
        self.speakers: tuple[int, ...] = ()
        """The tokens that say who speaks, if any: each token's type is the last of them so far."""
        self.int8 = False
        """Whether decoding reads the weights rounded to int8, where the native step is available."""

    def set_next_reply_head(self, wanted: bool) -> None:
        """Add a fresh next-reply head, or remove it."""
        # No bias: it would shift the scores of all candidates alike.
        self.choice = nn.Linear(self.spec.width, 1, bias=False).to(self.embedding.weight) if wanted else None
        if self.choice is not None:
            nn.init.normal_(self.choice.weight, std=0.02)

    @property
    @override
    def encoder(self) -> TokenEmbedding:
        return self.embedding

    @property
    def vocab_size(self) -> int:
        """Number of tokens, special ones included."""
        return self.embedding.num_embeddings

    def hidden(
        self, ids_BT: Tensor, state: Any = None, reset_BT: Tensor | None = None, token_type_ids_BT: Tensor | None = None
    ) -> tuple[Tensor, Any]:
        """The core's output y_BTD before the head, and the state after.

        `token_type_ids_BT` names a token beside each token, such as the one of who speaks, or -1. Its vector is added
        (Radford 2018). A model with `speakers` finds the types by itself and keeps the last one in the state.
        """
        x_BTD = self.embedding(ids_BT)
        if token_type_ids_BT is None and self.speakers:
            token_type_ids_BT = token_type_ids(ids_BT, self.speakers, reset_BT, None if state is None else state.type_B)
        if token_type_ids_BT is not None:
            x_BTD = x_BTD + self.embedding(token_type_ids_BT.clamp_min(0)) * (token_type_ids_BT >= 0)[..., None]
        y_BTD, state = self.core(x_BTD, state, reset_BT)
        if state is not None and token_type_ids_BT is not None and self.speakers:
            state = replace(state, type_B=token_type_ids_BT[:, -1])
        return y_BTD, state

    def logits(self, hidden: Tensor, float32: bool = False) -> Tensor:
        """Return logits over the vocabulary for hidden vectors of shape (..., D).

        They have the weights' dtype, or with `float32` at least that, as sampling and evaluation want them.
        """
        logits = self.embedding.logits(hidden)
        return exact(logits) if float32 else logits

    def forward(
        self, ids_BT: Tensor, state: Any = None, reset_BT: Tensor | None = None, token_type_ids_BT: Tensor | None = None
    ) -> tuple[Tensor, Any]:
        """Return logits_BTV for the token after each of `ids_BT`, and the state after. Arguments as in `hidden`."""
        hidden_BTD, state = self.hidden(ids_BT, state, reset_BT, token_type_ids_BT)
        return self.logits(hidden_BTD), state

    @override
    def choices(self, hidden_ND: Tensor, masks_NA: Tensor | None = None) -> list[Tensor]:
        return [self.logits(hidden_ND)]

    @property
    @override
    def outputs(self) -> str:
        return f"vocabulary {self.vocab_size:,}"

    @property
    @override
    def guessing(self) -> float:
        return math.log(self.vocab_size)

    @override
    def description(self) -> dict[str, Any]:
        return {
            "spec": asdict(self.spec),
            "vocab_size": self.vocab_size,
            "speakers": self.speakers,
            "choice_head": self.choice is not None,
        }


def token_type_ids(
    ids_BT: Tensor, speakers: Sequence[int], reset_BT: Tensor | None = None, before_B: Tensor | None = None
) -> Tensor:
    """Return token_type_ids_BT: the last of `speakers` up to and with each token in its segment, -1 before the first.

    Args:
        ids_BT: the tokens.
        speakers: ids of the tokens that say who speaks.
        reset_BT: where a row resets; None: nowhere.
        before_B: the types of the tokens before these; None where they are the first.

    >>> token_type_ids(torch.tensor([[0, 8, 1, 2, 9, 3]]), speakers=(8, 9))
    tensor([[-1,  8,  8,  8,  9,  9]])
    """
    # The last speaker or reset up to each token, by its step; before the first one the type carried over.
    step_T = torch.arange(ids_BT.shape[1], device=ids_BT.device)
    speaks_BT = torch.stack([ids_BT == speaker for speaker in speakers]).any(dim=0)
    changes_BT = speaks_BT if reset_BT is None else speaks_BT | reset_BT
    last_BT = torch.where(changes_BT, step_T, -1).cummax(dim=1).values
    found_BT = torch.where(speaks_BT, ids_BT, -1).gather(1, last_BT.clamp_min(0))
    before_B1 = torch.full_like(ids_BT[:, :1], -1) if before_B is None else before_B[:, None]
    return torch.where(last_BT < 0, before_B1, found_BT)


class _Uninitialised(TorchFunctionMode):
    """Makes initialisations leave parameters as they are."""

    FILLING = frozenset(name for name in [*dir(nn.init), *dir(Tensor)] if name.endswith("_") and name[0] != "_")

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if getattr(func, "__name__", "") in self.FILLING:
            return args[0] if args else (kwargs or {})["tensor"]
        return func(*args, **(kwargs or {}))


def empty_model(spec: CoreSpec, vocab_size: int, next_reply_head: bool = False) -> LanguageModel:
    """Return a model of shapes alone (torch's meta device) for a checkpoint to fill: initialising takes seconds."""
    with torch.device("meta"), _Uninitialised():
        model = LanguageModel(spec, vocab_size)
        model.set_next_reply_head(next_reply_head)
        return model


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """Switch to evaluation mode without gradients; restore the mode and the random numbers afterwards."""
    was_training = model.training
    with torch.random.fork_rng(), torch.inference_mode():
        model.eval()
        try:
            yield
        finally:
            model.train(was_training)
