"""Serve trained models over HTTP: an API as OpenAI's, and a page to chat with them."""

import json
import logging
import signal
import socket
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import tyro
import uvicorn
from rich.console import Console
from typing_extensions import override
from uvicorn.protocols.http.h11_impl import H11Protocol

from understudy.acting.scheduler import Scheduler
from understudy.config import RunNames, Texts, in_range
from understudy.console import on_signals, say
from understudy.errors import ConfigError, UserError
from understudy.models.device import ServingDtype, pick_device, prepare_process
from understudy.runs.find import make_runs_folder
from understudy.serving.access import Access, is_loopback, read_keys
from understudy.serving.app import Options, build_app
from understudy.serving.conversations import ConversationStore
from understudy.serving.problems import problem
from understudy.serving.replies import Served
from understudy.serving.terminal import announce
from understudy.training.loading import load_to_serve, resolve

SECONDS_TO_ASK = 30.0
"""How long a connection may stay open before its first request is there."""


@dataclass(frozen=True)
class Config:
    """Serves trained models over HTTP: an API that OpenAI's clients understand, and a page to chat with them."""

    run: tyro.conf.Positional[RunNames] = ()
    """Which models: runs (their ids, beginnings of these, last, last:finetune), checkpoints' folders or published
    weights. Without any the built-in model is served."""
    host: str = "127.0.0.1"
    """Address to listen at; by default only this machine can reach it. 0.0.0.0 stands for all addresses."""
    port: int = 8000
    """Port to listen at; 0 takes a free one."""
    keys: str = ""
    """File of API keys, a name and a key a line; requests without one of them are then refused."""
    open: bool = False
    """Listen at an address that others can reach, without keys."""
    requests_per_minute: int = 0
    """Most requests for replies per key or, without keys, per client's address (0: no limit)."""
    allow_host: Texts = ()
    """Further names by which the server may be addressed, such as that of a proxy before it."""
    allow_origin: Texts = ()
    """Web pages from elsewhere that may use the API, such as https://chat.example.org."""
    slots: int = 32
    """Most replies per model that are computed at once; others wait."""
    device: str = "auto"
    """Where to compute: auto, cpu, cuda or cuda:0."""
    dtype: ServingDtype = "auto"
    """Number format of the weights: auto is float32 on a CPU and that of the training on a GPU; bfloat16 and int8 (CPU)
    are faster and less exact."""


def main(config: Config, console: Console) -> None:
    """Serve until Ctrl-C. Running replies finish first, unless it is pressed again."""
    # What needs no model comes first, so that mistakes show at once.
    in_range("port", config.port, 0, 65535)
    in_range("requests_per_minute", config.requests_per_minute, 0)
    in_range("slots", config.slots, 1, 1024)
    if not (config.open or config.keys or is_loopback(config.host)):
        raise ConfigError(
            f"--host {config.host} can be reached by others; name a file of API keys with --keys, "
            "or let everybody in with --open"
        )
    keys = read_keys(Path(config.keys)) if config.keys else {}
    access = Access(keys, config.allow_host, config.requests_per_minute)
    device = pick_device(config.device)
    listening = listen(config.host, config.port)

    with ExitStack() as stack:
        stack.callback(listening.close)
        prepare_process()
        models: dict[str, Served] = {}
        for reference in config.run:
            loaded = load_to_serve(resolve(reference), device, config.dtype)
            name = name_of(loaded.folder)
            if name in models:
                raise ConfigError(f"{reference} is {name}, which is named already; leave one out")
            announce(loaded.model)
            scheduler = Scheduler(loaded.model, loaded.tokenizer, slots=config.slots)
            stack.callback(scheduler.close, drain=False)
            models[name] = Served(name, loaded, scheduler, int(loaded.folder.stat().st_mtime))

        store = ConversationStore(make_runs_folder(None) / "conversations.sqlite")
        stack.callback(store.close)
        app = build_app(models, store, Options(access, config.allow_origin))
        host, port = listening.getsockname()[:2]
        address = f"http://{f'[{host}]' if ':' in host else host}:{port}"
        say(console, f"Serving {', '.join(models)} at {address} (for OpenAI's clients: {address}/v1). Ctrl-C ends it.")
        if config.open and not keys:
            say(console, "Everybody who can reach this address can use it, and read all conversations.", "yellow")
        # Both warn of clients that send what is no HTTP, or that are gone.
        for logger in ("uvicorn.error", "asyncio"):
            logging.getLogger(logger).setLevel(logging.ERROR)
        # Clients and proxies keep a connection for 5 to 60 s; closed before that, it fails the request just sent.
        settings = uvicorn.Config(
            app, http=Protocol, ws="none", lifespan="off", log_config=None, access_log=False, timeout_keep_alive=75
        )
        Server(settings, [each.scheduler for each in models.values()]).run(sockets=[listening])


def name_of(folder: Path) -> str:
    """Return the name under which a checkpoint or published weights are served: the run's id, or the folder's name."""
    run = folder.parent.parent
    return run.name if (run / "run.json").exists() else folder.name


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

    @override
    def connection_made(self, transport) -> None:  # type: ignore[no-untyped-def]
        super().connection_made(transport)
        self.loop.call_later(SECONDS_TO_ASK, self._close_unless_asked)

    @override
    def send_400_response(self, msg: str) -> None:
        body = json.dumps(problem(400, msg)).encode()
        head = f"HTTP/1.1 400 Bad Request\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n"
        self.transport.write(head.encode() + b"Connection: close\r\n\r\n" + body)
        self.transport.close()

    def _close_unless_asked(self) -> None:
        if self.cycle is None and not self.transport.is_closing():
            self.transport.close()
