"""Exports: what was flagged and rewritten, as finetune and DPO read it."""

import json

import pytest

from understudy.data.conversations import Message, conversation_to_json, read_conversations
from understudy.data.files import Report
from understudy.serving.conversations import ConversationStore
from understudy.serving.feedback import good_conversations, preference_pairs, shown_conversation


@pytest.fixture
def tell(tmp_path):
    """Makes a conversation of `(name, parent's name, role, text, flag, rewrite)` lines."""
    store = ConversationStore(tmp_path / "conversations.sqlite")

    def tell(*lines, system=""):
        conversation = store.create("ann", "", system).id
        ids = {None: None}
        for name, parent, role, text, *judged in lines:
            ids[name] = store.append("ann", conversation, ids[parent], role, text).id
            flag, rewrite = (*judged, None, None)[:2]
            store.judge("ann", conversation, ids[name], flag=flag, rewrite=rewrite)
        return store.read("ann", conversation)

    yield tell
    store.close()


def texts(conversations):
    return [[message.content for message in one.messages] for one in conversations]


HI = ("hi", None, "user", "Hi")


def test_only_good_and_rewritten_replies_are_learned_from_with_what_led_to_them(tell):
    told = tell(
        HI,
        ("plain", "hi", "assistant", "plain"),
        ("good", "hi", "assistant", "good", "good"),
        ("bad", "hi", "assistant", "bad", "bad"),
        ("rewritten", "hi", "assistant", "worse", "bad", "better"),
        ("more", "good", "user", "more"),
        ("unjudged", "more", "assistant", "unjudged"),
    )
    assert texts(good_conversations(told)) == [["Hi", "good"], ["Hi", "better"]]


def test_a_longer_path_holds_the_shorter_one_and_none_leads_through_a_bad_reply(tell):
    told = tell(
        HI,
        ("a", "hi", "assistant", "a", "good"),
        ("b", "a", "user", "b"),
        ("c", "b", "assistant", "c", "good"),
        ("bad", "b", "assistant", "bad", "bad"),
        ("d", "bad", "user", "d"),
        ("e", "d", "assistant", "e", "good"),
        ("empty", "hi", "assistant", " "),
        ("f", "empty", "user", "f"),
        ("g", "f", "assistant", "g", "good"),
    )
    assert texts(good_conversations(told)) == [["Hi", "a", "b", "c"]]


def test_finetune_reads_what_is_exported(tell, tmp_path):
    told = tell(HI, ("a", "hi", "assistant", "ä\u2028\n“b”", "good"), system="Be brief.")
    lines = [conversation_to_json(one) for one in [*good_conversations(told), shown_conversation(told)]]
    path = tmp_path / "good.jsonl"
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    report = Report()
    read = [one.messages for one in read_conversations([path], report, strict=True)]
    assert read == [(Message("system", "Be brief."), Message("user", "Hi"), Message("assistant", "ä\u2028\n“b”"))] * 2


def test_good_replies_are_preferred_to_bad_ones_of_the_same_message(tell):
    told = tell(
        HI,
        ("good", "hi", "assistant", "good", "good"),
        ("bad", "hi", "assistant", "bad", "bad"),
        ("same", "hi", "assistant", "good", "bad"),
        ("plain", "hi", "assistant", "plain"),
        ("fixed", "hi", "assistant", "slip", None, "fix"),
        ("more", "good", "user", "more"),
        ("worse", "more", "assistant", "worse", "bad"),
        system="Be brief.",
    )
    pairs = list(preference_pairs(told))
    prompt = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hi"}]
    assert all(pair["prompt"] == prompt for pair in pairs)
    found = {(pair["chosen"][0]["content"], pair["rejected"][0]["content"]) for pair in pairs}
    assert found == {("fix", "slip"), ("good", "bad"), ("fix", "bad"), ("fix", "good")}
    assert len(pairs) == len(found)
    assert pairs[0]["chosen"] == [{"role": "assistant", "content": "fix"}]
    json.dumps(pairs)


def test_a_reply_without_words_or_without_a_prompt_makes_no_pair(tell):
    told = tell(HI, ("good", "hi", "assistant", "good", "good"), ("bad", "hi", "assistant", " ", "bad"))
    assert list(preference_pairs(told)) == []
    alone = tell(("good", None, "assistant", "good", "good"), ("bad", None, "assistant", "bad", "bad"))
    assert list(preference_pairs(alone)) == []
