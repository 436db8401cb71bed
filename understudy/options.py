"""Command lines from dataclasses: each field an option, its docstring the help."""

import re
from collections.abc import Sequence
from contextlib import redirect_stderr
from dataclasses import fields, is_dataclass
from io import StringIO
from typing import Annotated, Any, TypeVar, get_type_hints

import tyro

from understudy.errors import ConfigError, suggestion

Options = TypeVar("Options")
STYLE = (
    tyro.conf.FlagCreatePairsOff,
    tyro.conf.OmitArgPrefixes,
    tyro.conf.PositionalRequiredArgs,
    tyro.conf.DisallowNone,  # an option is left out rather than given as None
)
Files = Annotated[
    tuple[str, ...],
    tyro.conf.arg(metavar="FILE [FILE ...]", help_behavior_hint=lambda names: f"(default: {names or 'none'})"),
]
Texts = Annotated[tuple[str, ...], tyro.conf.arg(metavar="TEXT [TEXT ...]", help_behavior_hint="(default: none)")]
RunName = Annotated[str, tyro.conf.arg(metavar="RUN")]
# What tyro says, and how a newcomer would put it.
PLAINLY = (
    (r"Missing value for argument '(\S+)'.*", r"\1 lacks its value"),
    (r"invalid choice '(.*)' for argument '(\S+)'. Expected one of \((.*)\)", r"\2 '\1' is unknown; expected \3"),
    (r"Error parsing (\S+): .*could not convert string to float: (.*)", r"\1 takes a number, not \2"),
    (r"Error parsing (\S+): .*invalid literal for int\(\) with base 10: (.*)", r"\1 takes a whole number, not \2"),
    (r"Missing from .*?: (\S+) (.*?)\.? \(required\)", r"\1 is missing: \2"),
)


def parse(kind: type[Options], arguments: Sequence[str], prog: str, default: Options | None = None) -> Options:
    """The dataclass `kind` filled from the command line; ConfigError in one line for what cannot be understood.

    What the command line leaves out is as in `default`, if there is one, else as the dataclass has it.
    """
    complaint = StringIO()
    try:
        with redirect_stderr(complaint):
            parsed: tuple[Options, list[str]] = tyro.cli(
                kind,
                args=list(arguments),
                prog=prog,
                config=STYLE,
                return_unknown_args=True,
                default=tyro.MISSING_NONPROP if default is None else default,
            )
    except SystemExit as error:
        if not error.code:
            raise
        raise ConfigError(f"`{prog}`: {_one_line(complaint.getvalue())}; see {prog} --help") from error
    options, unknown = parsed
    if unknown:
        hint = suggestion(unknown[0].partition("=")[0], _names(kind)) or f"; see {prog} --help"
        raise ConfigError(f"`{prog}` does not know {unknown[0]!r}{hint}")
    return options


def _names(kind: Any) -> list[str]:
    """All option names: those of the dataclass and of the dataclasses in it."""
    types_of = get_type_hints(kind)
    names = ["--help"]
    for field in fields(kind):
        inner = types_of[field.name]
        names += _names(inner) if is_dataclass(inner) else ["--" + field.name.replace("_", "-")]
    return names


def _one_line(box: str) -> str:
    """What a box of several lines says."""
    text = " ".join(re.sub("[╭╮╰╯─│├┤]|-{4,}|^[|]|[|]$", " ", box, flags=re.MULTILINE).split())
    for tail in ("For full helptext", "Argument helptext"):
        text = text.partition(tail)[0]
    for head in ("Parsing error", "Value error", "Required options", "Missing argument", "Invalid choice"):
        text = text.strip().removeprefix(head)
    text = text.strip(" .")
    for pattern, plainly in PLAINLY:
        text = re.sub(f"^{pattern}$", plainly, text)
    return text
