"""Saving a model in transformers' format, so that its from_pretrained reads it."""

from pathlib import Path

from safetensors.torch import save_file

from understudy.data.tokenizers import Tokenizer
from understudy.errors import ConfigError
from understudy.files import whole, write_json
from understudy.models.language_model import LanguageModel, empty_model
from understudy.models.pretrained import config
from understudy.models.pretrained.folder import WEIGHTS
from understudy.models.pretrained.names import OUTSIDE, to_theirs
from understudy.models.pretrained.vocabulary import write_tokenizer


def export(model: LanguageModel, tokenizer: Tokenizer, folder: Path, kind: str = "text") -> None:
    """Write config.json, model.safetensors and the tokenizer's files into a new folder, which appears whole.

    `kind` says what the model was trained on, text or chats, for when it is read again.

    Raises:
        ConfigError: the folder is there already, or the model is neither GPT-1's kind nor GPT-2's.
    """
    spec = model.spec
    if spec.core != "transformer" or spec.block not in OUTSIDE:
        kind = spec.core if spec.core == "lstm" else f"{spec.block} block"
        raise ConfigError(
            f"transformers has no model like this one ({kind}); only those trained with --block gpt1 or gpt2, or from "
            "--base gpt1 or gpt2, can be exported"
        )
    if folder.exists():
        raise ConfigError(f"{folder} is there already; name a folder that is not")
    folder.parent.mkdir(parents=True, exist_ok=True)
    with whole(folder) as building:
        building.mkdir()
        names = empty_model(spec, model.vocab_size).state_dict()  # without the heads that only training uses
        state = {name: tensor.float().cpu() for name, tensor in model.state_dict().items() if name in names}
        save_file(to_theirs(state, spec), building / WEIGHTS, metadata={"format": "pt"})
        learned = {"kind": kind, "speakers": model.speakers}
        write_json(building / config.NAME, config.config_of(spec, tokenizer, learned))
        write_tokenizer(building, tokenizer)
