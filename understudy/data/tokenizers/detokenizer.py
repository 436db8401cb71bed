"""Readable text from the words that GPT-1's tokenizer cuts: "do", "n't", "!" become "don't!".

The words do not record which spaces stood in the text. Each rule here restores what is usual.
"""

import re
import tomllib
from collections.abc import Sequence
from importlib.resources import files
from itertools import product

from typing_extensions import override

from understudy.data.tokenizers.base import TextStream

END_OF_WORD = "</w>"
UNKNOWN = "<unk>"
REPLACEMENT = "\ufffd"

_LISTS: dict[str, list[str]] = tomllib.loads(files(__package__).joinpath("detokenizer.toml").read_text("utf-8"))
_SETS = {name: frozenset(words) for name, words in _LISTS.items()}
CLOSING, OPENING, JOINING, QUOTES = (_SETS[name] for name in ("closing", "opening", "joining", "quotes"))
CURRENCIES, CLITICS, ELIDED, NO_OWNERS = (_SETS[name] for name in ("currencies", "clitics", "elided", "no_owners"))
IN_ADDRESS = JOINING | _SETS["in_address"]
CUT_WORDS = frozenset(
    [
        *map(tuple, map(str.split, _LISTS["cut"])),
        *product(_LISTS["subjects"], ("d", "ll", "re", "s", "ve")),
        *product(_LISTS["auxiliaries"], ("nt", "ve")),
        *product(("d", "ll", "nt"), ("ve",)),
    ]
)
# Single words that the tokenizer cuts: faces, and what BERT's rules make of contractions.
COMPOUNDS = frozenset(
    [
        *product((":", ";", "="), (")", "(", "/")),
        *product((":", ";", "="), ("-",), (")", "(", "/")),
        (":", "'", "("),
        *(("'", clitic[1:]) for clitic in CLITICS if clitic[0] == "'"),
    ]
)
_BEGUN = frozenset(compound[:length] for compound in COMPOUNDS for length in range(1, len(compound)))
_THOUSANDS = re.compile(r"\d{3}(?!\d)")


class WordStream(TextStream):
    """Decodes GPT-1's ids as they come: a word appears when it is whole.

    A character that the vocabulary lacks shows as U+FFFD.

    Args:
        vocabulary: the ordinary tokens by id, with `</w>` at the end of those that end a word.

    >>> stream = WordStream(["<unk>", "do</w>", "n't</w>", "w", "o", "rry</w>", "!</w>"])
    >>> [stream.feed(token) for token in (1, 2, 3, 4, 5, 6)]
    ['do', "n't", '', '', ' worry', '!']
    """

    def __init__(self, vocabulary: Sequence[str]) -> None:
        self._vocabulary = vocabulary
        self._begin()

    @override
    def feed(self, token: int) -> str:
        if token >= len(self._vocabulary):  # a special token stands for no text, but ends one
            return self._end_word() + self._release()
        piece = self._vocabulary[token]
        self._word += REPLACEMENT if piece == UNKNOWN else piece.removesuffix(END_OF_WORD)
        # Whether the word goes on after an unknown character is not known. Mostly such a character stands alone.
        return self._end_word() if piece == UNKNOWN or piece.endswith(END_OF_WORD) else ""

    @override
    def finish(self) -> str:
        rest = self._end_word() + self._release()
        self._begin()
        return rest

    def _begin(self) -> None:
        self._word = ""
        self._held: tuple[str, ...] = ()
        self._spacing = _Spacing()

    def _end_word(self) -> str:
        word, self._word = self._word, ""
        if not word:
            return ""
        together = (*self._held, word)
        if together in COMPOUNDS:
            self._held = ()
            return self._spacing.put("".join(together))
        if together in _BEGUN:
            self._held = together
            return ""
        if not self._held:
            return self._spacing.put(word)
        released, self._word = self._release(), word
        return released + self._end_word()

    def _release(self) -> str:
        # These words were held back because they might have become a compound.
        held, self._held = self._held, ()
        return "".join(map(self._spacing.put, held))


class _Spacing:
    """Decides from the words before it whether a space belongs before a word."""

    def __init__(self) -> None:
        self._before = self._second_before = "\n"
        self._joins_next = False
        self._open: set[str] = set()
        self._in_address = False

    def put(self, word: str) -> str:
        """Return the word, with a space before it where one belongs."""
        if word == "\n":
            self.__init__()  # type: ignore[misc]
            return word
        joined = self._before == "\n" or self._joins_next or self._joins(word)
        self._joins_next = self._will_join_next(word)
        self._in_address = self._stays_in_address(word)
        if word in QUOTES:
            self._open ^= {word}
        self._second_before, self._before = self._before, word
        return word if joined else " " + word

    def _joins(self, word: str) -> bool:
        """Return whether the word follows the one before it without a space."""
        before = self._before
        return (
            word in CLOSING
            or word in JOINING
            or word in CLITICS
            or (before, word) in CUT_WORDS
            or (word == "-" and before[-1].isalnum())
            or (word in QUOTES and self._closes(word))
            or (word == "+" == before)
            or (word[0] == REPLACEMENT == before[-1])
            or (before == "," and self._second_before[-1].isdigit() and bool(_THOUSANDS.match(word)))
            or (self._in_address and (word in IN_ADDRESS or before in IN_ADDRESS))
            or (word == ">" and self._second_before in ("<", "/"))
        )

    def _closes(self, quote: str) -> bool:
        # A plural's possessive ends in an apostrophe that opens no quotation: the dogs' tails.
        owns = self._before[-1] == "s" and self._before not in NO_OWNERS
        return quote in self._open or (quote == "'" and owns)

    def _will_join_next(self, word: str) -> bool:
        after_number = self._before[-1].isdigit()
        return (
            word in OPENING
            or word in JOINING
            or word in ELIDED
            or word == "<"
            or (word == "-" and (self._before[-1].isalnum() or self._before == "\n"))
            or (word in CURRENCIES and not after_number)
            or (word in QUOTES and not self._closes(word) and not (word == "*" and after_number))
        )

    def _stays_in_address(self, word: str) -> bool:
        # Web addresses have no spaces: from "://" on, until a word follows a word.
        if word == "//" and self._before == ":":
            return True
        return self._in_address and (word in IN_ADDRESS or self._before in IN_ADDRESS)
