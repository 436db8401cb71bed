"""Configurations are dataclasses. Here they are read from JSON and from command lines, and checked field by field."""

import hashlib
import json
import math
import re
import types
from collections.abc import Mapping, Sequence
from contextlib import redirect_stderr
from dataclasses import MISSING, fields, is_dataclass
from io import StringIO
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

import tyro

from understudy.errors import ConfigError, suggestion

Config = TypeVar("Config")
# How tyro makes a command line of a dataclass.
STYLE = (
    tyro.conf.FlagCreatePairsOff,
    tyro.conf.OmitArgPrefixes,
    tyro.conf.PositionalRequiredArgs,
    tyro.conf.DisallowNone,  # an option is left out rather than given as None
)
# Types of options that several verbs have, with what their help says in place of a value.
Files = Annotated[
    tuple[str, ...],
    tyro.conf.arg(metavar="FILE [FILE ...]", help_behavior_hint=lambda names: f"(default: {names or 'none'})"),
]
Texts = Annotated[tuple[str, ...], tyro.conf.arg(metavar="TEXT [TEXT ...]", help_behavior_hint="(default: none)")]
RunName = Annotated[str, tyro.conf.arg(metavar="RUN")]
RunNames = Annotated[tuple[str, ...], tyro.conf.arg(metavar="[RUN ...]", help_behavior_hint="(default: none)")]
# What tyro says, and what we say instead.
REWORDED = (
    (r"Missing value for argument '(\S+)'.*", r"\1 needs a value"),
    (r"invalid choice '(.*)' for argument '(\S+)'. Expected one of \((.*)\)", r"\2 '\1' is unknown; expected \3"),
    (r"Error parsing (\S+): .*could not convert string to float: (.*)", r"\1 takes a number, not \2"),
    (r"Error parsing (\S+): .*invalid literal for int\(\) with base 10: (.*)", r"\1 takes a whole number, not \2"),
    (r"Missing from .*?: (\S+) (.*?)\.? \(required\)", r"\1 is missing: see --help"),
)


def from_dict(cls: type[Config], values: Mapping[str, Any]) -> Config:
    """Return the configuration that `files.plain` wrote, checked field by field.

    Missing fields get their defaults, as the file may be older than an option. Fields may be nested dataclasses,
    `X | None`, Literal, tuple[X, ...], list[X], dict[str, X], bool, str, int, float and Any.

    Raises:
        ConfigError: a field is unknown, has a value of another type, or is missing and has no default.

    >>> from dataclasses import dataclass
    >>> @dataclass
    ... class Adam:
    ...     learning_rate: float = 3e-4
    ...     groups: tuple[str, ...] = ()
    >>> from_dict(Adam, {"groups": ["decay"]})
    Adam(learning_rate=0.0003, groups=('decay',))
    """
    found: Config = _value(cls, values, "")
    return found


def read_config(cls: type[Config], arguments: Sequence[str], prog: str) -> Config:
    """Read the JSON file that `prog --config FILE` names: a configuration, or a whole run.json.

    Args:
        cls: the dataclass of the configuration.
        arguments: the command line after --config.
        prog: the command, for error messages.

    Raises:
        ConfigError: there are other arguments, the file cannot be read, or its fields do not fit.
    """
    if len(arguments) != 1:
        raise ConfigError(f"`{prog} --config` takes one file and no other options")
    try:
        values = json.loads(Path(arguments[0]).read_bytes())
    except (OSError, ValueError) as error:
        raise ConfigError(f"{arguments[0]} cannot be read as a configuration: {error}") from error
    return from_dict(cls, values["config"] if isinstance(values, dict) and "config" in values else values)


def in_range(
    option: str,
    value: float,
    low: float,
    high: float = math.inf,
    above: bool = False,
    below: bool = False,
    of: str = "",
) -> None:
    """Raise ConfigError unless `value` lies from `low` to `high`; nan does not.

    With `above`, `low` itself is out of range; with `below`, `high` is. `of` says what the number is, such as "hours".

    >>> in_range("valid_share", 0.5, 0, 1)
    >>> in_range("--port", 99999, 1, 65535)
    Traceback (most recent call last):
    understudy.errors.ConfigError: --port 99999 is out of range; expected 1 to 65535
    >>> in_range("valid_share", 1.0, 0, 1, below=True)
    Traceback (most recent call last):
    understudy.errors.ConfigError: --valid-share 1.0 is out of range; expected 0 or more, and below 1
    >>> in_range("gap", -1, 0, above=True, of="hours")
    Traceback (most recent call last):
    understudy.errors.ConfigError: --gap -1 is out of range; expected more than 0 (hours)
    """
    if (low < value if above else low <= value) and (value < high if below else value <= high):
        return
    if high < math.inf and not above and not below:
        expected = f"{low:g} to {high:g}"
    else:
        expected = f"more than {low:g}" if above else f"{low:g} or more"
        if high < math.inf:
            expected += f", and below {high:g}" if below else f", up to {high:g}"
    name = option.removeprefix("--").replace("_", "-")
    raise ConfigError(f"--{name} {value} is out of range; expected {expected}{f' ({of})' if of else ''}")


