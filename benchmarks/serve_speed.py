"""Serving a GPT-2 shape of 124M parameters to many clients: ours, transformers serve, llama.cpp's servers.

    python benchmarks/serve_speed.py [--quick]

Needs the extra `bench`; about an hour. Each server has the same weights in float32 and runs alone, over loopback, in
turn with the others; medians over the rounds count. The clients send prompts of 16 to 256 tokens and ask for 16 to 128
more, greedy. The limit is our own step alone: as many steps as the server took, with as many tokens in each, without
requests, queues, text or HTTP.
"""

import argparse
import re
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import astuple, dataclass
from pathlib import Path
from statistics import median

import numpy as np
from report import busy, contend, finish, racers, table
from serve_load import Answer, Figures, beside_long, chat, figures, load
from serve_peers import build, commands, free_port, serving, write

CLIENTS = (1, 8, 32)
TURNS, LONG = 10, 400
SHORT_CLIENTS = 4


@dataclass(frozen=True)
class Server:
    """A server that answers."""

    port: int
    model: str

    def counted(self) -> dict[str, float]:
        """Return the figures that our server counts."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/metrics") as response:
            text = response.read().decode()
        return {
            name: float(value) for name, value in re.findall(r"^understudy_(\w+?)(?:_total)?{.*} (\S+)$", text, re.M)
        }


@contextmanager
def started(name: str, folder: Path) -> Iterator[Server]:
    """Start a server and let it answer a few requests, so that whatever it makes first is made."""
    port = free_port()
    # Ours waits as the `understudy` command has it wait.
    environment = {"GOMP_SPINCOUNT": "10000"} if name.startswith("ours") else {}
    model = "model" if name.startswith("ours") else str(folder / ("model" if "transformers" in name else "model.gguf"))
    with serving(commands(folder, port)[name], port, folder, environment):
        server = Server(port, model)
        load(port, model, clients=4, each=1, first=1000)
        yield server


def step_alone() -> Callable[..., float]:
    """Make the contender of which each run returns the seconds of our step: so many tokens, and logits after some."""
    from understudy.models.device import prepare_process
    from understudy.models.huge_pages import settle
    from understudy.native.dispatch import native_batch

    prepare_process()
    model, _ = build()
    settle(model)
    most, held = 128, 100
    batch = native_batch(model, most, most)
    batch.begin(0)
    batch.feed({0: [ord("a")] * held}, set())
    saved, _ = batch.save(0, 0)

    def run(fed: int, asked: int) -> float:
        seconds = []
        for _ in range(8):
            for slot in range(fed):
                batch.begin(slot)
                batch.load(slot, saved)
            began = time.perf_counter()
            batch.feed({slot: [ord("b")] for slot in range(fed)}, set(range(asked)))
            seconds.append(time.perf_counter() - began)
        return median(seconds[1:])

    return run


def race(names: list[str], folder: Path, rounds: int, each: int, loops: int) -> dict[str, dict[int, list[Figures]]]:
    """Return what clients find at each server, by the number of clients, beside so many busy loops."""
    found: dict[str, dict[int, list[Figures]]] = {name: {} for name in names}
    clients = (32,) if loops else CLIENTS
    for _ in range(rounds):
        for name in names:
            try:
                with started(name, folder) as server, busy(loops) if loops else nullcontext():
                    for count in clients:
                        answers = load(server.port, server.model, count, each if count > 1 else 4 * each)
                        found[name].setdefault(count, []).append(figures(answers))
            except (ChildProcessError, RuntimeError, OSError) as error:
                print(f"{name}: {error}")
    return {name: figures_ for name, figures_ in found.items() if figures_}


def middle(rounds: list[Figures]) -> Figures:
    """Return the medians of the rounds."""
    return Figures(*(median(column) for column in zip(*map(astuple, rounds), strict=True)))


def show_race(title: str, found: Mapping[str, Mapping[int, list[Figures]]]) -> dict[str, dict[int, Figures]]:
    """Print the medians and return them."""
    medians = {name: {count: middle(rounds) for count, rounds in one.items()} for name, one in found.items()}
    counts = next(iter(medians.values())).keys()
    for count in counts:
        rows = [
            [name, f"{one[count].speed:,.0f}", f"{one[count].p50:,.0f}", f"{one[count].p99:,.0f}"]
            for name, one in medians.items()
            if count in one
        ]
        table(f"{title}, {count} clients", ["", "tokens/s", "first token p50, ms", "p99, ms"], rows)
    return medians


def show_share(folder: Path, each: int) -> None:
    """Print which share of our own step's speed is left at 32 clients."""
    with racers({"ours": ("step", {})}) as entrants, started("ours", folder) as server:
        before = server.counted()
        speed = figures(load(server.port, server.model, 32, each, first=2000)).speed
        after = server.counted()
        steps, made, prefilled = (after[name] - before[name] for name in ("steps", "tokens_made", "tokens_prefilled"))
        seconds = entrants["ours"](fed=round((made + prefilled) / steps), asked=round(made / steps))
    limit = made / steps / seconds
    text = f"{steps:,.0f} steps of {(made + prefilled) / steps:.1f} tokens, {made / steps:.1f} of them of replies"
    table(text, ["", "tokens/s"], [["our server", f"{speed:,.0f}"], ["our step alone", f"{limit:,.0f}"]])
    finish("serve_32_clients_share_of_step", "tokens/s", speed, {}, limit, speed / limit, 0.85)


