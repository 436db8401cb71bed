"""An MLflow store behind the few operations that a replay needs. Only this module imports MLflow."""

import contextlib
import logging
import os
import re
import shutil
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import wraps
from pathlib import Path
from typing import Any, TypeVar, cast
from urllib.parse import unquote, urlsplit

from understudy.errors import TrackingError
from understudy.files import locked
from understudy.runs.mlflow.address import Address
from understudy.runs.mlflow.contents import FLEETING_TAGS, RUN_TAG, Point

EXPERIMENT = "understudy"
TRAINING = {"mlflow.experimentKind": "custom_model_development"}  # else its page opens on traces of agents
MIGRATION_LOCK = 7_163_702  # any number: it names the advisory lock among those of the database
# MLflow reads these while it is imported.
QUIET = {
    "DO_NOT_TRACK": "true",
    "GIT_PYTHON_REFRESH": "quiet",
    "MLFLOW_CONFIGURE_LOGGING": "false",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "0",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
}
# A server that is down must be noticed within seconds; the caller tries again.
PATIENCE = {"MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1", "MLFLOW_HTTP_REQUEST_TIMEOUT": "20", "PGCONNECT_TIMEOUT": "5"}

# In the errors of SQLAlchemy and urllib3: hints to programmers, SQL statements, and addresses of objects.
_CHATTER = r"\(Background on this error at: .*\)|\(raised as a result of .*?\)|\[SQL: .*|<[^<>]* object at 0x\w+>:? ?"

RemoteRun = Any
"""A run as MLflow's client returns it: `info`, `data` and `outputs`."""
Method = TypeVar("Method", bound=Callable[..., Any])


def _in_one_line(method: Method) -> Method:
    """Turn any error of MLflow and the libraries below it into a TrackingError of one line, without the password."""

    @wraps(method)
    def call(self: "Store", *arguments: Any) -> Any:
        try:
            return method(self, *arguments)
        except TrackingError:
            raise
        except Exception as error:
            raise TrackingError(f"{self.address.masked}: {self.address.hide(_reason(error))}") from error

    return cast(Method, call)


