"""An MLflow store behind the few operations that a replay needs. The only place that imports MLflow."""

import contextlib
import fcntl
import logging
import os
import re
import shutil
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import wraps
from pathlib import Path
from typing import Any, Concatenate, ParamSpec, TypeVar

from understudy.errors import TrackingError
from understudy.runs.mlflow.address import Address, missing_package
from understudy.runs.mlflow.contents import FLEETING_TAGS, RUN_TAG, Batch

EXPERIMENT = "understudy"
TRAINING = {"mlflow.experimentKind": "custom_model_development"}  # else its page opens on traces of agents
MOST_AT_ONCE = 100  # parameters or tags of one request, says MLflow
MIGRATION_LOCK = 7_163_702  # any number: it names the advisory lock among those of the database
# Read while MLflow is imported. A server that is down must be noticed in seconds: whoever waits for it tries again.
QUIET = {"MLFLOW_DISABLE_TELEMETRY": "true", "DO_NOT_TRACK": "true", "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true"}
QUIET |= {
    "MLFLOW_CONFIGURE_LOGGING": "false",
    "GIT_PYTHON_REFRESH": "quiet",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "0",
}
PATIENCE = {"MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1", "MLFLOW_HTTP_REQUEST_TIMEOUT": "20", "PGCONNECT_TIMEOUT": "5"}

# Hints to programmers, statements, and names of objects in the errors of SQLAlchemy and urllib3.
_CHATTER = r"\(Background on this error at: .*\)|\(raised as a result of .*?\)|\[SQL: .*|<[^<>]* object at 0x\w+>:? ?"

Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")


@dataclass(frozen=True)
class There:
    """What a store has of a run: its id there, whether somebody deleted it, status and end, and the rest."""

    id: str
    deleted: bool
    status: str
    end: int | None
    parameters: Mapping[str, str]
    tags: Mapping[str, str]
    models: frozenset[str]


def _named(
    method: Callable[Concatenate["Store", Arguments], Result],
) -> Callable[Concatenate["Store", Arguments], Result]:
    """Whatever goes wrong in MLflow and below becomes a TrackingError of one line, without the password."""

    @wraps(method)
    def call(self: "Store", *arguments: Arguments.args, **named: Arguments.kwargs) -> Result:
        try:
            return method(self, *arguments, **named)
        except TrackingError:
            raise
        except Exception as error:
            raise TrackingError(f"{self.address.masked}: {self.address.hide(_reason(error))}") from error

    return call


class Store:
    """An open MLflow store. Opening it makes its tables where there are none, and the experiment.

    `artifacts` is where files go that are sent to a database; an HTTP server keeps them itself, and an experiment that
    exists keeps them where it did.
    """

    def __init__(self, address: Address, artifacts: Path) -> None:
        self.address = address
        self._artifacts = artifacts
        self._mlflow = _import_mlflow()
        self._open()

    @_named
    def _open(self) -> None:
        with _alone_in(self.address):
            self._client = self._mlflow.MlflowClient(self.address.uri)
            self._experiment = self._find_or_make_experiment()

    @property
    def identity(self) -> str:
        """Tells this store's experiment from another of the same name: one that was made anew has lost all runs."""
        return f"{self._experiment.experiment_id}@{self._experiment.creation_time}"

    @property
    def experiment_id(self) -> str:
        """The id of the experiment that holds the runs."""
        return str(self._experiment.experiment_id)

    @_named
    def ask(self) -> None:
        """Raises when the store does not answer."""
        self._client.get_experiment(self.experiment_id)

    @_named
    def find_run(self, run_id: str, remembered: str) -> There | None:
        """The run with our id; `remembered` is its id there, if somebody knows it, which saves a search."""
        if remembered:
            with contextlib.suppress(self._mlflow.exceptions.MlflowException):
                return _there(self._client.get_run(remembered))
        found = self._client.search_runs(
            [self.experiment_id], f"tags.`{RUN_TAG}` = '{run_id}'", self._mlflow.entities.ViewType.ALL, max_results=1
        )
        # The whole run: a search leaves out which models it has.
        return _there(self._client.get_run(found[0].info.run_id)) if found else None

    @_named
    def begin_run(self, run_id: str, start: int) -> There:
        """Makes the run; its tag lets it be found again, so it is there from the first moment."""
        return _there(self._client.create_run(self.experiment_id, start, {RUN_TAG: run_id}, run_name=run_id))

    @_named
    def describe(self, run: There, parameters: Mapping[str, str], tags: Mapping[str, str]) -> None:
        """Brings parameters and tags up to date. MLflow never changes a parameter; tags of ours that are gone go."""
        new = [self._mlflow.entities.Param(*item) for item in parameters.items() if item[0] not in run.parameters]
        other = [self._mlflow.entities.RunTag(*item) for item in tags.items() if run.tags.get(item[0]) != item[1]]
        for start in range(0, len(new), MOST_AT_ONCE):
            self._client.log_batch(run.id, params=new[start : start + MOST_AT_ONCE])
        if other:
            self._client.log_batch(run.id, tags=other)
        for name in FLEETING_TAGS:
            if name in run.tags and name not in tags:
                self._client.delete_tag(run.id, name)

    @_named
    def add(self, run: There, batch: Batch) -> None:
        """Adds the points. Those that are there already are not added again: the store's primary key holds them all."""
        metrics = [self._mlflow.entities.Metric(*_fields(point)) for point in batch.points]
        for start in range(0, len(metrics), 1000):
            self._client.log_batch(run.id, metrics=metrics[start : start + 1000])

    @_named
    def set_status(self, run: There, status: str, end: int | None) -> None:
        """Says how the run ended and when, or that it runs (again)."""
        if end is None:
            if run.status != status:
                self._client.update_run(run.id, status)
        elif (run.status, run.end) != (status, end):
            self._client.set_terminated(run.id, status, end)

    @_named
    def add_file(self, run: There, path: Path) -> None:
        """Adds a file under its own name, in the place of what had that name."""
        self._client.log_artifact(run.id, str(path))

    @_named
    def add_model(self, run: There, name: str, step: int, files: Sequence[Path]) -> None:
        """Adds a model made of these files, unless it is there; one that was left half sent is sent whole."""
        models = self._client.search_logged_models([self.experiment_id], f"source_run_id = '{run.id}'")
        ours = {model.name: model for model in models}
        for old in ours.keys() - {name}:
            self._client.delete_logged_model(ours[old].model_id)
        model = ours.get(name) or self._client.create_logged_model(self.experiment_id, name, run.id)
        if str(model.status) != "READY":
            for path in files:
                self._add_model_file(model, path)
        if model.model_id not in run.models:
            output = self._mlflow.entities.LoggedModelOutput(model.model_id, step)
            self._client.log_outputs(run.id, [output])
        if str(model.status) != "READY":
            self._client.finalize_logged_model(model.model_id, "READY")

    def _add_model_file(self, model: Any, path: Path) -> None:
        """Weights that land on the same disk are linked, not copied: nobody changes them in place."""
        folder = _local_folder(model.artifact_location)
        if folder is not None:
            folder.mkdir(parents=True, exist_ok=True)
            (folder / path.name).unlink(missing_ok=True)
            try:
                os.link(path, folder / path.name)
            except OSError:
                shutil.copyfile(path, folder / path.name)
        else:
            self._mlflow.store.artifact.artifact_repository_registry.get_artifact_repository(
                model.artifact_location, tracking_uri=self.address.uri
            ).log_artifact(str(path))

    def _find_or_make_experiment(self) -> Any:
        found = self._client.get_experiment_by_name(EXPERIMENT)
        if found is None:
            location = None if self.address.kind == "http" else self._artifacts.as_uri()
            try:
                self._client.create_experiment(EXPERIMENT, location, TRAINING)
            except self._mlflow.exceptions.MlflowException as error:
                if error.error_code != "RESOURCE_ALREADY_EXISTS":  # another process was quicker
                    raise
            found = self._client.get_experiment_by_name(EXPERIMENT)
        if found is None or found.lifecycle_stage != "active":
            raise TrackingError(f"{self.address.masked}: its experiment {EXPERIMENT!r} was deleted; restore it there")
        return found


