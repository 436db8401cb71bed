"""Is one checkout of this project slower than another? Training, sampling, decoding, logging, starting a run, the help.

    python benchmarks/before_after.py BEFORE AFTER [--quick] [--only train decode]

BEFORE and AFTER are folders of checkouts, each with its own `.venv`. Each figure is measured in processes of its own,
in turn, round after round. The best round of each counts, since whatever else runs only ever adds time. A ratio above 1
means that AFTER is faster. The target is 0.97 for each.
"""

import argparse
import json
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from statistics import median

from checkouts import Checkout
from report import console, finish, table
from rich.progress import track

TARGET = 0.97
SIZES = "--layers 4 --width 192 --heads 4 --context 256 --batch-size 4 --smalltalk-conversations 1000"
NEVER = "--eval-every 0 --save-every 0 --sample-every 0"

GENERATE = """
import sys, time, torch
try:
    from understudy.acting.engine import generate
    from understudy.models.spec import CoreConfig
except ImportError:
    from understudy.acting.generate import generate
    from understudy.models.cores import CoreConfig
from understudy.acting.sampling import SamplingConfig
from understudy.data.tokenizers import ByteTokenizer
from understudy.models.device import prepare_process
from understudy.models.language_model import LanguageModel
block, number_format, rows, temperature = sys.argv[1], sys.argv[2], int(sys.argv[3]), float(sys.argv[4])
prepare_process()
torch.manual_seed(0)
tokenizer = ByteTokenizer()
config = CoreConfig(block=block, layers=6, width=384, heads=6, context=512).resolved()
model = LanguageModel(config, tokenizer.vocab_size).eval()
model.int8 = number_format == "int8"
if number_format == "bfloat16":
    model.to(torch.bfloat16)
prompts = [list(range(20, 36))] * rows
def run(tokens):
    options = SamplingConfig(temperature=temperature, top_p=0.95, max_tokens=tokens, sampling_seed=1)
    began = time.perf_counter()
    with torch.inference_mode():
        generate(model, tokenizer, prompts, options)
    return time.perf_counter() - began
for _ in range(3):
    run(32)
time.sleep(float(sys.argv[5]))  # while the native step is compiled, if it is not yet
run(32)
print("SECONDS", min(run(330) - run(30) for _ in range(5)) / 300)
"""

LOG = """
import time
try:
    from understudy.runs.run import Run
except ImportError:
    from understudy.lab.run import Run
run = Run.create("measure", [], {})
run.log(0, loss=1.0)
began = time.perf_counter()
for step in range(1, 100_000):
    run.log(step, loss=1 / step, lr=0.006, grad_norm=1.5)
print("SECONDS", (time.perf_counter() - began) / 100_000)
run.finish()
"""

START = """
import time
try:
    from understudy.runs.run import Run
except ImportError:
    from understudy.lab.run import Run
began = time.perf_counter()
run = Run.create("measure", [], {})
print("SECONDS", time.perf_counter() - began)
run.finish()
"""


def seconds(side: Checkout, program: str, *words: str) -> float:
    """Return what a program says that its work took."""
    return float(re.findall(r"SECONDS (\S+)", side.call("-c", program, *words))[-1])


def train_step(side: Checkout) -> float:
    """Return the median seconds per step of a small training, by the journal's times."""
    words = f"{SIZES} {NEVER} --steps 80"
    before = set((side.scratch / "runs").glob("*/run.json"))
    side.call("-m", "understudy", "pretrain", *words.split())
    (record,) = set((side.scratch / "runs").glob("*/run.json")) - before
    lines = [json.loads(line) for line in record.with_name("metrics.jsonl").read_text().splitlines()]
    times = [line["time"] for line in lines if "loss" in line]
    return median(after - before for before, after in pairwise(times[20:]))


def generation(block: str, number_format: str, rows: int, temperature: float) -> Callable[[Checkout], float]:
    """Return a measurement of the seconds per token of a model of about 10M parameters."""
    words = block, number_format, str(rows), str(temperature), "1"
    return lambda side: seconds(side, GENERATE, *words)


