"""Laws that hold for every export of every app: nothing lost, nothing that was redacted kept, order, no leaks."""

import json
import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from rich.console import Console

from understudy.data.conversations import read_conversations
from understudy.data.files import Report
from understudy.errors import UserError
from understudy.recipes import import_chats

from .exports import (
    BOT,
    MINUTE,
    PEOPLE,
    SECRETS,
    START,
    Event,
    histories,
    kept,
    whatsapp_styles,
    write_discord,
    write_slack,
    write_telegram,
    write_whatsapp,
)

HOURS = 4.001  # no gap is near this, whatever tells times of one moment apart
SILENCE = timedelta(hours=HOURS)
MARK = re.compile(r"mark\d+x")
Talk = list[tuple[str, str]]


def imported(folder: Path, *paths: Path, **options: object) -> tuple[list[Talk], list[Talk], str]:
    """The (role, content) pairs of the two files that an import writes, and what it says."""
    with (folder / "said").open("w") as said:
        console = Console(file=said, width=200)
        config = import_chats.Config(tuple(map(str, paths)), (BOT,), out=str(folder / "out"), silence=HOURS, **options)  # type: ignore[arg-type]
        import_chats.main(config, console)
    files = [path for path in config.written if path.exists()]
    report = Report()
    strictly_read = list(read_conversations(files, report, strict=True))
    assert report.problems == []
    talks = [[(message.role, message.content) for message in one.messages] for one in strictly_read]
    trained = len(config.written[0].read_text().splitlines())
    return talks[:trained], talks[trained:], (folder / "said").read_text()


def check_laws(folder: Path, chats: Sequence[Sequence[Event]], paths: Sequence[Path], share: float) -> None:
    """Everything that must hold of an import of these chats, in which each event has a mark of its own."""
    events = {event.mark: event for events in chats for event in events}
    expected = [talk for events in chats for talk in kept(events, SILENCE)]
    if not expected:
        with pytest.raises(UserError, match=r"nothing to learn from|no conversation is left|no speaker is called"):
            imported(folder, *paths, valid_share=share)
        assert not list(folder.glob("out*"))
        return
    train, valid, said = imported(folder, *paths, valid_share=share)
    written = [[mark for _, content in talk for mark in MARK.findall(content)] for talk in train + valid]
    # Each conversation is whole, in its order, and there once; and nothing else is there.
    whole = [[event.mark for event in talk] for talk in expected]
    assert all(talk in whole for talk in written)
    assert len({talk[0] for talk in written}) == len(written)
    check_split([[events[mark] for mark in talk] for talk in written], len(train), expected, share)
    check_texts(train + valid, events)
    # Every message is accounted for.
    title = re.search(r"What became of ([\d,]+) message", said)
    assert title
    total = int(title[1].replace(",", ""))
    assert total == sum(
        int(n.replace(",", "")) for n in re.findall(r"^ *([\d,]+) +(?:to|left out)\b", said, re.MULTILINE)
    )
    assert total >= sum(event.kind == "said" for event in events.values())


def check_split(written: list[list[Event]], trained: int, expected: list[list[Event]], share: float) -> None:
    """Validation is strictly later than training, and only what lies across the cut is in neither."""
    train, valid = written[:trained], written[trained:]
    assert train
    starts = [talk[0].time for talk in train], [talk[0].time for talk in valid]
    assert all(times == sorted(times) for times in starts)
    if not valid:
        assert len(train) == len(expected)
        return
    assert share > 0
    cut = starts[1][0]
    assert max(event.time for talk in train for event in talk) < cut
    across = [talk for talk in expected if talk not in written]
    assert all(talk[0].time < cut <= talk[-1].time for talk in across)
    assert len(valid) >= max(1, round(share * len(expected)))


def check_texts(talks: list[Talk], events: dict[str, Event]) -> None:
    """What each said stands under the right role, with its name where several speak, and without what is redacted."""
    secrets = [secret for some in SECRETS.values() for secret in some]
    for talk in talks:
        others = {events[mark].speaker for _, content in talk for mark in MARK.findall(content)} - {BOT}
        for role, content in talk:
            assert not any(secret in content for secret in secrets), content
            said = [events[mark] for mark in MARK.findall(content)]
            assert {event.speaker == BOT for event in said} == {role == "assistant"}
            assert all(event.kind == "said" for event in said)
            for event in said:
                placeholder = f" [{event.secret[0]}]" if event.secret else ""
                assert f"{event.mark} {event.words}".strip() + placeholder in content
            if role == "user" and len(others) > 1:
                name = "[phone]" if said[0].speaker.startswith("+") else said[0].speaker
                assert content.startswith(f"{name}: {said[0].mark}")


