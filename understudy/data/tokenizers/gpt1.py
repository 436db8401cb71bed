"""GPT-1's tokenizer, which gives the ids of the 2018 code (Radford 2018): lower case, words, pieces of words.

It is lossy: upper case, runs of white space and characters outside its vocabulary do not come back.
"""

import re
from collections.abc import Iterable, Sequence
from functools import cached_property
from typing import Any, ClassVar, Literal, get_args

from tokenizers import Tokenizer as Engine
from tokenizers.models import BPE
from tokenizers.normalizers import BertNormalizer
from tokenizers.pre_tokenizers import BertPreTokenizer
from typing_extensions import override

from understudy.data.tokenizers.base import TextStream, Tokenizer
from understudy.data.tokenizers.detokenizer import END_OF_WORD, UNKNOWN, WordStream
from understudy.errors import MissingPackageError

Rules = Literal["spacy", "bert"]

NEWLINE = "\n" + END_OF_WORD
WORDS_REMEMBERED = 500_000

_PLAIN = str.maketrans({"—": "-", "–": "-", "―": "-", "…": "...", "´": "'"})
# Without a backslash: the 2018 pattern was meant to have one, but as it was not a raw string, it repeats `\+` there.
_RUNS = re.compile(r"""(-+|~+|!+|"+|;+|\?+|\++|,+|\)+|\(+|/+|\*+|\[+|\]+|}+|{+|\|+|_+)""")
_AROUND_NEWLINE = re.compile(r"\s*\n\s*")
_OTHER_SPACE = re.compile(r"[^\S\n]+")


class GPT1Tokenizer(Tokenizer):
    """BPE over the words that spaCy's English rules find, each ending in `</w>`, in lower case.

    Args:
        vocabulary: the tokens by id, `<unk>` first.
        merges: the pairs to join, best first.
        rules: how words are found. "spacy" is what the weights were trained on, and needs the extra `gpt1`. "bert" is
            what transformers' OpenAIGPTTokenizer does: it drops accents and newlines and cuts "don't" into "don", "'"
            and "t", which the weights have hardly ever met.

    >>> tokens = ["<unk>", "a", "b", "a</w>", "b</w>", "ab</w>"]
    >>> tokenizer = GPT1Tokenizer(tokens, [("a", "b</w>")], rules="bert")
    >>> tokenizer.encode("AB a baz")
    [5, 3, 2, 1, 0]
    >>> tokenizer.decode([5, 3])
    'ab a'

    References:
        Radford et al., 2018, "Improving language understanding by generative pre-training", and its code
        github.com/openai/finetune-transformer-lm, text_utils.py.
    """

    kind = "gpt1"
    lossless: ClassVar[bool] = False
    unknown: ClassVar[int | None] = 0

    def __init__(self, vocabulary: Sequence[str], merges: Iterable[Iterable[str]], rules: Rules = "spacy") -> None:
        super().__init__([_bytes_of(token) for token in vocabulary])
        assert rules in get_args(Rules)
        self.tokens, self.rules = list(vocabulary), rules
        self.merges = [(first, second) for first, second in merges]
        # The library joins the best pair where it first stands and looks again; the 2018 code joined it everywhere at
        # once. In GPT-1's vocabulary no two merges make the same token, so both give the same ids.
        self.engine = Engine(
            BPE(
                vocab={token: i for i, token in enumerate(vocabulary)},
                merges=self.merges,
                unk_token=UNKNOWN,
                end_of_word_suffix=END_OF_WORD,
            )
        )
        if rules == "bert":
            self.engine.normalizer = BertNormalizer(lowercase=True)
            self.engine.pre_tokenizer = BertPreTokenizer()

    @override
    def encode(self, text: str) -> list[int]:
        return self.encode_batch([text])[0]

    @override
    def encode_batch(self, texts: Sequence[str]) -> list[list[int]]:
        if self.rules == "bert":
            whole = [text.encode("utf-8", "replace").decode() for text in texts]
            return [encoding.ids for encoding in self.engine.encode_batch_fast(whole)]
        words = [self._words.of(text) for text in texts]
        return [encoding.ids for encoding in self.engine.encode_batch_fast(words, is_pretokenized=True)]

    @override
    def decode(self, ids: Iterable[int]) -> str:
        stream = self.stream()
        return "".join([*map(stream.feed, ids), stream.finish()])

    @override
    def stream(self) -> TextStream:
        return WordStream(self.tokens)

    @override
    def definition(self) -> dict[str, Any]:
        return {"vocabulary": self.tokens, "merges": self.merges, "rules": self.rules}

    @cached_property
    def _words(self) -> "_SpacyWords":
        return _SpacyWords()


def standardise(text: str) -> str:
    r"""Rewrite text as the 2018 code did once ftfy had mended it: plain dashes, punctuation apart, single spaces.

    >>> standardise(" Well… (yes)\n\n no — a\\b ")
    'Well... ( yes ) \n no - a\\b'
    """
    text = _RUNS.sub(r" \1 ", text.translate(_PLAIN))
    return _OTHER_SPACE.sub(" ", _AROUND_NEWLINE.sub(" \n ", text)).strip()


class _SpacyWords:
    """Cuts text into words as spaCy's blank English tokenizer does, after ftfy has mended it."""

    def __init__(self) -> None:
        try:
            import ftfy
            import spacy
        except ImportError as error:
            raise MissingPackageError(
                f"GPT-1's tokenizer needs spaCy and ftfy, and {error.name} is not installed; "
                "try: pip install 'understudy[gpt1]'"
            ) from error
        self._mend, self._fresh = ftfy.fix_text, lambda: spacy.blank("en")
        self._english = self._fresh()

    def of(self, text: str) -> list[str]:
        """Return the lower-case words of a text, and a newline for each line break."""
        english = self._english
        if len(english.vocab.strings) > WORDS_REMEMBERED:  # it never forgets a word, so its memory would grow forever
            english = self._english = self._fresh()
        # Not the pipeline but its tokenizer, which takes texts of any length.
        tokens = english.tokenizer(standardise(self._mend(text)))
        return ["\n" if token.text == "\n " else token.text.lower() for token in tokens]


def _bytes_of(token: str) -> bytes:
    # A word's last token stands for the space behind it too.
    if token == UNKNOWN:
        return "\ufffd".encode()
    if token == NEWLINE:
        return b"\n"
    word = token.removesuffix(END_OF_WORD)
    return (word if word == token else word + " ").encode()
