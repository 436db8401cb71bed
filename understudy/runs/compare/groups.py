"""Runs as seeds of settings: which belong together, and what speaks against reading them so."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from understudy.console import and_more
from understudy.errors import UserError, suggestion
from understudy.runs.compare.code import code_ids
from understudy.runs.compare.differences import differing, setting
from understudy.runs.compare.runs import ComparedRun

MOST_NAMED = 6
Groups = Mapping[str, Sequence[ComparedRun]]
"""The runs of each setting, which is named after the value that they share."""


@dataclass(frozen=True)
class Grouping:
    """Runs by the value of `key`. `left_out` says which runs belong to no group, and why; `warnings`, what to heed."""

    key: str
    groups: Groups
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

    groups = {name: tuple(fit[name]) for name in sorted(fit, key=_by_number)}
    return Grouping(key, groups, tuple(left_out), (*warnings, *_warnings(key, groups)))


def _by_number(name: str) -> tuple[int, float, str]:
    try:
        return 0, float(name), ""
    except ValueError:
        return 1, 0.0, name


def _warnings(key: str, groups: Groups) -> Iterator[str]:
    """Warn of groups whose runs are not seeds of one setting on one code, and of groups that differ in more."""
    runs = [run for group in groups.values() for run in group]
    codes = {run: code_ids(run.record.folder) for run in runs}

    def named(what: Iterable[object]) -> str:
        return and_more(map(str, what), MOST_NAMED)

    def keys(of: Sequence[ComparedRun]) -> str:
        return named(name for name in differing([setting(run.record.data) for run in of]) if name != key)

    def files(of: Sequence[ComparedRun]) -> str:
        return named(sorted(differing([code for run in of if (code := codes[run]) is not None])))

    for name, group in groups.items():
        if found := keys(group):
            yield f"runs of {key} = {name} are not seeds of one setting: they differ in {found}"
        seeds = Counter(run.record.seed for run in group)
        if twice := named(sorted((seed for seed in seeds if seeds[seed] > 1), key=str)):
            several = f"{key} = {name} has several runs of seed {twice}"
            yield f"{several}: a seed counts once, by the mean of its runs"
    if found := named(f"{run.label} ({', '.join(run.failed_checks)})" for run in runs if run.failed_checks):
        yield f"checks for silent bugs failed in {found}"
    if found := keys([group[0] for group in groups.values()]):
        yield f"the groups differ not only in {key} but also in {found}"

    # Code that differs between groups is news only where it is the same within each.
    if found := named(run.label for run in runs if codes[run] is None):
        yield f"no code was kept with {found}, so whether it differs is unknown"
    within = {name: found for name, group in groups.items() if (found := files(group))}
    for name, found in within.items():
        yield f"runs of {key} = {name} ran on different code: {found}"
    if not within and (found := files(runs)):
        yield f"the groups ran on different code: {found}"
