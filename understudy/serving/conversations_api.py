"""The routes below `/api/` by which the chat page keeps conversations, and what is exported from them."""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Annotated, Any

from fastapi import APIRouter, HTTPException, Request, Response
from fastapi.responses import PlainTextResponse
from pydantic import BaseModel, ConfigDict, Field, FiniteFloat

from understudy.data.conversations import conversation_to_json
from understudy.serving.conversations import (
    ConversationStore,
    Flag,
    Heading,
    Role,
    StoredConversation,
    StoredMessage,
)
from understudy.serving.feedback import good_conversations, preference_pairs, shown_conversation

Title = Annotated[str, Field(max_length=200)]
Words = Annotated[str, Field(max_length=200_000)]
Name = Annotated[str, Field(max_length=500)]
Number = Annotated[int, Field(ge=1, le=2**53)]
Responses = dict[int | str, dict[str, Any]]
JSON_LINES: Responses = {200: {"content": {"application/jsonl": {"schema": {"type": "string"}}}}}
MISSING: Responses = {404: {"description": "There is no such conversation, or it is another's."}}


class Body(BaseModel):
    """What a request holds; a field that is not known is refused."""

    model_config = ConfigDict(extra="forbid")


class NewConversation(Body):
    """A conversation to begin."""

    title: Title
    system: Words = ""


class ConversationChange(Body):
    """What of a conversation to change."""

    system: Words | None = None
    leaf: Number | None = None


class Token(Body):
    """A token of a reply with its log-probability, and the likeliest in its place."""

    text: Name
    logprob: FiniteFloat
    top: Annotated[list[tuple[Name, FiniteFloat]], Field(max_length=20)] = []


class Sampling(Body):
    """How a reply was drawn."""

    temperature: FiniteFloat | None = None
    top_p: FiniteFloat | None = None
    max_tokens: int | None = None
    seed: int | None = None
    stop: Annotated[list[Name], Field(max_length=16)] = []


class Details(Body):
    """What is known of a reply."""

    tokens: Annotated[list[Token], Field(max_length=20_000)] = []
    sampling: Sampling | None = None
    dropped: Annotated[int, Field(ge=0, lt=2**31)] = 0


class NewMessage(Body):
    """A message to add below `parent`, or as a first one."""

    parent: Number | None = None
    role: Role
    content: Words
    model: Name = ""
    finish_reason: Annotated[str, Field(max_length=40)] = ""
    details: Details = Details()


class Judgement(Body):
    """What is thought of a reply; null takes it back."""

    flag: Flag | None = None
    rewrite: Words | None = None


def conversation_routes(store: ConversationStore, owner: Callable[[Request], str]) -> APIRouter:
    """Return the routes of a store; `owner` names who asks, and nobody sees what is another's."""
    router = APIRouter(prefix="/api", tags=["conversations"])

    @router.get("/conversations")
    def list_conversations(request: Request) -> list[Heading]:
        """List the conversations, the one changed last first."""
        return store.headings(owner(request))

    @router.post("/conversations", status_code=201)
    def begin_conversation(request: Request, body: NewConversation) -> StoredConversation:
        """Begin a conversation."""
        return store.create(owner(request), body.title, body.system)

    @router.get("/conversations/{conversation}", responses=MISSING)
    def read_conversation(request: Request, conversation: str) -> StoredConversation:
        """Return a conversation with all its messages."""
        with _found():
            return store.read(owner(request), conversation)

    @router.patch("/conversations/{conversation}", status_code=204, responses=MISSING)
    def change_conversation(request: Request, conversation: str, body: ConversationChange) -> None:
        """Change a conversation's system message, or which of its messages is shown last."""
        with _found():
            store.change(owner(request), conversation, **body.model_dump(exclude_none=True))

    @router.delete("/conversations/{conversation}", status_code=204, responses=MISSING)
    def delete_conversation(request: Request, conversation: str) -> None:
        """Delete a conversation with all its messages."""
        with _found():
            store.delete(owner(request), conversation)

    @router.post("/conversations/{conversation}/messages", status_code=201, responses=MISSING)
    def add_message(request: Request, conversation: str, body: NewMessage) -> StoredMessage:
        """Add a message. An edited message, or another reply, is a new one below the same parent."""
        values = body.model_dump(exclude={"details"})
        with _found():
            return store.append(owner(request), conversation, **values, details=body.details.model_dump())

    @router.patch("/conversations/{conversation}/messages/{message}", responses=MISSING)
    def judge_message(request: Request, conversation: str, message: Number, body: Judgement) -> StoredMessage:
        """Flag a reply good or bad, or rewrite it."""
        with _found():
            return store.judge(owner(request), conversation, message, **body.model_dump(exclude_unset=True))

    _add_exports(router, store, owner)
    return router


def _add_exports(router: APIRouter, store: ConversationStore, owner: Callable[[Request], str]) -> None:
    """Add the routes that give conversations away as files to train on."""

    @router.get(
        "/conversations/{conversation}/export", responses=MISSING | JSON_LINES, response_class=PlainTextResponse
    )
    def export_conversation(request: Request, conversation: str) -> Response:
        """Return the conversation as it is shown, as a line that `finetune` reads."""
        with _found():
            shown = shown_conversation(store.read(owner(request), conversation))
        return _json_lines(iter([conversation_to_json(shown)]), "conversation")

    @router.get("/export/finetune", responses=JSON_LINES, response_class=PlainTextResponse)
    def export_good_replies(request: Request) -> Response:
        """Return what leads to each good reply, as conversations that `finetune` reads."""
        everything = store.read_all(owner(request))
        lines = (conversation_to_json(good) for each in everything for good in good_conversations(each))
        return _json_lines(lines, "finetune")

    @router.get("/export/preferences", responses=JSON_LINES, response_class=PlainTextResponse)
    def export_preferences(request: Request) -> Response:
        """Return pairs of a chosen and a rejected reply, as TRL's DPO trainer reads them."""
        everything = store.read_all(owner(request))
        lines = (json.dumps(pair, ensure_ascii=False) for each in everything for pair in preference_pairs(each))
        return _json_lines(lines, "preferences")


@contextmanager
def _found() -> Iterator[None]:
    try:
        yield
    except KeyError as error:
        raise HTTPException(404, error.args[0]) from error


def _json_lines(lines: Iterator[str], name: str) -> Response:
    header = {"Content-Disposition": f'attachment; filename="{name}.jsonl"'}
    return Response("".join(f"{line}\n" for line in lines), media_type="application/jsonl", headers=header)
