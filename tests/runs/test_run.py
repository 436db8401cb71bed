import json
import os
import resource
import signal
import subprocess
import sys
import textwrap
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from understudy.config import child_seed
from understudy.errors import UserError
from understudy.runs.journal import read_lines, read_metrics, series
from understudy.runs.record import read_record
from understudy.runs.run import NullRecorder, Run


@dataclass
class Config:
    width: int = 8
    data: Path = Path("a.txt")


def new_run(**options: Any) -> Run:
    return Run.create("pretrain", ["understudy", "pretrain"], Config(), **options)


def on_disk(run: Run) -> dict[str, Any]:
    return json.loads((run.folder / "run.json").read_text())


def test_the_record_of_a_new_run(here: Path) -> None:
    (here / "own.py").write_text("own = 1\n")
    run = new_run(parents=["20261123-1412-brave-otter"], seed=7)
    record = on_disk(run)
    assert record == run.record
    assert run.folder == here / "runs" / run.id
    assert (here / "runs" / ".gitignore").read_text() == "*\n"
    expected = {
        "id": run.id,
        "verb": "pretrain",
        "argv": ["understudy", "pretrain"],
        "cwd": str(here),
        "config": {"width": 8, "data": "a.txt"},
        "seed": 7,
        "data": [],
        "parents": ["20261123-1412-brave-otter"],
        "status": "running",
        "outcome": {},
        "checks": [],
        "ended": None,
        "pid": os.getpid(),
    }
    assert {name: record[name] for name in expected} == expected
    assert record["packages"]["pytest"] == pytest.__version__
    assert record["hardware"]["cores"] >= 1
    assert record["hardware"]["memory_bytes"] > 1 << 28
    assert record["code"]["kind"] == "copy"
    assert (run.folder / "code" / "sources.zip").exists()


def test_the_code_of_a_run_in_git(repository: Path) -> None:
    first, second = new_run(), new_run()
    for run in (first, second):
        assert run.record["code"]["ref"] == f"refs/runs/{run.id}"
        assert not run.record["code"]["dirty"]  # the runs themselves do not count
    (repository / "runs" / ".gitignore").unlink()
    assert not new_run().record["code"]["dirty"]


