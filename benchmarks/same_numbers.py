"""Do two checkouts of this project compute the same numbers, bit for bit?

    python benchmarks/same_numbers.py BEFORE AFTER [--only pretrain decode] [--exports FOLDER ...] [--quick]

BEFORE and AFTER are folders of checkouts, each with its own `.venv` (`make test` makes one). Each probe runs in either
checkout as a user would run it, in processes of its own, on one thread, with the same inputs. Its output is digested.
The exports that the importers read are made once, by the tests of BEFORE. Prints a table, and ends with a line of JSON.

Times, ids and paths are left out of what is compared, since they differ between any two runs.
"""

import argparse
import hashlib
import json
import re
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from checkouts import Checkout
from report import console, finish
from rich.progress import track
from rich.table import Table

TINY = "--layers 2 --width 64 --heads 2 --context 128 --batch-size 4 --warmup 5 --tokenizer bpe --vocab-size 512"
OFTEN = "--eval-every 10 --save-every 10 --sample-every 10 --smalltalk-conversations 400"
CORES = {
    "lstm": "--core lstm",
    "modern": "--block modern",
    "gpt1": "--block gpt1",
    "gpt2": "--block gpt2 --dropout 0.1",
    "bfloat16": "--dtype bfloat16 --micro-batch-size 2",
    "text": "--data book.txt --schedule wsd",
}
FINE_TUNINGS = {
    "full": "--base {modern} --dropout 0.1",
    "lora": "--base {gpt1} --lora 4",
    "candidates": "--base {gpt2} --candidates 3 --token-types",
}
FORMATS = ("float32", "bfloat16", "int8")
VARYING = {"time", "created", "finished", "seconds", "check_seconds", "id", "checkpoint", "peak_memory"}

Digests = dict[str, str]


def digest(value: Any) -> str:
    """Return the first digits of a sha256 of text, bytes, or anything that JSON takes."""
    data = value if isinstance(value, bytes) else (value if isinstance(value, str) else json.dumps(value)).encode()
    return hashlib.sha256(data).hexdigest()[:12]


def without_times(value: Any) -> Any:
    """Return JSON without what differs between any two runs."""
    if isinstance(value, dict):
        return {key: without_times(inner) for key, inner in sorted(value.items()) if key not in VARYING}
    return [without_times(inner) for inner in value] if isinstance(value, list) else value


def training_digests(folder: Path) -> Digests:
    """Return digests of a run's metrics, samples, weights, optimizer state, verdicts and outcome."""
    record = json.loads((folder / "run.json").read_text())
    last = sorted((folder / "checkpoints").glob("step-*"))[-1]

    def lines(name: str) -> list[Any]:
        path = folder / name
        return [without_times(json.loads(line)) for line in path.read_text().splitlines()] if path.exists() else []

    outcome = {name: value for name, value in record["outcome"].items() if name not in VARYING}
    return {
        "metrics": digest(lines("metrics.jsonl")),
        "samples": digest(lines("samples.jsonl")),
        "weights": digest((last / "model.safetensors").read_bytes()),
        "optimizer": digest((last / "training.safetensors").read_bytes()),
        "verdicts": digest(sorted((check["name"], check["verdict"]) for check in record["checks"])),
        "outcome": digest(outcome),
    }


def pretrain(side: Checkout, steps: int) -> Digests:
    """Train both cores and three blocks, on conversations and on text."""
    found = {}
    for name, options in CORES.items():
        folder = side.train(name, "pretrain", f"{TINY} {OFTEN} --steps {steps} {options}")
        found |= {f"{name} {what}": value for what, value in training_digests(folder).items()}
    return found


def finetune(side: Checkout, steps: int) -> Digests:
    """Fine-tune in full, with LoRA and with candidates."""
    found = {}
    for name, options in FINE_TUNINGS.items():
        options = options.format(**{base: folder.name for base, folder in side.runs.items()})
        words = f"{options} --data talk.jsonl --steps {steps} --batch-size 4 --eval-every 10 --sample-every 10"
        folder = side.train(name, "finetune", words)
        found |= {f"{name} {what}": value for what, value in training_digests(folder).items()}
    return found


def evaluate(side: Checkout, steps: int) -> Digests:
    """Measure each trained model: losses, recall, ranking and replies."""
    found = {}
    for name, run in list(side.runs.items()):
        data = "--data book.txt" if name == "text" else "--data talk.jsonl"
        folder = side.train(f"eval {name}", "eval", f"{run.name} {data}")
        record = json.loads((folder / "run.json").read_text())
        found[name] = digest(without_times(record["outcome"]))
    return found


