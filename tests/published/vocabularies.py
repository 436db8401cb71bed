"""Small vocabularies in the shape of GPT-1's and GPT-2's, and GPT-1's own where it lies beside the checkout."""

import json
from collections.abc import Sequence
from pathlib import Path

import pytest
from tokenizers import Tokenizer as Engine
from tokenizers.models import BPE
from tokenizers.pre_tokenizers import ByteLevel, WhitespaceSplit
from tokenizers.trainers import BpeTrainer

from understudy.data.tokenizers.gpt1 import GPT1Tokenizer

RELEASE = Path(__file__).parents[3] / "shared" / "data" / "gpt1"
NEEDS_RELEASE = pytest.mark.skipif(
    not (RELEASE / "golden.jsonl").exists(), reason=f"the vocabulary of the 2018 release does not lie in {RELEASE}"
)
TEXT = """the cat sat on the mat , and the hat sat on the cat . do n't you think it 's john 's ? they 'll 've gone ;
 we 'd stay " no way ! " he said : i ca n't go there with you and her and them that other thing is here for
 this one all right what was then would could should of in to a at is it be"""
OTHER = "0123456789" + "abcdefghijklmnopqrstuvwxyz" + ".,;:!?-_()[]{}<>/\\*+=~|&#@$%^`'\"" + "àáéèêíïñóöøüßçж²½€♥"

Merges = list[tuple[str, str]]


def small_gpt1() -> tuple[list[str], Merges]:
    """`<unk>`, characters, characters that end a word, some forty merges, and `\\n</w>` last, as in 2018."""
    engine = Engine(BPE(unk_token="<unk>", end_of_word_suffix="</w>"))
    engine.pre_tokenizer = WhitespaceSplit()
    trainer = BpeTrainer(
        vocab_size=240, min_frequency=2, end_of_word_suffix="</w>", initial_alphabet=list(OTHER), show_progress=False
    )
    engine.train_from_iterator([TEXT] * 2, trainer)
    merges = [(first, second) for first, second in json.loads(engine.to_str())["model"]["merges"]]
    characters = sorted(set(OTHER))
    tokens = ["<unk>", *characters, *(character + "</w>" for character in characters)]
    return [*tokens, *dict.fromkeys(first + second for first, second in merges), "\n</w>"], merges


def small_gpt2() -> tuple[list[str], Merges]:
    """Bytes, some merges, and `<|endoftext|>` last, as in 2019."""
    engine = Engine(BPE())
    engine.pre_tokenizer = ByteLevel(add_prefix_space=False)
    trainer = BpeTrainer(vocab_size=300, min_frequency=2, initial_alphabet=ByteLevel.alphabet(), show_progress=False)
    engine.train_from_iterator([TEXT] * 2, trainer)
    model = json.loads(engine.to_str())["model"]
    tokens = sorted(model["vocab"], key=model["vocab"].__getitem__)
    return [*tokens, "<|endoftext|>"], [(first, second) for first, second in model["merges"]]


def release_tokenizer() -> GPT1Tokenizer:
    """The tokenizer of 2018, from the release's files."""
    ids = json.loads((RELEASE / "encoder_bpe_40000.json").read_text(encoding="utf-8"))
    lines = (RELEASE / "vocab_40000.bpe").read_text(encoding="utf-8").split("\n")[1:-1]
    merges = [(first, second) for first, second in (line.split(" ") for line in lines)]
    return GPT1Tokenizer(sorted(ids, key=ids.__getitem__), merges)


def write_vocabulary(folder: Path, tokens: Sequence[str], merges: Merges) -> None:
    """vocab.json and merges.txt, as transformers has them."""
    ids = {token: i for i, token in enumerate(tokens)}
    (folder / "vocab.json").write_text(json.dumps(ids, ensure_ascii=False), encoding="utf-8")
    lines = ["#version: 0.2", *(f"{first} {second}" for first, second in merges), ""]
    (folder / "merges.txt").write_text("\n".join(lines), encoding="utf-8")
