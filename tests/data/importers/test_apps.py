"""Telegram's, Discord's and Slack's exports: what is a message, whose it is, and how it reads."""

import io
import json
from typing import Any

import pytest

from understudy.data.importers import discord, slack, telegram
from understudy.data.importers.clean import Cleaner
from understudy.data.importers.messages import ChatMessage, Reason
from understudy.data.json_stream import JsonReader

Found = list[ChatMessage | Reason]


def reader_of(value: Any) -> JsonReader:
    return JsonReader(io.StringIO(json.dumps(value)))


def shown(found: Found) -> list[Any]:
    return [(one.name, one.text) if isinstance(one, ChatMessage) else one for one in found]


TELEGRAM = {
    "id": 1,
    "type": "message",
    "date": "2024-03-12T18:05:11",
    "date_unixtime": "1710263111",
    "from": "Ada",
    "from_id": "user1",
    "text": "hi",
}


def read_telegram(*messages: Any, kind: str = "personal_chat") -> Found:
    return list(telegram.read(reader_of({"name": "x", "type": kind, "id": 1, "messages": messages}), Cleaner()))


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({}, ("Ada", "hi")),
        ({"text": ["see ", {"type": "bold", "text": "this"}, "!"]}, ("Ada", "see this!")),
        ({"text": ["at ", {"type": "link", "text": "ada.example"}]}, ("Ada", "at [link]")),
        ({"text": [{"type": "text_link", "text": "my page", "href": "https://x.org"}]}, ("Ada", "my page")),
        ({"text": [{"type": "phone", "text": "112"}, " now"]}, ("Ada", "[phone] now")),
        ({"text": [{"type": "bank_card", "text": "4111"}, " x"]}, ("Ada", "[phone] x")),
        ({"text": [{"type": "link", "text": "ada.example"}]}, Reason.ONLY_REDACTED),
        ({"text": [{"type": "custom_emoji", "text": "🙂", "document_id": "x"}]}, ("Ada", "🙂")),
        ({"text": [7, None, "x"]}, ("Ada", "x")),
        ({"text": "", "photo": "x.jpg"}, Reason.MEDIA),
        ({"text": "", "media_type": "sticker", "sticker_emoji": "🙂"}, Reason.MEDIA),
        ({"text": "look", "photo": "x.jpg"}, ("Ada", "look")),
        ({"text": ""}, Reason.EMPTY),
        ({"text": "  \u200e "}, Reason.ONLY_REDACTED),
        ({"type": "service", "actor": "Ada", "action": "phone_call"}, Reason.SERVICE),
        ({"type": "unsupported"}, Reason.SERVICE),
        ({"forwarded_from": "News"}, Reason.FORWARDED),
        ({"forwarded_from": None}, Reason.FORWARDED),
        ({"via_bot": "@gif"}, Reason.BOTS),
        ({"from": None}, ("user1", "hi")),
        ({"from_id": None}, ("Ada", "hi")),
        ({"from_id": 4294967297}, ("Ada", "hi")),
        ({"from": None, "from_id": None}, Reason.MALFORMED),
        ({"text": {"a": 1}}, Reason.MALFORMED),
        ({"text": None}, Reason.MALFORMED),
        ({"date": "x", "date_unixtime": None}, Reason.IMPOSSIBLE_DATE),
        ({"date_unixtime": "99999999999"}, Reason.IMPOSSIBLE_DATE),
        ({"date_unixtime": "nan"}, ("Ada", "hi")),
        ({"text": "x" * 100_001}, Reason.TOO_LONG),
        ({"edited": "2024-03-12T18:06:11"}, ("Ada", "hi")),
    ],
)
def test_telegram_messages(change: dict[str, Any], expected: Any) -> None:
    assert shown(read_telegram(TELEGRAM | change)) == [expected]


def test_telegram_s_exports_of_accounts_hold_chats_apart() -> None:
    chat = {"name": None, "type": "private_group", "id": 1, "messages": [TELEGRAM]}
    bot = chat | {"type": "bot_chat"}
    export = {
        "about": "x",
        "contacts": {"list": [{"messages": [TELEGRAM]}]},
        "chats": {"about": "y", "list": [chat, chat, bot]},
        "left_chats": {"list": [chat]},
    }
    found = list(telegram.read(reader_of(export), Cleaner()))
    assert len({one.chat for one in found if isinstance(one, ChatMessage)}) == 3
    assert shown(found) == [("Ada", "hi"), ("Ada", "hi"), Reason.BOTS, ("Ada", "hi")]


def test_telegram_times_are_absolute() -> None:
    (said,) = read_telegram(TELEGRAM)
    assert isinstance(said, ChatMessage)
    assert said.time == 1710263111.0


def test_telegram_elements_that_are_no_messages() -> None:
    assert shown(read_telegram(1, None, [TELEGRAM], TELEGRAM)) == [
        Reason.MALFORMED,
        Reason.MALFORMED,
        Reason.MALFORMED,
        ("Ada", "hi"),
    ]


