"""Whatever is sent, the server answers in one shape, and goes on answering."""

import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest

from serving.api.conftest import serving
from understudy.acting.scheduler import Scheduler
from understudy.serving import access, listening
from understudy.serving.app import Options, build_app
from understudy.serving.replies import Served

HI = {"model": "chatty", "messages": [{"role": "user", "content": "hi"}], "max_tokens": 3}


@pytest.fixture
def http(address: str) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=address, timeout=60) as client:
        yield client


def problem_of(response: httpx.Response) -> dict[str, Any]:
    """The error that a response tells of, whose shape is checked."""
    body = response.json()
    assert set(body) == {"error"}
    assert set(body["error"]) == {"message", "type", "param", "code"}
    assert body["error"]["message"]
    assert body["error"]["type"] in ("invalid_request_error", "rate_limit_error", "server_error")
    assert response.headers["content-type"] == "application/json"
    return body["error"]


BROKEN: dict[str, tuple[bytes, int]] = {
    "nothing": (b"", 400),
    "no JSON": (b"{", 400),
    "a list": (b"[]", 400),
    "a number of many digits": (b'{"seed": ' + b"9" * 5000 + b"}", 400),
    "bad UTF-8": (b'{"model": "\xff\xfe"}', 400),
    "deep": (b"[" * 100_000 + b"]" * 100_000, 400),
    "deep in a field": (b'{"messages": ' + b'{"a":' * 5000 + b"1" + b"}" * 5000 + b"}", 400),
    "not a number": (json.dumps(HI | {"temperature": float("nan")}).encode(), 400),
    "infinite": (json.dumps(HI | {"temperature": float("inf")}).encode(), 400),
    "half a surrogate pair": (json.dumps(HI | {"messages": [{"role": "user", "content": "\ud800"}]}).encode(), 400),
    "huge": (b" " * (access.LARGEST_BODY + 1), 413),
    "many prompts": (json.dumps({"model": "writer", "prompt": ["a"] * 100, "n": 2}).encode(), 400),
    "unknown token": (json.dumps({"model": "writer", "prompt": [10**6]}).encode(), 400),
}


@pytest.mark.parametrize("name", BROKEN)
@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/completions"])
def test_a_broken_body(http: httpx.Client, path: str, name: str) -> None:
    body, status = BROKEN[name]
    response = http.post(path, content=body, headers={"Content-Type": "application/json"})
    assert response.status_code == status, response.text
    problem_of(response)


