"""Where a store is: `--tracking URI`, checked before a run starts, and written down without its password."""

import re
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Literal
from urllib.parse import quote, unquote, urlsplit

from understudy.errors import TrackingError, suggestion

KINDS: dict[str, Literal["sqlite", "postgresql", "http"]] = {
    "sqlite": "sqlite",
    "postgresql": "postgresql",
    "postgresql+psycopg2": "postgresql",
    "http": "http",
    "https": "http",
}
EXPECTED = "expected sqlite:///FILE, postgresql://USER:PASSWORD@HOST/DATABASE or http://HOST:PORT"
MASK = "***"
SQLITE_HEAD = b"SQLite format 3\0"
# The password runs to the last @, as an unescaped one may be part of it. What follows a host's colon is a port.
_USER_AND_PASSWORD = re.compile(r"(?<=://)([^/@:\s]*):(?!\d+(?:[/?]|$))(.*)@")
_PASSWORD_OPTION = re.compile(r"([?&](?:ssl)?password=)([^&\s]*)")


@dataclass(frozen=True)
class Address:
    """A store's address. `uri` is what MLflow takes, password and all; `masked` is what may be written down."""

    uri: str
    masked: str
    kind: Literal["sqlite", "postgresql", "http"]

    @property
    def file(self) -> Path:
        """The database file of an SQLite store."""
        assert self.kind == "sqlite"
        return Path(self.uri.removeprefix("sqlite:///"))

    @property
    def has_password(self) -> bool:
        """Whether `masked` says less than `uri`."""
        return bool(_passwords(self.uri))

    def hide(self, text: str) -> str:
        """The text, such as an error of somebody else's, without the password."""
        for password in _passwords(self.uri):
            for spelling in {password, unquote(password), quote(unquote(password), safe="")}:
                text = text.replace(spelling, MASK)
        return without_password(text)

    def __repr__(self) -> str:
        return f"Address({self.masked!r})"


def without_password(uri: str) -> str:
    """The URI with `***` for its password.

    >>> without_password("postgresql://ada:" + "s3cret@db.example.org/runs")
    'postgresql://ada:***@db.example.org/runs'
    >>> without_password("http://127.0.0.1:5000/mlflow")
    'http://127.0.0.1:5000/mlflow'
    """
    return _PASSWORD_OPTION.sub(rf"\1{MASK}", _USER_AND_PASSWORD.sub(rf"\1:{MASK}@", uri))


def lacks_password(uri: str) -> bool:
    """Whether the password of this URI was masked when it was written down, so that nobody can connect with it."""
    return MASK in _passwords(uri)


def parse(uri: str) -> Address:
    """The address that `uri` means, an SQLite file by its absolute path. TrackingError for one that none can be.

    >>> parse("http://ada:" + "s3cret@tracker.example.org")
    Address('http://ada:***@tracker.example.org')
    """
    shown = without_password(uri)
    scheme = uri.partition("://")[0].lower() if "://" in uri else ""
    if scheme not in KINDS:
        raise TrackingError(f"cannot track in {shown!r}: {EXPECTED}{suggestion(scheme, KINDS)}")
    if KINDS[scheme] == "sqlite":
        uri = shown = f"sqlite:///{_sqlite_file(uri)}"
    elif KINDS[scheme] == "postgresql":
        rest = uri.partition("://")[2]
        # Which driver SQLAlchemy takes by itself depends on its version.
        uri, shown = f"postgresql+psycopg2://{rest}", without_password(f"postgresql://{rest}")
    elif not _host(uri):
        raise TrackingError(f"cannot track in {shown!r}: no host is named; {EXPECTED}")
    return Address(uri, shown, KINDS[scheme])


def checked(uri: str) -> Address:
    """The address, when all is there that can be known without asking a server; else a TrackingError.

    A server that is down is no error: a run waits for none.
    """
    address = parse(uri)
    missing = [name for name in ("mlflow", *_drivers(address)) if find_spec(name) is None]
    if missing:
        raise missing_package(missing[0])
    if address.kind == "sqlite":
        _check_file(address.file)
    return address


def missing_package(name: str) -> TrackingError:
    """What to say when a package of the extra is not installed."""
    return TrackingError(f"tracking needs the package {name}: pip install 'understudy[mlflow]'")


def _drivers(address: Address) -> tuple[str, ...]:
    return ("psycopg2",) if address.kind == "postgresql" else ()


def _passwords(uri: str) -> list[str]:
    found = [match.group(2) for match in (*_USER_AND_PASSWORD.finditer(uri), *_PASSWORD_OPTION.finditer(uri))]
    return [password for password in found if password]


def _host(uri: str) -> str | None:
    try:
        parts = urlsplit(uri)
        parts.port  # noqa: B018  # raises where it is no number
        return parts.hostname
    except ValueError:
        return None


def _sqlite_file(uri: str) -> Path:
    path = uri[len("sqlite://") :].partition("?")[0]
    if not path.startswith("/") or path in ("/", "/:memory:"):
        raise TrackingError(f"cannot track in {uri!r}: no file is named; expected sqlite:///runs/mlflow.db or the like")
    return Path(path[1:]).expanduser().absolute()


def _check_file(path: Path) -> None:
    """Finds out by opening it whether the file can be written: permissions alone do not tell."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with open(path, "a+b") as file:  # an empty file is a database without tables
            file.seek(0)
            head = file.read(len(SQLITE_HEAD))
    except OSError as error:
        reason = "Not a directory" if isinstance(error, FileExistsError) else error.strerror
        raise TrackingError(f"cannot track in {path}: {reason}; name a file that can be written") from error
    if head not in (b"", SQLITE_HEAD):
        raise TrackingError(f"cannot track in {path}: it is no SQLite database; name another file")
