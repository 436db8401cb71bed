"""Answers to requests for replies, whole or as a stream of events, in the forms of OpenAI's API."""

import asyncio
import json
import secrets
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field, replace
from time import time
from typing import Any, ClassVar

from fastapi import Request, Response
from fastapi.responses import JSONResponse
from sse_starlette import EventSourceResponse
from sse_starlette.sse import SendTimeoutError
from starlette.requests import ClientDisconnect
from starlette.types import Receive, Scope, Send
from typing_extensions import override

from understudy.acting import scheduler
from understudy.acting.sampling import SamplingConfig
from understudy.acting.scheduler import TokenInfo, Update
from understudy.config import child_seed
from understudy.data.tokenizers import Tokenizer
from understudy.errors import RefusedError
from understudy.serving.access import owner
from understudy.serving.metrics import Metrics
from understudy.serving.openai_schema import MOST_CHOICES, SamplingBody
from understudy.serving.problems import error_response
from understudy.serving.replies import Replies, Served

SECONDS_TO_TAKE = 30.0
"""How long a reader of a stream may leave a piece of it untaken."""
NEVER = -9999.0
"""Stands for the log-probability of what is impossible, as JSON has no infinity."""


@dataclass
class Choice:
    """One of the replies asked for, as far as it has come."""

    text: str = ""
    tokens: list[TokenInfo | int] = field(default_factory=list)
    finish_reason: str | None = None
    cached_tokens: int = 0

    def add(self, update: Update) -> None:
        """Add what is new."""
        self.text += update.text
        self.tokens += update.tokens
        self.finish_reason = reason(update)
        self.cached_tokens = update.cached_tokens


class Answer(ABC):
    """The answer to one request for replies to some prompts; subclasses give it its form."""

    id_prefix: ClassVar[str]
    whole_object: ClassVar[str]
    piece_object: ClassVar[str]

    def __init__(
        self,
        served: Served,
        asked: SamplingBody,
        prompts: Sequence[list[int]],
        sampling: SamplingConfig,
        top_logprobs: int | None = None,
        extra: dict[str, Any] | None = None,
    ) -> None:
        """Begin an answer.

        Args:
            served: who answers.
            asked: the request, which says how many choices each prompt gets, and whether they are streamed.
            prompts: ids of each.
            sampling: how the choices are drawn.
            top_logprobs: how many of the likeliest tokens are told beside each token; None: no log-probabilities.
            extra: fields that the whole answer has, and the first event of a stream.
        """
        each = asked.n or 1
        if len(prompts) * each > MOST_CHOICES:
            raise RefusedError(400, f"{len(prompts)} prompts of {each} choices are more than {MOST_CHOICES}", "n")
        if asked.stream_options and not asked.stream:
            raise RefusedError(400, "stream_options goes with `stream: true` only", "stream_options")
        self.tokenizer: Tokenizer = served.loaded.tokenizer
        self._special = {number: name for name, number in self.tokenizer.special.items()}
        self._served, self._prompts, self._each, self._sampling = served, prompts, each, sampling
        self._top_logprobs, self._extra, self._streams = top_logprobs, extra or {}, bool(asked.stream)
        self._tells_usage = bool(asked.stream_options and asked.stream_options.include_usage)
        self._choices = [Choice() for _ in range(len(prompts) * each)]
        self._head = {
            "id": self.id_prefix + secrets.token_hex(12),
            "object": self.piece_object if asked.stream else self.whole_object,
            "created": int(time()),
            "model": served.name,
        }

    @abstractmethod
    def opening(self) -> dict[str, Any] | None:
        """Return what a stream says of each choice before there is any of it, without the index."""

    @abstractmethod
    def piece(self, choice: Choice, update: Update) -> dict[str, Any]:
        """Return what is new of a choice, which does not have it yet, without the index."""

    @abstractmethod
    def whole(self, choice: Choice) -> dict[str, Any]:
        """Return a choice that has ended, without the index."""

    async def response(self, request: Request, metrics: Metrics) -> Response:
        """Submit what is asked for, and return the response."""
        replies = Replies(self._served, self._requests(owner(request)), metrics)
        if self._streams:
            return ReplyStream(replies, self._events(replies))
        watching = asyncio.create_task(replies.watch(request.receive))
        try:
            async for index, update in replies:
                self._choices[index].add(update)
        except ClientDisconnect:
            return Response(status_code=499)  # which nobody receives
        finally:
            watching.cancel()
            replies.cancel()
        choices = [{"index": index, **self.whole(choice)} for index, choice in enumerate(self._choices)]
        return JSONResponse(self._head | {"choices": choices, "usage": self._usage()} | self._extra)

    def shown(self, token: int) -> str:
        """Return a token's text. Special tokens have none, so their names stand for them."""
        return self._special.get(token) or self.tokenizer.bytes_of(token).decode(errors="replace")

    def _requests(self, who: str) -> list[scheduler.Request]:
        """Return a request for each choice; each choice of a prompt but the first has a seed made from that given."""
        seed, requests = self._sampling.sampling_seed, []
        for prompt in self._prompts:
            for number in range(self._each):
                own = seed if seed is None or number == 0 else child_seed(seed, f"choice {number}")
                sampling = replace(self._sampling, sampling_seed=own)
                requests.append(scheduler.Request(prompt, sampling, self._top_logprobs, who))
        return requests

    async def _events(self, replies: Replies) -> AsyncIterator[bytes]:
        """Yield the answer piece by piece. What goes wrong on the way is the last event."""
        head = self._head | ({"usage": None} if self._tells_usage else {})
        extra = self._extra
        if opening := self.opening():
            for index in range(len(self._choices)):
                yield _event(head | {"choices": [{"index": index, **opening}]} | extra)
                extra = {}
        try:
            async for index, update in replies:
                choice = self._choices[index]
                if update.text or update.finish_reason or (update.tokens and self._top_logprobs is not None):
                    yield _event(head | {"choices": [{"index": index, **self.piece(choice, update)}]} | extra)
                    extra = {}
                choice.add(update)
        except RefusedError as error:
            yield b"data: " + bytes(error_response(error).body) + b"\n\n"
            return
        if self._tells_usage:
            yield _event(self._head | {"choices": [], "usage": self._usage()})
        yield b"data: [DONE]\n\n"

    def _usage(self) -> dict[str, Any]:
        prompt = sum(map(len, self._prompts))
        completion = sum(len(choice.tokens) for choice in self._choices)
        return {
            "prompt_tokens": prompt,
            "completion_tokens": completion,
            "total_tokens": prompt + completion,
            "prompt_tokens_details": {
                "cached_tokens": sum(choice.cached_tokens for choice in self._choices[:: self._each])
            },
        }


