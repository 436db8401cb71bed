"""The built-in model: trained on the built-in conversations when it is first asked for."""

from dataclasses import replace
from pathlib import Path

from understudy.files import plain
from understudy.recipes import pretrain
from understudy.recipes.launch import launch
from understudy.runs.find import list_runs

NAME = "smalltalk"


def ready() -> Path:
    """Return the last finished run of plain `understudy pretrain`; resume or start one if there is none."""
    config = pretrain.Config()
    recorded = plain(config)
    mine = [record for record in list_runs() if record.verb == "pretrain" and record.data.get("config") == recorded]
    if finished := [record.folder for record in mine if record.status == "finished"]:
        return finished[-1]
    stopped = [record for record in mine if record.status in ("dead", "interrupted")]
    if unfinished := [record.id for record in stopped if any(record.folder.glob("checkpoints/step-*"))]:
        config = replace(config, options=replace(config.options, resume=unfinished[-1]))
        return launch("pretrain", pretrain.main, config, ["--resume", unfinished[-1]])
    return launch("pretrain", pretrain.main, config, [])
