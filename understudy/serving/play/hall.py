"""Where people meet to play in their browsers: who sits where, the game's clock, and what each browser is told.

Browsers send JSON over a websocket, such as {"say": "press", "key": "ArrowUp", "number": 3}; `_hear` lists it all. They
are told in the same way what they need: `welcome` once, `room` when somebody comes or goes, `frame` after each step,
and `over`. A browser that is slow misses frames, and holds nobody up.

Each seat belongs to the browser tab that took it, known by a token. A tab that is gone has some seconds to come back,
while the game waits; then the game is broken off and recorded as far as it went.
"""

import asyncio
import json
import logging
import secrets
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from starlette.websockets import WebSocket

from understudy.console import printable
from understudy.errors import RefusedError, UserError
from understudy.files import plain
from understudy.games.pictures import PALETTE
from understudy.serving.access import LOCAL
from understudy.serving.play.keyboard import Keyboard
from understudy.serving.play.match import Match, Recorded
from understudy.serving.problems import problem

PROTOCOL = "understudy"
MOST_VISITORS = 64
MOST_JUNK = 20
"""Messages without sense, after which a browser is shown the door."""
LONGEST_NAME = 40
LEFT, ELSEWHERE, TOO_MUCH, FULL = 4000, 4001, 1008, 1013
"""Why the server closes a websocket."""


@dataclass(eq=False)
class Visitor:
    """A browser tab that is connected."""

    owner: str
    seat: "Seat | None" = None
    junk: int = 0
    _waiting: list[dict[str, Any]] = field(default_factory=list)
    _frame: dict[str, Any] | None = None
    _news: asyncio.Event = field(default_factory=asyncio.Event)
    closing: int = 0

    def tell(self, message: dict[str, Any]) -> None:
        """Have a message sent. Of frames that wait only the latest is."""
        if message.get("say") == "frame":
            self._frame = message
        else:
            self._waiting.append(message)
        self._news.set()

    def close(self, code: int) -> None:
        """Have the connection closed once all is sent."""
        self.closing = code
        self._news.set()

    async def send_to(self, socket: WebSocket) -> None:
        """Send what there is to tell until the connection is to be closed, and close it."""
        while True:
            await self._news.wait()
            self._news.clear()
            messages, self._waiting = self._waiting, []
            frame, self._frame = self._frame, None
            for message in (*messages, *([frame] if frame else ())):
                await socket.send_text(json.dumps(message))
            if self.closing:
                await socket.close(self.closing)
                return


@dataclass(eq=False)
class Seat:
    """A place for a person, and who sits there."""

    keyboard: Keyboard
    token: str = ""
    name: str = ""
    visitor: Visitor | None = None
    ready: bool = False


