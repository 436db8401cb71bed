"""Tracking while a run trains: a process beside it that sends the record from the run's start to its end.

Why a process and not a thread: MLflow takes two seconds of Python to start and a tenth of a millisecond per metric,
for which the training's Python would stand still. On two cores, with steps of 4 ms that log four metrics each, a thread
made the mean step 12 to 17% longer and single steps up to 280 ms, the process 0 to 2%. A process can also be ended
while it waits for a dead connection, and it outlives a run that is killed, which it notices and tells the store.
"""

import contextlib
import os
import select
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from threading import Thread
from typing import TYPE_CHECKING

import understudy
from understudy.errors import TrackingError
from understudy.runs.mlflow.address import MASK, Address, parse
from understudy.runs.mlflow.replay import replay
from understudy.runs.mlflow.store import Store, quiet_environment
from understudy.runs.record import read_record

if TYPE_CHECKING:  # the process needs to start fast, and needs no Run
    from understudy.runs.run import Run

PATIENCE_SECONDS = 10.0  # for the process at the end of a run
NICENESS = 19  # the lowest priority, as the training comes first
SECONDS_BETWEEN = 2.0
LONGEST_PAUSE = 30.0  # between attempts while the store is down
SECONDS_AT_THE_END = 4.0  # during which new attempts begin; one that gets on may take as long as the training waits
PAUSE_AT_THE_END = 0.3
# Not `-m`: it would put the current folder first on the path, where a file may have the name of a library.
_PROGRAM = "import sys; sys.path.append(sys.argv[1])\nfrom understudy.runs.mlflow.stream import work; work(sys.argv[2])"


@contextlib.contextmanager
def streaming(run: "Run", address: Address | None) -> Iterator[None]:
    """Send the run's record to the store while the block runs, and the rest after it; do nothing for None.

    The run's own context belongs inside, because its end must be known when the rest is sent. Never raises, and waits
    for ten seconds at most.
    """
    if address is None:
        yield
        return
    remedy = f"`understudy runs sync {run.id}{' --to URI' if MASK in address.masked else ''}` sends it"
    try:
        worker = _start_worker(run.folder, address)
    except OSError as error:
        run.say(f"tracking could not start: {error.strerror}; {remedy}", style="yellow")
        yield
        return
    assert worker.stdin

    def repeat() -> None:
        for line in worker.stdout or ():
            run.say(line.rstrip("\n"), style="yellow")

    listener = Thread(target=repeat, name="tracking", daemon=True)
    listener.start()
    try:
        yield
    finally:
        # The worker sends the rest when its standard input ends. One that takes too long is killed.
        with contextlib.suppress(OSError):
            worker.stdin.close()
        code = None
        try:
            with contextlib.suppress(subprocess.TimeoutExpired):
                code = worker.wait(PATIENCE_SECONDS)
        finally:
            worker.kill()
            worker.wait()
            listener.join()
        if code != 0:
            run.say(f"{address.masked} lacks the end of this run; {remedy}", style="yellow")


def work(folder: str) -> None:
    """Send the run in `folder` to the store that the first line of standard input names, until the training ends.

    The body of the process. Exits with 0 when the store has all of the run, else with 1.
    """
    path, training = Path(folder), os.getppid()
    address = parse(sys.stdin.readline().strip())
    store: Store | None = None
    complained = False

    def send() -> bool:
        nonlocal store, complained
        try:
            store = store or Store(address, path.parent)
            replay(path, store)
        except (TrackingError, OSError) as error:
            if not complained:
                line = f"tracking: {error}; the run goes on, and what is missing is sent when the store is back"
                print(" ".join(line.split()), flush=True)
            complained = True
            return False
        return True

    # While the training runs. It writes nothing more to the pipe, whose end is therefore the training's end; but its
    # children may hold the pipe open longer than the training lives.
    pause = 0.0
    while not select.select([sys.stdin], [], [], pause)[0] and os.getppid() == training:
        pause = SECONDS_BETWEEN if send() else min(max(1.0, 2 * pause), LONGEST_PAUSE)

    # The rest. A process that is killed closes its pipes a moment before it is gone, so wait until it is.
    deadline = time.monotonic() + SECONDS_AT_THE_END
    while not (read_record(path).status != "running" and send()):
        if time.monotonic() > deadline:
            sys.exit(1)
        time.sleep(PAUSE_AT_THE_END)


def _start_worker(folder: Path, address: Address) -> "subprocess.Popen[str]":
    package = Path(understudy.__file__).parent.parent
    worker = subprocess.Popen(
        [sys.executable, "-P", "-W", "ignore", "-c", _PROGRAM, str(package), str(folder)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        env=quiet_environment(),
        start_new_session=True,  # Ctrl-C is for the training, which then closes the pipe
    )
    assert worker.stdin
    with contextlib.suppress(OSError):
        # Not on the command line, which all users of this machine can read.
        worker.stdin.write(address.uri + "\n")
        worker.stdin.flush()
    with contextlib.suppress(OSError):
        os.setpriority(os.PRIO_PROCESS, worker.pid, NICENESS)
    return worker
