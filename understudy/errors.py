"""Errors named after the user's mistake: one line that says what was given, what was expected and what to try."""

from collections.abc import Iterable
from difflib import get_close_matches


class UserError(Exception):
    """A mistake of the user's: shown as one red line with exit code 2, never as a traceback (except under --debug)."""


class DataError(UserError):
    """A data file that is missing, empty or malformed."""


class ConfigError(UserError):
    """Options that contradict each other or the model."""


class RunNotFoundError(UserError):
    """No run answers to the given name."""


class QueryError(UserError):
    """A query for runs that cannot be understood."""


class ArchiveError(UserError):
    """An archive of runs that is damaged, unsafe, or does not fit what is there."""


class DiskFullError(UserError):
    """There is no room left on a disk."""


class CheckpointError(UserError):
    """A checkpoint that is missing, incomplete or of another shape."""


class HubError(UserError):
    """Something that the Hub does not give, or that cannot be fetched from here."""


class MissingPackageError(UserError):
    """A package that only some of the work needs, and that is not installed."""


class DivergedError(UserError):
    """A training whose loss or weights are no longer numbers."""


class TooLongError(UserError):
    """A text that does not fit the model's context."""


def suggestion(given: str, known: Iterable[str]) -> str:
    """A short hint with the closest known names, or nothing when none is close.

    >>> suggestion("lsmt", ["lstm", "transformer"])
    '; did you mean lstm?'
    >>> suggestion("xyz", ["lstm", "transformer"])
    ''
    """
    close = get_close_matches(given, list(known), n=3, cutoff=0.5)
    return f"; did you mean {' or '.join(close)}?" if close else ""
