"""Why a rerun may differ, from the records of two runs."""

import json
from pathlib import Path
from typing import Any

from understudy.runs.record import Record, read_record
from understudy.runs.rerun.tree import Tree
from understudy.runs.rerun.verify import likely_causes

FACTS: dict[str, Any] = {
    "python": "3.11.1",
    "platform": "Linux-6.1",
    "host": "here",
    "packages": {"torch": "2.12", "rich": "14", "understudy": "0.1"},
    "environment": {"OMP_NUM_THREADS": "1", "CUBLAS_X": "a"},
    "hardware": {"cpu": "Xeon", "cores": 2},
    "compute": {"threads": 1, "device": "cpu"},
    "processes": 1,
    "data": [{"path": "/d/x.txt", "bytes": 1, "sha256": "a"}],
}


def record(name: str, **facts: Any) -> Record:
    folder = Path("runs", name)
    folder.mkdir(parents=True)
    (folder / "run.json").write_text(json.dumps(FACTS | facts))
    return read_record(folder)


def causes(then: Record, now: Record) -> list[str]:
    return likely_causes(then, now, Tree(Path("/tree"), Path("/tree/work"), Path("/tree")))


def test_causes_stand_in_the_order_in_which_to_look(here: Path) -> None:
    now = record(
        "now",
        python="3.11.2",
        packages={"torch": "2.13", "numpy": "2", "rich": "14", "understudy": "0.2"},
        environment={"OMP_NUM_THREADS": "2", "CUBLAS_X": "b"},
        hardware={"cpu": "EPYC", "cores": 2},
        compute={"threads": 2, "device": "cpu"},
        data=[{"path": "/tree/d/x.txt", "bytes": 1, "sha256": "b"}],
    )
    assert causes(record("then", resumed=[{"time": 1}]), now) == [
        "data: /d/x.txt",
        "environment: python 3.11.1 then, 3.11.2 now; CUBLAS_X a then, b now; torch 2.12 then, 2.13 now; "
        "numpy absent then, 2 now",
        "hardware: cpu Xeon then, EPYC now",
        "thread count: threads 1 then, 2 now",
        "the run was resumed, maybe with other code: only a run that was never interrupted is sure to repeat itself",
    ]


def test_another_host_and_another_version_of_this_package_explain_nothing(here: Path) -> None:
    now = record("now", host="there", platform="Linux-6.2", packages=FACTS["packages"] | {"understudy": "0.2"})
    (cause,) = causes(record("then"), now)
    assert cause.startswith("nondeterminism: ")
