"""The address of a server: who may reach it there, how it listens, and how it ends."""

import asyncio
import json
import logging
import signal
import socket
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import h11
import uvicorn
from fastapi import FastAPI
from rich.console import Console
from typing_extensions import override
from uvicorn.protocols.http.h11_impl import H11Protocol

from understudy.acting.scheduler import Scheduler
from understudy.config import Texts, in_range
from understudy.console import on_signals, say
from understudy.errors import ConfigError, UserError
from understudy.serving.access import Access, is_loopback, read_keys
from understudy.serving.problems import problem

SECONDS_TO_ASK = 30.0
"""How long the head of a request may take: from the connection or, later on, from its first byte."""
LARGEST_MESSAGE = 4096
"""Bytes that a browser may send over a websocket in one piece."""
SECONDS_OF_SILENCE = 5.0
"""After which a websocket is asked for a sign of life, and after which it is taken for lost."""


@dataclass(frozen=True)
class Address:
    """Where a server listens, and who may use it."""

    host: str = "127.0.0.1"
    """Address to listen at; by default only this machine can reach it. 0.0.0.0 stands for all addresses."""
    port: int = 8000
    """Port to listen at; 0 takes a free one."""
    keys: str = ""
    """File of API keys, a name and a key a line; requests without one of them are then refused."""
    open: bool = False
    """Listen at an address that others can reach, without keys."""
    allow_host: Texts = ()
    """Further names by which the server may be addressed, such as that of a proxy before it."""

    def access(self, requests_per_minute: int = 0) -> Access:
        """Return who may ask. Raises ConfigError where others could, and it was not said that they may."""
        in_range("port", self.port, 0, 65535)
        if not (self.open or self.keys or is_loopback(self.host)):
            raise ConfigError(
                f"--host {self.host} can be reached by others; name a file of API keys with --keys, "
                "or let everybody in with --open"
            )
        keys = read_keys(Path(self.keys)) if self.keys else {}
        return Access(keys, self.allow_host, requests_per_minute)

    def warn(self, console: Console, what: str) -> None:
        """Say so where everybody can use the server."""
        if self.open and not self.keys:
            say(console, f"Everybody who can reach this address can use it, and {what}.", "yellow")


def url_of(listening: socket.socket) -> str:
    """Return the address at which a socket is reached."""
    host, port = listening.getsockname()[:2]
    return f"http://{f'[{host}]' if ':' in host else host}:{port}"


def run(app: FastAPI, listening: socket.socket, schedulers: Sequence[Scheduler] = (), websockets: bool = False) -> None:
    """Serve an app until Ctrl-C. Running replies finish first, unless it is pressed again."""
    # Both warn of clients that send what is no HTTP, or that are gone.
    for logger in ("uvicorn.error", "asyncio"):
        logging.getLogger(logger).setLevel(logging.ERROR)
    Server(settings(app, websockets), schedulers).run(sockets=[listening])


def settings(app: FastAPI, websockets: bool) -> uvicorn.Config:
    """Return how an app is served, with websockets or without."""
    return uvicorn.Config(
        app,
        http=Protocol,
        ws="websockets-sansio" if websockets else "none",
        ws_max_size=LARGEST_MESSAGE,
        ws_ping_interval=SECONDS_OF_SILENCE,
        ws_ping_timeout=SECONDS_OF_SILENCE,
        lifespan="off",
        log_config=None,
        access_log=False,
        # Clients and proxies keep a connection for 5 to 60 s; closed before that, it fails the request just sent.
        timeout_keep_alive=75,
    )


def listen(host: str, port: int) -> socket.socket:
    """Return a socket that listens. Raises UserError where that is not possible."""
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        return socket.create_server((host, port), family=family, backlog=1024)
    except OSError as error:
        reason = str(error.strerror or error).partition(" (")[0]
        raise UserError(f"cannot listen at {host} port {port}: {reason}; try another --port or --host") from error


class Server(uvicorn.Server):
    """Finishes the running replies at the first Ctrl-C or SIGTERM, cuts them at the second, and ends at the third."""

    def __init__(self, config: uvicorn.Config, schedulers: Sequence[Scheduler]) -> None:
        super().__init__(config)
        self._schedulers, self._signals = schedulers, 0

    @override
    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        with on_signals(self._stop, signal.SIGINT, signal.SIGTERM):
            yield

    def _stop(self, number: int) -> None:
        self._signals += 1
        self.should_exit = True
        if self._signals == 2:
            for scheduler in self._schedulers:
                scheduler.close(drain=False)
        self.force_exit = self._signals > 2


class Protocol(H11Protocol):
    """Answers what is no HTTP in the shape of all errors, and lets nobody keep a connection without asking."""

    _asking: asyncio.TimerHandle | None = None
    """Runs while the head of a request is awaited."""

    @override
    def connection_made(self, transport) -> None:  # type: ignore[no-untyped-def]
        super().connection_made(transport)
        self._await_head()

    @override
    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if self.conn.their_state is h11.IDLE:
            self._await_head()
        elif self._asking:
            self._asking.cancel()
            self._asking = None

    @override
    def send_400_response(self, msg: str) -> None:
        body = json.dumps(problem(400, msg)).encode()
        head = f"HTTP/1.1 400 Bad Request\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n"
        self.transport.write(head.encode() + b"Connection: close\r\n\r\n" + body)
        self.transport.close()

    def _await_head(self) -> None:
        if self._asking is None:
            self._asking = self.loop.call_later(SECONDS_TO_ASK, self.transport.close)
