"""Which runs build on which."""

from collections.abc import Iterable, Mapping

from understudy.runs.find import Record


def ancestors(of: Iterable[str], known: Mapping[str, Record]) -> dict[str, str]:
    """The known runs that those of the ids `of` build on, directly or not, each with a run that builds on it."""
    found: dict[str, str] = {}
    ahead = list(of)
    while ahead:
        child = ahead.pop()
        parents = known[child].facts.parents if child in known else ()
        new = [parent for parent in parents if parent in known and parent not in found]
        found.update(dict.fromkeys(new, child))
        ahead += new
    return found