def smalltalk(side: Checkout, steps: int) -> Digests:
    """Make built-in conversations of each split."""
    program = """
import json, sys
try:
    from understudy.tasks.smalltalk import generate
except ImportError:
    from understudy.data.smalltalk import generate
for split in ("train", "valid", "test"):
    for talk in generate(int(sys.argv[1]), 7, split):
        messages = [[message.role, message.content] for message in talk.conversation.messages]
        names = ("index", "kind", "topic", "answer", "distractors")
        questions = [[getattr(question, name) for name in names] for question in talk.questions]
        print(split, json.dumps([messages, questions]))
"""
    said = side.call("-c", program, str(100 * steps))
    return {split: digest("".join(re.findall(rf"(?m)^{split} .*$", said))) for split in ("train", "valid", "test")}


def decode(side: Checkout, steps: int) -> Digests:
    """Sample greedily and with a seed, and chat, in three number formats."""
    found = {}
    for name, run in list(side.runs.items()):
        if name.startswith("eval") or name in ("bfloat16",):
            continue
        for dtype in FORMATS if name != "lstm" else FORMATS[:2]:
            options = [run.name, "--dtype", dtype, "--max-tokens", "60"]
            seeded = ["--sampling-seed", "3", "--temperature", "0.9", "--top-p", "0.95", "--count", "3"]
            seeded += ["--repetition-penalty", "1.1", "--no-repeat-ngram", "3"]
            prompt = ["--prompt", "Hi there! I am Anna."]
            found[f"{name} {dtype} greedy"] = digest(
                side.call("-m", "understudy", "sample", *options, *prompt, "--temperature", "0")
            )
            found[f"{name} {dtype} seeded"] = digest(
                side.call("-m", "understudy", "sample", *options, *prompt, *seeded)
            )
            if name != "text":
                lines = "Hi there!\nI have a cat called Simba.\n/regen\nWhat is my cat called?\n/why\n"
                words = [*options, "--sampling-seed", "5", "--stop", "zq"]
                said = side.call("-m", "understudy", "chat", *words, stdin=lines)
                found[f"{name} {dtype} chat"] = digest(" ".join(said.split()))  # tables may be drawn otherwise
    return found


def importers(side: Checkout, steps: int) -> Digests:
    """Import every export, each app's styles and other programs' files; compare what is written and what is said."""
    found = {}
    for export in sorted((side.scratch.parent / "exports").iterdir()):
        out = side.scratch / "imported" / export.name
        out.parent.mkdir(exist_ok=True)
        program = (
            "import sys; from understudy.cli import main; "
            "sys.exit(0 if main(['import-chats', *sys.argv[1:]]) in (0, 2) else 1)"
        )
        target = next(export.iterdir())
        side.call("-c", program, str(target), "--bot", "Ada Lovelace", "--out", str(out), "--force")
        written = sorted(out.parent.glob(f"{export.name}-*.jsonl"))
        found[export.name] = digest(b"".join(path.read_bytes() for path in written)) if written else "refused"
    return found


def verdicts(side: Checkout, steps: int) -> Digests:
    """Ask the checks about every planted bug and every healthy set-up of the tests."""
    folder = next(path for path in side.folder.glob("tests/**/test_planted.py")).parent
    program = f"""
import json, sys
sys.path.insert(0, {str(folder.parent)!r})
import pytest

class Tell:
    def pytest_runtest_logreport(self, report):
        if report.when == "call" or report.failed:
            print("VERDICT", report.nodeid.split("::")[-1], report.outcome)

sys.exit(0 if pytest.main(["-q", "-p", "no:xdist", "--rootdir", {str(side.folder)!r}, {str(folder)!r}],
                          plugins=[Tell()]) in (0, 1) else 1)
"""
    said = side.call("-c", program)
    return dict(re.findall(r"VERDICT (.*) (\w+)$", said, re.MULTILINE))


PROBES: dict[str, Callable[[Checkout, int], Digests]] = {
    "pretrain": pretrain,
    "finetune": finetune,
    "eval": evaluate,
    "smalltalk": smalltalk,
    "decode": decode,
    "importers": importers,
    "verdicts": verdicts,
}

