"""Decoding GPT-1 and a GPT-2 shape, 117M parameters: ours against llama.cpp, CTranslate2, transformers and memory.

    python benchmarks/gpt1_speed.py [--quick]

Needs the extra `bench`; about half an hour. Random weights, prompts of 16 tokens, greedy unless it says drawn. Each
contender decodes in a process of its own, in turn with the others, and medians over the rounds count. Tokens per second
are those of the 9th to the 40th, and to the last. CTranslate2 and llama.cpp know no GPT-1 and get a GPT-2 of the same
size; transformers has no cache for GPT-1 and runs once. The bound of a format: the weights, and half of the keys and
values that are there at the end, read once per step, at the speed at which memory was read in the same round. Last, the
quality of the formats is measured on a small GPT-1 trained for it.
"""

import argparse
from collections.abc import Mapping
from statistics import median
from typing import Any

from gpt1_limits import FORMATS, bytes_per_step, late_tokens
from gpt1_peers import MAKERS, PROMPT
from gpt1_quality import NEW, PROMPTS, quality
from report import contend, finish, race, racers, reading, table

Contenders = dict[str, tuple[str, Mapping[str, object]]]
SKIPPED = 8
"""Tokens at the start that do not count: some contenders make their threads and their memory then."""


def gpt1(batch: int) -> Contenders:
    """Ours in every format, greedy and drawn."""
    options = {"block": "gpt1", "batch": batch}
    found: Contenders = {f"ours, {name}": ("ours", options | {"format": name}) for name in FORMATS}
    found |= {f"ours, {name}, drawn": ("ours", options | {"format": name, "temperature": 0.8}) for name in FORMATS}
    found["ours, plain PyTorch"] = ("ours", options | {"format": "float32", "plain": True})
    return found


def gpt2(batch: int) -> Contenders:
    """Ours and the peers on the same GPT-2."""
    found: Contenders = {
        f"ours, {name}": ("ours", {"block": "gpt2", "format": name, "batch": batch}) for name in FORMATS
    }
    found |= {f"llama.cpp, {name}": ("llama.cpp", {"format": name, "batch": batch}) for name in ("float32", "q8_0")}
    found |= {f"CTranslate2, {name}": ("ctranslate2", {"format": name, "batch": batch}) for name in ("float32", "int8")}
    return found | {"transformers, float32": ("transformers", {"block": "gpt2", "batch": batch})}


def measure(
    title: str, block: Any, contenders: Contenders, batch: int, new: int, rounds: int
) -> tuple[dict[str, list[float]], dict[str, float]]:
    """Print a table; return tokens per second to the 40th and the last token, and shares of the bound.

    The last column: how many of the first tokens are those of ours in float32.
    """
    marks = min(40, new), new
    with racers(contenders | {"memory": ("memory", {})}) as started:
        results = race(started, rounds, new=new)
        missing = {name: racer.missing for name, racer in started.items() if racer.missing}
    speeds = {
        name: [[batch * (mark - SKIPPED) / (moments[mark - 1] - moments[SKIPPED - 1]) for mark in marks]
               for moments, _ in found]
        for name, found in results.items() if name != "memory"
    }  # fmt: skip
    found = {name: [median(column) for column in zip(*rounds, strict=True)] for name, rounds in speeds.items()}
    said = {name: results[name][-1][1] for name in found}
    bounds, shares = {}, {}
    for format in FORMATS:
        per_step = [bytes_per_step(block, format, PROMPT + mark / 2, batch) for mark in marks]
        bounds[f"bound, {format}"] = [batch * median(results["memory"]) / size for size in per_step]
        for name in (name for name in found if name.startswith(f"ours, {format}")):
            pairs = zip(speeds[name], results["memory"], strict=True)
            shares[name] = median(speed[-1] * per_step[-1] / batch / read for speed, read in pairs)
    rows = [
        [name, *(f"{value:,.1f}" for value in values), f"{shares[name]:.0%}" if name in shares else "",
         str(_same(said[name], said["ours, float32"])) if name in said else ""]
        for name, values in (found | bounds).items()
    ]  # fmt: skip
    rows += [[name, why, "", "", ""] for name, why in missing.items()]
    speed = f"memory reads {median(results['memory']) / 1e9:.1f} GB/s"
    table(f"{title}, batch {batch}: tokens per second; {speed}", ["", *map(str, marks), "of the bound", "same"], rows)
    return found, shares


