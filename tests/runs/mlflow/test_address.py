import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from understudy.errors import TrackingError
from understudy.runs.mlflow.address import parse, usable_address, without_password

SECRET = "s3cr3t/p@ss"
ESCAPED = "s3cr3t%2Fp%40ss"


@pytest.mark.parametrize(
    ("uri", "masked"),
    [
        (f"postgresql://ada:{ESCAPED}@db.example.org:5432/runs", "postgresql://ada:***@db.example.org:5432/runs"),
        (f"postgresql://ada:{SECRET}@db.example.org/runs", "postgresql://ada:***@db.example.org/runs"),
        (
            f"postgresql:///runs?user=ada&password={ESCAPED}&host=/tmp",
            "postgresql:///runs?user=ada&password=***&host=/tmp",
        ),
        (f"https://ada:{ESCAPED}@tracker.example.org/mlflow", "https://ada:***@tracker.example.org/mlflow"),
        (f"postgresql://ada:{12345}@db.example.org/runs", "postgresql://ada:***@db.example.org/runs"),
        ("postgresql://ada@db.example.org/runs", "postgresql://ada@db.example.org/runs"),
        ("http://127.0.0.1:5000", "http://127.0.0.1:5000"),
    ],
)
def test_a_password_is_masked_and_nothing_else(uri: str, masked: str) -> None:
    address = parse(uri)
    assert address.masked == without_password(uri) == masked
    assert address.uri == uri.replace("postgresql:", "postgresql+psycopg2:")
    assert parse(address.uri) == address
    assert "s3cr3t" not in repr(address)


def test_a_password_is_hidden_in_the_errors_of_libraries() -> None:
    address = parse(f"postgresql://ada:{ESCAPED}@db.example.org/runs")
    said = address.hide(f'no host in {address.uri!r}; tried "{SECRET}"')
    assert said == "no host in 'postgresql+psycopg2://ada:***@db.example.org/runs'; tried \"***\""


@given(st.text(st.characters(codec="ascii", exclude_characters="@:/?#%& \\", categories=("L", "N", "P")), min_size=4))
def test_no_password_survives(password: str) -> None:
    masked = parse(f"postgresql://ada:{password}@db/runs").masked
    assert masked == "postgresql://ada:***@db/runs"


def test_an_sqlite_file_is_known_by_its_absolute_path(here: Path) -> None:
    assert parse("sqlite:///runs/mlflow.db").uri == f"sqlite:///{here}/runs/mlflow.db"
    assert parse(f"sqlite:///{here}/runs/mlflow.db").file == here / "runs" / "mlflow.db"


@pytest.mark.parametrize(
    ("uri", "words"),
    [
        ("mlruns", "expected sqlite:///FILE"),
        (
            f"postgres://ada:{'s3cr3t'}@db/runs",
            r"cannot track in 'postgres://ada:\*\*\*@db/runs'.*did you mean postgresql",
        ),
        ("file:///tmp/mlruns", "expected sqlite:///FILE"),
        ("sqlite://", "it names no file"),
        ("sqlite:///", "it names no file"),
        ("sqlite:///:memory:", "it names no file"),
        ("http://", "it names no host"),
        ("http://host:port", "it names no host"),
        ("sqlite:///taken/mlflow.db", "cannot track in .*taken/mlflow.db: Not a directory"),
        ("sqlite:///folder", "cannot track in .*folder: Is a directory"),
        ("sqlite:////proc/mlflow.db", "cannot track in /proc/mlflow.db: .*; name a file that can be written"),
        ("sqlite:///taken", "it is not an SQLite database"),
    ],
)
def test_a_uri_that_cannot_work_is_named(uri: str, words: str, here: Path) -> None:
    (here / "taken").write_text("private notes")
    (here / "folder").mkdir()
    with pytest.raises(TrackingError, match=words) as error:
        usable_address(uri)
    assert "\n" not in str(error.value)
    assert (here / "taken").read_text() == "private notes"


@pytest.mark.parametrize(("package", "uri"), [("mlflow", "sqlite:///a.db"), ("psycopg2", "postgresql://db/runs")])
def test_a_missing_package_names_the_extra(package: str, uri: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "mlflow", sys)
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(TrackingError, match=rf"needs the package {package}: pip install 'understudy\[mlflow\]'"):
        usable_address(uri)
