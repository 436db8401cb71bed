"""What people see: how values are worded, and the one progress bar, table and signal handler of all commands."""

import os
import signal
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from datetime import datetime
from functools import partial
from types import FrameType
from typing import TYPE_CHECKING, Any, NamedTuple

from rich.text import Text

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Column, Table

CONTROL = (*range(9), *range(11, 32), *range(127, 160))
"""Code points that move a cursor or hide other characters: C0 without tab and newline, DEL and C1."""
# A single line may hold no newline either, nor what "surrogateescape" makes of bytes that are not UTF-8.
_SPELT_OUT = {code: f"\\x{code & 0xFF:02x}" for code in (*CONTROL, ord("\n"), *range(0xDC80, 0xDD00))}
_REPLACED = dict.fromkeys(CONTROL, "�")


def flat(values: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Return nested dictionaries as one, with dotted names.

    >>> flat({"model": {"core": "lstm", "width": 64}, "seed": 1})
    {'model.core': 'lstm', 'model.width': 64, 'seed': 1}
    """
    found: dict[str, Any] = {}
    for name, value in values.items():
        found.update(flat(value, f"{prefix}{name}.") if isinstance(value, dict) else {prefix + name: value})
    return found


def number(value: Any) -> str:
    """Format a float with four significant digits, and anything else as it is.

    >>> number(0.123456), number(12), number("nan")
    ('0.1235', '12', 'nan')
    """
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def counted(count: int, what: str) -> str:
    """Return a count with its noun in singular or plural.

    >>> counted(1, "run"), counted(3, "smaller run")
    ('1 run', '3 smaller runs')
    """
    return f"{count:,} {what}{'s' * (count != 1)}"


def size_of(count: int) -> str:
    """Format a number of bytes in its largest unit.

    >>> size_of(999), size_of(1_500), size_of(25_000_000)
    ('999 B', '1.5 kB', '25 MB')
    """
    amount, unit = float(count), "B"
    for unit in ("B", "kB", "MB", "GB", "TB"):
        if amount < 999.5 or unit == "TB":
            break
        amount /= 1000
    return f"{amount:.1f} {unit}" if amount < 9.95 and unit != "B" else f"{amount:.0f} {unit}"


def age(created: datetime) -> str:
    """Return how long ago that was, in its largest unit: 3d, 5h, 12m, 40s."""
    seconds = max(0, int((datetime.now().astimezone() - created).total_seconds()))
    for unit, size in (("d", 86_400), ("h", 3_600), ("m", 60)):
        if seconds >= size:
            return f"{seconds // size}{unit}"
    return f"{seconds}s"


def unicode(value: Any) -> str:
    r"""Return text that can be printed and written as UTF-8: file names may hold bytes that are not Unicode.

    >>> unicode("caf\udce9.py")
    'caf\\udce9.py'
    """
    return str(value).encode("utf-8", "backslashreplace").decode()


def visible(line: str) -> str:
    r"""Return one line of a file with control characters and bytes that are not UTF-8 spelt out.

    >>> visible("red: \x1b[31m\r")
    'red: \\x1b[31m\\x0d'
    """
    return unicode(line.translate(_SPELT_OUT))


def printable(text: str) -> str:
    r"""Return the text with each control character replaced by U+FFFD, so that it cannot drive the terminal.

    >>> printable("red: \x1b[31m")
    'red: \ufffd[31m'
    """
    return text.translate(_REPLACED)


def and_more(names: Iterable[str], most: int = 3, separator: str = ", ") -> str:
    """Join the first `most` names, and count the others.

    >>> and_more(["a", "b", "c"]), and_more(["a", "b", "c", "d", "e"], most=2)
    ('a, b, c', 'a, b and 3 more')
    """
    names = list(names)
    more = f" and {len(names) - most:,} more" if len(names) > most else ""
    return separator.join(names[:most]) + more


def text(value: Any, style: str = "") -> Text:
    """Return the value for the terminal, without markup and control characters."""
    return Text(printable(unicode(value)), style=style)


def say(console: "Console", line: str, style: str = "") -> None:
    """Print a line in which nothing is markup, and that the terminal may wrap where it likes."""
    console.print(text(line, style), soft_wrap=True)


def table(*columns: "Column | str", title: str = "", header: bool = True) -> "Table":
    """Return an empty table in the one style: no lines, a bold header, the title at the left."""
    from rich.table import Table  # 70 ms that most commands can save

    return Table(
        *columns,
        title=title or None,
        title_justify="left",
        show_header=header,
        header_style="bold",
        box=None,
        pad_edge=False,
    )


class Bar(NamedTuple):
    """A progress bar while it is shown."""

    advance: Callable[..., None]
    """Moves it on, by 1 or by what is given."""
    update: Callable[..., None]
    """Sets how much is `completed`, the `figures` to its right, or the `description` of what is being done."""


@contextmanager
def progress(console: "Console", what: str, total: float | None = None, percent: bool = False) -> Iterator[Bar]:
    """Show a progress bar while the block runs; it leaves no trace, and appears on terminals only.

    Args:
        console: where it is shown.
        what: what is being done, such as "learning".
        total: where `completed` ends; None, where that is unknown, shows a spinner and the time so far.
        percent: show the share that is done and not the counts, for totals such as bytes.

    >>> from rich.console import Console
    >>> with progress(Console(), "learning", total=2) as bar:
    ...     bar.advance()
    ...     bar.update(completed=2, figures="loss 1.234")
    """
    from rich import progress as rich  # 100 ms that most commands can save

    what_column = rich.TextColumn("{task.description}", markup=False)
    figures = rich.TextColumn("{task.fields[figures]}", markup=False)
    columns: list[rich.ProgressColumn] = [rich.SpinnerColumn(), what_column, figures, rich.TimeElapsedColumn()]
    if total is not None:
        done = rich.TaskProgressColumn() if percent else rich.MofNCompleteColumn()
        columns = [what_column, rich.BarColumn(), done, figures, rich.TextColumn("· left"), rich.TimeRemainingColumn()]
    with rich.Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as shown:
        task = shown.add_task(what, total=total, figures="")
        yield Bar(partial(shown.advance, task), partial(shown.update, task))


@contextmanager
def on_signals(handler: Callable[[int], None], *numbers: int) -> Iterator[None]:
    """Call `handler(number)` when one of these signals arrives in the block; afterwards they do what they did before.

    Does nothing outside the main thread: only that may set handlers.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    owner = os.getpid()

    def handle(number: int, frame: FrameType | None) -> None:
        # A forked data worker inherits the handler, and should simply end.
        if os.getpid() != owner:
            os._exit(128 + number)
        handler(number)

    previous = {number: signal.signal(number, handle) for number in numbers}
    try:
        yield
    finally:
        for number, before in previous.items():
            signal.signal(number, before)


def interrupt(number: int) -> None:
    """Raise KeyboardInterrupt, as Ctrl-C does. For `on_signals(interrupt, SIGTERM)`."""
    raise KeyboardInterrupt(signal.Signals(number).name)