class Store:
    """The MLflow store at `address`. Opening it creates the tables and the experiment where they are missing.

    The files of a new experiment go beside an SQLite file, else beside the folder `runs`. An HTTP server keeps files
    itself, and an existing experiment keeps them where it did.
    """

    @_in_one_line
    def __init__(self, address: Address, runs: Path) -> None:
        self.address = address
        self._mlflow = import_mlflow()
        with _migration_lock(address):
            self._client = self._mlflow.MlflowClient(address.uri)
            found = self._client.get_experiment_by_name(EXPERIMENT)
            if found is None:
                artifacts = runs.absolute() / "mlflow-artifacts"
                if address.kind == "sqlite":
                    artifacts = address.file.with_name(f"{address.file.stem}-artifacts")
                location = None if address.kind == "http" else artifacts.as_uri()
                try:
                    self._client.create_experiment(EXPERIMENT, location, TRAINING)
                except self._mlflow.exceptions.MlflowException as error:
                    if error.error_code != "RESOURCE_ALREADY_EXISTS":  # another process was quicker
                        raise
                found = self._client.get_experiment_by_name(EXPERIMENT)
        if found is None or found.lifecycle_stage != "active":
            raise TrackingError(f"{address.masked}: its experiment {EXPERIMENT!r} was deleted; restore it there")
        self.experiment_id = str(found.experiment_id)
        # Tells the experiment from a later one of the same name, which has none of these runs.
        self.identity = f"{found.experiment_id}@{found.creation_time}"

    @_in_one_line
    def ping(self) -> None:
        """Raise TrackingError unless the store answers."""
        self._client.get_experiment(self.experiment_id)

    @_in_one_line
    def find_run(self, run_id: str, remembered: str) -> RemoteRun | None:
        """Return the run with our id, or None. `remembered` is its id there, if known, which saves a search."""
        if remembered:
            with contextlib.suppress(self._mlflow.exceptions.MlflowException):
                return self._client.get_run(remembered)
        found = self._client.search_runs(
            [self.experiment_id], f"tags.`{RUN_TAG}` = '{run_id}'", self._mlflow.entities.ViewType.ALL, max_results=1
        )
        # Fetched again because a search leaves out which models a run has.
        return self._client.get_run(found[0].info.run_id) if found else None

    @_in_one_line
    def create_run(self, run_id: str, start: int) -> RemoteRun:
        """Create the run, with the tag by which it is found again from the first moment on."""
        return self._client.create_run(self.experiment_id, start, {RUN_TAG: run_id}, run_name=run_id)

    @_in_one_line
    def describe(self, run: RemoteRun, parameters: Mapping[str, str], tags: Mapping[str, str]) -> None:
        """Bring parameters and tags up to date. Parameters never change in MLflow; of the tags only ours may go."""
        known, old = run.data.params, run.data.tags
        new = [self._mlflow.entities.Param(*item) for item in parameters.items() if item[0] not in known]
        changed = [self._mlflow.entities.RunTag(*item) for item in tags.items() if old.get(item[0]) != item[1]]
        self._client.log_batch(run.info.run_id, params=new, tags=changed)
        for name in FLEETING_TAGS:
            if name in old and name not in tags:
                self._client.delete_tag(run.info.run_id, name)

    @_in_one_line
    def add(self, run: RemoteRun, points: Sequence[Point]) -> None:
        """Add points. Those that are already there stay single: the primary key of the store's table is all columns."""
        self._client.log_batch(run.info.run_id, metrics=[self._mlflow.entities.Metric(*point) for point in points])

    @_in_one_line
    def set_status(self, run: RemoteRun, status: str, end: int | None) -> None:
        """Set how the run ended and when; with None for `end`, that it runs, perhaps again."""
        if end is None:
            if run.info.status != status:
                self._client.update_run(run.info.run_id, status)
        elif (run.info.status, run.info.end_time) != (status, end):
            self._client.set_terminated(run.info.run_id, status, end)

    @_in_one_line
    def add_file(self, run: RemoteRun, path: Path) -> None:
        """Add a file under its own name, replacing an earlier one."""
        self._client.log_artifact(run.info.run_id, str(path))

    @_in_one_line
    def add_model(self, run: RemoteRun, name: str, step: int, files: Sequence[Path]) -> None:
        """Add a model made of these files in place of the run's earlier ones, unless all of it is already there."""
        run_id = run.info.run_id
        models = self._client.search_logged_models([self.experiment_id], f"source_run_id = '{run_id}'")
        ours = {model.name: model for model in models}
        for old in ours.keys() - {name}:
            self._client.delete_logged_model(ours[old].model_id)
        model = ours.get(name) or self._client.create_logged_model(self.experiment_id, name, run_id)

        # A model that is not ready was sent in part: send it whole.
        complete = str(model.status) == "READY"
        location = urlsplit(model.artifact_location)
        for path in () if complete else files:
            if location.scheme in ("", "file"):
                # Weights on the same disk are linked, not copied: they are never changed in place.
                folder = Path(unquote(location.path))
                folder.mkdir(parents=True, exist_ok=True)
                (folder / path.name).unlink(missing_ok=True)
                try:
                    os.link(path, folder / path.name)
                except OSError:
                    shutil.copyfile(path, folder / path.name)
            else:
                self._client.log_model_artifact(model.model_id, str(path))

        outputs = run.outputs.model_outputs if run.outputs else []
        if model.model_id not in [output.model_id for output in outputs]:
            self._client.log_outputs(run_id, [self._mlflow.entities.LoggedModelOutput(model.model_id, step)])
        if not complete:
            self._client.finalize_logged_model(model.model_id, "READY")


def quiet_environment() -> dict[str, str]:
    """Return this process's environment for one that imports MLflow: no telemetry, no noise, no long waits."""
    return {**PATIENCE, **os.environ, **QUIET}


def import_mlflow() -> Any:
    """Import MLflow so that it stays quiet."""
    os.environ.update(quiet_environment())
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import mlflow
        import mlflow.entities
        import mlflow.exceptions
    for name in ("mlflow", "alembic", "urllib3", "sqlalchemy"):
        logging.getLogger(name).setLevel(logging.CRITICAL)
    return mlflow


@contextlib.contextmanager
def _migration_lock(address: Address) -> Iterator[None]:
    """Of several processes that open a fresh store at once, let one create its tables while the others wait.

    An HTTP server sees to that itself. A database that is down is noticed here, within seconds, where MLflow would try
    for minutes.
    """
    if address.kind == "sqlite":
        address.file.parent.mkdir(parents=True, exist_ok=True)
        with locked(address.file.with_name(f".{address.file.name}.lock")):
            yield
    elif address.kind == "postgresql":
        import sqlalchemy

        engine = sqlalchemy.create_engine(address.uri, poolclass=sqlalchemy.pool.NullPool)
        with engine.connect() as connection:  # closing it gives the lock back
            connection.execute(sqlalchemy.text(f"SELECT pg_advisory_lock({MIGRATION_LOCK})"))
            yield
    else:
        yield


def _reason(error: BaseException) -> str:
    """Return what the operating system said, if it did; else the first line that says something."""
    link: BaseException | None = error
    while link is not None:
        if isinstance(link, OSError) and link.errno is not None:
            return f"{link.strerror}: {link.filename}" if link.filename else str(link.strerror)
        link = link.__cause__ or link.__context__
    text = re.sub(_CHATTER, "", str(error))
    line = next((line.strip() for line in text.splitlines() if line.strip()), "")
    return line[:300] or type(error).__name__
