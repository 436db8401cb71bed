"""A training run's side of tracking: a helping process beside it, from the run's beginning to its end.

Why a process and not a thread: MLflow takes a second of Python to import, another to open a store, and about a tenth
of a millisecond a figure. In a thread that is time in which the training's Python stands still: on two cores, with
steps of 4 ms that log four figures each, a thread made the mean step 12 to 17% longer and single steps up to 280 ms,
the process (of the lowest priority) 0 to 2%, within the measurement's noise. With 20 lines of five figures a second
it takes about 4 s of a core in a run's first minute, most of that to start. A process can also be ended while it hangs
on a dead connection, and it outlives a run that is killed: it notices and says so to the store.

The two share no queue. The training writes its journal as ever; the process reads it.
"""

import contextlib
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from threading import Thread

import understudy
from understudy.runs.mlflow.address import Address
from understudy.runs.mlflow.store import quiet_environment
from understudy.runs.run import Run

PATIENCE_SECONDS = 10.0  # at the end of a run
# Not `-m`: it would put the current folder first on the path, where a file may be called like a library.
_PROGRAM = "import sys; sys.path.append(sys.argv[1])\nfrom understudy.runs.mlflow.worker import main; main(sys.argv[2])"


@contextlib.contextmanager
def streaming(run: Run, address: Address | None) -> Iterator[None]:
    """Sends the run's record to the store while the body runs, and the rest after it; nothing for None.

    Surround the run's own context with it: how a run ended is known then. Never raises, and waits ten seconds at most.
    """
    if address is None:
        yield
        return
    stream = _Stream(run, address)
    try:
        yield
    finally:
        stream.close()


class _Stream:
    """The helping process, and a thread that repeats in the run's console what it has to say."""

    def __init__(self, run: Run, address: Address) -> None:
        self._run, self._address = run, address
        self._process: subprocess.Popen[str] | None = None
        try:
            self._process = self._start()
        except OSError as error:
            run.say(f"tracking could not start: {error.strerror}; {self._what_helps()}", style="yellow")
            return
        self._listener = Thread(target=self._listen, args=(self._process,), name="tracking", daemon=True)
        self._listener.start()

    def close(self) -> None:
        """Lets the process send the rest, and ends it when that takes too long."""
        if self._process is None:
            return
        assert self._process.stdin
        with contextlib.suppress(OSError):  # it may have gone
            self._process.stdin.close()
        try:
            code = self._process.wait(PATIENCE_SECONDS)
        except subprocess.TimeoutExpired:
            code = None
        finally:
            self._process.kill()
            self._process.wait()
            self._listener.join()
        if code != 0:
            self._run.say(f"{self._address.masked} lacks the end of this run; {self._what_helps()}", style="yellow")

    def _start(self) -> "subprocess.Popen[str]":
        program = [sys.executable, "-P", "-W", "ignore", "-c", _PROGRAM]
        process = subprocess.Popen(
            [*program, str(Path(understudy.__file__).parent.parent), str(self._run.folder)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            env=quiet_environment(),
            start_new_session=True,  # Ctrl-C is for the training, which then closes the pipe
        )
        assert process.stdin
        with contextlib.suppress(OSError):
            # Not on its command line, which everybody on this machine can read.
            process.stdin.write(self._address.uri + "\n")
            process.stdin.flush()
        return process

    def _listen(self, process: "subprocess.Popen[str]") -> None:
        assert process.stdout
        for line in process.stdout:
            self._run.say(line.rstrip("\n"), style="yellow")

    def _what_helps(self) -> str:
        to = " --to URI" if self._address.has_password else ""
        return f"`understudy runs sync {self._run.id}{to}` sends it"
