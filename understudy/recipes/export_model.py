"""Save a model in transformers' format."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro
from rich.console import Console

from understudy.config import RunName
from understudy.console import say
from understudy.data.tokenizers.gpt1 import GPT1Tokenizer
from understudy.models.pretrained.folder import export
from understudy.training.loading import load_model, resolve

OTHER_WORDS = """transformers cuts words by BERT's rules, not by those that GPT-1 was trained on: for the same ids, \
encode with understudy.data.tokenizers.gpt1."""
TOKEN_TYPES = """The model was fine-tuned with token types: give transformers token_type_ids, at each token the id of \
the last of <|system|>, <|user|> and <|assistant|>."""


@dataclass(frozen=True)
class Config:
    """Saves a model in transformers' format: config.json, model.safetensors and the tokenizer's files.

    For models with GPT-1's or GPT-2's blocks: those from --base gpt1 or gpt2, or trained with --block gpt1 or gpt2.
    """

    run: tyro.conf.Positional[RunName]
    """Whose model: a run (its id, a beginning of it, last, last:finetune) or a checkpoint's folder."""
    folder: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="FOLDER")]
    """A new folder to save it in."""


def main(config: Config, console: Console) -> None:
    """Save the model, and say what transformers does otherwise."""
    loaded = load_model(resolve(config.run))
    folder = Path(config.folder).expanduser()
    export(loaded.model, loaded.tokenizer, folder, loaded.state["progress"].get("kind", "chats"))
    say(console, f"Saved {loaded.model.parameter_count():,} parameters to {folder}.")
    if isinstance(loaded.tokenizer, GPT1Tokenizer):
        say(console, OTHER_WORDS, "yellow")
    if loaded.model.speakers:
        say(console, TOKEN_TYPES, "yellow")
