"""Decoding GPT-1, 117M parameters: ours against transformers, CTranslate2, llama.cpp and the memory's bandwidth.

    GOMP_SPINCOUNT=10000 python benchmarks/gpt1_speed.py [--quick]

Needs the extra `bench`; about half an hour, most of it transformers'. The setting is what the `understudy` command
chooses for itself (see docs/sample.md).

Random weights, greedy, prompts of 16 tokens, prefill and choice of the token included; each contender decodes in turn,
round after round, and the median counts (transformers' GPT-1 has no cache and is so slow that it has one round). The
memory's bandwidth, which on a shared machine comes and goes, is measured between them, and its median counts.
CTranslate2 and llama.cpp know no GPT-1 and get a GPT-2 of the same size, which costs the same. The bound of a format:
weights, and half of the keys and values that are there at the end, read once a step. The quality of the formats is
measured on a small GPT-1 trained for it.
"""

import argparse
from collections.abc import Mapping
from statistics import median

import torch
from gpt1_limits import FORMATS, Memory, bytes_a_step, flatness, share_of_bound
from gpt1_peers import Contender, ours, peers, transformers_generate
from gpt1_quality import NEW, PROMPTS, quality
from report import finish, table

from understudy.acting.sampling import SamplingConfig
from understudy.models.device import prepare_process
from understudy.models.language_model import LanguageModel
from understudy.models.spec import BlockKind, CoreConfig
from understudy.native import dispatch as choice

VOCABULARY, PROMPT = 40_478, 16
DRAWN = "ours, int8, drawn at temperature 0.8"
Times = dict[str, list[float]]
"""Of each contender the seconds from the start to each token."""


def build(block: BlockKind, format: str = "float32") -> LanguageModel:
    """Random weights of GPT-1's shape, the same each time; larger than GPT-1's first, so that scores have margins."""
    torch.manual_seed(0)
    model = LanguageModel(CoreConfig(block=block, size="gpt1").resolved(), VOCABULARY).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(2) if parameter.dim() > 1 else parameter.add_(0.05 * torch.randn_like(parameter))
    model.int8 = format == "int8"
    return model.bfloat16() if format == "bfloat16" else model


def plain(contender: Contender) -> Contender:
    """The same without native steps."""

    def run(new: int) -> tuple[list[float], list[int]]:
        known, choice._failure = choice._failure, "switched off"
        try:
            return contender(new)
        finally:
            choice._failure = known

    return run


def race(
    contenders: Mapping[str, Contender], new: int, rounds: int, memory: Memory
) -> tuple[Times, dict[str, list[int]]]:
    """Median seconds to each token, and what was said."""
    found: dict[str, list[list[float]]] = {name: [] for name in contenders}
    said = {}
    for number in range(rounds + 1):  # the first only warms up
        for name, run in contenders.items():
            memory.read()
            moments, said[name] = run(new if number else 4)
            if number:
                found[name].append([moment - moments[0] for moment in moments[1:]])
    return {name: [median(column) for column in zip(*runs, strict=True)] for name, runs in found.items()}, said


def rates(times: Times, marks: list[int], batch: int) -> dict[str, list[float]]:
    """Tokens a second up to each mark."""
    return {name: [batch * mark / seconds[mark - 1] for mark in marks] for name, seconds in times.items()}


def bounds(model: LanguageModel, marks: list[int], batch: int, bandwidth: float) -> dict[str, list[float]]:
    """Tokens a second that reading the weights, and on average half of the cache, allows."""
    return {
        name: [batch * bandwidth / bytes_a_step(model, name, PROMPT + mark / 2, batch) for mark in marks]
        for name in FORMATS
    }


def gpt1(batch: int, marks: list[int], rounds: int, memory: Memory) -> tuple[Times, dict[str, list[int]]]:
    """Ours in every format, and transformers, on the same GPT-1."""
    torch.manual_seed(1)
    prompts = torch.randint(VOCABULARY - 500, (batch, PROMPT)).tolist()
    models = {name: build("gpt1", name) for name in FORMATS}
    contenders = {f"ours, {name}": ours(model, prompts) for name, model in models.items()}
    contenders[DRAWN] = ours(models["int8"], prompts, SamplingConfig())
    contenders["ours, plain PyTorch, float32"] = plain(ours(models["float32"], prompts))
    times, said = race(contenders, marks[-1], rounds, memory)
    slow = {"transformers, float32": transformers_generate(models["float32"], prompts)}
    theirs, their_said = race(slow, marks[-1], 1, memory)
    del said[DRAWN]  # other words
    return times | theirs, said | their_said


def gpt2(
    batch: int, marks: list[int], rounds: int, memory: Memory, quick: bool
) -> tuple[Times, dict[str, list[int]], dict[str, str]]:
    """Ours and the peers that know GPT-2, on the same GPT-2; and who is missing, and why."""
    torch.manual_seed(1)
    prompts = torch.randint(VOCABULARY - 500, (batch, PROMPT)).tolist()
    exact, rounded = build("gpt2"), build("gpt2", "int8")
    made = peers(exact, prompts, quick)
    contenders = {"ours, float32": ours(exact, prompts), "ours, int8": ours(rounded, prompts)}
    contenders |= {name: made_one for name, made_one in made.items() if not isinstance(made_one, str)}
    times, said = race(contenders, marks[-1], rounds, memory)
    return times, said, {name: why for name, why in made.items() if isinstance(why, str)}


