"""All errors, each named after what went wrong; its message says what was given, what was expected and what to try.

The last three are for callers inside, which say more or can do without.
"""

from collections.abc import Iterable
from difflib import get_close_matches


class UserError(Exception):
    """Raised when the user made a mistake. Shown as one red line with exit code 2; --debug shows the traceback."""


class ArchiveError(UserError):
    """Raised when an archive of runs is damaged or unsafe, or does not fit what is already there."""


class CheckpointError(UserError):
    """Raised when a checkpoint is missing, incomplete or of another shape."""


class ConfigError(UserError):
    """Raised when an option or a configuration has a wrong value, or contradicts another one or the model."""


class DataError(UserError):
    """Raised when a data file is missing, empty or malformed."""


class DiskFullError(UserError):
    """Raised when a disk is full."""


class DivergedError(UserError):
    """Raised when a loss, weights or logits are not numbers any more."""


class FirstProcessError(UserError):
    """Raised in the other processes of a run when the first one met a UserError, so that all end."""


class GameError(UserError):
    """Raised when a game is unknown, fails, or is given an action or an array that it does not take."""


class HubError(UserError):
    """Raised when the Hub does not have what was asked for, or cannot be reached."""


class LayoutError(UserError):
    """Raised when there is no kitchen of a name, or a file does not draw one that can be played in."""


class MissingPackageError(UserError):
    """Raised when a package is not installed that only some verbs need; the message names the extra."""


class QueryError(UserError):
    """Raised when a query for runs cannot be understood."""


class QueueFullError(UserError):
    """Raised when a server takes no more requests for now, with the seconds after which to try again."""

    def __init__(self, message: str, retry_after: int) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class RecordingError(UserError):
    """Raised when a recorded game cannot be read, lacks steps, or does not fit the game as it is here."""


class RefusedError(UserError):
    """Raised to refuse a request to the server: with the HTTP status, the field at fault and a code for programs."""

    def __init__(
        self,
        status: int,
        message: str,
        param: str | None = None,
        code: str | None = None,
        headers: dict[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.status, self.param, self.code, self.headers = status, param, code, headers


class RunNotFoundError(UserError):
    """Raised when no run, or more than one, matches a reference."""


class ScenarioError(UserError):
    """Raised when a scenario cannot be read, or does not fit the game: an unknown agent, or an unknown control."""


class TooLongError(UserError):
    """Raised when a text does not fit the model's context."""


class TrackingError(UserError):
    """Raised when an MLflow store cannot be used: a wrong URI, a missing package, a server that does not answer."""


class BrokenJsonError(Exception):
    """Raised when a text stops being JSON, with the line and the problem. What was read before that stays good."""

    def __init__(self, line: int, problem: str) -> None:
        super().__init__(f"line {line:,}: {problem}")
        self.line, self.problem = line, problem


class EntryError(Exception):
    """Raised when one entry of a data file is malformed. The reader of the file adds its name and the line.

    `lines_down` counts the lines of the entry before the one at fault.
    """

    def __init__(self, problem: str, lines_down: int = 0) -> None:
        super().__init__(problem)
        self.lines_down = lines_down


class ReplannedError(Exception):
    """Raised where a training is to go on with another number of steps, `steps`, to end when it should."""

    def __init__(self, steps: int) -> None:
        super().__init__(steps)
        self.steps = steps


class GitError(Exception):
    """Raised when git is missing, refuses, or takes too long; the message is the line in which it said so."""


def suggestion(given: str, known: Iterable[str]) -> str:
    """Return a short hint with the closest known names, or an empty string when none is close.

    >>> suggestion("lsmt", ["lstm", "transformer"])
    '; did you mean lstm?'
    >>> suggestion("xyz", ["lstm", "transformer"])
    ''
    """
    close = get_close_matches(given, list(known), n=3, cutoff=0.5)
    return f"; did you mean {' or '.join(close)}?" if close else ""