def _same(ids: list[int], reference: list[int]) -> int:
    return next((n for n, (a, b) in enumerate(zip(ids, reference, strict=False)) if a != b), len(reference))


def report_gpt1(found: dict[str, list[float]], shares: dict[str, float], slow: float | None) -> None:
    """Print the targets of GPT-1 at batch 1, a line of JSON each."""
    for name, target in (("float32", 0.95), ("bfloat16", 0.9), ("int8", 0.9)):
        mine, drawn = found[f"ours, {name}"][-1], found[f"ours, {name}, drawn"][-1]
        share = shares[f"ours, {name}"]
        finish(f"gpt1_{name}_share_of_bound", "tokens/s", mine, {}, mine / share, share, target)
        finish(f"gpt1_{name}_drawn", "tokens/s", drawn, {"greedy": mine}, None, drawn / mine, 0.95)
        if slow and name != "bfloat16":
            target = {"float32": 15.0, "int8": 50.0}[name]
            finish(
                f"gpt1_{name}_against_transformers", "tokens/s", mine, {"transformers": slow}, None, mine / slow, target
            )


def report_gpt2(found: dict[str, list[float]], batch: int, new: int) -> None:
    """Print the targets of the GPT-2 shape, a line of JSON each."""
    for mine, other, target in (("float32", "llama.cpp, float32", 1.05), ("int8", "llama.cpp, q8_0", 1.1)):
        if other not in found:
            continue
        for at, mark in enumerate((min(40, new), new)):
            ours = found[f"ours, {mine}"][at]
            peers = {name: values[at] for name, values in found.items() if not name.startswith("ours")}
            name = f"gpt2_{mine}_batch_{batch}_over_{mark}_against_llama.cpp"
            finish(name, "tokens/s", ours, peers, None, ours / found[other][at], target)


def show_late_tokens(rounds: int) -> None:
    """Print how much more a late token costs than an early one."""
    contenders: Contenders = {name: ("late", {"block": "gpt1", "format": name}) for name in FORMATS}
    with racers({f"ours, {name}": maker for name, maker in contenders.items()}) as started:
        found = race(started, rounds)
    rows = [[name, f"{median(values):+.1%}"] for name, values in found.items()]
    table("what a token costs after 480 more than after 16", ["", "more"], rows)


def show_quality(quick: bool) -> None:
    """Print what rounding costs, and on which share of prompts int8 says what float32 says."""
    found = quality(quick)
    exact = found["float32"].bits_a_byte
    table(
        f"a small trained GPT-1: bits per byte, and greedy text over {NEW} tokens like float32's",
        ["", "bits per byte", "loss", "like float32"],
        [
            [name, f"{one.bits_a_byte:.4f}", f"{one.bits_a_byte - exact:+.4f}", f"{one.like_float32} of {PROMPTS}"]
            for name, one in found.items()
        ],
    )
    alike = found["int8"].like_float32 / PROMPTS
    finish("gpt1_int8_greedy_text_like_float32", "share of prompts", alike, {}, 1.0, alike, 0.9)


def main() -> None:
    contend({**MAKERS, "memory": reading, "late": late_tokens})
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="fewer tokens and rounds, batch 1 alone: some minutes")
    parser.add_argument("--only", choices=("gpt1", "gpt2"), help="one of the two races alone")
    args = parser.parse_args()
    quick, new, rounds = args.quick, 64 if args.quick else 200, 1 if args.quick else 7
    for batch in (1,) if quick else (1, 8):
        if args.only != "gpt1":
            found, _ = measure("a GPT-2 shape", "gpt2", gpt2(batch), batch, new, rounds)
            report_gpt2(found, batch, new)
        if args.only != "gpt2":
            found, shares = measure("GPT-1", "gpt1", gpt1(batch), batch, new, rounds)
            if batch == 1:
                slow = None if quick else transformers_gpt1(480)
                report_gpt1(found, shares, slow)
    if not args.only:
        show_late_tokens(2 if quick else 20)
        show_quality(quick)


def transformers_gpt1(new: int) -> float | None:
    """Return transformers' tokens per second over so many tokens, once; None where it is not installed."""
    with racers({"transformers, float32": ("transformers", {"block": "gpt1"})}) as started:
        (racer,) = started.values()
        return None if racer.missing else new / racer(new=new)[0][-1]


if __name__ == "__main__":
    main()
