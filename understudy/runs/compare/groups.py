"""Runs as seeds of settings: which belong together, and what speaks against reading them so."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from understudy.errors import UserError, suggestion
from understudy.runs.compare.code import code_ids
from understudy.runs.compare.differences import differing_keys
from understudy.runs.compare.runs import ComparedRun

MOST_NAMED = 6


@dataclass(frozen=True)
class Group:
    """The runs of one setting, called by what they share."""

    name: str
    runs: tuple[ComparedRun, ...]


@dataclass(frozen=True)
class Grouping:
    """Runs by the value of `key`. `left_out`: runs that belong to no group, and why. `warnings`: what to heed."""

    key: str
    groups: tuple[Group, ...]
    left_out: tuple[str, ...]
    warnings: tuple[str, ...]


def group_by(key: str, runs: Sequence[ComparedRun], include_bad: bool = False) -> Grouping:
    """Groups runs by a dotted configuration key, by `verb` or by `tag`; UserError where that makes fewer than two.

    Runs that are marked bad (unless asked for), that have not finished or that have no such key are left out.
    """
    fit: dict[str, list[ComparedRun]] = {}
    left_out, warnings = [], []
    for run in runs:
        value = _value(key, run)
        if reason := _unfit(run, include_bad) or ("" if value is not None else f"has no {key}"):
            left_out.append(f"{run.record.id}: {reason}")
            if run.record.status in ("failed", "dead") and not run.record.marks.bad:
                warnings.append(
                    f"{run.label} ({key} = {value}) {run.record.status}: what is left may be the lucky seeds"
                )
        else:
            fit.setdefault(str(value), []).append(run)
    if len(fit) < 2:
        raise UserError(_too_few(key, runs, fit, left_out))
    groups = [Group(name, tuple(fit[name])) for name in sorted(fit, key=_as_number)]
    return Grouping(key, tuple(groups), tuple(left_out), tuple(warnings + _warnings(key, groups)))


def _value(key: str, run: ComparedRun) -> object:
    if key == "verb":
        return run.record.verb
    if key == "tag":
        return ", ".join(sorted(run.record.marks.tags)) or None
    return run.config.get(key)


def _unfit(run: ComparedRun, include_bad: bool) -> str:
    if run.record.marks.bad and not include_bad:
        return f"marked bad: {run.record.marks.bad} (--include-bad takes it in)"
    if run.record.status == "finished":
        return ""
    error = run.record.data.get("error")
    return f"{run.record.status}: {error}" if error else run.record.status


def _too_few(key: str, runs: Sequence[ComparedRun], fit: dict[str, list[ComparedRun]], left_out: list[str]) -> str:
    keys = {"verb", "tag"}.union(*(run.config for run in runs))
    if key not in keys:
        return f"no run here has the configuration key {key!r}{suggestion(key, sorted(keys))}"
    found = " and ".join(f"{key} = {value}" for value in fit) or "none"
    out = f"; left out: {'; '.join(left_out)}" if left_out else ""
    return f"--group-by {key} needs runs with two values or more of it; there is {found} in {len(runs)} runs{out}"


def _as_number(name: str) -> tuple[int, float, str]:
    try:
        return 0, float(name), ""
    except ValueError:
        return 1, 0.0, name


def _warnings(key: str, groups: Sequence[Group]) -> list[str]:
    found = []
    for group in groups:
        if keys := [name for name in differing_keys(group.runs) if name != key]:
            found.append(f"runs of {key} = {group.name} are not seeds of one setting: they differ in {_listed(keys)}")
        seeds = [run.seed for run in group.runs]
        if twice := sorted({seed for seed in seeds if seeds.count(seed) > 1}, key=str):
            of_seeds = f"{key} = {group.name} has several runs of seed {_listed(map(str, twice))}"
            found.append(f"{of_seeds}: a seed counts once, by the mean of its runs")
    everyone = [run for group in groups for run in group.runs]
    if suspect := [f"{run.label} ({', '.join(run.failed_checks)})" for run in everyone if run.failed_checks]:
        found.append(f"checks for silent bugs failed in {_listed(suspect)}")
    among_groups = [name for name in differing_keys([group.runs[0] for group in groups]) if name != key]
    if among_groups:
        found.append(f"the groups differ not only in {key} but also in {_listed(among_groups)}")
    return found + _code_warnings(key, groups, everyone)


def _code_warnings(key: str, groups: Sequence[Group], everyone: Sequence[ComparedRun]) -> list[str]:
    codes = {run.record.id: code_ids(run) for run in everyone}
    found = []
    unknown = [run.label for run in everyone if codes[run.record.id] is None]
    if unknown:
        found.append(f"no code was kept with {_listed(unknown)}: whether it differs is not known")
    inside = False
    for group in groups:
        if paths := _differing_paths([codes[run.record.id] for run in group.runs]):
            inside = True
            found.append(f"runs of {key} = {group.name} ran on different code: {_listed(paths)}")
    if not inside and (paths := _differing_paths(list(codes.values()))):
        found.append(f"the groups ran on different code: {_listed(paths)}")
    return found


def _differing_paths(codes: Sequence[dict[str, str] | None]) -> list[str]:
    known = [code for code in codes if code is not None]
    paths = sorted(set().union(*known)) if known else []
    return [path for path in paths if len({code.get(path) for code in known}) > 1]


def _listed(names: Iterable[str]) -> str:
    names = list(names)
    more = f" and {len(names) - MOST_NAMED} more" if len(names) > MOST_NAMED else ""
    return ", ".join(names[:MOST_NAMED]) + more
