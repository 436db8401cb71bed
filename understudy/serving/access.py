"""Who may ask, how often, and for how much: what stands before every route."""

import asyncio
import hashlib
import ipaddress
import math
import re
import secrets
import socket
import stat
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from time import monotonic

from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from understudy.errors import ConfigError, RefusedError
from understudy.serving.metrics import Metrics
from understudy.serving.problems import error_response

LOCAL = "local"
"""Who asks where there are no keys."""
LARGEST_BODY = 4 << 20
"""Bytes; a context holds far less."""
SECONDS_TO_SEND = 30.0
"""How long a client may take to send its body."""
SHORTEST_KEY = 16
MOST_BUCKETS = 10_000
PUBLIC = ("/", "/health", "/watch")
"""Paths that need no key, beside the files of pages: the pages themselves ask for it."""
KEY_PROTOCOL = "key."
"""What stands before a key, in hexadecimal, among the protocols of a websocket."""
HOST = re.compile(r"(\[[^\]]*\]|[^:]*)(?::\d*)?")
"""A Host header: a name or an address, perhaps with a port."""


def owner(request: Request) -> str:
    """Return the name of the key that a request came with, or LOCAL where there are no keys."""
    name: str = request.scope["state"]["owner"]
    return name


def read_keys(path: Path) -> dict[bytes, str]:
    """Return the names of the keys in a file, by the hashes of the keys.

    Each line holds a name and a key; blank lines and those that begin with # are skipped.

    Raises:
        ConfigError: the file cannot be read, others than its owner and group can read it, or a line is malformed.
    """
    try:
        if path.stat().st_mode & stat.S_IROTH:
            raise ConfigError(f"--keys {path}: every user of this machine can read it; try: chmod o-r {path}")
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, ValueError) as error:
        raise ConfigError(f"--keys {path} cannot be read: {getattr(error, 'strerror', None) or error}") from error
    names: dict[bytes, str] = {}
    for number, line in enumerate(lines, 1):
        words = line.split()
        if not words or words[0].startswith("#"):
            continue
        if len(words) != 2:
            raise ConfigError(f"--keys {path}:{number}: expected a name and a key")
        name, key = words
        if len(key) < SHORTEST_KEY:
            suggested = secrets.token_urlsafe(24)
            raise ConfigError(
                f"--keys {path}:{number}: the key of {name} has fewer than {SHORTEST_KEY} characters; try {suggested}"
            )
        if name in names.values() or _hash(key) in names:
            raise ConfigError(f"--keys {path}:{number}: the name or key of {name} is there already")
        names[_hash(key)] = name
    if not names:
        raise ConfigError(f"--keys {path} holds no key; expected lines of a name and a key")
    return names


def is_loopback(host: str) -> bool:
    """Return whether an address to listen at is reached from this machine only.

    >>> is_loopback("127.0.0.1"), is_loopback("localhost"), is_loopback("0.0.0.0")
    (True, True, False)
    """
    address = _ip(host)
    return host == "localhost" if address is None else address.is_loopback


class RateLimit:
    """A bucket of requests per name, which fills up again within a minute."""

    def __init__(self, per_minute: int, clock: Callable[[], float] = monotonic) -> None:
        self._per_minute, self._clock = per_minute, clock
        self._buckets: dict[str, tuple[float, float]] = {}

    def take(self, name: str) -> float:
        """Take a request out of the bucket of a name; return 0, or in how many seconds there will be one."""
        now = self._clock()
        if len(self._buckets) > MOST_BUCKETS:
            self._buckets = {each: kept for each, kept in self._buckets.items() if now - kept[1] < 60}
        left, since = self._buckets.get(name, (float(self._per_minute), now))
        left = min(self._per_minute, left + (now - since) * self._per_minute / 60)
        self._buckets[name] = (left - 1, now) if left >= 1 else (left, now)
        return 0.0 if left >= 1 else (1 - left) * 60 / self._per_minute


@dataclass(frozen=True)
class Access:
    """Who may ask and how often."""

    keys: Mapping[bytes, str] = field(default_factory=dict)
    """Names by the hashes of their keys; without any, whoever reaches the server may ask."""
    hosts: Sequence[str] = ()
    """Names by which the server may be addressed, beside localhost, this machine's name and every IP address."""
    requests_per_minute: int = 0
    """Most requests for replies per key or, without keys, per client's address; 0: no limit."""


