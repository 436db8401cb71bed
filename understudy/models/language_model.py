"""A language model: embedding, core and tied head."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from understudy.models.cores import CoreSpec, build_core


class TokenEmbedding(nn.Embedding):
    """A vector for each token, by which tokens are read and scored alike (Press & Wolf 2017)."""

    def scores(self, hidden: Tensor) -> Tensor:
        """How well each token's vector fits hidden vectors of shape (..., D)."""
        return F.linear(hidden, self.weight)


class LanguageModel(nn.Module):
    """Predicts the next token; the head is the embedding transposed (Press & Wolf 2017).

    >>> from understudy.models.cores import CoreConfig
    >>> model = LanguageModel(CoreConfig(layers=1, width=8, heads=2).resolved(), vocab_size=11)
    >>> logits_BTV, _ = model(torch.zeros(2, 5, dtype=torch.long))
    >>> logits_BTV.shape
    torch.Size([2, 5, 11])
    """

    def __init__(self, spec: CoreSpec, vocab_size: int):
        super().__init__()
        self.spec = spec
        self.core = build_core(spec)
        self.embedding = TokenEmbedding(vocab_size, spec.width)
        nn.init.normal_(self.embedding.weight, std=0.02)

    @property
    def context(self) -> int:
        """Longest sequence in tokens."""
        return self.core.context

    @property
    def vocab_size(self) -> int:
        """Number of tokens, special ones included."""
        return self.embedding.num_embeddings

    def initial_state(self, batch_size: int, max_len: int | None = None) -> Any:
        """See `Core.initial_state`."""
        return self.core.initial_state(batch_size, max_len)

    def hidden(
        self, ids_BT: Tensor, state: Any = None, reset_BT: Tensor | None = None, types_BT: Tensor | None = None
    ) -> tuple[Tensor, Any]:
        """The core's output y_BTD before the head, and the state after.

        `types_BT` names a token beside each token, such as the one of who speaks; its vector is added (Radford 2018).
        """
        x_BTD = self.embedding(ids_BT)
        if types_BT is not None:
            x_BTD = x_BTD + self.embedding(types_BT)
        return self.core(x_BTD, state, reset_BT)

    def logits(self, hidden: Tensor) -> Tensor:
        """Scores over the vocabulary for hidden vectors of shape (..., D)."""
        return self.embedding.scores(hidden)

    def scores(self, hidden: Tensor) -> Tensor:
        """`logits` to draw from: in float32 or better, whatever the weights are."""
        logits = self.logits(hidden)
        return logits.to(torch.promote_types(logits.dtype, torch.float32))

    def forward(
        self, ids_BT: Tensor, state: Any = None, reset_BT: Tensor | None = None, types_BT: Tensor | None = None
    ) -> tuple[Tensor, Any]:
        """logits_BTV for the token after each of `ids_BT`, and the state after; see `hidden`."""
        hidden_BTD, state = self.hidden(ids_BT, state, reset_BT, types_BT)
        return self.logits(hidden_BTD), state

    def set_dropout(self, share: float) -> None:
        """Drop this share of activations in training from now on, whatever the model was built with."""
        self.core.set_dropout(share)

    def parameter_count(self, learned: bool = False) -> int:
        """How many numbers the model is, the tied head counted once; with `learned`, those that are not frozen."""
        return sum(parameter.numel() for parameter in self.parameters() if parameter.requires_grad or not learned)

    def flops_per_token(self, context: int) -> float:
        """Arithmetic of one training token, forward and backward: 6 N + 12 L D T (Chowdhery 2022, appendix B)."""
        matrices = sum(p.numel() for p in self.parameters() if p.dim() >= 2)
        if self.spec.core == "lstm":
            return 6.0 * matrices
        return 6.0 * matrices + 12.0 * self.spec.layers * self.spec.width * context


class _Uninitialised(TorchFunctionMode):
    """Leaves parameters as they are where an initialisation would fill them."""

    FILLING = frozenset(name for name in [*dir(nn.init), *dir(Tensor)] if name.endswith("_") and name[0] != "_")

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if getattr(func, "__name__", "") in self.FILLING:
            return args[0] if args else (kwargs or {})["tensor"]
        return func(*args, **(kwargs or {}))


def without_weights(spec: CoreSpec, vocab_size: int) -> LanguageModel:
    """A model of shapes alone (torch's meta device), for a checkpoint to fill: initialising it first takes seconds."""
    with torch.device("meta"), _Uninitialised():
        return LanguageModel(spec, vocab_size)


@contextmanager
def undisturbed(model: nn.Module) -> Iterator[None]:
    """Evaluation mode without gradients; afterwards the mode and the random numbers are as they were."""
    was_training = model.training
    with torch.random.fork_rng(), torch.inference_mode():
        model.eval()
        try:
            yield
        finally:
            model.train(was_training)
