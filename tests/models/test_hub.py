"""Weights by name, from a real server on loopback that answers as the Hub does, through huggingface_hub itself."""

import hashlib
import json
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from forking import Done, Forking
from published.checkpoints import write_checkpoint

from understudy.models.pretrained.hub import FILES, PUBLISHED

REVISION = PUBLISHED["gpt1"].revision
PREFIX = f"/openai-community/openai-gpt/resolve/{REVISION}/"


class Hub(ThreadingHTTPServer):
    """Serves the files of a folder under GPT-1's pinned revision."""

    def __init__(self, folder: Path) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.folder = folder
        self.asked: list[str] = []
        self.status = 200
        self.cut = False

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class Handler(BaseHTTPRequestHandler):
    server: Hub
    protocol_version = "HTTP/1.1"

    def do_HEAD(self) -> None:
        self._answer(body=False)

    def do_GET(self) -> None:
        self._answer(body=True)

    def _answer(self, body: bool) -> None:
        self.server.asked.append(f"{self.command} {self.path}")
        path = self.server.folder / self.path.removeprefix(PREFIX)
        there = self.path.startswith(PREFIX) and path.is_file()
        status = self.server.status if there or self.server.status != 200 else 404
        content = path.read_bytes() if status == 200 else b""
        self.send_response(status)
        if status == 404:
            self.send_header("X-Error-Code", "EntryNotFound")
        self.send_header("ETag", f'"{hashlib.sha256(content).hexdigest()}"')
        self.send_header("X-Repo-Commit", REVISION)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if body:
            self.wfile.write(content[: len(content) // 2] if self.server.cut else content)
            self.close_connection = self.server.cut

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[Hub]:
    folder = tmp_path / "hub"
    write_checkpoint("gpt1", folder)
    server = Hub(folder)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield server
    server.shutdown()
    server.server_close()


@pytest.fixture
def understudy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, forking: Forking) -> Callable[..., Done]:
    """Runs the command line in a process of its own: the Hub's library reads its settings when it is imported."""
    monkeypatch.chdir(tmp_path)

    def call(*arguments: str, endpoint: str, **more: str) -> Done:
        environment = {
            "HF_ENDPOINT": endpoint,
            "HF_HOME": str(tmp_path / "home"),
            "HF_HUB_DISABLE_TELEMETRY": "1",
            "UNDERSTUDY_RUNS": str(tmp_path / "runs"),
            "NO_PROXY": "127.0.0.1",
        }
        return forking.run(*arguments, environment=environment | more)

    return call


SAMPLE = ("sample", "gpt1", "--prompt", "the cat", "--max-tokens", "5", "--temperature", "0")


def test_weights_are_fetched_once_and_found_again_without_a_network(hub: Hub, understudy) -> None:
    first = understudy(*SAMPLE, endpoint=hub.url)
    assert first.codes == [0], first.errors
    assert {line.rpartition("/")[2] for line in hub.asked} == set(FILES)
    assert all(REVISION in line for line in hub.asked)
    asked = len(hub.asked)
    hub.shutdown()
    again = understudy(*SAMPLE, endpoint=hub.url)
    assert (again.codes, again.said) == ([0], first.said)
    assert len(hub.asked) == asked
    by_id = understudy("sample", "openai-community/openai-gpt", *SAMPLE[2:], endpoint=hub.url)
    assert by_id.said == first.said


def failed(done: Done) -> str:
    """The last line on standard error of a command that failed as on a user's mistake."""
    assert done.codes == [2], done.errors
    assert "Traceback" not in done.errors[0]
    return done.errors[0].strip().splitlines()[-1]


def test_no_way_to_the_hub(understudy, hub: Hub) -> None:
    hub.shutdown()
    hub.server_close()
    expected = (
        f"openai-community/openai-gpt (revision {REVISION[:8]}) is not in the Hub's cache here, and the Hub cannot be "
        "reached; name a folder that holds the files, such as one copied from another machine"
    )
    assert failed(understudy(*SAMPLE, endpoint=hub.url)) == expected
    assert failed(understudy(*SAMPLE, endpoint="http://hub.invalid")) == expected


def test_offline_by_the_hub_s_own_switch(understudy, hub: Hub) -> None:
    assert "the Hub cannot be reached" in failed(understudy(*SAMPLE, endpoint=hub.url, HF_HUB_OFFLINE="1"))
    assert not hub.asked


def test_a_file_that_the_hub_lacks(understudy, hub: Hub) -> None:
    (hub.folder / "merges.txt").unlink()
    assert "the Hub has no merges.txt of openai-community/openai-gpt" in failed(understudy(*SAMPLE, endpoint=hub.url))


def test_a_hub_that_refuses(understudy, hub: Hub) -> None:
    hub.status = 403
    assert "the Hub refused config.json of openai-community/openai-gpt" in failed(understudy(*SAMPLE, endpoint=hub.url))


def test_a_file_that_arrives_in_part(understudy, hub: Hub) -> None:
    hub.cut = True
    assert "of openai-community/openai-gpt (revision" in failed(understudy(*SAMPLE, endpoint=hub.url))
    hub.cut = False
    assert understudy(*SAMPLE, endpoint=hub.url).codes == [0]


def test_an_unknown_model_of_the_same_house(understudy) -> None:
    line = failed(understudy("sample", "openai-community/gpt3", endpoint="http://hub.invalid"))
    assert line.startswith("openai-community/gpt3 is not known here; did you mean openai-community/gpt2")


def test_an_unknown_name(understudy) -> None:
    line = failed(understudy("sample", "gpt2-medum", endpoint="http://hub.invalid"))
    assert "did you mean gpt2-medium" in line


def test_plain_weights_do_not_chat(understudy, hub: Hub) -> None:
    assert "has not learned to take turns; fine-tune it" in failed(understudy("chat", "gpt1", endpoint=hub.url))


def test_fine_tuning_records_where_the_weights_come_from(understudy, hub: Hub, tmp_path: Path) -> None:
    said = [{"role": "user", "content": "the cat"}, {"role": "assistant", "content": "sat"}]
    chats = [{"messages": [*said, {"role": "user", "content": f"{i}"}, *said[1:]]} for i in range(40)]
    (tmp_path / "chats.jsonl").write_text("\n".join(map(json.dumps, chats)))
    short = ("--data", "chats.jsonl", "--steps", "2", "--batch-size", "2", "--device", "cpu")
    done = understudy("finetune", "--base", "gpt1", *short, endpoint=hub.url)
    assert done.codes == [0], done.errors + done.said
    (record,) = (json.loads(path.read_text()) for path in (tmp_path / "runs").glob("*/run.json"))
    assert record["config"]["base"] == "gpt1"
    assert (record["base"]["source"], record["base"]["revision"]) == ("openai-community/openai-gpt", REVISION)
    for entry in record["base"]["files"]:
        content = (hub.folder / Path(entry["path"]).name).read_bytes()
        assert (entry["bytes"], entry["sha256"]) == (len(content), hashlib.sha256(content).hexdigest())
    assert {Path(entry["path"]).name for entry in record["base"]["files"]} == set(FILES)
    (shown,) = understudy("runs", "show", "last", endpoint=hub.url).said
    assert "openai-community/openai-gpt" in shown
    (weights,) = (entry for entry in record["base"]["files"] if entry["path"].endswith("model.safetensors"))
    assert weights["sha256"][:12] in shown