def show(
    title: str,
    found: Mapping[str, list[float]],
    marks: list[int],
    said: Mapping[str, list[int]],
    missing: Mapping[str, str],
) -> None:
    """A table of tokens a second; the last column: how many first tokens are those of ours in float32."""
    reference = said["ours, float32"]
    rows = []
    for name, values in found.items():
        same = "" if name not in said else str(_same(said[name], reference))
        rows.append([name, *(f"{value:,.1f}" for value in values), same])
    rows += [[name, why, *[""] * len(marks)] for name, why in missing.items()]
    table(title, ["", *map(str, marks), "same"], rows)


def _same(ids: list[int], reference: list[int]) -> int:
    return next((n for n, (a, b) in enumerate(zip(ids, reference, strict=False)) if a != b), len(reference))


def show_limits(quick: bool) -> dict[str, float]:
    """Print how near each format comes to its bound, and how much late tokens cost; the shares of the bounds."""
    torch.manual_seed(1)
    prompt, rows, shares = torch.randint(VOCABULARY - 500, (PROMPT,)).tolist(), [], {}
    for name in FORMATS:
        model = build("gpt1", name)
        shares[name] = share_of_bound(model, name, prompt, 20 if quick else 480)
        dearer = flatness(model, prompt, 2 if quick else 40)
        rows.append([name, f"{shares[name]:.1%}", f"{dearer:+.1%}"])
    title = "batch 1: share of the bound, steps beside reads of memory; what a token costs after 480 more than after 16"
    table(title, ["", "share", "late tokens"], rows)
    return shares


def show_quality(quick: bool) -> float:
    """Print what rounding costs; the share of prompts on which int8 says what float32 says."""
    found = quality(quick)
    exact = found["float32"].bits_a_byte
    table(
        f"a small trained GPT-1: bits a byte, and greedy text over {NEW} tokens like float32's",
        ["", "bits a byte", "loss", "like float32"],
        [
            [name, f"{one.bits_a_byte:.4f}", f"{one.bits_a_byte - exact:+.4f}", f"{one.like_float32} of {PROMPTS}"]
            for name, one in found.items()
        ],
    )
    return found["int8"].like_float32 / PROMPTS


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="fewer tokens, rounds and peers: about a minute")
    quick = parser.parse_args().quick
    prepare_process()
    if not choice.compiled(wait=True):
        raise SystemExit(f"no native step: {choice._failure}")
    marks, rounds = ([16, 32], 1) if quick else ([64, 128, 256, 480], 3)
    results = {}
    for batch in (1,) if quick else (1, 8):
        memory = Memory()
        times, said = gpt1(batch, marks, rounds, memory)
        others, others_said, missing = gpt2(batch, marks, rounds, memory, quick)
        bandwidth = median(memory.readings)
        limit = bounds(build("gpt1"), marks, batch, bandwidth)
        found, peer = rates(times, marks, batch), rates(others, marks, batch)
        title = f"GPT-1, batch {batch}: tokens a second by new tokens; memory reads {bandwidth / 1e9:.1f} GB/s"
        show(title, found | {f"bound, {name}": values for name, values in limit.items()}, marks, said, {})
        show(f"a GPT-2 of the same size, batch {batch}", peer, marks, others_said, missing)
        results[batch] = (found, limit, peer)
    shares = show_limits(quick)
    int8_like_float32 = show_quality(quick)
    report(results[1], shares["float32"], int8_like_float32)


def report(
    result: tuple[dict[str, list[float]], dict[str, list[float]], dict[str, list[float]]],
    share: float,
    alike: float,
) -> None:
    """The targets, one JSON line each."""
    found, limit, peer = result
    last = {name: values[-1] for name, values in found.items()}
    theirs = {name: values[-1] for name, values in peer.items()}
    unit = "tokens/s at batch 1, at the most new tokens"
    slow = last["transformers, float32"]
    for name, target in (("float32", 15.0), ("int8", 50.0)):
        ours_now = last[f"ours, {name}"]
        finish(
            f"gpt1_{name}_against_transformers",
            unit,
            ours_now,
            {"transformers": slow},
            limit[name][-1],
            ours_now / slow,
            target,
        )
    finish("gpt1_float32_share_of_bound", "share of what memory gives", share, {}, 1.0, share, 0.95)
    for mine, other, target in (("float32", "llama.cpp, float32", 1.3), ("int8", "CTranslate2, int8", 2.0)):
        if other in theirs:
            ours_now = theirs[f"ours, {mine}"]
            against = {name: value for name, value in theirs.items() if not name.startswith("ours")}
            finish(
                f"gpt2_{mine}_against_{other.split(',')[0].lower()}", unit, ours_now, against, limit[mine][-1],
                ours_now / theirs[other], target,
            )  # fmt: skip
    finish("gpt1_int8_greedy_text_like_float32", "share of prompts", alike, {}, 1.0, alike, 0.9)


if __name__ == "__main__":
    main()
