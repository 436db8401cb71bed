"""A server over loopback, with a chat model and one of plain text."""

import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import uvicorn

from understudy.acting.scheduler import Scheduler
from understudy.serving.app import Options, build_app
from understudy.serving.conversations import ConversationStore
from understudy.serving.listening import Protocol, listen
from understudy.serving.replies import Served
from understudy.training.loading import load_model


def served(folders: dict[str, str]) -> dict[str, Served]:
    """The models of these folders, each with a scheduler."""
    found = {}
    for name, folder in folders.items():
        loaded = load_model(Path(folder))
        loaded.model.float()
        found[name] = Served(name, loaded, Scheduler(loaded.model, loaded.tokenizer, slots=8), 1)
    return found


@pytest.fixture(scope="session")
def models(save, model, sharp_model) -> Iterator[dict[str, Served]]:
    models = served({"chatty": save(model), "writer": save(sharp_model("gpt2", context=64), kind="text")})
    yield models
    for each in models.values():
        each.scheduler.close(drain=False)


@contextmanager
def serving(app: Any) -> Iterator[str]:
    """Serves an app in a thread; its address."""
    listening = listen("127.0.0.1", 0)
    server = uvicorn.Server(
        uvicorn.Config(app, http=Protocol, ws="none", lifespan="off", log_config=None, access_log=False)
    )
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
    thread.start()
    try:
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join()
        listening.close()


@pytest.fixture(scope="session")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ConversationStore]:
    store = ConversationStore(tmp_path_factory.mktemp("store") / "conversations.sqlite")
    yield store
    store.close()


@pytest.fixture(scope="session")
def address(models: dict[str, Served], store: ConversationStore) -> Iterator[str]:
    with serving(build_app(models, store, Options())) as where:
        yield where


@pytest.fixture
def client(address: str) -> Callable[..., Any]:
    import openai

    return openai.OpenAI(base_url=f"{address}/v1", api_key="any", max_retries=0)


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., tuple["subprocess.Popen[str]", str]]]:
    """Starts `understudy serve` and returns the process with its address."""
    started: list[subprocess.Popen[str]] = []

    def start(*arguments: str) -> tuple["subprocess.Popen[str]", str]:
        command = [sys.executable, "-m", "understudy", "serve", *arguments, "--port", "0"]
        environment = os.environ | {"COLUMNS": "500", "UNDERSTUDY_RUNS": str(tmp_path / "runs")}
        process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment, cwd=tmp_path
        )
        started.append(process)
        assert process.stdout
        line = process.stdout.readline()
        assert "Ctrl-C" in line, line + (process.stderr.read() if process.stderr else "")
        return process, next(word for word in line.split() if word.startswith("http://"))

    yield start
    for process in started:
        process.kill()
        process.communicate()
