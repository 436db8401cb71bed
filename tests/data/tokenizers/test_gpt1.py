"""GPT-1's tokenizer against the 2018 release, against a plain account of its algorithm, and against transformers."""

import json
import subprocess
import sys
from itertools import groupby, pairwise
from pathlib import Path

import ftfy
import pytest
import spacy
from hypothesis import example, given, settings
from hypothesis import strategies as st
from published.vocabularies import (
    NEEDS_RELEASE,
    RELEASE,
    Merges,
    release_tokenizer,
    small_gpt1,
    small_gpt2,
    write_vocabulary,
)

from understudy.data.tokenizers import BPETokenizer
from understudy.data.tokenizers.gpt1 import GPT1Tokenizer, standardise

TOKENS, MERGES = small_gpt1()
SMALL = GPT1Tokenizer(TOKENS, MERGES)
ENGLISH = spacy.blank("en")
SPACED = '-~!";?+,)(/*[]}{|_'

written = (
    st.lists(
        st.sampled_from(
            [
                "the",
                "cat",
                "don't",
                "Can't",
                "I'm",
                "U.S.",
                "10am",
                "$3.50",
                "http://a.b/c?d=e",
                "a\\b",
                "gonna",
                ":)",
                "É",
                "\n",
                "\n\n",
                " \t",
                "—",
                "…",
                "´",
                "''",
                '"',
                "'",
                "&amp;",
                "ï»¿",
                "schÃ¶n",
                "â€™",
                "ﬁ",
                "😀",
                "你好",
                "\x07",
                "\x85",
                "\u2028",
                "\x1c",
                "\u200b",
                "İΣ",
                "ς",
                "é",
                "<unk>",
                "</w>",
                "--",
                "__a__",
                "*b*",
                "++",
            ]
        )
        | st.text(max_size=4)
    ).map("".join)
    | st.text()
)


def plain_ids(text: str) -> list[int]:
    """The algorithm as the release's text_utils.py has it, said step by step."""
    ids = {token: i for i, token in enumerate(TOKENS)}
    words = [token.text.lower() for token in ENGLISH(plain_standardised(ftfy.fix_text(text)))]
    return [ids.get(piece, 0) for word in words for piece in plain_pieces("\n" if word == "\n " else word)]


def plain_standardised(text: str) -> str:
    for fancy, plain in {"—": "-", "–": "-", "―": "-", "…": "...", "´": "'"}.items():
        text = text.replace(fancy, plain)
    runs = ("".join(run) for _, run in groupby(text, key=lambda c: (c, object()) if c not in SPACED else c))
    spaced = "".join(f" {run} " if run[0] in SPACED else run for run in runs)
    lines = [" ".join(line.split()) for line in spaced.split("\n")]
    return " \n ".join(line for line in lines if line)


def plain_pieces(word: str) -> list[str]:
    """Byte-pair encoding: join the best pair wherever it stands, until there is none (Sennrich 2016)."""
    rank = {pair: i for i, pair in enumerate(MERGES)}
    pieces = [*word[:-1], word[-1] + "</w>"]
    while pairs := [pair for pair in pairwise(pieces) if pair in rank]:
        best, joined = min(pairs, key=lambda pair: rank[pair]), []
        while pieces:
            size = 2 if tuple(pieces[:2]) == best else 1
            joined.append("".join(pieces[:size]))
            pieces = pieces[size:]
        pieces = joined
    return pieces


@settings(max_examples=300, deadline=None)
@given(text=written)
@example("a\\b \\\\ c")
@example("one \n\n two\r\nthree\n")
@example("a\udc80b")
@example("")
def test_the_ids_are_those_of_the_plain_algorithm(text: str) -> None:
    assert SMALL.encode(text) == plain_ids(text)


@NEEDS_RELEASE
def test_the_ids_are_those_of_the_2018_code() -> None:
    tokenizer = release_tokenizer()
    lines = [json.loads(line) for line in (RELEASE / "golden.jsonl").read_text(encoding="utf-8").splitlines()]
    assert len(lines) == 84
    assert tokenizer.encode_batch([line["text"] for line in lines]) == [line["ids"] for line in lines]


@NEEDS_RELEASE
def test_no_two_of_the_release_s_merges_make_the_same_token() -> None:
    """What the library's order of joining depends on."""
    merges = release_tokenizer().merges
    assert len({first + second for first, second in merges}) == len(merges) == 40_000


def test_a_backslash_stays_in_its_word_and_other_runs_stand_apart() -> None:
    assert standardise("a\\b--c(d)e") == "a\\b -- c ( d ) e"


def test_a_long_text_is_no_mistake() -> None:
    """spaCy's pipeline refuses more than a million characters; its tokenizer does not."""
    assert len(SMALL.encode("the cat " * 150_000)) == 300_000