def child_seed(seed: int, name: str) -> int:
    """Return the seed of one named generator: the first 63 bits of sha256 of "seed:name".

    Generators of different names are independent, and adding one never changes another. The seed fits a signed 64-bit
    integer.

    >>> child_seed(0, "data")
    8847680504906427687
    >>> child_seed(0, "data") != child_seed(0, "init") != child_seed(1, "init")
    True
    """
    return int.from_bytes(hashlib.sha256(f"{seed}:{name}".encode()).digest()[:8], "big") >> 1


def parse(
    kind: type[Config],
    arguments: Sequence[str],
    prog: str,
    default: Config | None = None,
    partial: bool = False,
    description: str | None = None,
) -> Config:
    """Return the dataclass `kind` filled from a command line.

    Args:
        kind: the dataclass. Each field is an option, its docstring the help.
        arguments: the command line after `prog`.
        prog: the command, for help and error messages.
        default: the values of options that are not given; None means the defaults of the dataclass.
        partial: ignore the options that `kind` does not have, and --help.
        description: what the help says above the options; None means the docstring of the dataclass.

    Raises:
        ConfigError: the command line cannot be understood, in one line.
        SystemExit: it asked for help, which has been printed.
    """
    if partial:
        arguments = [argument for argument in arguments if argument not in ("-h", "--help")]
    complaint = StringIO()
    try:
        with redirect_stderr(complaint):
            parsed: tuple[Config, list[str]] = tyro.cli(
                kind,
                args=list(arguments),
                prog=prog,
                description=description,
                config=STYLE,
                return_unknown_args=True,
                default=tyro.MISSING_NONPROP if default is None else default,
            )
    except SystemExit as error:
        if not error.code:
            raise
        # tyro complains in a box of several lines; keep what it says, in our words.
        box = re.sub("[╭╮╰╯─│├┤]|-{4,}|^[|]|[|]$", " ", complaint.getvalue(), flags=re.MULTILINE)
        text = " ".join(box.split())
        for tail in ("For full helptext", "Argument helptext"):
            text = text.partition(tail)[0]
        for head in ("Parsing error", "Value error", "Required options", "Missing argument", "Invalid choice"):
            text = text.strip().removeprefix(head)
        text = text.strip(" .")
        for pattern, ours in REWORDED:
            text = re.sub(f"^{pattern}$", ours, text)
        raise ConfigError(f"`{prog}`: {text}; see {prog} --help") from error
    options, unknown = parsed
    if unknown and not partial:
        hint = suggestion(unknown[0].partition("=")[0], _option_names(kind)) or f"; see {prog} --help"
        raise ConfigError(f"`{prog}` does not know {unknown[0]!r}{hint}")
    return options


def _value(kind: Any, value: Any, where: str) -> Any:
    """Return `value` as the type `kind`; `where` names the field in errors."""
    if kind is Any:
        return value
    origin, arguments = get_origin(kind), get_args(kind)
    if is_dataclass(kind) and isinstance(value, Mapping):
        return _dataclass(kind, value, where and where + ".")
    if origin in (Union, types.UnionType):
        return None if value is None else _value(arguments[0], value, where)
    if origin is Literal:
        if value in arguments:
            return value
        hint = suggestion(str(value), arguments)
        raise ConfigError(f"{where}: expected one of {', '.join(arguments)}, got {value!r}{hint}")
    if origin in (tuple, list) and isinstance(value, list | tuple):
        return origin(_value(arguments[0], inner, f"{where}[{i}]") for i, inner in enumerate(value))
    if origin is dict and isinstance(value, Mapping):
        return {key: _value(arguments[1], inner, f"{where}[{key!r}]") for key, inner in value.items()}
    if kind is float and (type(value) in (int, float) or value in ("nan", "inf", "-inf")):
        return float(value)
    # Nothing else is converted: a number is not a string, nor is True a number.
    if kind in (bool, int, str) and type(value) is kind:
        return value
    expected = {tuple: "a list", list: "a list", dict: "a dictionary"}.get(origin, kind.__name__)
    if is_dataclass(kind):
        expected = f"the fields of {expected}"
    raise ConfigError(f"{where or 'configuration'}: expected {expected}, got {value!r}")


def _dataclass(cls: Any, values: Mapping[str, Any], where: str) -> Any:
    # Each field that is given must be known, and each field without a default must be given.
    types_of = get_type_hints(cls)
    known = {field.name: field for field in fields(cls) if field.init}
    for name in values:
        if name not in known:
            raise ConfigError(f"unknown field {where + name!r}: {cls.__name__} has none{suggestion(name, known)}")
    for name, field in known.items():
        if name not in values and field.default is MISSING and field.default_factory is MISSING:
            raise ConfigError(f"missing field {where + name!r}: {cls.__name__} needs it{suggestion(name, values)}")
    return cls(**{name: _value(types_of[name], value, where + name) for name, value in values.items()})


def _option_names(kind: Any) -> list[str]:
    """Return the names of all options: those of the dataclass and of the dataclasses in it."""
    types_of = get_type_hints(kind)
    names = ["--help"]
    for field in fields(kind):
        inner = types_of[field.name]
        names += _option_names(inner) if is_dataclass(inner) else ["--" + field.name.replace("_", "-")]
    return names
