"""Serve trained models over HTTP: an API as OpenAI's, and a page to chat with them."""

from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

import tyro
from rich.console import Console

from understudy.acting.scheduler import Scheduler
from understudy.config import RunNames, Texts, in_range
from understudy.console import say
from understudy.errors import ConfigError
from understudy.models.device import ServingDtype, pick_device, prepare_process
from understudy.runs.find import make_runs_folder
from understudy.serving.app import Options, build_app
from understudy.serving.conversations import ConversationStore
from understudy.serving.listening import Address, listen, run, url_of
from understudy.serving.replies import Served
from understudy.serving.terminal import announce
from understudy.training.loading import load_to_serve, resolve


@dataclass(frozen=True)
class Config:
    """Serves trained models over HTTP: an API that OpenAI's clients understand, and a page to chat with them."""

    run: tyro.conf.Positional[RunNames] = ()
    """Which models: runs (their ids, beginnings of these, last, last:finetune), checkpoints' folders or published
    weights. Without any the built-in model is served."""
    address: Address = field(default_factory=Address)
    requests_per_minute: int = 0
    """Most requests for replies per key or, without keys, per client's address (0: no limit)."""
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
    in_range("requests_per_minute", config.requests_per_minute, 0)
    in_range("slots", config.slots, 1, 1024)
    access = config.address.access(config.requests_per_minute)
    device = pick_device(config.device)
    listening = listen(config.address.host, config.address.port)

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
        address = url_of(listening)
        say(console, f"Serving {', '.join(models)} at {address} (for OpenAI's clients: {address}/v1). Ctrl-C ends it.")
        config.address.warn(console, "read all conversations")
        run(app, listening, [each.scheduler for each in models.values()])


def name_of(folder: Path) -> str:
    """Return the name under which a checkpoint or published weights are served: the run's id, or the folder's name."""
    run = folder.parent.parent
    return run.name if (run / "run.json").exists() else folder.name
