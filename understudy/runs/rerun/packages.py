"""The Python and the packages of a run: what differs from those here, and an environment that has them."""

import platform
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping
from hashlib import sha256
from pathlib import Path
from typing import Any

from rich.console import Console

from understudy.console import and_more, say
from understudy.errors import UserError
from understudy.runs.compare.differences import ABSENT, differing, environment
from understudy.runs.process import packages
from understudy.runs.record import Record

OURSELVES = "understudy"
MOST_NAMED = 8


def environment_differences(then: Mapping[str, Any], now: Mapping[str, Any]) -> dict[str, str]:
    """Return what differs in the environment between two run.json, in words by dotted name, without this package.

    >>> then = {"packages": {"torch": "2.12.0", "numpy": "2.1"}}
    >>> list(environment_differences(then, {"packages": {"torch": "2.13.0"}}).values())
    ['torch 2.12.0 then, 2.13.0 now', 'numpy 2.1 then, absent now']
    """
    found = {}
    for name, values in differing([environment(then), environment(now)]).items():
        before, after = ("absent" if value is ABSENT else value for value in values)
        short = re.sub(r"^(hardware|compute|environment)\.|^package ", "", name)
        # This package's own version is a matter of code.
        if name != f"package {OURSELVES}":
            found[name] = f"{short} {before} then, {after} now"
    return found


def prepare_environment(record: Record, build: bool, console: Console) -> Path:
    """Build the environment of the run and return its Python; or else say how this one differs, and return this one."""
    if build:
        return build_environment(record, record.folder.parent / "cache" / "environments")
    then = {name: record.data.get(name) for name in ("python", "packages")}
    lines = environment_differences(then, {"python": platform.python_version(), "packages": packages()}).values()
    if not lines:
        say(console, "environment: the same versions as then")
    else:
        say(console, f"environment: {and_more(lines, MOST_NAMED, '; ')}", "yellow")
        say(console, "--build-environment builds one with the versions of the run", "dim")
    return Path(sys.executable)


def build_environment(record: Record, folder: Path) -> Path:
    """Return the Python of a virtual environment in `folder` with the versions that the run had; made if missing.

    Raises UserError where that Python is not installed, or pip cannot install the versions.
    """
    versions = record.data.get("packages", {})
    wanted = [f"{name}=={version}" for name, version in versions.items() if name not in (OURSELVES, "pip")]
    version = str(record.data.get("python"))
    digest = sha256("\n".join([version, *wanted]).encode()).hexdigest()[:12]
    home = folder / digest
    python = home / "bin" / "python"
    if (home / "complete").exists():
        return python

    # A Python of the same minor version will do; a difference in the last part of its version is reported.
    minor, interpreter = version.split(".")[:2], sys.executable
    if minor != platform.python_version().split(".")[:2]:
        name = f"python{'.'.join(minor)}"
        interpreter = shutil.which(name) or ""
        if not interpreter:
            raise UserError(f"the run had Python {version}, and there is no {name} here; install it, or run without it")

    shutil.rmtree(home, ignore_errors=True)
    home.mkdir(parents=True)
    requirements = home / "requirements.txt"
    requirements.write_text("\n".join(wanted) + "\n")
    install = [str(python), "-m", "pip", "install", "--quiet", "--no-deps", "-r", str(requirements)]
    for command in ([interpreter, "-m", "venv", str(home)], install):
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode:
            lines = (done.stderr or done.stdout).strip().splitlines() or ["no reason given"]
            raise UserError(f"the environment of the run cannot be built: {lines[-1]}")
    (home / "complete").touch()
    return python
