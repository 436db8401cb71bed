"""Tokenizers from the files of GPT-1 and GPT-2, and back."""

import json
from pathlib import Path

from tokenizers import AddedToken, decoders
from tokenizers.models import BPE

from understudy.data.tokenizers import SPECIALS, BPETokenizer, Tokenizer
from understudy.data.tokenizers.bytes_bpe import byte_characters
from understudy.data.tokenizers.detokenizer import END_OF_WORD, UNKNOWN
from understudy.data.tokenizers.gpt1 import GPT1Tokenizer
from understudy.errors import CheckpointError
from understudy.files import write_json

Merges = list[tuple[str, str]]

IN_ONE = "tokenizer.json"
IN_TWO = ("vocab.json", "merges.txt")
OF_2018 = ("encoder_bpe_40000.json", "vocab_40000.bpe")
ADDED = "added_tokens.json"
END_OF_TEXT = "<|endoftext|>"
CHAT_TEMPLATE = (
    "<|bos|>{% for message in messages %}{{ '<|' + message.role + '|>' + message.content + '<|end|>' }}{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>{% endif %}"
)


def vocabulary_files(folder: Path) -> list[Path]:
    """Return the files of a folder that `read_tokenizer` reads; none if it has no vocabulary."""
    for names in ((IN_ONE,), (*IN_TWO, ADDED), OF_2018):
        found = [folder / name for name in names if (folder / name).is_file()]
        if len(found) >= len(names) - names.count(ADDED):
            return found
    return []


def read_tokenizer(folder: Path) -> tuple[Tokenizer, int]:
    """Return the tokenizer of a folder, and how many tokens its files name.

    Words that end in `</w>` make it GPT-1's, else it is GPT-2's. Our special tokens follow the named ones, unless those
    end with them already.

    Raises:
        CheckpointError: the files are missing or damaged, or leave ids without a token.
    """
    files = vocabulary_files(folder)
    if not files:
        raise CheckpointError(
            f"{folder} holds no vocabulary; expected {IN_ONE}, {' and '.join(IN_TWO)}, or {' and '.join(OF_2018)}"
        )
    try:
        ids, merges = _in_one(files[0]) if files[0].name == IN_ONE else _in_two(*files)
        tokens = sorted(ids, key=ids.__getitem__)
        named = len(tokens)
        if [ids[token] for token in tokens] != list(range(named)):
            raise ValueError("its ids are not 0, 1, 2 and so on")
        if tuple(tokens[-len(SPECIALS) :]) == SPECIALS:
            tokens = tokens[: -len(SPECIALS)]
        words = any(token.endswith(END_OF_WORD) for token in tokens)
        return GPT1Tokenizer(tokens, merges) if words else BPETokenizer(tokens, merges), named
    except Exception as error:  # the library raises nothing more precise for merges that do not fit
        raise CheckpointError(f"{files[0]} is not a vocabulary of GPT-1 or GPT-2 ({error}); fetch it again") from error


def _in_one(path: Path) -> tuple[dict[str, int], Merges]:
    found = json.loads(path.read_text(encoding="utf-8"))
    added = {token["content"]: token["id"] for token in found["added_tokens"]}
    pairs = [pair.split(" ") if isinstance(pair, str) else pair for pair in found["model"]["merges"]]
    return found["model"]["vocab"] | added, [(first, second) for first, second in pairs]


def _in_two(vocabulary: Path, merges: Path, added: Path | None = None) -> tuple[dict[str, int], Merges]:
    ids, pairs = BPE.read_file(str(vocabulary), str(merges))
    return ids | (json.loads(added.read_text(encoding="utf-8")) if added else {}), pairs


def opening(tokenizer: Tokenizer) -> list[int]:
    """Return what these weights saw before each text: a line break (GPT-1), or the previous text's end (GPT-2)."""
    mark = b"\n" if isinstance(tokenizer, GPT1Tokenizer) else END_OF_TEXT.encode()
    ordinary = tokenizer.vocab_size - len(SPECIALS)
    found = [token for token in range(ordinary) if tokenizer.bytes_of(token) == mark]
    return found[-1:] or [tokenizer.special["<|bos|>"]]


def write_tokenizer(folder: Path, tokenizer: Tokenizer) -> None:
    """Write the files that transformers reads. It splits GPT-1's words by BERT's rules, since it has no others."""
    words = isinstance(tokenizer, GPT1Tokenizer)
    if isinstance(tokenizer, GPT1Tokenizer):
        engine = GPT1Tokenizer(tokenizer.tokens, tokenizer.merges, rules="bert").engine
        engine.decoder = decoders.BPEDecoder(suffix=END_OF_WORD)
    else:
        definition = tokenizer.definition() or {"vocabulary": byte_characters(), "merges": []}
        engine = BPETokenizer(**definition).engine
        engine.decoder = decoders.ByteLevel()
    engine.add_special_tokens([AddedToken(token, normalized=False, special=True) for token in SPECIALS])
    engine.save(str(folder / IN_ONE))
    config = {
        "tokenizer_class": "OpenAIGPTTokenizer" if words else "GPT2Tokenizer",
        "unk_token": UNKNOWN if words else "<|end|>",
        "bos_token": "<|bos|>",
        "eos_token": "<|end|>",
        "pad_token": "<|pad|>",
        "chat_template": CHAT_TEMPLATE,
    }
    write_json(folder / "tokenizer_config.json", config)
