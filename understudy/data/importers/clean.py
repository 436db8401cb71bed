"""Removes invisible marks from texts, and replaces what leads to a person by placeholders."""

import re
import unicodedata
from collections import Counter
from collections.abc import Collection
from functools import lru_cache
from typing import Literal

from understudy.console import CONTROL

Kind = Literal["email", "link", "phone"]
KINDS: tuple[Kind, ...] = ("email", "link", "phone")

# Direction marks, soft hyphens, byte order marks and the like; the joiners within emoji and Persian words stay.
MARKS = re.compile("[\u00ad\u061c\u200b\u200e\u200f\u202a-\u202e\u2060-\u2069\ufeff]")
JOINERS_IN_ASCII = re.compile("(?<=[!-~])[\u200c\u200d]+(?=[!-~])")  # where they can only hide what is written
CONTROLS = re.compile(f"[{''.join(map(chr, CONTROL))}\ufdd0-\ufdef]")  # and noncharacters
SURROGATES = re.compile("[\ud800-\udfff]")  # half a character, or an invalid byte
LONGEST_NAME = 200

STOPS = ".,;:!?…)]}'\"»”’"  # at the end of a link they belong to the sentence
LINK = re.compile(
    r"(?:[a-z][a-z0-9+.-]{1,20}://|(?<![a-z0-9@.-])www\.)[^\s<>「」『』，。！？、；：（）]+", re.IGNORECASE
)
# Country names that are words of some language as well (at, in, is, it, me, no, so, to, us) count with a path only.
TOP_LEVEL = (
    "com org net edu gov mil info biz io ai app dev co xyz online shop site store blog tech tv gg ly eu uk de fr es pt "
    "nl ch se dk fi pl cz sk hu ro bg gr ua ru tr jp cn kr tw hk br mx ar cl pe au nz ca za"
)
HOST = re.compile(
    rf"(?<![\w@.-])(?:[\w-]+\.)+(?:(?:{'|'.join(TOP_LEVEL.split())})(?![\w@-])(?:[:/?#]\S*)?|[^\W\d_]{{2,}}/\S+)",
    re.IGNORECASE,
)
DOT_IN_WORD = re.compile(r"\w\.[^\W\d_]{2}")
LOCAL_PART = r"\w.!#$%&'*+/=?^`{|}~-"
EMAIL = re.compile(rf"(?<![{LOCAL_PART}])[{LOCAL_PART}]+[@＠][\w-]+(?:\.[\w-]+)+")
# Seven digits or more, in any grouping.
PHONE = re.compile(r"(?<!\d)\+?\(?\d(?:[ \t\u00a0\u2000-\u200a\u202f()./\-\u2010-\u2015]{0,3}\d){6,}")
DATE = re.compile(
    r"(?<![\d./-])(?:\d{1,2}([./-])\d{1,2}\1(?:19|20)?\d{2}|(?:19|20)\d{2}([./-])\d{1,2}\2\d{1,2}"
    r"|(?:19|20)\d{2}[-/\u2013](?:19|20)\d{2})(?![\d./-])"
)
THOUSANDS = re.compile(r"[1-9]\d{0,2}(?:\.\d{3})+")

PLACEHOLDERS = re.compile(rf"\[(?:{'|'.join(KINDS)})\]")


class Cleaner:
    """Cleans texts and counts what it took out.

    >>> cleaner = Cleaner()
    >>> cleaner.text("mail ada@example.org, call +49 151 2345678 or see https://example.org/ada.")
    'mail [email], call [phone] or see [link].'
    >>> dict(cleaner.redacted)
    {'link': 1, 'email': 1, 'phone': 1}
    """

    def __init__(self, keep: Collection[Kind] = ()) -> None:
        self.keep = frozenset(keep)
        self.redacted: Counter[Kind] = Counter()
        self.broken = 0
        """Texts with bytes or half characters that are invalid in any encoding."""

    def text(self, raw: str) -> str:
        """Return the text without invisible marks, with placeholders for what leads to a person."""
        text = raw
        if not (raw.isascii() and raw.isprintable()):
            text = CONTROLS.sub("", MARKS.sub("", raw.replace("\r\n", "\n")))
            if SURROGATES.search(text):
                self.broken += 1
                text = SURROGATES.sub("\ufffd", text)
            text = JOINERS_IN_ASCII.sub("", text)
        text = text.strip()
        # Quick tests come first: most texts hold none of these.
        if "link" not in self.keep and ("://" in text or "www." in text.lower()):
            text = LINK.sub(self._link, text)
        if "email" not in self.keep and ("@" in text or "＠" in text):
            text = EMAIL.sub(lambda _: self.known("email", ""), text)
        if "link" not in self.keep and DOT_IN_WORD.search(text):
            text = HOST.sub(self._link, text)
        return text if "phone" in self.keep else PHONE.sub(self._phone, text)

    def words(self, raw: str) -> str:
        """Return what `text` does, or "" if only placeholders are left.

        >>> Cleaner().words("ada@example.org"), Cleaner().words("ada@example.org!")
        ('', '[email]!')
        """
        text = self.text(raw)
        return text if PLACEHOLDERS.sub("", text).strip() else ""

    def known(self, kind: Kind, shown: str) -> str:
        """Redact a piece of text that the app itself marks as an address, number or link."""
        if kind in self.keep:
            return shown
        self.redacted[kind] += 1
        return f"[{kind}]"

    def _link(self, found: re.Match[str]) -> str:
        link = found[0].rstrip(STOPS)
        return self.known("link", link) + found[0][len(link) :]

    def _phone(self, found: re.Match[str]) -> str:
        number = found[0]
        # Seven digits or more are a phone number unless they are a date or an amount.
        digits = sum(map(str.isdigit, DATE.sub("", number)))
        is_phone = number.startswith("+") or (digits >= 7 and not THOUSANDS.fullmatch(number))
        return self.known("phone", number) if is_phone else number


@lru_cache(4096)
def clean_name(raw: str) -> str:
    r"""Return a name without invisible marks, on one line. It is not redacted.

    >>> clean_name("\u202a+49\u00a0151 2345678\u202c"), clean_name("~\u202fBob ")
    ('+49 151 2345678', 'Bob')
    """
    name = SURROGATES.sub("\ufffd", CONTROLS.sub(" ", MARKS.sub("", raw)))
    return " ".join(unicodedata.normalize("NFC", name).removeprefix("~").split())[:LONGEST_NAME]
