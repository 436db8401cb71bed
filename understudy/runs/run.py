"""One run and the folder that records it: see `Run`."""

import contextlib
import fcntl
import os
import platform
import signal
import sys
import threading
import time
import traceback
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from functools import cached_property
from pathlib import Path
from types import FrameType, TracebackType
from typing import TYPE_CHECKING, Any, Protocol

from typing_extensions import override

from understudy.config import child_seed
from understudy.errors import DiskFullError, UserError
from understudy.files import fingerprint, plain, write_json
from understudy.runs import machine
from understudy.runs.code import opened_files as watch
from understudy.runs.code import snapshot
from understudy.runs.code.secrets import masked
from understudy.runs.find import claim_folder, make_runs_folder
from understudy.runs.journal import Journal
from understudy.runs.process import Heartbeat, status_of, this_process
from understudy.runs.record import read_record
from understudy.runs.space import Reserve, full_disk, full_disk_named

if TYPE_CHECKING:
    from rich.console import Console

__all__ = ["NullRecorder", "Recorder", "Run", "status_of"]

MAY_HOLD_SECRETS = ("argv", "command", "config", "error", "resumed")
"""The parts of a record that are written with their secrets blotted out."""

watch.begin()  # here, so that what a program imports and reads before it creates its run is noted too


class Recorder(Protocol):
    """All of a run that a training loop sees. `Run` records to its folder, `NullRecorder` records nothing."""

    folder: Path
    """Where the checkpoints go."""
    record: dict[str, Any]
    """What run.json holds: read it, and change it by `update`."""

    @property
    def id(self) -> str:
        """The run's id, such as `20261123-1412-brave-otter`."""

    @property
    def console(self) -> "Console":
        """The terminal, for progress bars."""

    def log(self, step: int, **values: Any) -> None:
        """Append the metrics of a step to metrics.jsonl."""

    def sample(self, step: int, **fields: Any) -> None:
        """Append a sample of the model's output to samples.jsonl."""

    def checkpoint(self, step: int, weights: Path) -> None:
        """Append the hash of the weights saved after a step to checkpoints.jsonl."""

    def say(self, text: str, style: str | None = None) -> None:
        """Print text and append it to console.log."""

    def update(self, **fields: Any) -> None:
        """Change fields of run.json."""


