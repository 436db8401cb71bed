"""Why two runs of one record differ: what to look at first."""

from typing import Any

from understudy.runs.code.kept import open_code
from understudy.runs.record import Record
from understudy.runs.rerun.packages import differences
from understudy.runs.rerun.tree import Tree

MOST_NAMED = 5


def likely_causes(then: Record, now: Record, tree: Tree) -> list[str]:
    """What differs between two runs, in the order in which it would explain different figures.

    Code, data, environment, hardware, thread count; when all of that is the same, the computation itself is not
    deterministic.
    """
    found = [
        _named("code", _code(then, now, tree)),
        _named("data", _data(then, now, tree)),
        _named("environment", _environment(then, now)),
        _named("hardware", _fields(then.data.get("hardware"), now.data.get("hardware"))),
        _named("thread count", _compute(then, now)),
    ]
    causes = [cause for cause in found if cause]
    if then.data.get("resumed"):
        causes.append(
            "the run was resumed, maybe with other code: only a run that nothing stopped repeats itself surely"
        )
    return causes or [
        "nondeterminism: code, data, environment, hardware and threads are the same, so an operation gives other bits "
        "each time, or the program draws random numbers without a seed, or reads the clock"
    ]


def _named(kind: str, lines: list[str]) -> str:
    more = f" and {len(lines) - MOST_NAMED} more" if len(lines) > MOST_NAMED else ""
    return f"{kind}: {'; '.join(lines[:MOST_NAMED])}{more}" if lines else ""


def _code(then: Record, now: Record, tree: Tree) -> list[str]:
    with open_code(then.folder) as old, open_code(now.folder) as new:
        found = {_original(path, tree): name for path, name in new.files.items()}
        names = [path for path in old.files if path in found and found[path] != old.files[path]]
        names += [f"{path} (only now)" for path in found if path not in old.files and not path.startswith("/")]
    return names


def _original(path: str, tree: Tree) -> str:
    """The path that a file of the tree had the first time."""
    return path.removeprefix(str(tree.root)) if path.startswith("/") else path


def _data(then: Record, now: Record, tree: Tree) -> list[str]:
    old, new = (
        {_original(entry["path"], tree): entry["sha256"] for entry in record.data.get("data", [])}
        for record in (then, now)
    )
    return [path for path in old if path in new and old[path] != new[path]]


def _environment(then: Record, now: Record) -> list[str]:
    lines = _fields({"Python": then.data.get("python")}, {"Python": now.data.get("python")})
    lines += differences(then.data.get("packages", {}), now.data.get("packages", {}))
    old, new = (
        {k: v for k, v in (r.data.get("environment") or {}).items() if k != "OMP_NUM_THREADS"} for r in (then, now)
    )
    return lines + _fields(old, new)


def _compute(then: Record, now: Record) -> list[str]:
    return _fields(then.data.get("compute"), now.data.get("compute")) + _fields(
        {"processes": then.data.get("processes")}, {"processes": now.data.get("processes")}
    )


def _fields(then: dict[str, Any] | None, now: dict[str, Any] | None) -> list[str]:
    then, now = then or {}, now or {}
    names = [name for name in dict.fromkeys((*then, *now)) if then.get(name) != now.get(name)]
    return [f"{name} {then.get(name)} then, {now.get(name)} now" for name in names]
