"""WhatsApp's files in all their shapes."""

import time
from collections import Counter

import pytest

from understudy.data.importers import whatsapp
from understudy.data.importers.clean import Cleaner
from understudy.data.importers.messages import ChatMessage, Reason, parse_time


def read(text: str, dates: whatsapp.Dates = "auto", names: tuple[str, ...] = ()) -> list[tuple[str, str] | str]:
    """(name, text) of what was said, and the reasons for the rest."""
    lines = text.splitlines(keepends=True)
    found = whatsapp.read(lines, whatsapp.survey(lines, dates, names), Cleaner())
    return [(one.name, one.text) if isinstance(one, ChatMessage) else one for one in found]


def times(text: str, dates: whatsapp.Dates = "auto") -> list[str]:
    lines = text.splitlines(keepends=True)
    found = whatsapp.read(lines, whatsapp.survey(lines, dates), Cleaner())
    return [time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(one.time)) for one in found if isinstance(one, ChatMessage)]


AFTERNOON = "2024-03-12 18:05:00"
HEADERS = [
    ("[12.03.24, 18:05:11] Ada: hi", "2024-03-12 18:05:11", "day-first"),
    ("12/03/2024, 18:05 - Ada: hi", AFTERNOON, "day-first"),
    ("3/12/24, 6:05 PM - Ada: hi", AFTERNOON, "month-first"),
    ("[3/12/24, 6:05:11\u202fPM] Ada: hi", "2024-03-12 18:05:11", "month-first"),
    ("\u200e[12/03/24, 18:05:11] \u200eAda: hi", "2024-03-12 18:05:11", "day-first"),
    ("12/3/2024, 6:05 p.\u00a0m. - Ada: hi", AFTERNOON, "day-first"),
    ("12/3/24 18:05 - Ada: hi", AFTERNOON, "day-first"),
    ("12.03.2024 kl. 18.05 - Ada: hi", AFTERNOON, "day-first"),
    ("12/03/2024 à 18:05 - Ada: hi", AFTERNOON, "day-first"),
    ("12-03-2024 18:05 - Ada: hi", AFTERNOON, "day-first"),
    ("2024-03-12, 18:05 - Ada: hi", AFTERNOON, "auto"),
    ("2024/03/12, 18:05 - Ada: hi", AFTERNOON, "auto"),
    ("2024. 03. 12. 18:05 - Ada: hi", AFTERNOON, "auto"),
    ("[2024. 3. 12. 오후 6:05:11] Ada: hi", "2024-03-12 18:05:11", "auto"),
    ("2024/3/12 下午6:05 - Ada: hi", AFTERNOON, "auto"),
    ("\u200f12\u200f/3\u200f/2024, 6:05 م - Ada: hi", AFTERNOON, "day-first"),
    ("١٢/٣/٢٠٢٤، ٦:٠٥ م - Ada: hi", AFTERNOON, "day-first"),
    ("12/03/2024, 12:05 AM - Ada: hi", "2024-03-12 00:05:00", "day-first"),
    ("12/03/2024, 12:05 pm – Ada: hi", "2024-03-12 12:05:00", "day-first"),
]


@pytest.mark.parametrize(("line", "expected", "dates"), HEADERS, ids=[line for line, _, _ in HEADERS])
def test_dates_of_many_phones(line: str, expected: str, dates: whatsapp.Dates) -> None:
    assert times(line, dates) == [expected]
    assert read(line, dates) == [("Ada", "hi")]


ORDERS = [
    (["9/3/24", "13/3/24"], "day-first", "no other reading", True),
    (["3/9/24", "3/13/24"], "month-first", "no other reading", True),
    (["1/2/24", "5/2/24", "2/3/24", "8/3/24"], "day-first", "follow one another", True),
    (["2/1/24", "2/5/24", "3/2/24", "3/8/24"], "month-first", "follow one another", True),
    (["3/9/24"], "day-first", "--dates", False),
    (["2024-03-09", "2024-04-01"], "year-first", "begin with the year", True),
    (["13/3/24", "14/3/24", "3/14/24"], "day-first", "no other reading", True),
]


