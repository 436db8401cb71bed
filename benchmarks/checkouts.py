"""A checkout of this project, whose commands are run as a user would run them."""

import os
import subprocess
from pathlib import Path


class Checkout:
    """A checkout with an environment of its own, and a scratch folder to run in."""

    def __init__(self, folder: Path, scratch: Path):
        self.folder, self.scratch = folder.resolve(), scratch
        self.python = self.folder / ".venv" / "bin" / "python"
        self.runs: dict[str, Path] = {}

    def call(self, *words: str, stdin: str = "") -> str:
        """Return what a command printed; the checkout's package is the one that Python imports."""
        environment = {**os.environ, "UNDERSTUDY_RUNS": str(self.scratch / "runs"), "OMP_NUM_THREADS": "1"}
        environment |= {"PYTHONPATH": str(self.folder), "HF_HUB_OFFLINE": "1", "COLUMNS": "120"}
        done = subprocess.run(
            [str(self.python), *words], cwd=self.scratch, env=environment, input=stdin, capture_output=True, text=True
        )
        if done.returncode:
            raise SystemExit(f"{self.folder}: {' '.join(words)} ended with {done.returncode}\n{done.stderr[-3000:]}")
        return done.stdout

    def train(self, name: str, verb: str, options: str) -> Path:
        """Return the folder of a new run."""
        before = set(self._folders())
        self.call("-m", "understudy", verb, *options.split())
        (self.runs[name],) = set(self._folders()) - before
        return self.runs[name]

    def _folders(self) -> list[Path]:
        return [path.parent for path in (self.scratch / "runs").glob("*/run.json")]
