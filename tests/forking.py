"""The command line in processes of their own that share one import of torch: one process imports it, and then forks."""

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

PROGRAM = """
import json, os, signal, sys, traceback
from understudy.cli import main
import torch._dynamo, understudy.recipes.evaluate, understudy.recipes.finetune, understudy.recipes.pretrain
from understudy.doctor import start
from understudy.runs.journal import Journal

START_CHECKS = start.START_CHECKS

def die(step, calls):
    # By SIGKILL, so many calls of Python functions after the step was logged.
    left = None
    def watch(frame, event, argument):
        nonlocal left
        if left is None:
            logged = event == "return" and frame.f_code is Journal.log.__code__
            left = calls if logged and frame.f_locals["step"] == step else None
        elif event == "call":
            left -= 1
            if left < 0:
                os.kill(os.getpid(), signal.SIGKILL)
    sys.setprofile(watch)

def process(rank, job):
    os.chdir(job["folder"])
    os.environ.clear()
    os.environ.update(job["environment"])
    if job["processes"] > 1:
        os.environ.update(RANK=str(rank), LOCAL_RANK=str(rank), WORLD_SIZE=str(job["processes"]))
    for number in (1, 2):
        os.dup2(os.open(f".{rank}.{number}", os.O_WRONLY | os.O_CREAT | os.O_TRUNC), number)
    start.START_CHECKS = START_CHECKS if job["checks"] else ()
    if job["killed_at"]:
        die(*job["killed_at"])
    code = main(job["arguments"])
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)

for line in sys.stdin:
    job = json.loads(line)
    children = []
    for rank in range(job["processes"]):
        children.append(os.fork())
        if not children[-1]:
            try:
                process(rank, job)
            except BaseException:
                traceback.print_exc()
            finally:
                os._exit(1)
    print(json.dumps([os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children]), flush=True)
"""


@dataclass
class Done:
    """Exit codes, and what was said on standard output and error, by rank."""

    codes: list[int]
    said: list[str]
    errors: list[str]


class Forking:
    """The process that forks."""

    def __init__(self) -> None:
        environment = os.environ | {"OMP_NUM_THREADS": "1"}
        pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
        self._process = subprocess.Popen([sys.executable, "-c", PROGRAM], env=environment, **pipes)

    def run(
        self,
        *arguments: Any,
        processes: int = 1,
        checks: bool = False,
        killed_at: tuple[int, int] | None = None,
        environment: dict[str, str] | None = None,
    ) -> Done:
        """Run `understudy arguments` in the current folder, in one process or as torchrun starts several.

        Without `checks` a training looks for no silent bugs. `killed_at`: a step, and how many calls of Python
        functions later SIGKILL comes. `environment`: what is added to this process's.
        """
        job: dict[str, Any] = {"folder": str(Path.cwd()), "arguments": [str(one) for one in arguments]}
        job |= {"environment": {**os.environ, **(environment or {})}, "processes": processes}
        job |= {"checks": checks, "killed_at": killed_at}
        assert self._process.stdin
        assert self._process.stdout
        print(json.dumps(job), file=self._process.stdin, flush=True)
        codes = json.loads(self._process.stdout.readline())
        said, errors = ([Path(f".{rank}.{n}").read_text() for rank in range(processes)] for n in (1, 2))
        return Done(codes, said, errors)

    def close(self) -> None:
        """End it."""
        self._process.communicate()