class ChatAnswer(Answer):
    """The assistant's next message."""

    id_prefix, whole_object, piece_object = "chatcmpl-", "chat.completion", "chat.completion.chunk"

    @override
    def opening(self) -> dict[str, Any]:
        delta = {"role": "assistant", "content": "", "refusal": None}
        return {"delta": delta, "logprobs": None, "finish_reason": None}

    @override
    def piece(self, choice: Choice, update: Update) -> dict[str, Any]:
        delta = {"content": update.text} if update.text else {}
        return {"delta": delta, "logprobs": self._logprobs(update.tokens), "finish_reason": reason(update)}

    @override
    def whole(self, choice: Choice) -> dict[str, Any]:
        message = {"role": "assistant", "content": choice.text, "refusal": None}
        return {"message": message, "logprobs": self._logprobs(choice.tokens), "finish_reason": choice.finish_reason}

    def _logprobs(self, tokens: Sequence[TokenInfo | int]) -> dict[str, Any] | None:
        if self._top_logprobs is None:
            return None
        told = [
            self._token(token.id, token.logprob) | {"top_logprobs": [self._token(*other) for other in token.top]}
            for token in tokens
            if isinstance(token, TokenInfo)
        ]
        return {"content": told, "refusal": None}

    def _token(self, token: int, logprob: float) -> dict[str, Any]:
        text, spelt = self.shown(token), list(self.tokenizer.bytes_of(token))
        return {"token": text, "logprob": max(logprob, NEVER), "bytes": spelt}


class TextAnswer(Answer):
    """The continuations of texts."""

    id_prefix, whole_object, piece_object = "cmpl-", "text_completion", "text_completion"

    @override
    def opening(self) -> None:
        return None

    @override
    def piece(self, choice: Choice, update: Update) -> dict[str, Any]:
        logprobs = self._logprobs(update.tokens, choice.tokens)
        return {"text": update.text, "logprobs": logprobs, "finish_reason": reason(update)}

    @override
    def whole(self, choice: Choice) -> dict[str, Any]:
        return {"text": choice.text, "logprobs": self._logprobs(choice.tokens), "finish_reason": choice.finish_reason}

    def _logprobs(
        self, tokens: Sequence[TokenInfo | int], before: Sequence[TokenInfo | int] = ()
    ) -> dict[str, Any] | None:
        if self._top_logprobs is None:
            return None
        offset = sum(len(self.shown(token.id)) for token in before if isinstance(token, TokenInfo))
        told: dict[str, Any] = {"tokens": [], "token_logprobs": [], "top_logprobs": [], "text_offset": []}
        for token in tokens:
            assert isinstance(token, TokenInfo)
            text = self.shown(token.id)
            told["tokens"].append(text)
            told["token_logprobs"].append(max(token.logprob, NEVER))
            likeliest = {self.shown(other): max(logprob, NEVER) for other, logprob in token.top}
            told["top_logprobs"].append(likeliest)
            told["text_offset"].append(offset)
            offset += len(text)
        return told


class ReplyStream(EventSourceResponse):
    """A stream of events that takes its replies out of the batch when it ends, however that comes about."""

    def __init__(self, replies: Replies, events: AsyncIterator[bytes]) -> None:
        super().__init__(events, sep="\n", send_timeout=SECONDS_TO_TAKE)
        self._replies = replies

    @override
    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await super().__call__(scope, receive, send)
        except SendTimeoutError:
            pass  # whoever takes nothing gets no more
        finally:
            self._replies.cancel()


def reason(update: Update) -> str | None:
    """Return why a choice ended, in OpenAI's words: the end token and a stop text are one."""
    return "stop" if update.finish_reason == "end" else update.finish_reason


def _event(value: dict[str, Any]) -> bytes:
    return b"data: " + json.dumps(value, ensure_ascii=False, allow_nan=False).encode() + b"\n\n"