def open_store(address: Address, runs: Path) -> Store:
    """The store at `address`; files for a database go beside an SQLite file, else beside the runs."""
    artifacts = runs.absolute() / "mlflow-artifacts"
    if address.kind == "sqlite":
        artifacts = address.file.with_name(f"{address.file.stem}-artifacts")
    return Store(address, artifacts)


def quiet_environment() -> dict[str, str]:
    """This process's environment for one that imports MLflow: no telemetry, no noise, no long waits."""
    return {**PATIENCE, **os.environ, **QUIET}


def _import_mlflow() -> Any:
    os.environ.update(quiet_environment())
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            import mlflow
            import mlflow.entities
            import mlflow.exceptions
            import mlflow.store.artifact.artifact_repository_registry
    except ImportError as error:
        raise missing_package("mlflow") from error
    for name in ("mlflow", "alembic", "urllib3", "sqlalchemy"):
        logging.getLogger(name).setLevel(logging.CRITICAL)
    return mlflow


@contextlib.contextmanager
def _alone_in(address: Address) -> Iterator[None]:
    """Of several processes that open a fresh store at once, one makes its tables while the others wait.

    For a server that answers HTTP this is its own affair. A database that is down shows here, within seconds, where
    MLflow would try for minutes.
    """
    if address.kind == "sqlite":
        address.file.parent.mkdir(parents=True, exist_ok=True)
        with open(address.file.with_name(f".{address.file.name}.lock"), "w") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield
    elif address.kind == "postgresql":
        with _database_lock(address.uri):
            yield
    else:
        yield


@contextlib.contextmanager
def _database_lock(uri: str) -> Iterator[None]:
    import sqlalchemy

    engine = sqlalchemy.create_engine(uri, poolclass=sqlalchemy.pool.NullPool)
    with engine.connect() as connection:  # closing it gives the lock back
        connection.execute(sqlalchemy.text(f"SELECT pg_advisory_lock({MIGRATION_LOCK})"))
        yield


def _there(run: Any) -> There:
    outputs = run.outputs.model_outputs if run.outputs else []
    return There(
        id=run.info.run_id,
        deleted=run.info.lifecycle_stage == "deleted",
        status=run.info.status,
        end=run.info.end_time,
        parameters=run.data.params,
        tags=run.data.tags,
        models=frozenset(output.model_id for output in outputs),
    )


def _fields(point: Any) -> tuple[str, float, int, int]:
    return point.name, point.value, point.time, point.step


def _local_folder(uri: str) -> Path | None:
    """The folder that an artifact location means on this machine, if it means one."""
    from urllib.parse import unquote, urlsplit

    parts = urlsplit(uri)
    return Path(unquote(parts.path)) if parts.scheme in ("", "file") else None


def _reason(error: BaseException) -> str:
    """What the operating system said, if it did; else the first line that says something."""
    link: BaseException | None = error
    while link is not None:
        if isinstance(link, OSError) and link.errno is not None:
            return f"{link.strerror}: {link.filename}" if link.filename else str(link.strerror)
        link = link.__cause__ or link.__context__
    text = re.sub(_CHATTER, "", str(error))
    line = next((line.strip() for line in text.splitlines() if line.strip()), "")
    return line[:300] or type(error).__name__
