"""Decoding and training beside other work: ours against llama.cpp, CTranslate2 and a plain training loop.

    python benchmarks/busy.py [--quick]

Needs the extra `bench`; about half an hour. Beside 0, 1, 2 and 4 processes that compute all the time each contender,
in a process of its own, decodes a GPT-2 shape of 117M parameters in turn with the others; medians count. Then a model
of a million parameters is trained beside one such process.
"""

import argparse
from statistics import median

from gpt1_peers import MAKERS
from report import busy, contend, finish, race, racers, table
from train_speed import TRAINERS

LOOPS = (0, 1, 2, 4)
SHARES = {1: 0.6, 2: 0.45, 4: 0.28}
"""How much of the quiet speed must be left beside so many loops."""
PEERS = {"float32": ("llama.cpp, float32", "CTranslate2, float32"), "int8": ("llama.cpp, q8_0", "CTranslate2, int8")}
CONTENDERS = {
    "ours, float32": ("ours", {"block": "gpt2", "format": "float32"}),
    "ours, int8": ("ours", {"block": "gpt2", "format": "int8"}),
    "CTranslate2, float32": ("ctranslate2", {"format": "float32"}),
    "CTranslate2, int8": ("ctranslate2", {"format": "int8"}),
    "llama.cpp, float32": ("llama.cpp", {"format": "float32"}),
    "llama.cpp, q8_0": ("llama.cpp", {"format": "q8_0"}),
}


def decoding(batch: int, new: int, rounds: int) -> dict[str, list[float]]:
    """Return tokens per second of each contender beside each number of loops, and print the table."""
    contenders = {name: (maker, options | {"batch": batch}) for name, (maker, options) in CONTENDERS.items()}
    found: dict[str, list[float]] = {}
    with racers(contenders) as started:
        for loops in LOOPS:
            with busy(loops):
                for name, results in race(started, rounds, new=new).items():
                    speeds = [batch * (new - 8) / (moments[-1] - moments[7]) for moments, _ in results]
                    found.setdefault(name, []).append(median(speeds))
        missing = {name: racer.missing for name, racer in started.items() if racer.missing}
    rows = [[name, *(f"{value:,.1f}" for value in values)] for name, values in found.items()]
    rows += [[name, why, *[""] * (len(LOOPS) - 1)] for name, why in missing.items()]
    title = f"GPT-2 shape, batch {batch}: tokens per second (9th to {new}th token) beside so many busy loops"
    table(title, ["", *map(str, LOOPS)], rows)
    return found


def report_decoding(batch: int, found: dict[str, list[float]]) -> None:
    """Print the targets, a line of JSON each."""
    for format, names in PEERS.items():
        mine = found[f"ours, {format}"]
        for at, loops in enumerate(LOOPS[1:], start=1):
            peers = {name: found[name][at] for name in names if len(found.get(name, ())) > at}
            name = f"busy_{format}_batch_{batch}_beside_{loops}"
            if peers:
                finish(name, "tokens/s", mine[at], peers, None, mine[at] / max(peers.values()), 1.0)
            finish(f"{name}_share_of_quiet", "tokens/s", mine[at], {}, mine[0], mine[at] / mine[0], SHARES[loops])


def training(rounds: int) -> None:
    """Measure steps of ours and of the plain loop, quiet and beside one loop; print table and targets."""
    contenders = {
        "ours, bfloat16": ("ours_training", {"size": "1M", "dtype": "bfloat16"}),
        "plain nanoGPT-style loop, float32": ("plain", {"size": "1M"}),
    }
    found: dict[str, list[float]] = {}
    with racers(contenders) as started:
        for loops in (0, 1):
            with busy(loops):
                for name, results in race(started, rounds, steps=20).items():
                    found.setdefault(name, []).append(median(results))
    rows = [[name, *(f"{value:,.0f}" for value in values)] for name, values in found.items()]
    table("training 1M parameters: tokens per second", ["", "quiet", "beside one loop"], rows)
    (quiet, beside), (their_quiet, theirs) = found.values()
    finish("busy_training_share_of_quiet", "tokens/s", beside, {}, quiet, beside / quiet, 0.55)
    kept = (beside / theirs) / (quiet / their_quiet)
    finish("busy_training_ratio_kept", "tokens/s", beside, {"plain loop": theirs}, None, kept, 1.0)


def main() -> None:
    contend({**MAKERS, **TRAINERS})
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="fewer tokens and rounds, batch 1 alone: some minutes")
    quick = parser.parse_args().quick
    for batch in (1,) if quick else (1, 8):
        report_decoding(batch, decoding(batch, 48 if quick else 104, 1 if quick else 5))
    training(3 if quick else 9)


if __name__ == "__main__":
    main()
