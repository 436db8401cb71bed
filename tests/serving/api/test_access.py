"""Who may ask, by which name and how often."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest

from serving.api.conftest import serving
from serving.api.test_http import HI, problem_of
from understudy.errors import ConfigError
from understudy.serving.access import Access, RateLimit, read_keys
from understudy.serving.app import Options, build_app

ADA, BOB = "ada-0123456789abcdef", "bob-0123456789abcdef"


@pytest.fixture(scope="module")
def guarded(models: Any, store: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A server with two keys, each good for three requests a minute."""
    file = tmp_path_factory.mktemp("keys") / "keys"
    file.write_text(f"# who may ask\n\nada {ADA}\n  bob\t{BOB}  \n")
    file.chmod(0o600)
    access = Access(read_keys(file), ["Chat.example.org"], requests_per_minute=3)
    with serving(build_app(models, store, Options(access, origins=["https://friend.example"]))) as address:
        yield address


def bearer(key: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {key}"}


@pytest.mark.parametrize("given", ["", "Bearer", f"Bearer {ADA}x", f"Basic {ADA}", ADA, "Bearer é"])
@pytest.mark.parametrize("path", ["/v1/models", "/metrics", "/openapi.json", "/v1/nothing", "//v1/models"])
def test_without_a_key_that_is_known_nothing_is_told(guarded: str, path: str, given: str) -> None:
    response = httpx.get(guarded + path, headers={"Authorization": given.encode()})
    assert response.status_code == 401
    assert problem_of(response)["code"] == "invalid_api_key"
    assert response.headers["www-authenticate"] == "Bearer"


def test_openais_client_says_so(guarded: str) -> None:
    with pytest.raises(openai.AuthenticationError, match="not known"):
        openai.OpenAI(base_url=f"{guarded}/v1", api_key="wrong", max_retries=0).models.list()
    assert len(openai.OpenAI(base_url=f"{guarded}/v1", api_key=ADA).models.list().data) == 2


def test_nobody_sees_what_another_key_said(guarded: str) -> None:
    url = f"{guarded}/api/conversations"
    began = httpx.post(url, json={"title": "secret"}, headers=bearer(ADA)).json()
    for method, path, body in (
        ("GET", "", None),
        ("DELETE", "", None),
        ("PATCH", "", {"system": "x"}),
        ("POST", "/messages", {"role": "user", "content": "x"}),
        ("GET", "/export", None),
    ):
        for headers, status in ((bearer(BOB), 404), ({}, 401)):
            response = httpx.request(method, f"{url}/{began['id']}{path}", json=body, headers=headers)
            assert response.status_code == status
            problem_of(response)
    assert httpx.get(url, headers=bearer(BOB)).json() == []
    assert httpx.get(f"{url}/{began['id']}", headers=bearer(ADA)).json()["title"] == "secret"


def test_health_and_the_page_need_no_key(guarded: str) -> None:
    for path in ("/health", "/", "/page/main.js"):
        assert httpx.get(f"{guarded}{path}").status_code == 200


def test_each_key_has_its_own_requests(guarded: str) -> None:
    url = f"{guarded}/v1/chat/completions"
    for key in (ADA, BOB):
        passed = [httpx.post(url, json=HI, headers=bearer(key)) for _ in range(3)]
        assert [response.status_code for response in passed] == [200] * 3
        refused = httpx.post(url, json=HI, headers=bearer(key))
        assert refused.status_code == 429
        assert problem_of(refused)["type"] == "rate_limit_error"
        assert 1 <= int(refused.headers["retry-after"]) <= 20
        # Reading is not limited.
        assert httpx.get(f"{guarded}/v1/models", headers=bearer(key)).status_code == 200


def test_a_bucket_fills_up_again() -> None:
    now = [0.0]
    limit = RateLimit(2, clock=lambda: now[0])
    assert [limit.take("a") for _ in range(3)] == [0, 0, 30]
    assert limit.take("b") == 0
    now[0] = 20.0
    assert limit.take("a") == pytest.approx(10)
    now[0] = 30.0
    assert [limit.take("a"), limit.take("a")] == [0, 30]
    now[0] = 1e6
    assert [limit.take("a") for _ in range(3)] == [0, 0, 30]


@pytest.mark.parametrize(
    ("host", "passes"),
    [
        ("localhost", True),
        ("127.0.0.1:8000", True),
        ("[::1]:8000", True),
        ("192.168.1.7", True),
        ("chat.EXAMPLE.org:443", True),
        ("evil.example", False),
        ("evil.example:8000", False),
        ("localhost.evil.example", False),
        ("127.0.0.1.evil.example", False),
        ("[::1].evil.example", False),
        ("", False),
    ],
)
def test_a_request_must_name_this_server(guarded: str, host: str, passes: bool) -> None:
    response = httpx.get(f"{guarded}/health", headers={"Host": host})
    assert response.status_code == (200 if passes else 403)
    if not passes:
        assert ("--allow-host" if host else "add the header Host") in problem_of(response)["message"]


def test_pages_from_elsewhere_are_let_in_by_name_only(guarded: str, address: str) -> None:
    asks = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "authorization"}
    for server, origin, allowed in (
        (guarded, "https://friend.example", True),
        (guarded, "https://evil.example", False),
        (address, "https://friend.example", False),
    ):
        for response in (
            httpx.options(f"{server}/v1/chat/completions", headers={"Origin": origin} | asks),
            httpx.get(f"{server}/v1/models", headers={"Origin": origin}),
        ):
            assert ("access-control-allow-origin" in response.headers) == allowed


BROKEN = {
    "ada": "expected a name and a key",
    "ada a b": "expected a name and a key",
    "ada short": "fewer than 16 characters; try ",
    f"ada {ADA}\nada {BOB}": ":2: the name or key of ada is there already",
    f"ada {ADA}\nbob {ADA}": ":2: the name or key of bob is there already",
    "# nobody": "holds no key",
}


@pytest.mark.parametrize("text", BROKEN)
def test_a_broken_file_of_keys(tmp_path: Path, text: str) -> None:
    file = tmp_path / "keys"
    file.write_text(text)
    file.chmod(0o640)
    with pytest.raises(ConfigError, match=BROKEN[text]) as caught:
        read_keys(file)
    assert ADA not in str(caught.value)


def test_keys_that_everybody_can_read_are_refused(tmp_path: Path) -> None:
    file = tmp_path / "keys"
    file.write_text(f"ada {ADA}\n")
    file.chmod(0o644)
    with pytest.raises(ConfigError, match="chmod o-r"):
        read_keys(file)
    with pytest.raises(ConfigError, match="No such file"):
        read_keys(tmp_path / "nothing")
