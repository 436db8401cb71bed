"""What transformers calls the tensors of GPT-1 and GPT-2, and how they lie there.

transformers keeps the matrices of linear layers as [in, out] (its Conv1D), torch's Linear as [out, in].
"""

import re
from collections.abc import Mapping

import torch
from torch import Tensor

from understudy.errors import CheckpointError
from understudy.models.language_model import empty_model
from understudy.models.spec import CoreSpec

PREFIX = "transformer."  # before every name in checkpoints that have a head
HEAD = "lm_head.weight"
EMBEDDING = "embedding.weight"
LINEAR = {"attention.qkv": "attn.c_attn", "attention.out": "attn.c_proj", "mlp.up": "mlp.c_fc", "mlp.out": "mlp.c_proj"}
PARTS = {**LINEAR, "norm_1": "ln_1", "norm_2": "ln_2"}
OUTSIDE = {
    "gpt1": {EMBEDDING: "tokens_embed.weight", "core.positions": "positions_embed.weight"},
    "gpt2": {
        EMBEDDING: "wte.weight",
        "core.positions": "wpe.weight",
        "core.norm_out.weight": "ln_f.weight",
        "core.norm_out.bias": "ln_f.bias",
    },
}
# Causal masks and position numbers, which older versions of transformers saved among the weights.
_BUFFERS = re.compile(r"h\.\d+\.attn\.(bias|masked_bias)|position_ids")


def their_name(ours: str, spec: CoreSpec) -> str:
    """Return transformers' name of one of our tensors, without the prefix.

    >>> from understudy.models.spec import CoreConfig
    >>> their_name("core.blocks.3.mlp.up.bias", CoreConfig(block="gpt1").resolved())
    'h.3.mlp.c_fc.bias'
    """
    if ours in OUTSIDE[spec.block]:
        return OUTSIDE[spec.block][ours]
    _, _, layer, rest = ours.split(".", 3)
    part, kind = rest.rsplit(".", 1)
    return f"h.{layer}.{PARTS[part]}.{kind}"


def is_transposed(ours: str) -> bool:
    """Whether transformers has the tensor as [in, out]."""
    return ours.endswith(tuple(f"{part}.weight" for part in LINEAR))


def to_ours(tensors: Mapping[str, Tensor], spec: CoreSpec, rows: int, source: str) -> dict[str, Tensor]:
    """Return the state of a LanguageModel with a vocabulary of `rows`, in float32. `source` is named in errors.

    Raises:
        CheckpointError: a tensor is missing, of another shape or number format, or unknown, or the head is not tied
            to the token embedding.
    """
    # Their tensors without prefix, masks and head, and the names that the model wants.
    theirs = {name.removeprefix(PREFIX): tensor for name, tensor in tensors.items()}
    theirs = {name: tensor for name, tensor in theirs.items() if not _BUFFERS.fullmatch(name)}
    head = theirs.pop(HEAD, None)
    shapes = {name: tensor.shape for name, tensor in empty_model(spec, rows).state_dict().items()}
    names = {name: their_name(name, spec) for name in shapes}

    # All of them, and no others.
    wanted_names = set(names.values())
    if missing := sorted(wanted_names - theirs.keys()):
        raise CheckpointError(
            f"{source} lacks {len(missing)} of {len(names)} tensors, the first {missing[0]}; expected whole weights: "
            "fetch or save them again"
        )
    if extra := sorted(theirs.keys() - wanted_names):
        raise CheckpointError(
            f"{source} holds {len(extra)} tensors that the model has no place for, the first {extra[0]}; expected a "
            "language model's alone: save it as OpenAIGPTLMHeadModel or GPT2LMHeadModel"
        )

    # Their numbers.
    ours = {}
    for name, shape in shapes.items():
        tensor = theirs.pop(names[name])  # so that of large weights only one copy is kept
        wanted = tuple(reversed(shape)) if is_transposed(name) else tuple(shape)
        if tuple(tensor.shape) != wanted or not tensor.is_floating_point():
            found = f"{list(tensor.shape)} of {str(tensor.dtype).removeprefix('torch.')}"
            raise CheckpointError(f"{source}: tensor {names[name]} is {found}; expected {list(wanted)} of floats")
        ours[name] = (tensor.T if is_transposed(name) else tensor).to(torch.float32).contiguous()
    if head is not None and not torch.equal(head.to(torch.float32), ours[EMBEDDING]):
        raise CheckpointError(
            f"{source}: {HEAD} differs from {names[EMBEDDING]}; expected a tied head, as GPT-1 and GPT-2 have it"
        )
    return ours


def to_theirs(state: Mapping[str, Tensor], spec: CoreSpec) -> dict[str, Tensor]:
    """Return the state of a LanguageModel by transformers' names, without the tied head, as it saves it itself."""
    return {
        PREFIX + their_name(name, spec): (tensor.T if is_transposed(name) else tensor).contiguous()
        for name, tensor in state.items()
    }
