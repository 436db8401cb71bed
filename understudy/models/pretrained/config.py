"""transformers' config.json of GPT-1 and GPT-2, and the core that it describes."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from understudy.data.tokenizers import Tokenizer
from understudy.errors import CheckpointError
from understudy.files import reading
from understudy.models.spec import BlockKind, CoreSpec

NAME = "config.json"
OWN = "understudy"
SIZES = ("vocab_size", "n_positions", "n_embd", "n_layer", "n_head")
LAYER_NORM_EPS = 1e-5


@dataclass(frozen=True)
class _Kind:
    """A kind of model: our block, and what transformers assumes where its file says nothing."""

    block: BlockKind
    sizes: tuple[int, ...]
    activation: str
    """Where the activation is named."""
    activations: tuple[str, ...]
    """Names of the tanh GELU there."""
    architecture: str


KINDS = {
    "openai-gpt": _Kind("gpt1", (40478, 512, 768, 12, 12), "afn", ("gelu",), "OpenAIGPTLMHeadModel"),
    "gpt2": _Kind(
        "gpt2", (50257, 1024, 768, 12, 12), "activation_function", ("gelu_new", "gelu_pytorch_tanh"), "GPT2LMHeadModel"
    ),
}


def read_config(folder: Path) -> tuple[CoreSpec, int]:
    """Return the core that a folder's config.json describes, and its number of tokens.

    Raises:
        CheckpointError: the file is missing or damaged, of another kind of model, or of one that differs from GPT-1
            and GPT-2 in what is computed.
    """
    path = folder / NAME
    with reading(path, "expected a folder in transformers' format"):
        config = json.loads(path.read_text(encoding="utf-8"))
        kind = KINDS.get(config.get("model_type"))
    if kind is None:
        raise CheckpointError(
            f"{path} is of a model_type {config.get('model_type')!r}; expected {' or '.join(map(repr, KINDS))}"
        )
    sizes = [config.get(name, default) for name, default in zip(SIZES, kind.sizes, strict=True)]
    for name, size in zip(SIZES, sizes, strict=True):
        if not isinstance(size, int) or size < 1:
            raise CheckpointError(f"{path} says {name} is {size!r}; expected a whole number above 0")
    vocab_size, context, width, layers, heads = sizes
    _check_computes_alike(path, config, kind, width, heads)
    dropout = config.get("resid_pdrop", 0.1)
    return CoreSpec("transformer", kind.block, layers, width, heads, context, float(dropout)), vocab_size


def _check_computes_alike(path: Path, config: dict[str, Any], kind: _Kind, width: int, heads: int) -> None:
    """Raise CheckpointError for a model that would load and then give other logits."""
    wanted = {
        kind.activation: kind.activations,
        "layer_norm_epsilon": (LAYER_NORM_EPS,),
        "n_inner": (None, 4 * width),
        "scale_attn_weights": (True,),
        "scale_attn_by_inverse_layer_idx": (False,),
        "add_cross_attention": (False,),
        "tie_word_embeddings": (True,),
    }
    for name, allowed in wanted.items():
        if config.get(name, allowed[0]) not in allowed:
            raise CheckpointError(f"{path} says {name} is {config[name]!r}; only {allowed[-1]!r} is known here")
    if width % heads:
        raise CheckpointError(f"{path}: a width (n_embd) of {width} does not split into {heads} heads (n_head)")


def read_learned(folder: Path) -> dict[str, Any]:
    """Return our entry of a folder's config.json: what a model of our own learned from, and its speakers.

    transformers keeps such an entry as it finds it. Weights from elsewhere have none: it is empty then.
    """
    try:
        return dict(json.loads((folder / NAME).read_text(encoding="utf-8"))[OWN])
    except (OSError, ValueError, KeyError, TypeError):
        return {}


def config_of(spec: CoreSpec, tokenizer: Tokenizer, learned: dict[str, Any]) -> dict[str, Any]:
    """Return the config.json from which transformers builds the same model. `learned` is our entry."""
    model_type, kind = next((name, kind) for name, kind in KINDS.items() if kind.block == spec.block)
    sizes = (tokenizer.vocab_size, spec.context, spec.width, spec.layers, spec.heads)
    return {
        "model_type": model_type,
        "architectures": [kind.architecture],
        **dict(zip(SIZES, sizes, strict=True)),
        kind.activation: kind.activations[0],
        "layer_norm_epsilon": LAYER_NORM_EPS,
        "initializer_range": 0.02,
        **dict.fromkeys(("resid_pdrop", "embd_pdrop", "attn_pdrop"), spec.dropout),
        "bos_token_id": tokenizer.special["<|bos|>"],
        "eos_token_id": tokenizer.special["<|end|>"],
        "pad_token_id": tokenizer.special["<|pad|>"],
        "tie_word_embeddings": True,
        "dtype": "float32",
        OWN: learned,
    }
