"""What is redacted, and what is not taken for something to redact."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from understudy.data.importers.clean import Cleaner, clean_name

PASSWORD = "secret"  # apart from the address, so that this file holds nothing that looks like a secret

REDACTED = [
    ("write to ada@example.org please", "write to [email] please"),
    ("ada.lovelace+news@mail.example.co.uk", "[email]"),
    ('<ada@example.org>, "o\'neil@example.ie"', '<[email]>, "[email]"'),
    ("имя@почта.рф", "[email]"),
    ("ada＠example.org", "[email]"),
    ("a\u200bda@exam\u200dple.org", "[email]"),
    ("mailto:ada@example.org", "mailto:[email]"),
    ("https://example.org/a?b=c#d.", "[link]."),
    ("(see http://example.org/a)", "(see [link])"),
    ("HTTPS://EXAMPLE.ORG", "[link]"),
    ("看https://example.cn/a，好", "看[link]，好"),
    (f"https://ada:{PASSWORD}@example.org/", "[link]"),
    ("tg://resolve?domain=ada", "[link]"),
    ("www.example.org/x, youtu.be/abc and bit.ly/xyz!", "[link], [link] and [link]!"),
    ("look at example.com", "look at [link]"),
    ("sub.domain.example.de:8080/x", "[link]"),
    ("+49 151 2345678", "[phone]"),
    ("+1 (555) 123-4567", "[phone]"),
    ("call 555-123-4567 now", "call [phone] now"),
    ("(555) 123-4567", "[phone]"),
    ("06 12 34 56 78", "[phone]"),
    ("0151/2345678", "[phone]"),
    ("0049\u00a0151\u202f2345678", "[phone]"),
    ("٠١٢٣٤٥٦٧٨", "[phone]"),
    ("@4915123456789", "@[phone]"),
    ("12345678", "[phone]"),
    ("4111 1111 1111 1111", "[phone]"),
    ("on 12.03.2024 call 0151 2345678", "on 12.03.2024 call [phone]"),
]
LEFT_ALONE = [
    "at 18:05:11, on 12.03.2024, 2024-03-12 or 12/03/24",
    "from 2019-2024",
    "1.000.000 people, 1,234,567.89 of them",
    "3 apples, 12 pears and 100 plums",
    "me @ home, you @ work",
    "e.g. this, i.e. that... and so on.Then more",
    "see you.me too",
    "version 1.2.3",
    "Family 👨‍👩‍👧",
    "می‌خواهم",
    "[link]s and [phone]s are words too",
]


@pytest.mark.parametrize(("raw", "expected"), REDACTED, ids=[raw for raw, _ in REDACTED])
def test_redacted(raw: str, expected: str) -> None:
    cleaner = Cleaner()
    assert cleaner.text(raw) == expected
    assert cleaner.redacted.total() == expected.count("[")


@pytest.mark.parametrize("raw", LEFT_ALONE)
def test_left_alone(raw: str) -> None:
    cleaner = Cleaner()
    assert cleaner.text(raw) == raw
    assert not cleaner.redacted


@pytest.mark.parametrize(("kind", "raw"), [("email", "a@b.org"), ("phone", "+49 151 2345678"), ("link", "www.x.org")])
def test_each_kind_can_be_kept_alone(kind: str, raw: str) -> None:
    assert Cleaner([kind]).text(raw) == raw  # type: ignore[list-item]
    assert Cleaner([other for other in ("email", "phone", "link") if other != kind]).text(raw) == f"[{kind}]"  # type: ignore[misc]


def test_marks_controls_and_half_characters_go() -> None:
    cleaner = Cleaner()
    assert (
        cleaner.text("\ufeff\u200ehi\u202c \x00\x1b[31mthere\r\nyou \udce9\ud83d") == "hi [31mthere\nyou \ufffd\ufffd"
    )
    assert cleaner.broken == 1


@given(st.text(max_size=60))
def test_cleaned_text_is_clean(raw: str) -> None:
    """What was cleaned once has nothing left to clean, and can be written as UTF-8."""
    text = Cleaner().text(raw)
    text.encode()
    again = Cleaner()
    assert again.text(text) == text
    assert not again.redacted


local = st.text("abcxyz0189._+-'", min_size=1, max_size=20).filter(lambda part: part.strip("._+-'"))
hosts = st.lists(st.text("abcxyz019-", min_size=1, max_size=10), min_size=1, max_size=3)
numbers = st.lists(st.text("0123456789", min_size=3, max_size=4), min_size=3, max_size=4)


@given(before=st.text(max_size=10), name=local, host=hosts, after=st.text(max_size=10))
def test_no_address_gets_through(before: str, name: str, host: list[str], after: str) -> None:
    address = f"{name}@{'.'.join(host)}.org"
    assert address not in Cleaner().text(f"{before} {address} {after}")


@given(
    parts=numbers, between=st.sampled_from([" ", "-", "/", "", "\u00a0", " - "]), plus=st.sampled_from(["", "+", "00"])
)
def test_no_number_gets_through(parts: list[str], between: str, plus: str) -> None:
    number = plus + between.join(parts)
    assert number not in Cleaner().text(f"my number is {number}, or so")


@pytest.mark.parametrize(
    "piece", ["a", "a.", "a@", "1 ", "1-", "http://", "www.", "a.b/", "+(", ".", "@", "\u200d", "1.1/"]
)
def test_hostile_text_takes_linear_time(piece: str) -> None:
    began = time.process_time()
    Cleaner().text(piece * (100_000 // len(piece)))
    assert time.process_time() - began < 2


def test_names() -> None:
    assert clean_name("~\u202f\u2068Zoe\u0308\u2069 \n the\tfirst") == "Zoë the first"
    assert len(clean_name("x" * 1000)) == 200