class Hall:
    """People who play one match's games, and people who watch. All of it runs in one event loop."""

    def __init__(self, match: Match, seed: int, patience: float) -> None:
        """Open the hall.

        Args:
            match: what is played.
            seed: of the first game; each further one has the next.
            patience: seconds that a game waits for a person who is gone.
        """
        self.match, self._seed, self._patience = match, seed, patience
        self._seats = [Seat(Keyboard(match.scene.keys, match.env.action)) for _ in range(match.seats)]
        self._visitors: list[Visitor] = []
        self.state = "waiting"
        self._broken = ""
        self._changed = asyncio.Event()
        self._game: asyncio.Task[None] | None = None

    async def visit(self, socket: WebSocket) -> None:
        """Serve one browser tab as long as it is connected."""
        visitor = Visitor(socket.scope.get("state", {}).get("owner", LOCAL))
        await socket.accept(PROTOCOL if PROTOCOL in socket.scope["subprotocols"] else None)
        sending = asyncio.create_task(visitor.send_to(socket))
        try:
            if len(self._visitors) >= MOST_VISITORS:
                visitor.close(FULL)
            self._visitors.append(visitor)
            visitor.tell(self._welcome())
            while (message := await socket.receive())["type"] == "websocket.receive":
                try:
                    self._hear(visitor, message.get("text"))
                except RefusedError as error:
                    visitor.tell(problem(error.status, str(error), error.param))
                    visitor.junk += 1
                    if visitor.junk >= MOST_JUNK:
                        visitor.close(TOO_MUCH)
        finally:
            sending.cancel()
            with suppress(asyncio.CancelledError, Exception):  # whatever kept it from sending, it is gone
                await sending
            self._visitors.remove(visitor)
            self._gone(visitor)

    def close(self) -> None:
        """Record what is being played, broken off here."""
        if self._game and not self._game.done():
            self._game.cancel()
        if not self.match.over:
            self.match.finish(self._names(), "broken off: the server ended")
        self.match.save()

    def _hear(self, visitor: Visitor, given: str | None) -> None:
        """Do what a browser asks for. Raises RefusedError for what makes no sense."""
        try:
            message = json.loads(given or "")
        except (ValueError, RecursionError) as error:
            raise RefusedError(400, "the message is not JSON in a text") from error
        said = message.get("say") if isinstance(message, dict) else None
        seat = visitor.seat
        match said:
            case "join":
                self._join(visitor, _text(message, "token"), _text(message, "name"))
            case "ready" if seat and self.state == "waiting":
                seat.ready = True
                self._begin_when_ready()
            case "press" if seat:
                seat.keyboard.press(_text(message, "key"), _whole_number(message, "number"))
            case "release" if seat:
                seat.keyboard.release(_text(message, "key"))
            case "release all" if seat:
                seat.keyboard.release_all()
            case "leave" if seat:
                self._leave(seat)
            case "ready" | "press" | "release" | "release all" | "leave":
                pass  # too late, or of one who only watches
            case _:
                raise RefusedError(400, f"a message cannot say {str(said)[:40]!r}", "say")

    def _join(self, visitor: Visitor, token: str, name: str) -> None:
        """Give a browser its seat back, or a free one; else it watches."""
        free = [seat for seat in self._seats if seat.visitor is None and (self.state == "waiting" or not seat.token)]
        mine = [seat for seat in self._seats if token and secrets.compare_digest(seat.token.encode(), token.encode())]
        seat = visitor.seat or next(iter(mine or free), None)
        if seat:
            if seat.visitor not in (None, visitor):
                seat.visitor.seat = None  # the tab was doubled, and the newer one plays on
                seat.visitor.close(ELSEWHERE)
            if not mine and visitor.seat is None:
                seat.token, seat.ready = secrets.token_urlsafe(12), False
            name = " ".join(printable(name).split())[:LONGEST_NAME]
            seat.name = visitor.owner if visitor.owner != LOCAL else name
            seat.visitor, visitor.seat = visitor, seat
            seat.keyboard.release_all()
        self._changed.set()
        self._tell_room()
        self._show(visitor)

    def _leave(self, seat: Seat) -> None:
        """Free a seat by its person's wish: a game that is played is broken off."""
        if self.state != "waiting":
            self._broken = f"broken off: {seat.name or 'a person'} left"
            self._changed.set()
            return
        if seat.visitor:
            seat.visitor.seat = None
        seat.visitor, seat.token, seat.ready = None, "", False
        self._tell_room()

    def _gone(self, visitor: Visitor) -> None:
        """Note that a connection has ended."""
        if visitor.seat:
            visitor.seat.visitor = None
            visitor.seat.keyboard.release_all()
            visitor.seat.ready = False
        self._tell_room()

    def _begin_when_ready(self) -> None:
        if all(seat.visitor and seat.ready for seat in self._seats):
            self.state, self._broken = "playing", ""
            self._game = asyncio.get_running_loop().create_task(self._play())
        else:
            self._tell_room()

    async def _play(self) -> None:
        """Play one game, and record it."""
        match = self.match
        told = problem(500, "the server ends")
        try:
            await asyncio.to_thread(match.begin, self._seed)
            self._seed += 1
            for seat in self._seats:
                seat.keyboard.release_all()
            self._tell_room()
            try:
                await self._run_clock()
            except Exception as error:  # what was played is recorded all the same
                self._broken = f"broken off: {error}"
                if not isinstance(error, UserError):
                    logging.getLogger(__name__).exception("the game failed")
            told = self._over(await asyncio.to_thread(match.finish, self._names(), self._broken))
        except (UserError, OSError) as error:
            told = problem(500, f"{error}; a game that could not be recorded is kept until the next one is")
        finally:
            self.state = "waiting"
            for seat in self._seats:
                seat.ready = False
            for visitor in self._visitors:
                visitor.tell(told)
            self._tell_room()

    async def _run_clock(self) -> None:
        """Let a step pass each `scene.seconds` until the game is over or broken off."""
        match, loop = self.match, asyncio.get_running_loop()
        due = loop.time()
        self._show()
        while not match.over:
            due += match.scene.seconds
            await asyncio.to_thread(match.decide)
            await asyncio.sleep(due - loop.time())
            if self._away():
                await self._wait_for_all()
                due = loop.time()
            if self._broken:
                return
            people = zip(match.people, self._seats, strict=True)
            match.step({place: seat.keyboard.take() for place, seat in people})
            self._show()
            # What took longer than a step is not caught up on: the game would race
            due = max(due, loop.time() - match.scene.seconds)

    async def _wait_for_all(self) -> None:
        """Wait until all people are back, or break off."""
        self.state = "paused"
        self._tell_room()
        try:
            async with asyncio.timeout(self._patience):
                while self._away() and not self._broken:
                    self._changed.clear()
                    await self._changed.wait()
        except TimeoutError:
            self._broken = f"broken off: {', '.join(self._away())} went away"
        self.state = "playing"
        self._tell_room()

    def _away(self) -> list[str]:
        return [seat.name or "a person" for seat in self._seats if seat.visitor is None]

    def _show(self, *visitors: Visitor) -> None:
        """Tell these, or all, what the game looks like now."""
        match, frame = self.match, self.match.env.frame()
        people = match.people
        for visitor in visitors or self._visitors:
            seat = visitor.seat
            said = frame.said[people[self._seats.index(seat)]] if seat and frame.said else ()
            visitor.tell(
                {
                    "say": "frame",
                    "step": match.steps,
                    "shapes": frame.shapes,
                    "places": frame.places,
                    "said": said,
                    "returns": list(match.returns.values()),
                    "acted": seat.keyboard.acted if seat else 0,
                }
            )

    def _welcome(self) -> dict[str, Any]:
        match = self.match
        return {
            "say": "welcome",
            "game": match.env.name,
            "agents": match.env.agents,
            "scene": plain(match.scene),
            "palette": PALETTE,
            "patience": self._patience,
        }

    def _tell_room(self) -> None:
        controls = self.match.teams.controls[0]
        people = dict(zip(self.match.people, self._seats, strict=False))
        places = [
            {
                "agent": agent,
                "who": (people[place].name or "a person") if place in people else controls[place],
                "person": place in people,
                "here": place not in people or people[place].visitor is not None,
                "ready": place not in people or people[place].ready,
            }
            for place, agent in enumerate(self.match.env.agents)
        ]
        for visitor in self._visitors:
            seat = visitor.seat
            mine = next((place for place, one in people.items() if one is seat), None) if seat else None
            visitor.tell(
                {
                    "say": "room",
                    "state": self.state,
                    "places": places,
                    "you": mine,
                    "token": seat.token if seat else "",
                    "free": sum(one.visitor is None for one in self._seats) if self.state == "waiting" else 0,
                }
            )

    def _over(self, recorded: Recorded | None) -> dict[str, Any]:
        if recorded is None:
            return {"say": "over", "reason": self._broken, "recording": None}
        return {
            "say": "over",
            "reason": self._broken,
            "recording": recorded.folder.name,
            "episode": recorded.episode,
            "steps": recorded.steps,
            "returns": recorded.returns,
        }

    def _names(self) -> dict[int, str]:
        return {place: seat.name for place, seat in zip(self.match.people, self._seats, strict=True)}


def _text(message: Mapping[str, Any], name: str) -> str:
    value = message.get(name, "")
    if not isinstance(value, str):
        raise RefusedError(400, f"{name}: expected a text", name)
    return value


def _whole_number(message: Mapping[str, Any], name: str) -> int:
    value = message.get(name, 0)
    if type(value) is not int:
        raise RefusedError(400, f"{name}: expected a whole number", name)
    return value
