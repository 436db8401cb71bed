"""How values are written for people, on the terminal and on pages alike."""

from datetime import datetime
from typing import Any

from rich.text import Text

# Characters that move a cursor or hide others (a tab is kept), and what "surrogateescape" makes of bytes that are no
# UTF-8.
CONTROL = (*range(9), *range(10, 32), *range(127, 160), *range(0xDC80, 0xDD00))
SPELT_OUT = {code: f"\\x{code & 0xFF:02x}" for code in CONTROL}


def flat(values: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested dictionaries as one, with dotted names.

    >>> flat({"model": {"core": "lstm", "width": 64}, "seed": 1})
    {'model.core': 'lstm', 'model.width': 64, 'seed': 1}
    """
    found: dict[str, Any] = {}
    for name, value in values.items():
        found.update(flat(value, f"{prefix}{name}.") if isinstance(value, dict) else {prefix + name: value})
    return found


def number(value: Any) -> str:
    """Floats with four significant digits, anything else as it is.

    >>> number(0.123456), number(12), number("nan")
    ('0.1235', '12', 'nan')
    """
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def counted(count: int, what: str) -> str:
    """How many of something there are.

    >>> counted(1, "run"), counted(3, "smaller run")
    ('1 run', '3 smaller runs')
    """
    return f"{count:,} {what}{'s' * (count != 1)}"


def size_of(count: int) -> str:
    """Bytes for people.

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
    """How long ago that was, in its largest unit: 3d, 5h, 12m, 40s."""
    seconds = max(0, int((datetime.now().astimezone() - created).total_seconds()))
    for unit, size in (("d", 86_400), ("h", 3_600), ("m", 60)):
        if seconds >= size:
            return f"{seconds // size}{unit}"
    return f"{seconds}s"


def unicode(value: Any) -> str:
    r"""As text that can be printed and written as UTF-8: file names may hold bytes that are no Unicode.

    >>> unicode("caf\udce9.py")
    'caf\\udce9.py'
    """
    return str(value).encode("utf-8", "backslashreplace").decode()


def visible(line: str) -> str:
    r"""One line of a file, with bytes that are no UTF-8 and characters that would move a cursor spelt out.

    >>> visible("red: \x1b[31m\r")
    'red: \\x1b[31m\\x0d'
    """
    return unicode(line.translate(SPELT_OUT))


def text(value: Any, style: str = "") -> Text:
    """For the terminal, without markup."""
    return Text(unicode(value), style=style)