INPUTS = """
import json, random, sys
from pathlib import Path
sys.path.insert(0, sys.argv[2])
from importers import exports as app
folder = Path(sys.argv[1])
draw = random.Random(1)
words = "red green blue old new big small cat dog tree house runs sees likes the a my your and".split()
say = lambda: " ".join(draw.choices(words, k=draw.randint(2, 9)))
talks = [{"messages": [{"role": role, "content": say()} for _ in range(draw.randint(1, 4))
         for role in ("user", "assistant")]} for _ in range(300)]
(folder / "talk.jsonl").write_text("".join(json.dumps(talk) + "\\n" for talk in talks))
(folder / "book.txt").write_text("\\n\\n".join(" ".join(say() for _ in range(40)) for _ in range(120)))

def history(seed, count=120):
    draw, time, events = random.Random(seed), app.START, []
    for number in range(count):
        time += draw.choice([0, 1, 4, 30, 239, 241, 3000]) * app.MINUTE
        kind = draw.choice(["said"] * 6 + ["media", "deleted", "notice"])
        secrets = [None, *((k, s) for k, all_ in app.SECRETS.items() for s in all_)]
        secret = draw.choice(secrets) if kind == "said" else None
        events.append(app.Event(time, draw.choice(app.PEOPLE), kind, f"mark{number}x", say(), secret))
    return events

def place(name):
    (folder / "exports" / name).mkdir(parents=True)
    return folder / "exports" / name

styles = [(b, d, t) for b in (True, False) for d in ("%d.%m.%y", "%d/%m/%Y", "%m/%d/%y", "%Y-%m-%d", "%Y. %m. %d.")
          for t in ("%H:%M:%S", "%I:%M %p")]
for number, (bracketed, date, time) in enumerate(styles):
    style = app.WhatsAppStyle(bracketed=bracketed, date=date, time=time, marks=number % 2 == 0,
                              encoding=["utf-8", "utf-8-sig", "utf-16"][number % 3], zipped=number % 4 == 0)
    app.write_whatsapp(place(f"whatsapp-{number:02d}"), history(number), style)
app.write_telegram(place("telegram-one"), [history(50)])
app.write_telegram(place("telegram-marked"), [history(51), history(52)], marked=True, indent=None)
app.write_discord(place("discord"), history(53))
app.write_discord(place("discord-newest-first"), history(54), newest_first=True)
app.write_slack(place("slack"), history(55))
app.write_slack(place("slack-zipped"), history(56), zipped=True)
"""


def make_inputs(before: Checkout, folder: Path, others: list[Path]) -> None:
    """Write conversations, a text and every export of the tests, and copy `others` beside them."""
    before.call("-c", INPUTS, str(folder), str(before.folder / "tests" / "data"))
    for path in others:
        for file in sorted(path.iterdir()):
            if file.suffix in (".txt", ".json", ".zip", ".jsonl"):
                place = folder / "exports" / f"other-{file.name}"
                place.mkdir(parents=True)
                (place / file.name).write_bytes(file.read_bytes())


def compare(before: Checkout, after: Checkout, names: list[str], steps: int) -> Iterator[tuple[str, str, str, str]]:
    """Yield (probe, what, digest before, digest after)."""
    for name in track(names, "comparing", console=console, transient=True):
        one, two = PROBES[name](before, steps), PROBES[name](after, steps)
        for what in sorted(one | two):
            yield name, what, one.get(what, "missing"), two.get(what, "missing")


def main() -> None:
    """Compare two checkouts."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("before", type=Path)
    parser.add_argument("after", type=Path)
    parser.add_argument(
        "--only", nargs="+", choices=PROBES, default=list(PROBES), help="finetune, eval, decode need pretrain"
    )
    parser.add_argument("--exports", nargs="*", type=Path, default=[], help="folders of further files to import")
    parser.add_argument("--quick", action="store_true", help="ten steps instead of thirty, and no planted bugs")
    options = parser.parse_args()
    names = [name for name in options.only if not (options.quick and name == "verdicts")]
    with tempfile.TemporaryDirectory(prefix="same-numbers-") as scratch:
        sides = []
        for side, folder in (("before", options.before), ("after", options.after)):
            sides.append(Checkout(folder, Path(scratch) / side))
            sides[-1].scratch.mkdir()
        make_inputs(sides[0], Path(scratch), options.exports)
        for side in sides:
            for name in ("talk.jsonl", "book.txt"):
                (side.scratch / name).write_bytes((Path(scratch) / name).read_bytes())
        rows = list(compare(*sides, names, 10 if options.quick else 30))
    table = Table("probe", "what", "before", "after", "", title="Same numbers?", title_justify="left")
    for probe, what, one, two in rows:
        table.add_row(probe, what, one, two, "same" if one == two else "[bold red]differs")
    console.print(table)
    same = sum(one == two for _, _, one, two in rows)
    finish("same_numbers", "equal digests", same, {"before": len(rows)}, len(rows), same / max(1, len(rows)), 1.0)
    sys.exit(same < len(rows))


if __name__ == "__main__":
    main()