def start_of_a_run(side: Checkout) -> float:
    """Return the seconds to make a run in a repository of 2,000 files, two of them edited."""
    repository = side.scratch / "repository"
    if not repository.exists():
        for number in range(2000):
            file = repository / f"part{number % 40}" / f"module{number}.py"
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text("\n".join(f"value_{number}_{line} = {line * number}" for line in range(120)))
        git = ["git", "-C", str(repository), "-c", "user.name=a", "-c", "user.email=a@example.org"]
        for words in (["init", "-q"], ["add", "-A"], ["commit", "-qm", "all"], ["gc", "-q"]):
            subprocess.run([*git, *words], check=True, capture_output=True)
    for number in (1, 2):
        (repository / f"part{number}" / f"module{number}.py").write_text(f"edited = {time.time()}\n")
    inside = Checkout(side.folder, repository)
    return seconds(inside, START)


def help_page(side: Checkout) -> float:
    """Return the seconds of `understudy --help`, process included."""
    began = time.perf_counter()
    side.call("-m", "understudy", "--help")
    return time.perf_counter() - began


def list_of_runs(side: Checkout) -> float:
    """Return the seconds of `understudy runs` among 10,000 runs, process included."""
    runs = side.scratch / "many" / "runs"
    if not runs.exists():
        benchmarks = Path(__file__).parent
        program = f"import sys; sys.path.insert(0, {str(benchmarks)!r}); from pathlib import Path\n"
        program += f"from synthetic_runs import make_runs; make_runs(Path({str(runs)!r}), 10_000)"
        subprocess.run([sys.executable, "-c", program], check=True)
    inside = Checkout(side.folder, runs.parent)
    began = time.perf_counter()
    inside.call("-m", "understudy", "runs")
    return time.perf_counter() - began


MEASURES: dict[str, tuple[str, Callable[[Checkout], float], int]] = {
    "train": ("training step", train_step, 3),
    "sample": ("sampling, 8 rows, top-p, float32, per step", generation("gpt2", "float32", 8, 0.8), 3),
    "decode": ("decode, float32, per token", generation("gpt2", "float32", 1, 0.0), 3),
    "decode-int8": ("decode, int8, per token", generation("gpt2", "int8", 1, 0.0), 3),
    "decode-modern": ("decode, modern block, bfloat16, per token", generation("modern", "bfloat16", 1, 0.0), 3),
    "log": ("log call", lambda side: seconds(side, LOG), 4),
    "start": ("start of a run, 2,000 files", start_of_a_run, 8),
    "help": ("understudy --help", help_page, 12),
    "list": ("understudy runs, 10,000 runs", list_of_runs, 6),
}


def main() -> None:
    """Compare two checkouts."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("before", type=Path)
    parser.add_argument("after", type=Path)
    parser.add_argument("--only", nargs="+", choices=MEASURES, default=list(MEASURES))
    parser.add_argument("--quick", action="store_true", help="one round of each")
    options = parser.parse_args()
    rows, ratios, figures = [], {}, {}
    with tempfile.TemporaryDirectory(prefix="before-after-") as scratch:
        sides = {}
        for name in ("before", "after"):
            (Path(scratch) / name).mkdir()
            sides[name] = Checkout(getattr(options, name), Path(scratch) / name)
        for name in track(options.only, "measuring", console=console, transient=True):
            title, measure, rounds = MEASURES[name]
            taken: dict[str, list[float]] = {side: [] for side in sides}
            for _ in range(1 if options.quick else rounds):
                for side, checkout in sides.items():
                    taken[side].append(measure(checkout))
            best = {side: min(values) for side, values in taken.items()}
            ratios[name], figures[name] = best["before"] / best["after"], best["after"]
            shown = [f"{best[side] * 1000:.4g} ms" for side in sides]
            rows.append([title, *shown, f"{ratios[name]:.2f}×"])
    table("before and after, best of the rounds", ["what", "before", "after", "ratio"], rows)
    worst = min(ratios, key=ratios.__getitem__)
    finish("before_after", "smallest ratio", ratios[worst], ratios, None, ratios[worst], TARGET)


if __name__ == "__main__":
    main()