@pytest.mark.parametrize(("dates", "order", "why", "certain"), ORDERS)
def test_the_whole_file_tells_days_from_months(dates: list[str], order: str, why: str, certain: bool) -> None:
    about = whatsapp.survey([f"{date}, 18:05 - Ada: hi\n" for date in dates])
    assert about.order == order
    assert why in about.why
    assert about.certain == certain


def test_an_american_phone_is_known_by_its_style_where_nothing_else_tells() -> None:
    about = whatsapp.survey(["3/9/24, 6:05 PM - Ada: hi\n"])
    assert (about.order, about.certain) == ("month-first", False)


def test_lines_that_go_on_belong_to_the_message() -> None:
    text = "12/03/2024, 18:05 - Ada: one\n\ntwo: 3\n[12.03.24, 18:05:11] Bob: pasted\n12/03/2024, 18:06 - Bob: yes\n"
    assert read(text) == [("Ada", "one\n\ntwo: 3\n[12.03.24, 18:05:11] Bob: pasted"), ("Bob", "yes")]


ANDROID = [
    ("Ada: <Media omitted>", Reason.MEDIA),
    ("Ada: <Medien ausgeschlossen>", Reason.MEDIA),
    ("Ada: <メディアなし>", Reason.MEDIA),
    ("Ada: <ไฟล์สื่อถูกลบ>", Reason.MEDIA),
    ("Ada: <المحتوى غير مضمن>", Reason.MEDIA),
    ("Ada: null", Reason.MEDIA),
    ("Ada: IMG-20240312-WA0001.jpg (file attached)", Reason.MEDIA),
    ("Ada: \u200eIMG-20240312-WA0001.jpg (anything there)", Reason.MEDIA),
    ("Ada: My report.pdf (Datei angehängt)", Reason.MEDIA),
    ("Ada: location: https://maps.google.com/?q=1.5,2.5", Reason.MEDIA),
    ("Ada: This message was deleted", Reason.DELETED),
    ("Ada: Du hast diese Nachricht gelöscht.", Reason.DELETED),
    ("Ada: このメッセージは削除されました", Reason.DELETED),
    ("Ada: ", Reason.EMPTY),
    ("Ada:", Reason.EMPTY),
    ("Ada: \u200e", Reason.EMPTY),
    ("Ada: https://example.org", Reason.ONLY_REDACTED),
    ("Messages and calls are end-to-end encrypted. Tap to learn more.", Reason.SERVICE),
    ("Ada added Bob", Reason.SERVICE),
    ("Ada changed the subject to “Re: lunch”", Reason.SERVICE),
    ('Ada created group "Work: all of us"', Reason.SERVICE),
    ("Ada changed the group description to: hello", Reason.SERVICE),
    ("Ada: IMG-20240312-WA0001.jpg (file attached)\nlook at this", ("Ada", "look at this")),
    ("Ada: hello <This message was edited>", ("Ada", "hello")),
    ("Ada: hallo <Diese Nachricht wurde bearbeitet.>", ("Ada", "hallo")),
    ("Ada: <sigh>", ("Ada", "<sigh>")),
    ("Ada: I think this message was deleted", ("Ada", "I think this message was deleted")),
    ("Ada: the image omitted a lot", ("Ada", "the image omitted a lot")),
    ("Ada: a: b: c", ("Ada", "a: b: c")),
    ("Ada: at 18:05 - Bob: came", ("Ada", "at 18:05 - Bob: came")),
    ("Bob 🎉🎉: hi", ("Bob 🎉🎉", "hi")),
    ("\u202a+49\u00a0151\u00a02345678\u202c: hi", ("+49 151 2345678", "hi")),
]


@pytest.mark.parametrize(("rest", "expected"), ANDROID, ids=[rest for rest, _ in ANDROID])
def test_what_android_writes(rest: str, expected: object) -> None:
    before = "12/03/2024, 18:00 - Ada: hello\n" * 3
    assert read(f"{before}12/03/2024, 18:05 - {rest}\n")[3:] == [expected]


