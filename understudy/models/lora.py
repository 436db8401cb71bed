"""LoRA (Hu et al. 2021): the matrices are frozen, and a product of two thin ones is learned beside each.

y = x Wᵀ + b + 2 (x Aᵀ) Uᵀ, with A [rank, inputs] small random numbers and U [outputs, rank] zeros at first, so that the
adapted model begins as the plain one. The paper's α is 2 · rank, so the best learning rate does not depend on it.

The vectors of the special tokens are learned too: a base that never met `<|end|>` could not learn to say it otherwise.
"""

import math
from collections.abc import Iterator

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from typing_extensions import override

from understudy.config import in_range
from understudy.data.tokenizers import SPECIALS
from understudy.errors import ConfigError
from understudy.models.language_model import LanguageModel, TokenEmbedding
from understudy.models.spec import CoreSpec

SCALE = 2.0
"""α / rank."""


class LoRALinear(nn.Linear):
    """A linear layer with a frozen matrix, which it shares with the layer that it replaces."""

    def __init__(self, plain: nn.Linear, rank: int):
        super().__init__(plain.in_features, plain.out_features, bias=plain.bias is not None, device="meta")
        self.weight, self.bias = plain.weight, plain.bias
        self.lora_A = nn.Parameter(plain.weight.new_empty(rank, plain.in_features))
        self.lora_U = nn.Parameter(plain.weight.new_zeros(plain.out_features, rank))
        nn.init.kaiming_uniform_(self.lora_A, a=math.sqrt(5))

    def forward(self, input: Tensor) -> Tensor:
        """Return the plain layer's output plus that of the factors."""
        return super().forward(input) + F.linear(F.linear(input, self.lora_A), self.lora_U) * SCALE

    def merged(self) -> nn.Linear:
        """Return the plain layer whose one matrix does the work of all three."""
        plain = nn.Linear(self.in_features, self.out_features, self.bias is not None, device="meta")
        plain.weight = nn.Parameter(torch.addmm(self.weight, self.lora_U, self.lora_A, alpha=SCALE))
        plain.bias = self.bias
        return plain


class LoRAEmbedding(TokenEmbedding):
    """Token vectors that are frozen, except those of the special tokens at the end."""

    def __init__(self, plain: TokenEmbedding):
        super().__init__(plain.num_embeddings, plain.embedding_dim, device="meta")
        self.weight = plain.weight
        self.first = plain.num_embeddings - len(SPECIALS)
        self.lora_special = nn.Parameter(plain.weight[self.first :].detach().clone())

    @override
    def forward(self, input: Tensor) -> Tensor:
        special = F.embedding((input - self.first).clamp_min(0), self.lora_special)
        return torch.where((input >= self.first)[..., None], special, super().forward(input))

    @override
    def logits(self, hidden: Tensor) -> Tensor:
        parts = self.weight[: self.first], self.lora_special
        return torch.cat([F.linear(hidden, vectors) for vectors in parts], dim=-1)

    def merged(self) -> TokenEmbedding:
        """Return the plain embedding of all vectors, the learned ones in their places."""
        plain = TokenEmbedding(self.num_embeddings, self.embedding_dim, device="meta")
        plain.weight = nn.Parameter(torch.cat([self.weight[: self.first], self.lora_special]))
        return plain


def adapt(model: LanguageModel, rank: int) -> frozenset[str]:
    """Add factors of that rank to each matrix of attention and MLP, in place. Returns the names of what is frozen.

    The next-reply head, if any, keeps learning. The factors are drawn from torch's random numbers.

    >>> from understudy.models.spec import CoreConfig
    >>> model = LanguageModel(CoreConfig(layers=1, width=8, heads=2).resolved(), vocab_size=11)
    >>> frozen = adapt(model, rank=2)
    >>> sorted(name for name, _ in model.core.blocks[0].attention.named_parameters() if "lora" in name)
    ['out.lora_A', 'out.lora_U', 'qkv.lora_A', 'qkv.lora_U']
    """
    check_lora(rank, model.spec)
    model.core.requires_grad_(False)
    model.embedding.requires_grad_(False)
    frozen = frozenset(name for name, parameter in model.named_parameters() if not parameter.requires_grad)
    for name, module in list(model.core.named_modules()):
        if isinstance(module, nn.Linear):
            model.core.set_submodule(name, LoRALinear(module, rank))
    model.embedding = LoRAEmbedding(model.embedding)
    return frozen


def check_lora(rank: int, spec: CoreSpec) -> None:
    """Raise ConfigError unless a core of this kind takes factors of that rank."""
    in_range("lora", rank, 0, spec.width, of="the rank, at most the base's width")
    if rank and spec.core != "transformer":
        raise ConfigError("--lora takes a Transformer, and this base is an LSTM; leave --lora out")


def adapted(model: nn.Module) -> Iterator[tuple[str, LoRALinear | LoRAEmbedding]]:
    """Yield the adapted layers by name; none in a plain model."""
    for name, module in model.named_modules():
        if isinstance(module, LoRALinear | LoRAEmbedding):
            yield name, module


@torch.no_grad()
def plain_state(model: nn.Module) -> dict[str, Tensor]:
    """Return `state_dict` as if the weights had been learned in place, for a plain model to load."""
    state = {name: tensor for name, tensor in model.state_dict().items() if "lora_" not in name}
    return state | {f"{name}.weight": layer.merged().weight.detach() for name, layer in adapted(model)}


def unmerged_state(model: nn.Module) -> dict[str, Tensor]:
    """Return what `plain_state` cannot restore bit for bit: the factors and the frozen matrices."""
    own: dict[str, Tensor] = {}
    for name, layer in adapted(model):
        kept = ("lora_special",) if isinstance(layer, LoRAEmbedding) else ("weight", "lora_A", "lora_U")
        own |= {f"{name}.{one}": getattr(layer, one).detach() for one in kept}
    return own


@torch.no_grad()
def merge(model: LanguageModel) -> None:
    """Turn an adapted model into a plain one that computes the same. A plain one stays as it is."""
    layers = list(adapted(model))
    for name, layer in layers:
        model.set_submodule(name, layer.merged())
    if layers:
        model.requires_grad_(True)