def test_a_body_whose_length_is_not_told_is_limited_too(http: httpx.Client) -> None:
    pieces = (b" " * 65536 for _ in range(access.LARGEST_BODY // 65536 + 1))
    response = http.post("/v1/completions", content=pieces, headers={"Content-Type": "application/json"})
    assert response.status_code == 413
    problem_of(response)


def test_a_body_that_is_not_declared_as_json_is_refused(http: httpx.Client) -> None:
    # A page from elsewhere could send it without asking first.
    response = http.post("/v1/chat/completions", content=json.dumps(HI), headers={"Content-Type": "text/plain"})
    assert response.status_code == 400
    assert "application/json" in problem_of(response)["message"]


def test_addresses_and_methods(http: httpx.Client) -> None:
    assert problem_of(http.get("/v1/nothing"))["message"] == "there is nothing at this address"
    response = http.get("/v1/chat/completions")
    assert (response.status_code, response.headers["allow"]) == (405, "POST")
    problem_of(response)
    assert http.get("/v1/models/nobody").status_code == 404
    assert http.get("/health").json() == {"status": "ok"}


def exchange(address: str, sent: bytes) -> bytes:
    host, _, port = address.removeprefix("http://").partition(":")
    with socket.create_connection((host, int(port)), timeout=60) as connection:
        connection.sendall(sent)
        return b"".join(iter(lambda: connection.recv(65536), b""))


@pytest.mark.parametrize(
    "sent",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"GET / HTTP/1.1\r\n\r\n",
        b"POST /v1/completions HTTP/1.1\r\nHost: localhost\r\nContent-Length: x\r\n\r\n",
        b"GET /" + b"a" * 100_000,
    ],
)
def test_what_is_no_http(address: str, sent: bytes) -> None:
    if sent.startswith(b"\x16"):
        sent += b"\n\n"
    head, _, body = exchange(address, sent).partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 400")
    assert json.loads(body)["error"]["type"] == "invalid_request_error"


def test_a_body_that_does_not_come_is_not_waited_for(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(access, "SECONDS_TO_SEND", 0.2)
    head = b"POST /v1/completions HTTP/1.1\r\nHost: localhost\r\nContent-Length: 10\r\nConnection: close\r\n\r\n{"
    assert exchange(address, head).startswith(b"HTTP/1.1 408")


def test_a_failure_of_ours_is_told_in_the_same_shape(models: dict[str, Served], store: Any) -> None:
    app = build_app(models, store, Options())

    @app.get("/broken")
    def broken() -> None:
        raise RuntimeError("secret detail")

    with serving(app) as address:
        response = httpx.get(f"{address}/broken")
    assert response.status_code == 500
    assert "secret" not in response.text
    assert problem_of(response)["type"] == "server_error"


def test_metrics_count_what_was_asked(http: httpx.Client) -> None:
    def figures() -> dict[str, float]:
        lines = [line.rpartition(" ") for line in http.get("/metrics").text.splitlines() if not line.startswith("#")]
        return {name: float(value) for name, _, value in lines}

    before = figures()
    http.post("/v1/chat/completions", json=HI)
    http.post("/v1/chat/completions", json=HI | {"stream": True})
    http.post("/v1/chat/completions", json=HI | {"n": 0})
    after = figures()

    def grown(name: str) -> float:
        return after[name] - before.get(name, 0)

    assert grown('understudy_finished_total{model="chatty"}') == 2
    assert 2 <= grown('understudy_tokens_made_total{model="chatty"}') <= 6
    assert grown('understudy_time_to_first_token_seconds_count{model="chatty"}') == 2
    assert grown('understudy_http_responses_total{route="/v1/chat/completions",status="200"}') == 2
    assert grown('understudy_http_responses_total{route="/v1/chat/completions",status="400"}') == 1
    assert grown('understudy_batch_size_bucket{le="1.0",model="chatty"}') >= 2
    assert after['understudy_queued{model="chatty"}'] == after['understudy_running{model="chatty"}'] == 0


@pytest.fixture
def narrow(models: dict[str, Served], store: Any) -> Iterator[tuple[str, Scheduler]]:
    """A server that answers one request, and lets one wait."""
    loaded = models["writer"].loaded
    scheduler = Scheduler(loaded.model, loaded.tokenizer, slots=1, max_queue=1)
    with serving(build_app({"writer": Served("writer", loaded, scheduler, 1)}, store, Options())) as address:
        yield address, scheduler
    scheduler.close(drain=False)


def eventually(holds: Callable[[], bool]) -> None:
    while not holds():  # the test run has a limit of its own
        time.sleep(0.01)


def test_a_full_queue_refuses_and_says_when_to_come_back(narrow: tuple[str, Scheduler]) -> None:
    address, scheduler = narrow
    # More choices than can be running and waiting
    response = httpx.post(f"{address}/v1/completions", json={"model": "writer", "prompt": "a", "n": 8}, timeout=60)
    assert response.status_code == 503
    assert problem_of(response)["code"] == "overloaded"
    assert int(response.headers["retry-after"]) >= 1
    eventually(lambda: scheduler.stats().running == scheduler.stats().queued == 0)


@pytest.mark.parametrize("stream", [False, True])
def test_who_leaves_frees_the_slot(models: dict[str, Served], store: Any, stream: bool) -> None:
    loaded = models["chatty"].loaded
    scheduler = Scheduler(loaded.model, loaded.tokenizer, slots=1)
    # Steps wait until the client has gone, however fast they are.
    gone, step = threading.Event(), scheduler._step
    scheduler._step = lambda: (gone.wait(), step())[1]  # type: ignore[method-assign]
    with serving(build_app({"chatty": Served("chatty", loaded, scheduler, 1)}, store, Options())) as address:
        host, _, port = address.removeprefix("http://").partition(":")
        body = json.dumps(HI | {"max_tokens": 150, "stream": stream}).encode()
        with socket.create_connection((host, int(port))) as connection:
            connection.sendall(
                b"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
                + b"Content-Length: %d\r\n\r\n%s" % (len(body), body)
            )
            eventually(lambda: scheduler.stats().running == 1)
        ticket = scheduler._running[0]
        eventually(lambda: ticket.is_cancelled)
        gone.set()
        eventually(lambda: scheduler.stats().running == 0)
    assert scheduler.stats().tokens_made < 100
    scheduler.close(drain=False)


def test_half_a_head_does_not_keep_a_connection(address: str, monkeypatch) -> None:
    """Neither as the first request nor as a later one; a body and a long reply have times of their own."""
    where = httpx.URL(address)

    def asks(connection: socket.socket) -> None:
        """Ask, and read the whole answer, in however many pieces it comes."""
        connection.settimeout(60)
        connection.sendall(b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n")
        answer = b""
        while not answer.endswith(b"}"):
            answer += connection.recv(1 << 16)
        assert answer.startswith(b"HTTP/1.1 200")

    with socket.create_connection((where.host, where.port)) as later:
        asks(later)
        monkeypatch.setattr(listening, "SECONDS_TO_ASK", 0.1)
        with socket.create_connection((where.host, where.port)) as first:
            for connection in (first, later):
                connection.settimeout(60)
                connection.sendall(b"GET /health HTTP/1.1\r\nHost: loc")
            assert first.recv(1 << 16) == later.recv(1 << 16) == b""
    monkeypatch.setattr(listening, "SECONDS_TO_ASK", 2)
    with socket.create_connection((where.host, where.port)) as whole:
        for pause in (2.2, 0):
            asks(whole)
            time.sleep(pause)


def test_a_body_in_another_encoding_and_a_missing_host_are_named(http: httpx.Client, address: str) -> None:
    response = http.post("/v1/completions", content=b"\x1f\x8b\x08", headers={"Content-Type": "application/json"})
    assert (response.status_code, problem_of(response)["message"]) == (
        400,
        "the body is not JSON in UTF-8; send it as such, not compressed",
    )
    where = httpx.URL(address)
    with socket.create_connection((where.host, where.port)) as connection:
        connection.settimeout(60)
        connection.sendall(b"GET /health HTTP/1.0\r\n\r\n")
        answer = b"".join(iter(lambda: connection.recv(1 << 16), b""))
    assert answer.startswith(b"HTTP/1.1 403")
    assert b"add the header Host" in answer