class Run:
    """A run and its folder `runs/<id>/`: run.json, metrics.jsonl, samples.jsonl, console.log, heartbeat, code/.

    Used as a context manager it records how it ended: "finished", "interrupted" (Ctrl-C or SIGTERM, which arrives as
    KeyboardInterrupt) or "failed"; exceptions go on. One process writes a run; all that it logged survives `kill -9`.

        with Run.create("pretrain", sys.argv, config, seed=1) as run:
            torch.manual_seed(run.seed("init"))
            run.log(0, loss=2.5)
            run.finish(headline=["loss", 2.5])
    """

    def __init__(self, folder: Path, record: dict[str, Any]) -> None:
        self.folder = folder
        self.record = record
        self._lock = threading.RLock()  # re-entrant: SIGTERM may come while this thread holds it
        self._cleanup = contextlib.ExitStack()
        self._reserve = Reserve(folder)
        self._snapshot = snapshot.Snapshot()
        self._watch: watch.Watch | None = None
        self._watching = threading.Lock()

    @classmethod
    def create(
        cls,
        verb: str,
        argv: Sequence[str],
        config: Any,
        runs_folder: Path | str | None = None,
        parents: Sequence[str] = (),
        seed: int = 0,
        command: Sequence[str] | None = None,
    ) -> "Run":
        """Makes the folder of a new run and records what it starts from, the exact code included.

        Args:
            verb: what is run; `last:VERB` finds it.
            argv: the command line.
            config: a configuration (a dataclass) or a dictionary.
            runs_folder: where runs are kept; by default `store.runs_folder()`.
            parents: the ids of the runs that this one builds on.
            seed: every generator gets its own seed from it, by name: `run.seed("init")`.
            command: the arguments after `python` that run the same again; by default this process's own. "{config}"
                in it stands for a JSON file with the recorded configuration.
        """
        runs = make_runs_folder(runs_folder)
        with full_disk_named(runs):
            folder = claim_folder(runs)
            record = _new_record(folder.name, verb, argv, plain(config), parents, seed)
            run = cls(folder, record | {"command": list(sys.orig_argv[1:] if command is None else command)})
            try:
                run._save()
            except OSError:
                folder.rmdir()
                raise
            run.update(code=run._keep_code(folder.name, folder / "code"))
        return run

    @classmethod
    def reopen(cls, folder: Path | str, argv: Sequence[str] | None = None) -> "Run":
        """Takes up a run that was interrupted, failed or died. UserError for one that is alive, finished or unreadable.

        Adds {"time", "argv", "code"} to the record's "resumed": the code may have changed in between.
        """
        folder = Path(folder).absolute()
        with _locked(folder):
            found = read_record(folder)
            _refuse_to_resume(found.status, found.id, found.data)
            run = cls(folder, found.data)
            run.record.update(status="running", ended=None, **this_process())
            run.record.pop("error", None)
            run._save()
        resumed = run.record.get("resumed", [])
        code = run._keep_code(f"{run.id}-resumed-{len(resumed) + 1}", folder / "code" / f"resumed-{len(resumed) + 1}")
        entry = {"time": _now(), "argv": list(sys.argv if argv is None else argv), "code": code}
        run.update(resumed=[*resumed, entry])
        return run

    @property
    def id(self) -> str:
        """Like `20261123-1412-brave-otter`."""
        return self.folder.name

    @property
    def verb(self) -> str:
        """What is run: pretrain, finetune, ..."""
        return str(self.record["verb"])

    @property
    def config(self) -> dict[str, Any]:
        """The configuration as a dictionary; `config.from_dict` makes it a dataclass again."""
        return dict(self.record["config"])

    @cached_property
    def console(self) -> "Console":
        """The terminal, or whatever standard output is."""
        from rich.console import Console

        return Console()

    def seed(self, name: str) -> int:
        """The seed of the generator of that name, which is recorded. The same name always gives the same number."""
        number = child_seed(self.record["seed"], name)
        if name not in self.record["seeds"]:
            self.update(seeds={name: number})
        return number

    def log(self, step: int, **values: Any) -> None:
        """Adds one line to metrics.jsonl."""
        self._metrics.log(step, **values)

    def checkpoint(self, step: int, weights: Path) -> None:
        """Adds the hash of the weights that were saved after a step to checkpoints.jsonl; `runs verify` compares it."""
        self._checkpoints.append({"step": int(step), "time": time.time(), "sha256": fingerprint(weights)["sha256"]})

    def sample(self, step: int, **fields: Any) -> None:
        """Adds one line to samples.jsonl, such as a piece of the model's talk."""
        self._samples.append({"step": int(step), **fields})

    def say(self, text: str, style: str | None = None) -> None:
        """Prints the text (in a rich style) and adds it to console.log. Brackets are no markup."""
        from rich.text import Text

        self._write_console_log(text)
        self.console.print(Text(text, style=style or ""), soft_wrap=True)

    def add_data(self, path: Path | str) -> dict[str, Any]:
        """Records the fingerprint of a file that the run reads, and returns it. A changed file is recorded anew."""
        found = fingerprint(path)
        with self._lock:
            if found not in self.record["data"]:
                self.update(data=[*self.record["data"], found])
        return found

    def update(self, **fields: Any) -> None:
        """Changes run.json: dictionaries are merged into what is there, anything else replaces it."""
        with self._lock:
            for name, value in plain(fields).items():
                old = self.record.get(name)
                both = isinstance(old, dict) and isinstance(value, dict)
                self.record[name] = old | value if both else value
            self._save()

    def finish(self, **outcome: Any) -> None:
        """Adds to the outcome: the figures that the run was made for. `headline=[name, value]` is shown in lists."""
        self.update(outcome=outcome)

    def __enter__(self) -> "Run":
        self._reserve.hold()
        self._cleanup.callback(_catch_sigterm())
        self._cleanup.callback(self._start_heartbeat())
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._cleanup:
            self._reserve.release()
            self._note_files_read()
            status = _how_it_ended(error)
            full = full_disk(error, self.folder) if status == "failed" else ""
            if problem := self._snapshot.finish():
                self.update(code={"error": problem})
            # The folder may be gone or the disk full: that must not hide the error that is on its way.
            with contextlib.suppress(OSError) if error else contextlib.nullcontext():
                if status == "failed" and error:
                    self._write_console_log("".join(traceback.format_exception(error)))
                    self.record["error"] = full or " ".join(f"{type(error).__name__}: {error}".split())
                self.update(status=status, ended=_now())
            if full:
                raise DiskFullError(full) from error

    @cached_property
    def _metrics(self) -> Journal:
        return Journal(self.folder / "metrics.jsonl")

    @cached_property
    def _samples(self) -> Journal:
        return Journal(self.folder / "samples.jsonl")

    @cached_property
    def _checkpoints(self) -> Journal:
        return Journal(self.folder / "checkpoints.jsonl")

    def _start_heartbeat(self) -> Any:
        heartbeat = Heartbeat(self.folder / "heartbeat", self._note_files_read)
        heartbeat.start()
        return heartbeat.stop

    def _save(self) -> None:
        hidden = {name: _masked(self.record[name]) for name in MAY_HOLD_SECRETS if name in self.record}
        write_json(self.folder / "run.json", self.record | hidden)

    def _write_console_log(self, text: str) -> None:
        text = masked(text)
        with open(self.folder / "console.log", "a", encoding="utf-8", errors="backslashreplace") as file:
            file.write(text.rstrip("\n") + "\n")

    def _keep_code(self, name: str, destination: Path) -> dict[str, Any]:
        runs = self.folder.parent
        self._snapshot = snapshot.take(Path.cwd(), name, destination, runs / snapshot.POOL, exclude=[runs])
        code = self._snapshot.record
        top = Path(code.get("top") or Path.cwd())
        self._watch = watch.Watch(destination, top, self._snapshot.held, runs, runs / snapshot.POOL)
        self._note_files_read()
        if code["kind"] == "none":
            self.say(f"The code of this run could not be kept: {code['error']}", style="yellow")
        return code

    def _note_files_read(self) -> None:
        """Puts into the record what this process read beside its snapshot. The run matters more than a full disk."""
        if self._watch:
            with self._watching, contextlib.suppress(OSError):
                self._watch.sweep({entry["path"] for entry in self.record["data"]})