def exchange(*minutes: float) -> list[Event]:
    """What the bot and another say in turn, so many minutes after the start."""
    return [Event(START + m * MINUTE, PEOPLE[n % 2], "said", f"mark{n}x") for n, m in enumerate(minutes)]


law = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
shares = st.sampled_from([0.0, 0.1, 0.5])


@law
@given(events=histories(), style=whatsapp_styles, share=shares)
def test_whatsapp(tmp_path_factory: pytest.TempPathFactory, events: list[Event], style: object, share: float) -> None:
    folder = tmp_path_factory.mktemp("whatsapp")
    check_laws(folder, [events], [write_whatsapp(folder, events, style)], share)  # type: ignore[arg-type]


@law
@given(chats=st.lists(histories(), min_size=1, max_size=3), marked=st.booleans(), share=shares)
def test_telegram(
    tmp_path_factory: pytest.TempPathFactory, chats: list[list[Event]], marked: bool, share: float
) -> None:
    folder = tmp_path_factory.mktemp("telegram")
    chats = [[rename(event, number) for event in events] for number, events in enumerate(chats)]
    check_laws(folder, chats, [write_telegram(folder, chats, marked)], share)


@law
@given(events=histories(), newest_first=st.booleans(), share=shares)
def test_discord(
    tmp_path_factory: pytest.TempPathFactory, events: list[Event], newest_first: bool, share: float
) -> None:
    folder = tmp_path_factory.mktemp("discord")
    if newest_first:  # of one moment, the order cannot be told
        events = told_apart(events, timedelta(milliseconds=1))
    check_laws(folder, [events], [write_discord(folder, events, newest_first)], share)


@law
@given(events=histories(), zipped=st.booleans(), share=shares)
def test_slack(tmp_path_factory: pytest.TempPathFactory, events: list[Event], zipped: bool, share: float) -> None:
    folder = tmp_path_factory.mktemp("slack")
    events = told_apart(events, timedelta(microseconds=1))
    check_laws(folder, [events], [write_slack(folder, events, zipped)], share)


@settings(law, max_examples=20)
@given(chats=st.lists(histories(), min_size=2, max_size=3), share=shares)
# Slack's conversation begins a microsecond after WhatsApp's second one, which goes on while it begins.
@example(chats=[exchange(0, 0, 300, 301), exchange(0), exchange(0, 300, 300)], share=0.1)
def test_several_apps_at_once(tmp_path_factory: pytest.TempPathFactory, chats: list[list[Event]], share: float) -> None:
    folder = tmp_path_factory.mktemp("several")
    chats = [[rename(event, number) for event in events] for number, events in enumerate(chats)]
    chats[2:] = [told_apart(events, timedelta(microseconds=1)) for events in chats[2:]]
    writers: list[Callable[[Path, list[Event]], Path]] = [write_whatsapp, write_discord, write_slack]
    paths = [write(folder, events) for write, events in zip(writers, chats, strict=False)]
    check_laws(folder, chats, paths, share)


def rename(event: Event, number: int) -> Event:
    return replace(event, mark=f"mark{number}{event.mark[4:]}")


def told_apart(events: Sequence[Event], step: timedelta) -> list[Event]:
    """The events, each later by one step more than the one before, as where an app gives no two the same time."""
    return [replace(event, time=event.time + number * step) for number, event in enumerate(events)]


def test_what_begins_at_the_cut_is_held_out_and_what_ends_there_is_dropped(tmp_path: Path) -> None:
    chats = [exchange(0, 0), exchange(299, 299), exchange(299, 300), exchange(300, 300), exchange(300, 301)]
    chats = [[rename(event, number) for event in events] for number, events in enumerate(chats)]
    train, valid, _ = imported(tmp_path, write_telegram(tmp_path, chats), valid_share=0.2)
    assert [talk[0][1] for talk in train] == ["mark00x", "mark10x"]
    assert [talk[0][1] for talk in valid] == ["mark30x", "mark40x"]


def test_what_is_kept_when_asked_is_kept(tmp_path: Path) -> None:
    said = enumerate(zip([BOT, PEOPLE[1], BOT], SECRETS, strict=True))
    events = [Event(START, who, "said", f"mark{n}x", "", (kind, SECRETS[kind][0])) for n, (who, kind) in said]
    keep = {"keep_emails": True, "keep_phones": True, "keep_links": True}
    train, _, _ = imported(tmp_path, write_whatsapp(tmp_path, events), **keep)
    text = json.dumps(train, ensure_ascii=False)
    assert all(SECRETS[kind][0] in text for kind in SECRETS)
