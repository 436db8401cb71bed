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
from understudy.files import plain

Config = TypeVar("Config")
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


def to_dict(config: Any) -> dict[str, Any]:
    """A configuration as nested dictionaries of plain JSON values.

    >>> from dataclasses import dataclass
    >>> @dataclass
    ... class Adam:
    ...     learning_rate: float = 3e-4
    ...     betas: tuple[float, float] = (0.9, 0.95)
    >>> to_dict(Adam())
    {'learning_rate': 0.0003, 'betas': [0.9, 0.95]}
    >>> from_dict(Adam, to_dict(Adam())) == Adam()
    True
    """
    assert is_dataclass(config), f"not a configuration: {config!r}"
    return plain(config)


def from_dict(cls: type[Config], values: Mapping[str, Any]) -> Config:
    """The configuration that `to_dict` wrote, checked field by field.

    A field that is missing has its default: it is an option that came after the file was written.

    Understands nested dataclasses, `X | None` and other unions, Literal, tuple, list, dict, Path, str, int, float.
    Raises ConfigError naming the field that is unknown, of another type, or missing without a default.
    """
    return _dataclass(cls, values, where="")


def read_config(cls: type[Config], arguments: Sequence[str], prog: str) -> Config:
    """The configuration in the JSON file that `prog --config FILE` names: a configuration, or a whole run.json.

    Raises ConfigError for other arguments beside it, a file that cannot be read, and fields that do not fit.
    """
    if len(arguments) != 1:
        raise ConfigError(f"`{prog} --config` takes one file, and no other option beside it")
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
    *,
    above: bool = False,
    below: bool = False,
    of: str = "",
) -> None:
    """Raise ConfigError unless `value` lies from `low` to `high`.

    Args:
        option: the option's name, or that of its field.
        value: what was given. nan is out of every range.
        low: the lowest value, or with `above` the one that it must exceed.
        high: the highest value, or with `below` the one that it must stay below.
        above: `low` itself is out of range.
        below: `high` itself is out of range.
        of: what the number is, such as "hours".

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
    """The seed of one named generator: the first 63 bits of sha256 of "seed:name".

    Generators with different names are unrelated; adding one never changes another. Fits a signed 64 bit integer.

    >>> child_seed(0, "data")
    8847680504906427687
    >>> child_seed(0, "data") != child_seed(0, "init") != child_seed(1, "init")
    True
    """
    return int.from_bytes(hashlib.sha256(f"{seed}:{name}".encode()).digest()[:8], "big") >> 1


def parse(kind: type[Config], arguments: Sequence[str], prog: str, default: Config | None = None) -> Config:
    """The dataclass `kind` filled from the command line; ConfigError in one line for what cannot be understood.

    What the command line leaves out is as in `default`, if there is one, else as the dataclass has it.
    """
    complaint = StringIO()
    try:
        with redirect_stderr(complaint):
            parsed: tuple[Config, list[str]] = tyro.cli(
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


def _dataclass(cls: Any, values: Any, where: str) -> Any:
    if not isinstance(values, Mapping):
        raise _mismatch(where, f"the fields of {cls.__name__}", values)
    types_of = get_type_hints(cls)
    known = {field.name: field for field in fields(cls) if field.init}
    for name in values:
        if name not in known:
            raise ConfigError(f"unknown field {where + name!r}: {cls.__name__} has none{suggestion(name, known)}")
    for name, field in known.items():
        if name not in values and field.default is MISSING and field.default_factory is MISSING:
            raise ConfigError(f"missing field {where + name!r}: {cls.__name__} needs it{suggestion(name, values)}")
    return cls(**{name: _value(types_of[name], value, where + name) for name, value in values.items()})


def _value(kind: Any, value: Any, where: str) -> Any:
    origin, arguments = get_origin(kind), get_args(kind)
    if is_dataclass(kind):
        return _dataclass(kind, value, where + ".")
    if origin in (Union, types.UnionType):
        return _union(arguments, value, where)
    if origin is Literal:
        return _literal(arguments, value, where)
    if tuple in (kind, origin):
        return _tuple(arguments, value, where)
    if list in (kind, origin):
        return list(_tuple((*(arguments or (Any,)), ...), value, where))
    if dict in (kind, origin):
        return _dict(arguments, value, where)
    return _scalar(kind, value, where)


def _scalar(kind: Any, value: Any, where: str) -> Any:
    if kind is Any:
        return value
    if kind is type(None) and value is None:
        return None
    if kind is float and value in ("nan", "inf", "-inf"):
        return float(value)
    if kind is float and isinstance(value, int | float) and not isinstance(value, bool):
        return float(value)
    if kind is Path and isinstance(value, str):
        return Path(value)
    if kind in (bool, int, str) and type(value) is kind:
        return value
    raise _mismatch(where, getattr(kind, "__name__", str(kind)), value)


def _union(members: tuple[Any, ...], value: Any, where: str) -> Any:
    first_error: ConfigError | None = None
    for member in members:  # the first that fits, as declared
        try:
            return _value(member, value, where)
        except ConfigError as error:
            # "expected NoneType" helps nobody: keep the error of the member that was meant.
            if member is not type(None):
                first_error = first_error or error
    assert first_error is not None
    raise first_error


def _literal(choices: tuple[Any, ...], value: Any, where: str) -> Any:
    for choice in choices:
        if choice == value and type(choice) is type(value):
            return choice
    named = ", ".join(map(str, choices))
    raise ConfigError(f"{where}: expected one of {named}, got {value!r}{suggestion(str(value), map(str, choices))}")


def _tuple(kinds: tuple[Any, ...], value: Any, where: str) -> tuple[Any, ...]:
    if not isinstance(value, list | tuple):
        raise _mismatch(where, "a list", value)
    if not kinds:
        return tuple(value)
    if kinds[-1] is Ellipsis:
        kinds = (kinds[0],) * len(value)
    if len(kinds) != len(value):
        raise _mismatch(where, f"{len(kinds)} values", value)
    return tuple(_value(kind, inner, f"{where}[{i}]") for i, (kind, inner) in enumerate(zip(kinds, value, strict=True)))


def _dict(kinds: tuple[Any, ...], value: Any, where: str) -> dict[str, Any]:
    if not isinstance(value, Mapping):
        raise _mismatch(where, "a dictionary", value)
    return {key: _value(kinds[1] if kinds else Any, inner, f"{where}[{key!r}]") for key, inner in value.items()}


def _mismatch(where: str, expected: str, value: Any) -> ConfigError:
    return ConfigError(f"{where.rstrip('.') or 'configuration'}: expected {expected}, got {value!r}")


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