class NullRecorder(Run):
    """A run that writes and prints nothing, for processes that only help: a torchrun rank above 0, the doctor.

    Its seeds and configuration are those of the run that it follows; `update` changes its record in memory only.
    """

    @classmethod
    def follow(cls, folder: Path | str) -> "NullRecorder":
        """Return a null recorder for the run in `folder`. Raises UserError where run.json cannot be read."""
        found = read_record(Path(folder).absolute())
        if found.status == "broken":
            raise UserError(f"no run to follow at {found.folder}: its run.json cannot be read")
        return cls(found.folder, found.data)

    @override
    def __enter__(self) -> "NullRecorder":
        self._cleanup.callback(_catch_sigterm())
        return self

    @cached_property
    def console(self) -> "Console":
        """A console that prints nothing."""
        from rich.console import Console

        return Console(quiet=True)

    @override
    def log(self, step: int, **values: Any) -> None: ...

    @override
    def checkpoint(self, step: int, weights: Path) -> None: ...

    @override
    def sample(self, step: int, **fields: Any) -> None: ...

    @override
    def _save(self) -> None: ...

    @override
    def _write_console_log(self, text: str) -> None: ...


def _new_record(
    run_id: str, verb: str, argv: Sequence[str], config: Any, parents: Sequence[str], seed: int
) -> dict[str, Any]:
    return {
        "id": run_id,
        "verb": verb,
        "argv": list(argv),
        "cwd": str(Path.cwd()),
        "status": "running",
        "rerun_of": os.environ.get("UNDERSTUDY_RERUN_OF"),
        "created": _now(),
        "ended": None,
        "config": config,
        "seed": seed,
        "seeds": {},
        "data": [],
        "parents": list(parents),
        "outcome": {},
        "checks": [],
        "code": {},
        **this_process(),
        "python": platform.python_version(),
        "platform": platform.platform(),
        "hardware": machine.hardware(),
        "environment": machine.environment(),
        "packages": machine.packages(),
    }


def _masked(value: Any) -> Any:
    """The value with the secrets in its texts blotted out."""
    if isinstance(value, str):
        return masked(value)
    if isinstance(value, dict):
        return {name: _masked(inner) for name, inner in value.items()}
    return [_masked(inner) for inner in value] if isinstance(value, list) else value


def _refuse_to_resume(status: str, run_id: str, record: Mapping[str, Any]) -> None:
    if status == "running":
        place = f"process {record.get('pid')} on {record.get('host')}"
        raise UserError(f"run {run_id} is still running ({place}): stop it first, then resume it")
    if status == "finished":
        raise UserError(f"run {run_id} is finished: there is nothing to resume; start a new run from it instead")
    if status == "broken":
        raise UserError(f"run {run_id} cannot be resumed: its run.json is missing or damaged")


@contextlib.contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Of two processes that resume the same run at once, one waits here and then finds it running."""
    try:
        descriptor = os.open(folder, os.O_RDONLY)
    except OSError as error:
        raise UserError(f"no run to resume at {folder}: {error.strerror}") from error
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _catch_sigterm() -> Any:
    """Makes SIGTERM a KeyboardInterrupt in this process; returns what undoes it. Only the main thread may do that."""
    if threading.current_thread() is not threading.main_thread():
        return lambda: None
    owner = os.getpid()

    def interrupt(number: int, frame: FrameType | None) -> None:
        if os.getpid() != owner:  # a forked data worker inherits the handler: it just ends
            os._exit(128 + number)
        raise KeyboardInterrupt("SIGTERM")

    previous = signal.signal(signal.SIGTERM, interrupt)
    return lambda: signal.signal(signal.SIGTERM, previous)


def _how_it_ended(error: BaseException | None) -> str:
    if error is None or (isinstance(error, SystemExit) and error.code in (None, 0)):
        return "finished"
    return "interrupted" if isinstance(error, KeyboardInterrupt) else "failed"


def _now() -> str:
    return datetime.now().astimezone().isoformat(timespec="milliseconds")
