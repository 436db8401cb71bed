"""Small checkpoints with random weights, written by transformers, and the same in the layout of 2018."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import torch

from published.vocabularies import small_gpt1, small_gpt2, write_vocabulary

CONTEXT = 48
VOCABULARIES = {"gpt1": small_gpt1(), "gpt2": small_gpt2()}


def random_model(kind: str, width: int = 32, heads: int = 4, layers: int = 3, context: int = CONTEXT, seed: int = 0):
    """transformers' model of that kind, its weights so large that it heeds what was said and says many things."""
    from transformers import GPT2Config, GPT2LMHeadModel, OpenAIGPTConfig, OpenAIGPTLMHeadModel

    sizes: dict[str, Any] = dict(
        vocab_size=len(VOCABULARIES[kind][0]), n_positions=context, n_embd=width, n_layer=layers, n_head=heads
    )
    torch.manual_seed(seed)
    if kind == "gpt1":
        model = OpenAIGPTLMHeadModel(OpenAIGPTConfig(**sizes, initializer_range=0.2))
    else:
        model = GPT2LMHeadModel(GPT2Config(**sizes, initializer_range=0.2, bos_token_id=None, eos_token_id=None))
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if parameter.dim() == 1:  # ones and zeros at first, which would hide where they are mixed up
                parameter.add_(torch.randn_like(parameter), alpha=0.1)
            elif name.endswith(("positions_embed.weight", "wpe.weight")):  # else it says one thing over and over
                parameter.mul_(4)
    return model.eval()


def write_checkpoint(kind: str, folder: Path, **sizes: int):
    """A folder in transformers' format, and transformers' own model of it."""
    model = random_model(kind, **sizes)
    model.save_pretrained(folder)
    write_vocabulary(folder, *VOCABULARIES[kind])
    return model


def write_release(model: Any, folder: Path) -> None:
    """GPT-1's weights in the layout of 2018: order, shapes with a leading 1, ten files that cut where they like."""
    theirs = {name.removeprefix("transformer."): tensor for name, tensor in model.state_dict().items()}
    arrays = [theirs["positions_embed.weight"].numpy(), theirs["tokens_embed.weight"].numpy()]
    for layer in range(model.config.n_layer):
        for part in ("attn.c_attn", "attn.c_proj", "ln_1", "mlp.c_fc", "mlp.c_proj", "ln_2"):
            weight, bias = (theirs[f"h.{layer}.{part}.{kind}"].numpy() for kind in ("weight", "bias"))
            arrays += [weight[None] if weight.ndim == 2 else weight, bias]
    shapes = [list(array.shape) for array in arrays]
    (folder / "params_shapes.json").write_text(json.dumps(shapes))
    for number, piece in enumerate(np.array_split(np.concatenate([array.ravel() for array in arrays]), 10)):
        np.save(folder / f"params_{number}.npy", piece)
    write_vocabulary(folder, *VOCABULARIES["gpt1"])
    (folder / "vocab.json").rename(folder / "encoder_bpe_40000.json")
    (folder / "merges.txt").rename(folder / "vocab_40000.bpe")
