"""The routes of conversations: what they refuse, and that nobody reaches another's."""

import json
from collections.abc import Iterator

import pytest
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import PlainTextResponse
from fastapi.testclient import TestClient

from understudy.serving.conversations import ConversationStore
from understudy.serving.conversations_api import conversation_routes


@pytest.fixture
def ann(tmp_path) -> Iterator[TestClient]:
    """Asks as Ann, unless another name is given in a header."""
    store = ConversationStore(tmp_path / "conversations.sqlite")
    app = FastAPI()

    @app.exception_handler(RequestValidationError)
    def refuse(request: Request, error: RequestValidationError) -> PlainTextResponse:
        return PlainTextResponse("", 422)  # FastAPI's own repeats what was sent, which JSON may be unable to say

    app.include_router(conversation_routes(store, lambda request: request.headers["name"]))
    with TestClient(app, headers={"name": "ann"}) as client:
        yield client
    store.close()


@pytest.fixture
def talk(ann) -> str:
    """The address of a conversation with a message, 1, and a reply, 2."""
    name = ann.post("/api/conversations", json={"title": "Hi", "system": "Be brief."}).json()["id"]
    address = f"/api/conversations/{name}"
    ann.post(f"{address}/messages", json={"role": "user", "content": "Hi"})
    ann.post(f"{address}/messages", json={"role": "assistant", "content": "Hello.", "parent": 1, "model": "otter"})
    return address


def test_a_reply_comes_back_with_its_tokens(ann, talk):
    details = {
        "tokens": [
            {"text": "Hel", "logprob": -0.5, "top": [["Good", -1.5]]},
            {"text": "lo.", "logprob": 0.0, "top": []},
        ],
        "sampling": {"temperature": 0.5, "top_p": 1.0, "max_tokens": 9, "seed": 2**63, "stop": ["END"]},
        "dropped": 2,
    }
    body = {"role": "assistant", "content": "Hello.", "parent": 1, "details": details, "finish_reason": "stop"}
    assert ann.post(f"{talk}/messages", json=body).status_code == 201
    read = ann.get(talk).json()
    assert read["messages"][2]["details"] == details
    assert (read["leaf"], read["system"]) == (3, "Be brief.")


def test_what_is_flagged_rewritten_and_chosen_is_exported(ann, talk):
    assert ann.patch(f"{talk}/messages/2", json={"flag": "bad"}).json()["flag"] == "bad"
    judged = ann.patch(f"{talk}/messages/2", json={"rewrite": "Good day."}).json()
    assert (judged["flag"], judged["rewrite"]) == ("bad", "Good day.")
    assert ann.patch(f"{talk}/messages/2", json={}).json() == judged
    system, hi = {"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hi"}
    day, hello = {"role": "assistant", "content": "Good day."}, {"role": "assistant", "content": "Hello."}
    assert ann.get("/api/export/finetune").json() == {"messages": [system, hi, day]}
    assert ann.get(f"{talk}/export").json() == {"messages": [system, hi, day]}
    pairs = ann.get("/api/export/preferences")
    assert json.loads(pairs.text) == {"prompt": [system, hi], "chosen": [day], "rejected": [hello]}
    assert pairs.headers["content-disposition"] == 'attachment; filename="preferences.jsonl"'
    assert ann.patch(f"{talk}/messages/2", json={"flag": None, "rewrite": None}).json()["rewrite"] is None
    assert ann.get("/api/export/finetune").text == ""
    assert ann.patch(talk, json={"leaf": 1}).status_code == 204
    assert ann.get(f"{talk}/export").json() == {"messages": [system, hi]}
    assert ann.delete(talk).status_code == 204
    assert ann.get("/api/conversations").json() == []
    assert ann.get("/api/export/finetune").text == ""


def test_anothers_conversation_is_as_if_it_were_not_there(ann, talk):
    ann.patch(f"{talk}/messages/2", json={"flag": "good"})
    before = ann.get(talk).json()
    for method, path, body in (
        ("GET", talk, None),
        ("GET", f"{talk}/export", None),
        ("PATCH", talk, {"leaf": 1}),
        ("DELETE", talk, None),
        ("POST", f"{talk}/messages", {"role": "user", "content": "no"}),
        ("PATCH", f"{talk}/messages/2", {"flag": "bad"}),
    ):
        answers = [
            ann.request(method, path.replace(talk, to), json=body, headers={"name": name})
            for to, name in ((talk, "bob"), (talk[:-1], "ann"))
        ]
        assert [answer.status_code for answer in answers] == [404, 404], (method, path)
    for path in ("/api/conversations", "/api/export/finetune", "/api/export/preferences"):
        assert ann.get(path, headers={"name": "bob"}).text in ("[]", "")
    assert ann.get(talk).json() == before


@pytest.mark.parametrize(
    "body",
    [
        '{"role": "user"}',
        '{"role": "system", "content": "Hi"}',
        '{"role": "user", "content": "Hi", "colour": "red"}',
        '{"role": "user", "content": "Hi", "parent": 0}',
        '{"role": "user", "content": "Hi", "parent": 9223372036854775808}',
        '{"role": "user", "content": "half a character: \\ud83d"}',
        '{"role": "assistant", "content": "Hi", "details": {"tokens": [{"text": "Hi", "logprob": NaN}]}}',
        '{"role": "assistant", "content": "Hi", "details": {"tokens": [{"text": "Hi", "logprob": -1e999}]}}',
        '{"role": "user", "content": "%s"}' % ("long" * 50_001),
        "[" * 100_000,
    ],
    ids=["missing", "role", "unknown", "zero", "huge", "surrogate", "nan", "infinite", "long", "deep"],
)
def test_what_cannot_be_kept_is_refused(ann, talk, body):
    answer = ann.post(f"{talk}/messages", content=body, headers={"content-type": "application/json"})
    assert answer.status_code in (400, 422)
    assert len(ann.get(talk).json()["messages"]) == 2
