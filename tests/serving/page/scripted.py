"""A server of the page whose two models say what a test needs, as fast as it needs it."""

import asyncio
import json
import math
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from threading import Thread
from typing import Any

import uvicorn
from fastapi import FastAPI, HTTPException, Request
from fastapi.responses import StreamingResponse

from understudy.serving.conversations import ConversationStore
from understudy.serving.conversations_api import conversation_routes
from understudy.serving.model_card import model_card_routes
from understudy.serving.page import page_routes
from understudy.training.loading import Loaded

UNLIKELY = math.log(0.25)


class Script:
    """What the models were asked, and how they answer: without end to `count`, with an error to `fail`.

    With a `key` the server answers nobody who does not name it.
    """

    def __init__(self, key: str = "") -> None:
        self.asked: list[dict[str, Any]] = []
        self.running = 0
        self.key = key

    def words(self, body: Mapping[str, Any]) -> Iterator[str]:
        said = body["messages"][-1]["content"]
        if said == "count":
            yield from (f" {i}" for i in count(1))
        yield from ("Reply", f" {len(self.asked)}", " from", f" {body['model']}", " to", ": ")
        yield from said.splitlines(keepends=True)
        if said == "fail":
            raise RuntimeError

    async def events(self, body: Mapping[str, Any]) -> AsyncIterator[str]:
        self.running += 1
        try:
            for word in self.words(body):
                yield _event(body["model"], word)
                await asyncio.sleep(0.01)
            end = {"index": 0, "delta": {}, "finish_reason": "stop"}
            dropped = {"dropped_messages": 2 if len(body["messages"]) > 6 else 0}
            yield f"data: {json.dumps({'choices': [end], 'understudy': dropped})}\n\n"
            yield "data: [DONE]\n\n"
        except RuntimeError:
            yield f"data: {json.dumps({'error': {'message': 'the model broke', 'type': 'server_error'}})}\n\n"
        finally:
            self.running -= 1


def _event(model: str, word: str) -> str:
    token = {"token": word, "bytes": list(word.encode()), "logprob": UNLIKELY}
    others = [{**token, "token": other, "bytes": list(other.encode()), "logprob": math.log(0.5)} for other in (" or",)]
    choice = {"index": 0, "delta": {"content": word}, "logprobs": {"content": [{**token, "top_logprobs": others}]}}
    return f"data: {json.dumps({'model': model, 'choices': [choice]})}\n\n"


def scripted_app(script: Script, models: Mapping[str, Loaded], path: Path) -> FastAPI:
    app = FastAPI()

    def owner(request: Request) -> str:
        if script.key and request.headers.get("authorization") != f"Bearer {script.key}":
            raise HTTPException(401, "a key is needed")
        return "local"

    @app.post("/v1/chat/completions")
    async def complete(request: Request) -> StreamingResponse:
        owner(request)
        body = await request.json()
        if body["messages"][-1]["content"] == "refuse":
            raise HTTPException(429, "too many requests; wait a little")
        script.asked.append(body)
        return StreamingResponse(script.events(body), media_type="text/event-stream")

    app.include_router(conversation_routes(ConversationStore(path), owner))
    app.include_router(model_card_routes(models))
    app.include_router(page_routes())
    return app


@contextmanager
def served(app: FastAPI) -> Iterator[str]:
    """Serve an app on a free port of this machine, and yield its address."""
    server = uvicorn.Server(uvicorn.Config(app, host="127.0.0.1", port=0, lifespan="off", log_level="warning"))
    thread = Thread(target=server.run)
    thread.start()
    try:
        while not server.started:
            thread.join(0.01)
            assert thread.is_alive()
        yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    finally:
        server.should_exit = server.force_exit = True
        thread.join()