def show_long(name: str, folder: Path, seconds: float) -> None:
    """Print how long short prompts wait for their first token, with and without a long prompt beside them."""
    with started(name, folder) as server:
        waits = {}
        for long in (0, LONG):
            answers = beside_long(server.port, server.model, SHORT_CLIENTS, seconds, long)
            waits[long] = np.percentile([1000 * answer.first for answer in answers], (50, 99)).tolist()
    rows = [[f"beside prompts of {long} tokens" if long else "alone", *(f"{wait:.0f}" for wait in waits[long])]
            for long in waits]  # fmt: skip
    table(f"{name}: milliseconds to the first token of prompts of 16", ["", "p50", "p99"], rows)
    alone, beside = waits[0][1], waits[LONG][1]
    finish("serve_short_beside_long", "ms, p99", beside, {"alone": alone}, None, alone / beside, 0.5)


def show_chat(names: list[str], folder: Path, rounds: int) -> None:
    """Print how long each turn of a conversation waits for its first token."""
    waits: dict[str, list[float]] = {}
    for name in names:
        with started(name, folder) as server:
            chats: list[list[Answer]] = [chat(server.port, server.model, TURNS) for _ in range(rounds)]
            waits[name] = [1000 * median(answer.first for answer in turn) for turn in zip(*chats, strict=True)]
    rows = [[name, *(f"{wait:.0f}" for wait in turns)] for name, turns in waits.items()]
    table("milliseconds to the first token by turn, 80 tokens more in each", ["", *map(str, range(1, TURNS + 1))], rows)
    ours = waits.pop("ours")
    worst = max(abs(wait / median(ours) - 1) for wait in ours)
    last = {name: turns[-1] for name, turns in waits.items()}
    finish("serve_chat_turns_flat", "ms, last turn", ours[-1], last, None, 1 - worst, 0.8)


def main() -> None:
    contend({"step": step_alone})
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="fewer requests, one round: some minutes")
    args = parser.parse_args()
    rounds, each = (1, 1) if args.quick else (3, 3)
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        write(folder)
        names = list(commands(folder, 0))
        peers = [name for name in names if not name.startswith("ours")]

        medians = show_race("quiet", race(names, folder, rounds, each, loops=0))
        speeds = {name: one[32].speed for name, one in medians.items()}
        ours, alone = speeds.pop("ours"), speeds.pop("ours, one at a time")
        best = max(speeds.values(), default=0.0)
        if best:
            finish("serve_32_clients_against_peers", "tokens/s", ours, speeds, None, ours / best, 2.0)
        finish("serve_32_clients_against_one_at_a_time", "tokens/s", ours, {"alone": alone}, None, ours / alone, 4.0)
        show_share(folder, each)
        show_long("ours", folder, seconds=10 if args.quick else 60)
        show_chat(["ours", *peers], folder, rounds=1 if args.quick else 5)

        medians = show_race("beside a busy loop", race(["ours", *peers], folder, rounds, each, loops=1))
        speeds = {name: one[32].speed for name, one in medians.items()}
        ours, best = speeds.pop("ours"), max(speeds.values(), default=0.0)
        if best:
            finish("serve_32_clients_beside_a_busy_loop", "tokens/s", ours, speeds, None, ours / best, 1.0)


if __name__ == "__main__":
    main()
