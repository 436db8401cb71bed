"""A hall on a server of its own, as `understudy play` opens it, and browsers of a kind: plain websockets."""

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from typing import Any

import pytest
import uvicorn

from understudy.games.teams import everyone
from understudy.serving.access import Access
from understudy.serving.listening import listen, settings
from understudy.serving.play.app import build_play_app
from understudy.serving.play.hall import Hall
from understudy.serving.play.match import Match
from understudy.serving.play.replays import Replays


@contextmanager
def serving(app: Any) -> Iterator[str]:
    """Serves an app in a thread; its address."""
    listening = listen("127.0.0.1", 0)
    config = settings(app, websockets=True)
    config.ws_ping_timeout = 600.0  # a busy machine is silent for long
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
    thread.start()
    try:
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join()
        listening.close()


@pytest.fixture
def open_hall(tmp_path) -> Iterator[Callable[..., tuple[str, Hall]]]:
    """Opens a hall for a kitchen whose steps are quick, and returns its address, and the hall."""
    with ExitStack() as stack:

        def open_hall(
            *control: str, seconds: float = 0.02, patience: float = 0.2, access: Access | None = None, **options: Any
        ) -> tuple[str, Hall]:
            scenario = everyone(
                "kitchen/cramped_room",
                dict(zip(("cook 1", "cook 2"), control or ("human", "script:cook"), strict=True)),
                {"horizon": 40, **options},
            )
            match = Match(scenario, tmp_path / "recordings" / "mine-v0")
            match.scene = replace(match.scene, seconds=seconds)
            hall = Hall(match, seed=5, patience=patience)
            stack.callback(hall.close)
            app = build_play_app(hall, Replays(match.folder, "mine-v0"), access or Access())
            return stack.enter_context(serving(app)), hall

        yield open_hall


class Tab:
    """A browser tab, without a page."""

    def __init__(self, address: str, **more: Any) -> None:
        from websockets.sync.client import connect

        self._connecting = connect(
            f"{address.replace('http', 'ws')}/api/play", open_timeout=30, ping_interval=None, **more
        )
        self.socket = self._connecting.__enter__()
        self.room: dict[str, Any] = {}

    def say(self, said: str, **more: Any) -> None:
        self.socket.send(json.dumps({"say": said, **more}))

    def hear(self, kind: str, step: int = -1, **wanted: Any) -> dict[str, Any]:
        """Return the next message of a kind, with these values, and of a frame from this step on."""
        while True:
            message: dict[str, Any] = json.loads(self.socket.recv(timeout=30))
            if message.get("say") == "room":
                self.room = message
            said = message.get("say", "error")
            fits = all(message.get(name) == value for name, value in wanted.items())
            if said == kind and fits and message.get("step", step) >= step:
                return message

    def join(self, name: str = "", token: str = "") -> dict[str, Any]:
        self.say("join", name=name, token=token)
        self.hear("welcome")
        self.hear("room")
        return self.hear("frame")


@pytest.fixture
def tab() -> Iterator[Callable[..., Tab]]:
    """Opens a tab."""
    opened: list[Tab] = []

    def tab(address: str, **more: Any) -> Tab:
        opened.append(Tab(address, **more))
        return opened[-1]

    yield tab
    for one in opened:
        one.socket.close()