AUTHOR = {"id": "111", "name": "ada_l", "discriminator": "0000", "nickname": "Ada", "isBot": False}
DISCORD = {
    "id": "1",
    "type": "Default",
    "timestamp": "2023-01-17T19:33:19.087+00:00",
    "content": "hi",
    "author": AUTHOR,
    "attachments": [],
    "mentions": [{"id": "222", "name": "bob", "nickname": "Bob"}],
}


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({}, ("Ada", "hi")),
        ({"type": "Reply", "reference": {"messageId": "7"}}, ("Ada", "hi")),
        ({"type": "19"}, ("Ada", "hi")),
        ({"type": "GuildMemberJoin", "content": "Joined the server."}, Reason.SERVICE),
        ({"type": "Call"}, Reason.SERVICE),
        ({"author": AUTHOR | {"isBot": True}}, Reason.BOTS),
        ({"author": AUTHOR | {"nickname": None}}, ("ada_l", "hi")),
        ({"author": {"id": "111"}}, ("111", "hi")),
        ({"author": None}, Reason.MALFORMED),
        ({"author": {"name": "x"}}, Reason.MALFORMED),
        ({"content": None}, Reason.MALFORMED),
        ({"content": "", "attachments": [{"url": "https://x"}]}, Reason.MEDIA),
        ({"content": "", "stickers": [{"name": "x"}]}, Reason.MEDIA),
        ({"content": "look", "attachments": [{"url": "https://x"}]}, ("Ada", "look")),
        ({"content": " "}, Reason.EMPTY),
        ({"content": "https://example.org", "embeds": [{}]}, Reason.ONLY_REDACTED),
        ({"content": "", "forwardedMessage": {"content": "x"}}, Reason.FORWARDED),
        ({"content": "<@222> <@!222> <@333> <:wave:123> <a:hop:1>"}, ("Ada", "@Bob @Bob @someone :wave: :hop:")),
        ({"content": "at <t:1700000000:R> in <#7>"}, ("Ada", "at  in")),
        ({"content": "<@222>", "mentions": None}, ("Ada", "@someone")),
        ({"timestamp": "soon"}, Reason.IMPOSSIBLE_DATE),
        ({"timestamp": None}, Reason.IMPOSSIBLE_DATE),
        ({"timestamp": "1889-01-01T00:00:00Z"}, Reason.IMPOSSIBLE_DATE),
        ({"content": "x" * 100_001}, Reason.TOO_LONG),
    ],
)
def test_discord_messages(change: dict[str, Any], expected: Any) -> None:
    export = {"guild": {}, "channel": {}, "messages": [DISCORD | change], "messageCount": 1}
    assert shown(list(discord.read(reader_of(export), Cleaner()))) == [expected]


def test_discord_times_have_zones() -> None:
    zoned = [DISCORD | {"timestamp": text} for text in ("2023-01-17T19:33:19Z", "2023-01-17T21:33:19.0000000+02:00")]
    first, second = discord.read(reader_of({"messages": zoned}), Cleaner())
    assert isinstance(first, ChatMessage)
    assert isinstance(second, ChatMessage)
    assert first.time == second.time


SLACK = {"type": "message", "user": "U1", "text": "hi", "ts": "1355517523.000005"}
NAMES = {"U1": "Ada", "U2": "Bob"}


def read_slack(message: Any) -> Found:
    return list(slack.read(reader_of([message]), Cleaner(), "general", NAMES, {"U9"}))


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({}, ("Ada", "hi")),
        ({"text": "<@U2> &lt;3 &amp;amp; <@U7|zoe> <@U8>"}, ("Ada", "@Bob <3 &amp; @zoe @someone")),
        ({"text": "<#C1|random> <#C2> <!here> <!subteam^S1|@team> <!subteam^S1>"},
         ("Ada", "#random #channel @here @team @subteam")),
        ({"text": "<!date^1392734382^{date}|18 February>"}, ("Ada", "18 February")),
        ({"text": "see <https://example.org/a|my page> and <https://example.org>"}, ("Ada", "see my page and [link]")),
        ({"text": "x <http://ada.example|ada.example>"}, ("Ada", "x [link]")),
        ({"text": "x <mailto:a@b.org|a@b.org> <tel:112|112>"}, ("Ada", "x [email] [phone]")),
        ({"text": "x <mailto:a@b.org|write to me>"}, ("Ada", "x [email]")),
        ({"text": "<https://example.org>"}, Reason.ONLY_REDACTED),
        ({"subtype": "channel_join"}, Reason.SERVICE),
        ({"subtype": "channel_topic"}, Reason.SERVICE),
        ({"subtype": "message_changed"}, Reason.SERVICE),
        ({"subtype": "thread_broadcast"}, ("Ada", "hi")),
        ({"subtype": "me_message"}, ("Ada", "hi")),
        ({"subtype": "bot_message", "username": "ci"}, Reason.BOTS),
        ({"bot_id": "B1"}, Reason.BOTS),
        ({"user": "U9"}, Reason.BOTS),
        ({"subtype": "tombstone"}, Reason.DELETED),
        ({"subtype": "message_deleted"}, Reason.DELETED),
        ({"edited": {"user": "U1", "ts": "1355517536.000001"}}, ("Ada", "hi")),
        ({"text": "", "files": [{"id": "F1"}]}, Reason.MEDIA),
        ({"text": ""}, Reason.EMPTY),
        ({"user": "U5", "user_profile": {"display_name": "", "real_name": "Eve"}}, ("Eve", "hi")),
        ({"user": "U5"}, ("U5", "hi")),
        ({"user": None}, Reason.MALFORMED),
        ({"text": None}, Reason.MALFORMED),
        ({"ts": "x"}, Reason.IMPOSSIBLE_DATE),
        ({"ts": None}, Reason.IMPOSSIBLE_DATE),
        ({"text": "x" * 100_001}, Reason.TOO_LONG),
    ],
)  # fmt: skip
def test_slack_messages(change: dict[str, Any], expected: Any) -> None:
    assert shown(read_slack(SLACK | change)) == [expected]


def test_slack_threads_are_chats_of_their_own_with_what_they_answer() -> None:
    thread = {"thread_ts": "1355517523.000005"}
    chats = [
        one.chat
        for change in ({}, thread, thread)
        for one in read_slack(SLACK | change)
        if isinstance(one, ChatMessage)
    ]
    assert chats[0] != chats[1] == chats[2]


def test_slack_elements_that_are_no_messages() -> None:
    assert shown(read_slack(7)) == [Reason.MALFORMED]
