"""Runs as seeds of settings: which belong together, and what speaks against reading them so."""

from collections.abc import Sequence
from dataclasses import dataclass

from understudy.console import and_more
from understudy.errors import UserError, suggestion
from understudy.runs.compare.code import code_ids
from understudy.runs.compare.differences import differing, setting
from understudy.runs.compare.runs import ComparedRun

MOST_NAMED = 6


@dataclass(frozen=True)
class Group:
    """The runs of one setting, named after the value that they share."""

    name: str
    runs: tuple[ComparedRun, ...]


@dataclass(frozen=True)
class Grouping:
    """Runs by the value of `key`. `left_out` says which runs belong to no group, and why; `warnings`, what to heed."""

    key: str
    groups: tuple[Group, ...]
    left_out: tuple[str, ...]
    warnings: tuple[str, ...]


def group_by(key: str, runs: Sequence[ComparedRun], include_bad: bool = False) -> Grouping:
    """Group runs by a dotted configuration key, by `verb` or by `tag`.

    Runs that are marked bad (unless `include_bad`), that have not finished or that lack the key are left out. Raises
    UserError where fewer than two groups remain.
    """
    # Each run goes to the group of its value, or is left out for a reason.
    fit: dict[str, list[ComparedRun]] = {}
    left_out, warnings = [], []
    for run in runs:
        record = run.record
        value = {"verb": record.verb, "tag": ", ".join(sorted(record.marks.tags)) or None}.get(key, run.config.get(key))
        reason = "" if value is not None else f"has no {key}"
        if record.marks.bad and not include_bad:
            reason = f"marked bad: {record.marks.bad} (--include-bad takes it in)"
        elif record.status != "finished":
            reason = f"{record.status}: {record.error}" if record.error else record.status
        if reason:
            left_out.append(f"{record.id}: {reason}")
            # Runs that crashed may be those that diverged, which makes the others look better than the setting is.
            if record.status in ("failed", "dead") and not record.marks.bad:
                who = f"{run.label} ({key} = {value}) {record.status}"
                warnings.append(f"{who}: the runs that are left may be the lucky seeds")
        else:
            fit.setdefault(str(value), []).append(run)

    # A key that makes fewer than two groups is a mistake, or all other runs were left out.
    if len(fit) < 2:
        keys = {"verb", "tag"}.union(*(run.config for run in runs))
        if key not in keys:
            raise UserError(f"no run here has the configuration key {key!r}{suggestion(key, sorted(keys))}")
        found = " and ".join(f"{key} = {value}" for value in fit) or "none"
        out = f"; left out: {'; '.join(left_out)}" if left_out else ""
        needs = f"--group-by {key} needs runs with two or more values of it"
        raise UserError(f"{needs}; there is {found} in {len(runs)} runs{out}")

    groups = [Group(name, tuple(fit[name])) for name in sorted(fit, key=_by_number)]
    warnings += _setting_warnings(key, groups) + _code_warnings(key, groups)
    return Grouping(key, tuple(groups), tuple(left_out), tuple(warnings))


def _by_number(name: str) -> tuple[int, float, str]:
    try:
        return 0, float(name), ""
    except ValueError:
        return 1, 0.0, name


def _setting_warnings(key: str, groups: Sequence[Group]) -> list[str]:
    """Warn of groups whose runs are not seeds of one setting, and of groups that differ in more than the key."""

    def other_keys(runs: Sequence[ComparedRun]) -> str:
        found = differing([setting(run.record.data) for run in runs])
        return and_more([name for name in found if name != key], MOST_NAMED)

    found = []
    for group in groups:
        if keys := other_keys(group.runs):
            found.append(f"runs of {key} = {group.name} are not seeds of one setting: they differ in {keys}")
        seeds = [run.seed for run in group.runs]
        if twice := sorted({seed for seed in seeds if seeds.count(seed) > 1}, key=str):
            several = f"{key} = {group.name} has several runs of seed {and_more(map(str, twice), MOST_NAMED)}"
            found.append(f"{several}: a seed counts once, by the mean of its runs")
    suspect = [run for group in groups for run in group.runs if run.failed_checks]
    if suspect:
        named = and_more([f"{run.label} ({', '.join(run.failed_checks)})" for run in suspect], MOST_NAMED)
        found.append(f"checks for silent bugs failed in {named}")
    if keys := other_keys([group.runs[0] for group in groups]):
        found.append(f"the groups differ not only in {key} but also in {keys}")
    return found


def _code_warnings(key: str, groups: Sequence[Group]) -> list[str]:
    """Warn of code that differs within a group or, failing that, between groups, and of code that was not kept."""
    codes = {run: code_ids(run.record.folder) for group in groups for run in group.runs}

    def paths(runs: Sequence[ComparedRun]) -> str:
        known = [code for run in runs if (code := codes[run]) is not None]
        return and_more(sorted(differing(known)), MOST_NAMED)

    found = []
    if unknown := [run.label for run, code in codes.items() if code is None]:
        named = and_more(unknown, MOST_NAMED)
        found.append(f"no code was kept with {named}, so whether it differs is unknown")
    within = [(group.name, paths(group.runs)) for group in groups]
    found += [f"runs of {key} = {name} ran on different code: {changed}" for name, changed in within if changed]
    if not any(changed for _, changed in within) and (changed := paths(list(codes))):
        found.append(f"the groups ran on different code: {changed}")
    return found
