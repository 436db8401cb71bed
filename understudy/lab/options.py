"""Command lines from dataclasses: each field an option, its docstring the help."""

from collections.abc import Sequence
from contextlib import redirect_stderr
from io import StringIO
from typing import Any, TypeVar

import tyro

from understudy.lab.errors import ConfigError, suggestion

Options = TypeVar("Options")
STYLE = (
    tyro.conf.FlagCreatePairsOff,
    tyro.conf.OmitArgPrefixes,
    tyro.conf.PositionalRequiredArgs,
    tyro.conf.DisallowNone,  # an option is left out rather than given as None
)


def parse(kind: type[Options], arguments: Sequence[str], prog: str) -> Options:
    """The dataclass `kind` filled from the command line; ConfigError in one line for what cannot be understood."""
    complaint = StringIO()
    try:
        with redirect_stderr(complaint):
            parsed: tuple[Options, list[str]] = tyro.cli(
                kind, args=list(arguments), prog=prog, config=STYLE, return_unknown_args=True
            )
    except SystemExit as error:
        if not error.code:
            raise
        raise ConfigError(f"`{prog}`: {_one_line(complaint.getvalue())}; see {prog} --help") from error
    options, unknown = parsed
    if unknown:
        hint = suggestion(unknown[0].partition("=")[0], _names(kind, prog)) or f"; see {prog} --help"
        raise ConfigError(f"`{prog}` does not know {unknown[0]!r}{hint}")
    return options


def _names(kind: type[Any], prog: str) -> list[str]:
    """All option names, read off the parser that tyro builds."""
    parser = tyro.extras.get_parser(kind, prog=prog, config=STYLE)
    return [name for action in parser._actions for name in action.option_strings]


def _one_line(box: str) -> str:
    """What a box of several lines says."""
    text = " ".join(box.translate({ord(c): " " for c in "╭╮╰╯─│├┤"}).split())
    for tail in ("For full helptext", "Argument helptext"):
        text = text.partition(tail)[0]
    for head in ("Parsing error", "Value error", "Required options"):
        text = text.strip().removeprefix(head)
    return text.strip(" .")
