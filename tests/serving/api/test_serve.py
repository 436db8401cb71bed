"""`understudy serve` as a process: what it says, what it refuses, and how it ends."""

import json
import signal
import socket
from pathlib import Path
from typing import Any

import httpx
import pytest

from understudy import cli
from understudy.errors import UserError
from understudy.serving.listening import listen


@pytest.fixture(scope="module")
def talker(save, sharp_model) -> str:
    """A model whose replies never end by themselves."""
    return save(sharp_model("modern", context=8000, says=()))


def asked(folder: str, tokens: int) -> dict[str, Any]:
    said = [{"role": "user", "content": "hi"}]
    return {"model": Path(folder).name, "messages": said, "max_tokens": tokens, "stream": True, "temperature": 0}


def refuses(address: str) -> bool:
    host, _, port = address.removeprefix("http://").partition(":")
    try:
        socket.create_connection((host, int(port)), timeout=600).close()
    except ConnectionError:  # one that waited when the server closed its door is reset
        return True
    return False


def test_ctrl_c_lets_running_replies_finish(start, talker) -> None:
    process, address = start(talker)
    with httpx.stream("POST", f"{address}/v1/chat/completions", json=asked(talker, 1500), timeout=600) as response:
        lines = response.iter_lines()
        for _ in range(20):
            next(lines)
        process.send_signal(signal.SIGINT)
        while not refuses(address):
            pass
        rest = [line for line in lines if line]
    assert rest[-1] == "data: [DONE]"
    assert json.loads(rest[-2].removeprefix("data: "))["choices"][0]["finish_reason"] == "length"
    _, complaints = process.communicate(timeout=600)
    assert (process.returncode, complaints) == (0, "")


def test_a_second_ctrl_c_cuts_them(start, talker) -> None:
    process, address = start(talker)
    with httpx.stream("POST", f"{address}/v1/chat/completions", json=asked(talker, 7900), timeout=600) as response:
        lines = response.iter_lines()
        next(lines)
        for number in (signal.SIGTERM, signal.SIGINT):
            process.send_signal(number)
            while not refuses(address):
                pass
        *_, last = (line for line in lines if line)
    assert json.loads(last.removeprefix("data: "))["error"]["message"] == "the server is shutting down"
    _, complaints = process.communicate(timeout=600)
    assert (process.returncode, complaints) == (0, "")


def test_a_server_with_keys_on_every_address(start, talker, tmp_path: Path) -> None:
    keys = tmp_path / "keys"
    keys.write_text("ada ada-0123456789abcdef\n")
    keys.chmod(0o600)
    _, address = start(talker, "--host", "0.0.0.0", "--keys", str(keys), "--slots", "2")
    assert httpx.get(f"{address}/v1/models").status_code == 401
    listed = httpx.get(f"{address}/v1/models", headers={"Authorization": "Bearer ada-0123456789abcdef"})
    assert [model["id"] for model in listed.json()["data"]] == [Path(talker).name]


MISTAKES = {
    ("--host", "0.0.0.0"): "--host 0.0.0.0 can be reached by others; name a file of API keys with --keys",
    ("--host", "::"): "--open",
    ("--keys", "nothing"): "--keys nothing cannot be read: No such file",
    ("--port", "70000"): "--port 70000 is out of range",
    ("--slots", "0"): "--slots 0",
    ("--device", "gpu"): "--device gpu is unknown",
    ("--host", "no.such.host.invalid", "--open"): "cannot listen at no.such.host.invalid",
    ("last",): "no run of finetune or pretrain yet",
    (): "the built-in model is not trained yet; try understudy chat",
}


@pytest.mark.parametrize("arguments", MISTAKES, ids=" ".join)
def test_a_mistake_is_named(arguments: tuple[str, ...], capsys: pytest.CaptureFixture[str]) -> None:
    more = () if arguments in ((), ("last",)) else ("last",)
    assert cli.main(["serve", *arguments, *more]) == 2
    assert MISTAKES[arguments] in capsys.readouterr().err


def test_a_port_that_is_taken() -> None:
    with listen("127.0.0.1", 0) as taken, pytest.raises(UserError, match="in use; try another --port"):
        listen("127.0.0.1", taken.getsockname()[1])


def test_a_model_named_twice(save, model, capsys: pytest.CaptureFixture[str]) -> None:
    folder = save(model)
    assert cli.main(["serve", folder, folder, "--port", "0"]) == 2
    assert "named already" in capsys.readouterr().err