IPHONE = [
    ("Ada: \u200eimage omitted", Reason.MEDIA),
    ("Ada: \u200eBild weggelassen", Reason.MEDIA),
    ("Ada: \u200e<attached: 00000012-PHOTO-2024-03-12.jpg>", Reason.MEDIA),
    ("Ada: \u200eThis message was deleted.", Reason.DELETED),
    ("Ada: \u200eMissed voice call", Reason.SERVICE),
    ("Family: \u200eAda created this group", Reason.SERVICE),
    ("Ada: \u200eكلام من التطبيق نفسه", Reason.SERVICE),
    ("Ada: look \u200eimage omitted", ("Ada", "look")),
    ("Ada: look \u200e<attached: 00000012-PHOTO.jpg>", ("Ada", "look")),
    ("Ada: hello \u200e<This message was edited>", ("Ada", "hello")),
    ("Ada: salut \u200e<Ce message a été modifié>", ("Ada", "salut")),
    ("~\u202fAda L.: hi", ("Ada L.", "hi")),
    ("Ada: שלום \u200fלך", ("Ada", "שלום לך")),
    ("Ada: @\u2068Bob\u2069 hi", ("Ada", "@Bob hi")),
]


@pytest.mark.parametrize(("rest", "expected"), IPHONE, ids=[rest for rest, _ in IPHONE])
def test_what_iphones_write(rest: str, expected: object) -> None:
    assert read(f"\u200e[12.03.24, 18:05:11] {rest}\r\n") == [expected]


def test_a_name_with_a_colon_is_told_by_the_whole_file() -> None:
    lines = ["Work: Bob: one", "Work: Eve: two", "Ada: note: three", "Ada: four", "Ops: on call: five"] * 3
    text = "".join(f"12/03/2024, 18:05 - {line}\n" for line in lines)
    names = Counter(name for name, _ in read(text))
    assert names == {"Work: Bob": 3, "Work: Eve": 3, "Ada": 6, "Ops: on call": 3}


def test_a_name_with_a_colon_may_be_said_beforehand() -> None:
    text = "12/03/2024, 18:05 - Work: Bob: one\n12/03/2024, 18:05 - Work: two\n"
    assert read(text, names=("Work: Bob",)) == [("Work: Bob", "one"), ("Work", "two")]
    assert read(text) == [("Work", "Bob: one"), ("Work", "two")]


@pytest.mark.parametrize("date", ["31.02.2024", "99.99.9999", "00.00.2024", "12.03.2999", "12.03.1970"])
def test_impossible_dates_cost_their_message_alone(date: str) -> None:
    text = f"13.03.2024, 18:05 - Ada: one\n{date}, 18:05 - Ada: lost\nand lost\n13.03.2024, 18:06 - Ada: two\n"
    assert read(text) == [("Ada", "one"), Reason.IMPOSSIBLE_DATE, ("Ada", "two")]


def test_impossible_hours() -> None:
    assert read("13.03.2024, 25:05 - Ada: one\n") == [Reason.IMPOSSIBLE_DATE]


def test_clocks_that_go_back_a_little_change_no_order() -> None:
    lines = ["27.10.24, 02:59 - A: a", "27.10.24, 02:01 - B: b", "27.10.24, 03:30 - A: c", "20.10.24, 09:00 - B: d"]
    assert times("\n".join(lines)) == [
        "2024-10-27 02:59:00",
        "2024-10-27 02:59:00",
        "2024-10-27 03:30:00",
        "2024-10-20 09:00:00",
    ]


def test_a_message_without_end_is_left_out_and_not_held() -> None:
    text = "12/03/2024, 18:05 - Ada: " + "endless " * 50_000 + "\nmore\n12/03/2024, 18:06 - Bob: hi\n"
    assert read(text) == [Reason.TOO_LONG, ("Bob", "hi")]


def test_lines_before_the_first_message_are_passed_over() -> None:
    assert read("Chat with Ada\n\n12/03/2024, 18:05 - Ada: hi\n") == [("Ada", "hi")]


def test_iso_times_of_all_zones() -> None:
    same = {
        parse_time(text) for text in ("2024-03-12T18:05:00Z", "2024-03-12T20:05:00.000+02:00", "2024-03-12T18:05:00")
    }
    assert same == {1710266700.0}
