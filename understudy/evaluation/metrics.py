"""Metrics of replies: overlap with the true ones, variety, repetition. Pure functions of texts.

Words are ConvAI2's wherever texts are compared across models, so that no figure depends on a tokenizer.
"""

import re
from collections import Counter
from collections.abc import Iterable, Sequence

import numpy as np

from understudy.statistics import Floats

SPLIT_OFF = re.compile(r"([.,;:!?])")
PUNCTUATION = re.compile(r"[!\"#$%&()*+,\-./:;<=>?@\[\]\\^`{|}~_']")
ARTICLES = re.compile(r"\b(a|an|the)\b")
REPEATED = 3
"""Words in a row that count as a repetition: as many as Paulus (2018) and Roller (2021) keep models from repeating."""


def words(text: str) -> list[str]:
    """Split into lower-case words by ConvAI2's rule: at white space, with . , ; : ! ? each a word of its own.

    The rule is "split_tokenize" of ParlAI's dictionary, with which ConvAI2 counted words for its perplexity.

    >>> words("Hi there, don't you know?")
    ['hi', 'there', ',', "don't", 'you', 'know', '?']
    """
    return SPLIT_OFF.sub(r" \1 ", text.lower()).split()


def plain_words(text: str) -> list[str]:
    """Split into words as ConvAI2 compares them for F1: lower case, punctuation as spaces, without a, an and the.

    >>> plain_words("The cat's on a mat.")
    ['cat', 's', 'on', 'mat']
    """
    return ARTICLES.sub(" ", PUNCTUATION.sub(" ", text.lower())).split()


def f1(reply: str, truth: str) -> float:
    """Return ConvAI2's F1: 2 P R / (P + R), where P and R are the shares of reply and truth that they have in common.

    A word counts as often as it stands in both; without a common word F1 is 0 (Dinan 2019, "The Second Conversational
    Intelligence Challenge"; ParlAI's metrics).

    >>> f1("I like cats and dogs", "I really like the cats")  # 3 of 5 and 3 of 4 words
    0.6666666666666666
    """
    said, true = plain_words(reply), plain_words(truth)
    common = (Counter(said) & Counter(true)).total()
    return 2 * common / (len(said) + len(true)) if common else 0.0


def ngrams(said: Sequence[str], n: int) -> list[tuple[str, ...]]:
    """Return all sequences of n words.

    >>> ngrams(["a", "b", "c"], 2)
    [('a', 'b'), ('b', 'c')]
    """
    return [tuple(said[i : i + n]) for i in range(len(said) - n + 1)]


class Distinct:
    """The number of different n-grams over that of all words (Li 2016), for any part of some conversations' replies.

    Li scales by the number of words for each n; an n-gram does not reach from one reply into the next.

    >>> replies_of_each = [["yes ."], ["yes ."]]
    >>> Distinct(replies_of_each, 1).of(slice(None)), Distinct(replies_of_each, 2).of(slice(None))
    (0.5, 0.25)
    """

    def __init__(self, replies_of_each: Sequence[Sequence[str]], n: int) -> None:
        # An interval takes the figure of many parts, so what each conversation says is counted once for all of them.
        number: dict[tuple[str, ...], int] = {}
        said_of_each = [[words(text) for text in replies] for replies in replies_of_each]
        self._ngrams = np.empty(len(said_of_each), dtype=object)
        for index, said in enumerate(said_of_each):
            found = {number.setdefault(run, len(number)) for text in said for run in ngrams(text, n)}
            self._ngrams[index] = np.array(sorted(found), dtype=np.int64)
        self._sizes = np.array([sum(map(len, said)) for said in said_of_each])
        self._most = len(number)

    def of(self, kept: slice | np.ndarray) -> float:
        """Return the figure of the conversations at these places, each named at most once; 0 without any word."""
        seen = np.zeros(self._most, dtype=np.bool_)
        for runs in self._ngrams[kept]:
            seen[runs] = True
        size = int(self._sizes[kept].sum())
        return int(seen.sum()) / size if size else 0.0


def repeats_itself(reply: str, n: int = REPEATED) -> bool:
    """Return whether a reply says n words in a row twice (See 2019, "What makes a good conversation?": internal).

    >>> repeats_itself("so it is so it is"), repeats_itself("no no no")
    (True, False)
    """
    runs = ngrams(words(reply), n)
    return len(set(runs)) < len(runs)


def repeats_earlier(reply: str, earlier: Iterable[str], n: int = REPEATED) -> bool:
    """Return whether a reply says n words in a row that stand in an earlier one (See 2019: external).

    >>> repeats_earlier("I like it a lot", ["I like it too"]), repeats_earlier("I see", ["I see"])
    (True, False)
    """
    before = {run for text in earlier for run in ngrams(words(text), n)}
    return not before.isdisjoint(ngrams(words(reply), n))


def hit(scores: Floats | Sequence[float]) -> float:
    """Return 1 if the first candidate, the true reply, scores highest, else 0; ties at the top share the hit.

    >>> hit([0.9, 0.1, 0.5]), hit([0.1, 0.9, 0.5]), hit([0.5, 0.5, 0.1])
    (1.0, 0.0, 0.5)
    """
    values = np.asarray(scores, dtype=np.float64)
    best = values == values.max()
    return float(best[0] / best.sum())