@pytest.mark.parametrize(
    "text",
    [
        "i don't think they'll've gone, can't you see?",
        "we'd say it's john's: it isn't, it wasn't, they're his.",
        'he said: "no way!" and "well, well..."',
        "(so [it {was}])! what???!!!",
        'line one\nline two\n"quoted"\nand so on',
        "it costs $3.50, or 1,000.25 and 1, 2, 3: 50% off at 10:30",
        "café naïve façade é ö",
        "i ♥ you",
        "mother-in-law, twenty-one, - no",
        "1/2 + 3/4 = 5/4, and/or",
        "see https://example.com/a_b?c=d&e=f#g for more, or mail bob@example.com.",
        "c:\\users\\me and a\\\\b",
        "haha :) :-( ;-) <3 omg",
        "gonna, gotta, cannot, y'all, dont, whats",
        "'single' and the dogs' tails",
        "it is 'so' and it's 'well'",
        "*smiles* #tag & <b>",
        "¿qué? ¡sí!",
    ],
)
def test_readable_text_comes_back(text: str) -> None:
    tokens = sorted({*TOKENS, *"¿¡", "¿</w>", "¡</w>"} - {"<unk>"})
    tokenizer = GPT1Tokenizer(["<unk>", *tokens], MERGES)
    assert tokenizer.decode(tokenizer.encode(text)) == text


def test_what_does_not_come_back() -> None:
    for text, expected in {
        "The  CAT ": "the cat",
        "schÃ¶n â€œ": 'schön "',
        "hi 😀👍🏽!": "hi \ufffd\ufffd\ufffd!",
        "one\r\n\n\ttwo\n": "one\ntwo",
        "wait… — well — no": "wait... - well-no",  # a dash and a hyphen are the same token
    }.items():
        assert SMALL.decode(SMALL.encode(text)) == expected


@given(ids=st.lists(st.integers(0, SMALL.vocab_size - 1)))
def test_a_stream_can_be_used_again(ids: list[int]) -> None:
    stream = SMALL.stream()
    once, again = ("".join([*map(stream.feed, ids), stream.finish()]) for _ in range(2))
    assert once == again == SMALL.decode(ids)


def test_a_special_token_ends_a_word() -> None:
    begun = TOKENS.index("c")
    stream = SMALL.stream()
    assert [stream.feed(token) for token in (begun, SMALL.special["<|end|>"], TOKENS.index("a</w>"))] == ["", "c", " a"]


def test_without_spacy_the_extra_is_named() -> None:
    code = (
        "import sys; sys.modules['spacy'] = None;"
        "from understudy.data.tokenizers.gpt1 import GPT1Tokenizer; from understudy.errors import UserError;"
        "tokenizer = GPT1Tokenizer(['<unk>', 'a</w>'], []); print(tokenizer.decode([1]));\n"
        "try: tokenizer.encode('a')\nexcept UserError as error: print(error)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == [
        "a",
        "GPT-1's tokenizer needs spaCy and ftfy, and spacy is not installed; try: pip install 'understudy[gpt1]'",
    ]


@pytest.fixture(scope="module")
def bert(tmp_path_factory: pytest.TempPathFactory):
    from transformers import OpenAIGPTTokenizerFast

    return _theirs(OpenAIGPTTokenizerFast, tmp_path_factory.mktemp("gpt1"), TOKENS, MERGES)


@pytest.fixture(scope="module")
def byte_level(tmp_path_factory: pytest.TempPathFactory):
    from transformers import GPT2TokenizerFast

    return _theirs(GPT2TokenizerFast, tmp_path_factory.mktemp("gpt2"), *small_gpt2())


def _theirs(kind: type, folder: Path, tokens: list[str], merges: Merges):
    write_vocabulary(folder, tokens, merges)
    return kind.from_pretrained(folder)


# A named token in a text is that token to transformers, and text to us.
unnamed = written.filter(lambda text: "<unk>" not in text).filter(
    lambda text: not any("\ud800" <= character <= "\udfff" for character in text)
)


@settings(max_examples=200, deadline=None)
@given(text=unnamed)
def test_by_bert_s_rules_the_ids_are_transformers(bert, text: str) -> None:
    assert GPT1Tokenizer(TOKENS, MERGES, rules="bert").encode(text) == bert(text)["input_ids"]


@settings(max_examples=200, deadline=None)
@given(text=unnamed)
def test_gpt2_s_ids_are_transformers(byte_level, text: str) -> None:
    assert BPETokenizer(*small_gpt2()).encode(text) == byte_level(text)["input_ids"]


@NEEDS_RELEASE
def test_by_bert_s_rules_the_release_s_ids_are_transformers(tmp_path: Path) -> None:
    from transformers import OpenAIGPTTokenizerFast

    ours = release_tokenizer()
    theirs = _theirs(OpenAIGPTTokenizerFast, tmp_path, ours.tokens, ours.merges)
    ours = GPT1Tokenizer(ours.tokens, ours.merges, rules="bert")
    texts = [json.loads(line)["text"] for line in (RELEASE / "golden.jsonl").read_text(encoding="utf-8").splitlines()]
    assert ours.encode_batch(texts) == [theirs(text)["input_ids"] for text in texts]


def test_the_rules_make_the_difference() -> None:
    bert = GPT1Tokenizer(TOKENS, MERGES, rules="bert")
    assert [TOKENS[i] for i in SMALL.encode("don't é\n")] != [TOKENS[i] for i in bert.encode("don't é\n")]
    assert bert.decode(bert.encode("don't é")) == "don't e"
    assert SMALL.decode(SMALL.encode("don't é")) == "don't é"