class Guard:
    """Refuses what may not pass, reads bodies within their limits, and counts the responses."""

    def __init__(self, app: ASGIApp, access: Access, metrics: Metrics) -> None:
        self._app, self._keys, self._metrics = app, access.keys, metrics
        self._hosts = {"localhost", socket.gethostname().lower(), *(host.lower() for host in access.hosts)}
        self._limit = RateLimit(access.requests_per_minute) if access.requests_per_minute else None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or refuse it."""
        if scope["type"] == "websocket":
            await self._pass_websocket(scope, receive, send)
            return
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def counting(message: Message) -> None:
            if message["type"] == "http.response.start":
                route = getattr(scope.get("route"), "path", "none")
                self._metrics.responses.labels(route, message["status"]).inc()
            await send(message)

        try:
            headers = Headers(scope=scope)
            self._check_host(headers.get("host", ""))
            name = self._named(scope["path"], headers.get("authorization", ""))
            scope.setdefault("state", {})["owner"] = name
            if self._limit and scope["method"] == "POST" and scope["path"].startswith("/v1/"):
                self._check_rate(name if self._keys else (scope.get("client") or ("",))[0])
            receive = await _whole_body(headers, receive)
        except RefusedError as error:
            await error_response(error)(scope, receive, counting)
            return
        await self._app(scope, receive, counting)

    async def _pass_websocket(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a websocket on, or refuse it.

        A browser can give it no header of its own; the key comes as one of the protocols that it offers.
        """
        headers = Headers(scope=scope)
        offered = [one.removeprefix(KEY_PROTOCOL) for one in scope["subprotocols"] if one.startswith(KEY_PROTOCOL)]
        try:
            host = headers.get("host", "")
            self._check_host(host)
            # Any page may open a websocket to anywhere, and the browser says which page it was.
            origin = headers.get("origin", f"http://{host}")
            if origin.partition("://")[2] != host:
                raise RefusedError(403, f"pages from {origin} may not use this server", code="origin")
            scope.setdefault("state", {})["owner"] = self._named(scope["path"], f"Bearer {_unhex(offered)}")
        except RefusedError as error:
            await error_response(error)(scope, receive, send)
            return
        await self._app(scope, receive, send)

    def _check_host(self, given: str) -> None:
        """Raise RefusedError for a name that is not the server's.

        A page from elsewhere can have its own name resolve to this machine, and so reach a server that only this
        machine can reach. Its requests still bear that name.
        """
        if not given:
            raise RefusedError(
                403, "the request does not say how it names the server; add the header Host", code="host"
            )
        parts = HOST.fullmatch(given)
        host = parts[1].lower() if parts else given
        if host not in self._hosts and _ip(host.strip("[]")) is None:
            raise RefusedError(
                403, f"this server does not go by the name {host!r}; start it with --allow-host {host}", code="host"
            )

    def _named(self, path: str, given: str) -> str:
        """Return who asks. Raises RefusedError without a key that is known, where one is needed."""
        if not self._keys or path in PUBLIC or path.startswith("/page/"):
            return LOCAL
        scheme, _, key = given.partition(" ")
        if not key:
            message = "no API key was given; expected the header `Authorization: Bearer KEY`"
        elif scheme.lower() == "bearer" and (name := self._keys.get(_hash(key.strip()))):
            return name
        else:
            message = "the API key is not known here"
        raise RefusedError(401, message, code="invalid_api_key", headers={"WWW-Authenticate": "Bearer"})

    def _check_rate(self, name: str) -> None:
        assert self._limit
        if seconds := math.ceil(self._limit.take(name)):
            raise RefusedError(
                429,
                f"too many requests; try again in {seconds} s",
                code="rate_limit_exceeded",
                headers={"Retry-After": str(seconds)},
            )


async def _whole_body(headers: Headers, receive: Receive) -> Receive:
    """Read the body, and return a `receive` that gives it in one piece. Raises RefusedError beyond the limits."""
    body = bytearray()
    length = headers.get("content-length", "0")
    size, more = int(length) if length.isascii() and length.isdigit() else 0, True
    try:
        async with asyncio.timeout(SECONDS_TO_SEND):
            while more and max(size, len(body)) <= LARGEST_BODY:
                message = await receive()
                if message["type"] == "http.disconnect":
                    break
                body += message.get("body", b"")
                more = message.get("more_body", False)
    except TimeoutError as error:
        raise RefusedError(408, f"the body took longer than {SECONDS_TO_SEND:.0f} s to arrive") from error
    if max(size, len(body)) > LARGEST_BODY:
        raise RefusedError(413, f"a body has at most {LARGEST_BODY:,} bytes; shorten it", code="body_too_large")
    given = [{"type": "http.request", "body": bytes(body), "more_body": False}]

    async def replay() -> Message:
        return given.pop() if given else await receive()

    return replay


def _unhex(offered: Sequence[str]) -> str:
    try:
        return bytes.fromhex(offered[0]).decode() if offered else ""
    except ValueError:
        return ""


def _hash(key: str) -> bytes:
    """Return what stands for a key: looked up in place of it, the time it takes tells nothing of the key."""
    return hashlib.sha256(key.encode("utf-8", "surrogateescape")).digest()


def _ip(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        return None
