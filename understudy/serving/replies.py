"""The replies to one HTTP request, on their way from a scheduler's thread to the event loop."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from functools import partial
from time import perf_counter

from starlette.requests import ClientDisconnect
from starlette.types import Receive

from understudy.acting.scheduler import Request, Scheduler, Ticket, Update
from understudy.errors import RefusedError
from understudy.serving.metrics import Metrics
from understudy.training.loading import Loaded


@dataclass(frozen=True)
class Served:
    """A model that is served under a name."""

    name: str
    loaded: Loaded
    scheduler: Scheduler
    created: int
    """When its weights were written, in seconds since 1970."""

    @property
    def chats(self) -> bool:
        """Whether it learned from conversations; a model of plain text does not know what a turn is."""
        return self.loaded.state["progress"].get("kind") != "text"


class Replies:
    """What becomes of the choices of one request, as an async iterator of (choice, update) until all have ended."""

    def __init__(self, served: Served, requests: Sequence[Request], metrics: Metrics) -> None:
        """Submit the requests, all or none. Raises TooLongError or QueueFullError."""
        self._served, self._metrics = served, metrics
        self._began = perf_counter()
        self._loop = asyncio.get_running_loop()
        self._updates: asyncio.Queue[tuple[int, Update] | None] = asyncio.Queue()
        self._tickets: list[Ticket] = []
        try:
            for index, request in enumerate(requests):
                self._tickets.append(served.scheduler.submit(request, partial(self._hear, index)))
        except BaseException:
            self.cancel()
            raise

    async def __aiter__(self) -> AsyncIterator[tuple[int, Update]]:
        """Yield each choice's updates as they come. Raises RefusedError where one failed, ClientDisconnect."""
        waiting = set(range(len(self._tickets)))
        silent = set(waiting)
        while waiting:
            heard = await self._updates.get()
            if heard is None:
                raise ClientDisconnect
            index, update = heard
            if update.finish_reason == "error":
                raise RefusedError(500, f"the reply failed: {update.error}")
            if update.finish_reason == "cancelled":
                raise RefusedError(503, "the server is shutting down", headers={"Retry-After": "10"})
            if index in silent:
                silent.remove(index)
                self._metrics.first_token.labels(self._served.name).observe(perf_counter() - self._began)
            if update.finish_reason:
                waiting.remove(index)
            yield index, update

    def cancel(self) -> None:
        """Take out of the batch what has not finished."""
        for ticket in self._tickets:
            self._served.scheduler.cancel(ticket)

    async def watch(self, receive: Receive) -> None:
        """Wait until the client leaves, and end the iteration then."""
        while (await receive())["type"] != "http.disconnect":
            pass
        self._updates.put_nowait(None)

    def _hear(self, index: int, update: Update) -> None:
        # In the scheduler's thread
        self._loop.call_soon_threadsafe(self._updates.put_nowait, (index, update))