def test_code_that_cannot_be_kept_is_said_once_and_stops_nothing(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (here / "runs").mkdir()
    (here / "runs" / ".code").write_text("a file in the pool's place")
    run = new_run()
    assert run.record["code"]["kind"] == "none"
    assert capsys.readouterr().out.count("could not be kept") == 1
    assert "could not be kept" in (run.folder / "console.log").read_text()


def test_where_runs_are_kept(here: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("UNDERSTUDY_RUNS", str(tmp_path / "a" / "b"))
    assert new_run().folder.parent == tmp_path / "a" / "b"
    assert new_run(runs_folder=here / "c").folder.parent == here / "c"
    (here / "file").write_text("")
    for wrong in ("file", "file/below"):
        with pytest.raises(UserError, match=r"cannot keep runs in .*UNDERSTUDY_RUNS"):
            new_run(runs_folder=wrong)


def test_a_run_that_goes_well(capsys: pytest.CaptureFixture[str]) -> None:
    with new_run() as run:
        assert (run.folder / "heartbeat").exists()
        run.log(1, loss=2.5)
        run.sample(1, prompt="hi", reply="nan")
        run.say("[bold]not markup[/bold] ü", style="green")
        run.finish(headline=["loss", 2.5])
        run.finish(tokens=100)
    record = on_disk(run)
    assert record["status"] == "finished"
    assert record["ended"] >= record["created"]
    assert record["outcome"] == {"headline": ["loss", 2.5], "tokens": 100}
    assert series(read_metrics(run.folder / "metrics.jsonl"), "loss") == ([1], [2.5])
    assert read_lines(run.folder / "samples.jsonl") == [{"step": 1, "prompt": "hi", "reply": "nan"}]
    assert capsys.readouterr().out == "[bold]not markup[/bold] ü\n"
    assert (run.folder / "console.log").read_text() == "[bold]not markup[/bold] ü\n"


ENDINGS = [
    (None, "finished"),
    (SystemExit(0), "finished"),
    (SystemExit(2), "failed"),
    (KeyboardInterrupt(), "interrupted"),
    (ValueError("two\nlines"), "failed"),
    (UserError("a mistake"), "failed"),
]


@pytest.mark.parametrize(("error", "status"), ENDINGS)
def test_how_a_run_ends(error: BaseException | None, status: str) -> None:
    handler = signal.getsignal(signal.SIGTERM)
    caught = None
    try:
        with new_run() as run:
            if error:
                raise error
    except BaseException as raised:
        caught = raised
    assert caught is error
    assert on_disk(run)["status"] == status
    assert signal.getsignal(signal.SIGTERM) is handler
    if isinstance(error, ValueError):
        assert on_disk(run)["error"] == "ValueError: two lines"
        assert "Traceback" in (run.folder / "console.log").read_text()


def test_an_error_is_not_hidden_by_a_lost_folder(here: Path) -> None:
    run = new_run()
    run.folder.rename(here / "lost")
    with pytest.raises(ValueError, match="the cause"), run:
        raise ValueError("the cause")


PROGRAM = """
import signal, sys, time
from understudy.runs.record import read_record
from understudy.runs.run import NullRecorder, Run
with Run.create("pretrain", [], {}) as run:
    print(run.folder, flush=True)
"""


def start(here: Path, body: str, **options: Any) -> tuple["subprocess.Popen[str]", Path]:
    """Another process with a run in it, and the run's folder."""
    program = [sys.executable, "-c", PROGRAM + textwrap.indent(body, "    ")]
    process = subprocess.Popen(program, stdout=subprocess.PIPE, text=True, cwd=here, **options)
    assert process.stdout
    return process, Path(process.stdout.readline().strip())


# Not signal.pause(): a signal that arrives just before it would be handled only after the next one.
WAIT = "while True: time.sleep(0.01)"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_interrupts(number: signal.Signals, here: Path) -> None:
    process, folder = start(here, WAIT, stderr=subprocess.PIPE)
    assert read_record(folder).status == "running"
    process.send_signal(number)
    _, errors = process.communicate(timeout=600)
    assert "KeyboardInterrupt" in errors
    assert process.returncode != 0
    assert read_record(folder).status == "interrupted"
    assert json.loads((folder / "run.json").read_text())["ended"]


FORK = """
import os
ready, tell = os.pipe()
child = os.fork()
if child == 0:
    os.write(tell, b"!")
    while True:
        time.sleep(0.01)
os.read(ready, 1)
os.kill(child, signal.SIGTERM)
sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) != 143)
"""


def test_a_forked_worker_ends_by_sigterm_and_leaves_the_run_alone(here: Path) -> None:
    process, folder = start(here, FORK)
    process.communicate(timeout=600)
    assert process.returncode == 0
    assert read_record(folder).status == "finished"


@pytest.mark.parametrize("lines", [1, 300, 3000])
def test_kill_9_loses_no_line_that_was_logged(lines: int, here: Path) -> None:
    body = "for step in range(10**9): run.log(step, loss=step / 7); print(step, flush=True)"
    process, folder = start(here, body)
    assert process.stdout
    acknowledged = [int(process.stdout.readline()) for _ in range(lines)]
    process.kill()
    acknowledged += [int(line) for line in process.stdout.read().splitlines(keepends=True) if line.endswith("\n")]
    process.wait()
    steps, losses = series(read_metrics(folder / "metrics.jsonl"), "loss")
    assert steps[: len(acknowledged)] == acknowledged
    assert losses == [step / 7 for step in steps]
    assert read_record(folder).status == "dead"


def test_a_killed_run_resumes(here: Path) -> None:
    process, folder = start(here, "run.log(0, loss=1.0); signal.pause()")
    while not read_metrics(folder / "metrics.jsonl"):
        time.sleep(0.01)
    process.kill()
    process.communicate()
    with open(folder / "metrics.jsonl", "a") as file:
        file.write('{"step": 1, "torn')
    with Run.reopen(folder, ["understudy", "pretrain", "--resume"]) as run:
        assert read_record(folder).status == "running"
        assert on_disk(run)["pid"] == os.getpid()
        run.log(1, loss=0.5)
    record = on_disk(run)
    assert record["status"] == "finished"
    assert record["resumed"][0]["argv"] == ["understudy", "pretrain", "--resume"]
    assert record["resumed"][0]["code"]["kind"] == "copy"
    assert series(read_metrics(folder / "metrics.jsonl"), "loss") == ([0, 1], [1.0, 0.5])


def test_a_run_resumes_again_and_again(repository: Path) -> None:
    run = new_run()
    for time_ in (1, 2):
        with pytest.raises(ValueError, match="oops"), run:
            raise ValueError("oops")
        assert on_disk(run)["error"]
        run = Run.reopen(run.folder)
        assert "error" not in on_disk(run)
        assert on_disk(run)["ended"] is None
        assert [entry["code"]["ref"] for entry in on_disk(run)["resumed"]][-1] == f"refs/runs/{run.id}-resumed-{time_}"
        assert len(on_disk(run)["resumed"]) == time_


def test_what_cannot_be_resumed(here: Path) -> None:
    alive = new_run()
    with pytest.raises(UserError, match=f"{alive.id} is still running"):
        Run.reopen(alive.folder)
    with alive:
        pass
    with pytest.raises(UserError, match=f"{alive.id} is finished"):
        Run.reopen(alive.folder)
    with pytest.raises(UserError, match="no run to resume"):
        Run.reopen(here / "nowhere")
    (alive.folder / "run.json").write_text("{")
    with pytest.raises(UserError, match="damaged"):
        Run.reopen(alive.folder)


def test_of_two_that_resume_at_once_one_wins(here: Path) -> None:
    with pytest.raises(KeyboardInterrupt), new_run() as run:
        raise KeyboardInterrupt
    program = """
import sys
from understudy.errors import UserError
from understudy.runs.record import read_record
from understudy.runs.run import NullRecorder, Run
print("ready", flush=True); input()
try:
    Run.reopen(sys.argv[1]); print("resumed", flush=True); input()
except UserError as error:
    print(error, flush=True)
"""
    command = [sys.executable, "-c", program, str(run.folder)]
    pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    processes = [subprocess.Popen(command, cwd=here, **pipes) for _ in range(3)]
    for process in processes:
        assert process.stdout
        process.stdout.readline()
    for process in processes:
        assert process.stdin
        process.stdin.write("go\n")
        process.stdin.flush()
    answers = [process.stdout.readline() for process in processes if process.stdout]
    for process in processes:
        process.communicate()
    assert sum(answer == "resumed\n" for answer in answers) == 1
    assert sum("still running" in answer for answer in answers) == 2


def test_seeds_are_recorded_and_the_same_after_a_resume() -> None:
    run = new_run(seed=3)
    first = run.seed("init")
    assert first == run.seed("init") == child_seed(3, "init")
    assert run.seed("data") != first
    with pytest.raises(ValueError, match="stop"), run:
        raise ValueError("stop")
    assert on_disk(run)["seeds"] == {"init": first, "data": child_seed(3, "data")}
    assert Run.reopen(run.folder).seed("init") == first


def test_data_is_recorded_once_until_it_changes(here: Path) -> None:
    run = new_run()
    (here / "data.txt").write_text("one")
    first = run.add_data("data.txt")
    assert run.add_data(here / "data.txt") == first
    assert on_disk(run)["data"] == [first]
    (here / "data.txt").write_text("two")
    second = run.add_data("data.txt")
    assert on_disk(run)["data"] == [first, second]


def test_update_merges_dictionaries_and_replaces_the_rest() -> None:
    run = new_run()
    run.update(hardware={"gpu": "none"}, checks=[{"name": "a"}], extra=1)
    run.update(checks=[{"name": "b"}], value=float("nan"))
    record = on_disk(run)
    assert record["hardware"]["gpu"] == "none"
    assert record["hardware"]["cores"]
    assert (record["checks"], record["extra"], record["value"]) == ([{"name": "b"}], 1, "nan")


def test_a_null_recorder_gives_the_same_seeds_and_leaves_no_trace(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = new_run(seed=5)
    (here / "data.txt").write_text("data")
    before = {path: path.stat().st_mtime_ns for path in run.folder.rglob("*")}
    with NullRecorder.follow(run.folder) as shadow:
        assert (shadow.id, shadow.verb, shadow.config) == (run.id, run.verb, run.config)
        assert shadow.seed("init") == child_seed(5, "init")
        shadow.log(1, loss=1.0)
        shadow.sample(1, text="a")
        shadow.say("quiet")
        shadow.console.print("quiet")
        shadow.update(checks=["x"])
        shadow.finish(loss=1.0)
        assert shadow.add_data("data.txt")["bytes"] == 4
    assert {path: path.stat().st_mtime_ns for path in run.folder.rglob("*")} == before
    assert capsys.readouterr().out == ""
    with pytest.raises(UserError, match="no run to follow"):
        NullRecorder.follow(here / "nowhere")


def test_the_console_is_standard_output(capsys: pytest.CaptureFixture[str]) -> None:
    run = new_run()
    assert isinstance(run.console, Console)
    run.say("long " * 100)
    assert capsys.readouterr().out == "long " * 100 + "\n"


def test_recording_costs_no_torch_and_little_time(here: Path) -> None:
    program = "import sys, understudy.runs.run, understudy.runs.commands as _; "
    program += "print('torch' in sys.modules, 'plotext' in sys.modules)"
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    said = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout
    assert said == "False False\n"
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert after.ru_utime - before.ru_utime < 5  # of processor time
