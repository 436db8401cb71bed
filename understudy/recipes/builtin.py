"""The built-in model: trained on the built-in conversations when it is first asked for."""

from dataclasses import replace
from pathlib import Path

from understudy.config import to_dict
from understudy.recipes import pretrain
from understudy.recipes.launch import launch
from understudy.runs.find import list_runs
from understudy.runs.record import Record

NAME = "smalltalk"


def ready() -> Path:
    """The folder of the last finished run of the plain `understudy pretrain`; trained, or resumed, if there is none."""
    config = pretrain.Config()
    mine = [record for record in list_runs() if _is_built_in(record, config)]
    finished = [record for record in mine if record.status == "finished"]
    if finished:
        return finished[-1].folder
    unfinished = [
        r.id for r in mine if r.status in ("dead", "interrupted") and any(r.folder.glob("checkpoints/step-*"))
    ]
    argv = ["--resume", unfinished[-1]] if unfinished else []
    if unfinished:
        config = replace(config, options=replace(config.options, resume=unfinished[-1]))
    return launch("pretrain", pretrain.main, config, argv)


def _is_built_in(record: Record, config: pretrain.Config) -> bool:
    return record.verb == "pretrain" and record.data.get("config") == to_dict(config)
