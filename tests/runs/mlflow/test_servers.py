"""Stores that are other processes, which stop in mid-run and come back: nothing is lost and nothing doubled."""

import os
import pwd
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from runs.mlflow.conftest import (
    Server,
    add_checkpoint,
    client,
    eventually,
    finished_run,
    free_port,
    journal_points,
    logged,
    only_run,
    run_of,
    stored_points,
)
from runs.mlflow.test_opening import assert_all_open
from understudy.runs.mlflow.address import parse
from understudy.runs.mlflow.replay import replay
from understudy.runs.mlflow.store import Store

Train = Callable[..., "subprocess.Popen[str]"]

pytest.importorskip("mlflow", reason="the extra mlflow is not installed")


class Postgres:
    """A PostgreSQL of its own in `folder`. It refuses to run as root, so root lends it another user."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.port = folder, free_port()
        self._user = [] if os.geteuid() else ["setpriv", "--reuid=nobody", "--regid=nogroup", "--clear-groups"]
        self._binaries = postgres_binaries()
        if self._user:
            os.chown(folder, pwd.getpwnam("nobody").pw_uid, pwd.getpwnam("nobody").pw_gid)
        password = folder / "password"
        password.write_text("s3cr3t%")
        password.chmod(0o644)
        self._call(
            "initdb", "--no-sync", "--auth=scram-sha-256", f"--pwfile={password}", "--username=ada", "--locale=C"
        )

    def start(self) -> None:
        options = f"-c listen_addresses=127.0.0.1 -p {self.port} -c unix_socket_directories="
        self._call("pg_ctl", "--wait", "--silent", f"--log={self.folder}/log", f"--options={options}", "start")

    def stop(self) -> None:
        """At once, as in a crash: open connections break, and it recovers when it starts."""
        self._call("pg_ctl", "--wait", "--silent", "--mode=immediate", "stop", check=False)

    def uri(self, database: str) -> str:
        """The address of a database, which is made."""
        import psycopg2

        connection = psycopg2.connect(f"host=127.0.0.1 port={self.port} user=ada password=s3cr3t% dbname=postgres")
        connection.autocommit = True
        connection.cursor().execute(f"CREATE DATABASE {database}")
        connection.close()
        return f"postgresql://ada:{'s3cr3t%25'}@127.0.0.1:{self.port}/{database}"

    def _call(self, program: str, *arguments: str, check: bool = True) -> None:
        command = [*self._user, str(self._binaries / program), f"--pgdata={self.folder}/data", *arguments]
        # Into a file: the server would keep a pipe open.
        with open(self.folder / "commands.log", "a+") as log:
            done = subprocess.run(command, cwd=self.folder, stdout=log, stderr=log)
            log.seek(0)
            assert not (check and done.returncode), log.read()


def postgres_binaries() -> Path:
    debian = [str(path) for path in sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))]
    found = [*debian, *filter(None, [shutil.which("initdb")])]
    if not found:
        pytest.skip("PostgreSQL is not installed; on Debian: apt install postgresql")
    return Path(found[0]).parent


@pytest.fixture(scope="module")
def postgres() -> Iterator[Postgres]:
    pytest.importorskip("psycopg2", reason="the extra mlflow is not installed")
    postgres_binaries()
    with TemporaryDirectory(prefix="postgres-") as folder:  # pytest's own are closed to the user who is lent
        server = Postgres(Path(folder))
        server.start()
        yield server
        server.stop()


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    server = Server(tmp_path_factory.mktemp("server"))
    server.start()
    yield server
    server.stop()


def assert_survives(stop: Callable[[], None], start: Callable[[], None], train: Train, uri: str, rows: str) -> None:
    """Stops the store when a run has some of its metrics there, starts it again, and looks at the end of the run."""
    here = Path.cwd()
    process = train(uri)
    eventually(lambda: len(stored_points(rows)) > 50)
    stop()
    before = logged(here)
    console = run_of(here) / "console.log"
    eventually(lambda: console.exists() and "tracking:" in console.read_text())
    eventually(lambda: logged(here) > before + 50)
    assert process.poll() is None
    start()
    there = len(stored_points(rows))
    eventually(lambda: len(stored_points(rows)) > there)
    assert process.poll() is None
    (here / "stop").touch()
    output, _ = process.communicate()
    assert process.returncode == 0
    assert output.count("tracking:") == 1
    assert "sync" not in output
    assert stored_points(rows) == journal_points(run_of(here))
    assert only_run(parse(uri)).info.status == "FINISHED"


@pytest.mark.slow
def test_postgres_stops_and_comes_back_in_mid_run(postgres: Postgres, train: Train, here: Path) -> None:
    uri = postgres.uri("outage")
    assert_survives(postgres.stop, postgres.start, train, uri, rows=uri)
    everything = b"".join(path.read_bytes() for path in (here / "runs").rglob("*") if path.is_file())
    assert b"s3cr3t" not in everything
    assert f"postgresql://ada:***@127.0.0.1:{postgres.port}/outage".encode() in everything


def test_a_run_in_postgres_is_there_once(postgres: Postgres, here: Path) -> None:
    uri = postgres.uri("once")
    run = finished_run(steps=700)
    run.log(701, loss=float("nan"), rate=float("inf"))
    add_checkpoint(run, 700)
    store = Store(parse(uri), here / "runs")
    for _ in range(2):
        assert replay(run.folder, store) == "sent"
        assert stored_points(uri) == journal_points(run.folder)
        assert only_run(parse(uri)).data.params["options.seed"] == "7"
        (run.folder / "tracking.json").unlink()


def test_eight_processes_on_a_fresh_postgres(postgres: Postgres, here: Path) -> None:
    assert_all_open(postgres.uri("eight"))


@pytest.mark.slow
def test_a_server_stops_and_comes_back_in_mid_run(server: Server, train: Train, here: Path) -> None:
    assert_survives(server.stop, server.start, train, server.uri, rows=server.database)


def test_a_run_on_a_server_is_there_once(server: Server, here: Path) -> None:
    run = finished_run(steps=700)
    run.log(701, loss=float("nan"), rate=float("inf"), norm=-float("inf"))
    add_checkpoint(run, 700)
    store = Store(parse(server.uri), here / "runs")
    there = stored_points(server.database)
    for _ in range(2):
        assert replay(run.folder, store) == "sent"
        assert stored_points(server.database) == sorted([*there, *journal_points(run.folder)])
        mlflow = client(parse(server.uri))
        experiment = mlflow.get_experiment_by_name("understudy").experiment_id
        (found,) = mlflow.search_runs([experiment], f"tags.`understudy.run` = '{run.id}'")
        (model,) = mlflow.search_logged_models([experiment], f"source_run_id = '{found.info.run_id}'")
        assert {file.path for file in mlflow.list_artifacts(found.info.run_id)} >= {"run.json", "console.log"}
        assert str(model.status) == "READY"
        weights = list((server.folder / "artifacts").rglob("model.safetensors"))
        assert [path.read_bytes() for path in weights] == [b"weights"]
        (run.folder / "tracking.json").unlink()
