"""The address of a store: `--tracking URI`, checked before a run starts, and recorded without its password."""

import re
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import quote, unquote, urlsplit

from understudy.errors import TrackingError, suggestion
from understudy.runs.code import secrets

SCHEMES = ("sqlite", "postgresql", "postgresql+psycopg2", "http", "https")
EXPECTED = "expected sqlite:///FILE, postgresql://USER:PASSWORD@HOST/DATABASE or http://HOST:PORT"
MASK = secrets.MASK.decode()
SQLITE_HEAD = b"SQLite format 3\0"
# A URI's password is masked whatever it looks like, while `secrets`, which searches any text, has to guess. It runs to
# the last @, as an unescaped one may be part of it. What follows a host's colon is a port.
_USER_AND_PASSWORD = re.compile(r"(?<=://)([^/@:\s]*):(?!\d+(?:[/?]|$))(.*)@")
_PASSWORD_OPTION = re.compile(r"([?&](?:ssl)?password=)([^&\s]*)")


@dataclass(frozen=True)
class Address:
    """A store's address. `uri` is what MLflow takes, with the password."""

    uri: str

    @property
    def masked(self) -> str:
        """The address as it may be written down, without the password."""
        return without_password(self.uri.replace("postgresql+psycopg2://", "postgresql://", 1))

    @property
    def kind(self) -> str:
        """The kind of store: sqlite, postgresql or http."""
        return next(kind for kind in ("sqlite", "postgresql", "http") if self.uri.lower().startswith(kind))

    @property
    def file(self) -> Path:
        """The database file of an SQLite store."""
        assert self.kind == "sqlite"
        return Path(self.uri.removeprefix("sqlite:///"))

    def hide(self, text: str) -> str:
        """Return the text, such as an error of a library, with the password masked in every spelling."""
        for password in _passwords(self.uri):
            for spelling in {password, unquote(password), quote(unquote(password), safe="")}:
                text = text.replace(spelling, MASK)
        return without_password(text)

    def __repr__(self) -> str:
        return f"Address({self.masked!r})"


def without_password(uri: str) -> str:
    """Return the URI with `***` for its password.

    >>> without_password("postgresql://ada:" + "s3cret@db.example.org/runs")
    'postgresql://ada:***@db.example.org/runs'
    >>> without_password("http://127.0.0.1:5000/mlflow")
    'http://127.0.0.1:5000/mlflow'
    """
    return _PASSWORD_OPTION.sub(rf"\1{MASK}", _USER_AND_PASSWORD.sub(rf"\1:{MASK}@", uri))


def parse(uri: str) -> Address:
    """Return the address of a URI, an SQLite file by its absolute path. Raises TrackingError for a malformed one.

    >>> parse("http://ada:" + "s3cret@tracker.example.org")
    Address('http://ada:***@tracker.example.org')
    """
    shown = without_password(uri)
    scheme, separator, rest = uri.partition("://")
    scheme = scheme.lower() if separator else ""
    if scheme not in SCHEMES:
        raise TrackingError(f"cannot track in {shown!r}: {EXPECTED}{suggestion(scheme, SCHEMES)}")
    if scheme == "sqlite":
        path = rest.partition("?")[0]
        if not path.startswith("/") or path in ("/", "/:memory:"):
            raise TrackingError(f"cannot track in {uri!r}: it names no file; try sqlite:///runs/mlflow.db")
        return Address(f"sqlite:///{Path(path[1:]).expanduser().absolute()}")
    if scheme.startswith("postgresql"):
        # The driver is named because SQLAlchemy's default depends on its version.
        return Address(f"postgresql+psycopg2://{rest}")
    try:
        parts = urlsplit(uri)
        host = parts.hostname
        parts.port  # noqa: B018  # raises ValueError unless it is a number
    except ValueError:
        host = None
    if not host:
        raise TrackingError(f"cannot track in {shown!r}: it names no host; {EXPECTED}")
    return Address(uri)


def usable_address(uri: str) -> Address:
    """Return the address of a store. A server that is down is accepted, as no run waits for one.

    Raises TrackingError where the URI is malformed or was recorded without its password, where a package is missing, or
    where the SQLite file cannot be written.
    """
    address = parse(uri)
    if MASK in _passwords(uri):
        raise TrackingError(f"the password in {uri} was not recorded; give the whole URI with --to or --tracking")
    for name in ("mlflow", "psycopg2") if address.kind == "postgresql" else ("mlflow",):
        if find_spec(name) is None:
            raise TrackingError(f"tracking needs the package {name}: pip install 'understudy[mlflow]'")
    if address.kind != "sqlite":
        return address

    # Permissions alone do not tell whether the file can be written, so open it. An empty file is a database without
    # tables, so making one does no harm.
    path = address.file
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with open(path, "a+b") as file:
            file.seek(0)
            head = file.read(len(SQLITE_HEAD))
    except OSError as error:
        reason = "Not a directory" if isinstance(error, FileExistsError) else error.strerror
        raise TrackingError(f"cannot track in {path}: {reason}; name a file that can be written") from error
    if head not in (b"", SQLITE_HEAD):
        raise TrackingError(f"cannot track in {path}: it is not an SQLite database; name another file")
    return address


def _passwords(uri: str) -> list[str]:
    found = [match.group(2) for match in (*_USER_AND_PASSWORD.finditer(uri), *_PASSWORD_OPTION.finditer(uri))]
    return [password for password in found if password]
