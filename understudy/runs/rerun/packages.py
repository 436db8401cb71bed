"""The Python and the packages of a run: what differs from here, and how to have them again."""

import platform
import shutil
import subprocess
import sys
from collections.abc import Mapping
from hashlib import sha256
from pathlib import Path

from understudy.errors import UserError
from understudy.runs import process
from understudy.runs.record import Record

OURSELVES = "understudy"


def differences(then: Mapping[str, str], now: Mapping[str, str]) -> list[str]:
    """What differs between two lists of package versions, a line each; this package's own version is code, not that.

    >>> differences({"torch": "2.12.0", "numpy": "2.1"}, {"torch": "2.13.0", "numpy": "2.1", "rich": "14.0"})
    ['torch 2.12.0 then, 2.13.0 now', 'rich absent then, 14.0 now']
    """
    names = [name for name in dict.fromkeys((*then, *now)) if name != OURSELVES and then.get(name) != now.get(name)]
    return [f"{name} {then.get(name, 'absent')} then, {now.get(name, 'absent')} now" for name in names]


def environment_differences(record: Record) -> list[str]:
    """How this Python and its packages differ from those of the run."""
    python = str(record.data.get("python"))
    lines = [] if python == platform.python_version() else [f"Python {python} then, {platform.python_version()} now"]
    return lines + differences(record.data.get("packages", {}), process.packages())


def build_environment(record: Record, folder: Path) -> Path:
    """The Python of a virtual environment in `folder` with the versions that the run had; made where it is missing.

    Raises UserError where that Python is not installed, or pip cannot have the versions.
    """
    packages = {name: v for name, v in record.data.get("packages", {}).items() if name not in (OURSELVES, "pip")}
    wanted = [f"{name}=={version}" for name, version in packages.items()]
    digest = sha256("\n".join([str(record.data.get("python")), *wanted]).encode()).hexdigest()[:12]
    home = folder / digest
    python = home / "bin" / "python"
    if (home / "complete").exists():
        return python
    shutil.rmtree(home, ignore_errors=True)
    home.mkdir(parents=True)
    requirements = home / "requirements.txt"
    requirements.write_text("\n".join(wanted) + "\n")
    _do([_interpreter(str(record.data.get("python"))), "-m", "venv", str(home)])
    _do([str(python), "-m", "pip", "install", "--quiet", "--no-deps", "-r", str(requirements)])
    (home / "complete").touch()
    return python


def _interpreter(version: str) -> str:
    """A Python of the same minor version: the patch level hardly matters, and is said to differ."""
    if version.split(".")[:2] == platform.python_version().split(".")[:2]:
        return sys.executable
    name = "python" + ".".join(version.split(".")[:2])
    found = shutil.which(name)
    if not found:
        raise UserError(f"the run had Python {version}, and there is no {name} here; install it, or run without it")
    return found


def _do(command: list[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        lines = (done.stderr or done.stdout).strip().splitlines() or ["no reason given"]
        raise UserError(f"the environment of the run cannot be built: {lines[-1]}")
