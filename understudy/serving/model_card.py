"""What a served model is: its run, its quality, its data, the state of its code, and what the checks found.

Whoever may talk with a model may read this, so no path on this machine is in it.
"""

import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fastapi import APIRouter

from understudy.console import counted, number, size_of
from understudy.runs.record import Record, read_record
from understudy.training.loading import Loaded


@dataclass(frozen=True)
class ModelCard:
    """What is to be read beside a model; `sections` hold names and values under their titles."""

    id: str
    """The model's name in the API."""
    summary: str
    chats: bool
    """Whether it learned from conversations; a model of plain text does not know what a turn is."""
    warnings: list[str] = field(default_factory=list)
    sections: dict[str, dict[str, str]] = field(default_factory=dict)


def model_card_routes(served: Mapping[str, Loaded]) -> APIRouter:
    """Return the route that describes the served models, each as it is when it is asked for."""
    router = APIRouter(prefix="/api", tags=["models"])

    @router.get("/models")
    def describe_models() -> list[ModelCard]:
        """Describe each served model: run, data, bits per byte, state of the code, checks."""
        return [model_card(name, loaded) for name, loaded in served.items()]

    return router


def model_card(name: str, loaded: Loaded) -> ModelCard:
    """Return the card of a model that is served as `name`."""
    spec, model = loaded.model.spec, loaded.model
    what = "LSTM" if spec.core == "lstm" else f"Transformer ({spec.block})"
    parameters = f"{model.parameter_count():,}"
    sections = {
        "Model": {
            "kind": what,
            "parameters": parameters,
            "size": f"{counted(spec.layers, 'layer')}, {spec.width:,} wide",
            "context": f"{spec.context:,} tokens",
            "vocabulary": f"{model.vocab_size:,} tokens",
        }
    }
    chats = loaded.state["progress"].get("kind") != "text"
    run = loaded.folder.parent.parent
    if not (run / "run.json").exists():
        sections["Origin"] = {"weights": loaded.folder.name, "record": "none: these weights come from no recorded run"}
        return ModelCard(name, f"{what}, {parameters} parameters", chats, [], sections)

    record = read_record(run)
    quality = _quality(record)
    warnings = [f"The run is marked bad: {record.marks.bad}"] if record.marks.bad else []
    checks = record.data.get("checks") or []
    failed = [check for check in checks if check.get("verdict") == "failed"]
    if failed:
        warnings.append(f"{len(failed)} of {counted(len(checks), 'check')} for silent bugs failed")
    if record.error:
        warnings.append(f"The run ended with an error: {record.error}")
    verdicts = Counter(str(check.get("verdict")) for check in checks)
    sections |= {
        "Quality": quality,
        "Run": _run(record, loaded.state),
        "Data": _data(record),
        "Code": _code(record),
        "Checks": {
            "all": ", ".join(f"{count} {verdict}" for verdict, count in verdicts.most_common()) or "none were made",
            **{
                str(one.get("name")): f"failed: {one.get('measured')}; expected {one.get('expected')}" for one in failed
            },
        },
    }
    bits = f", {quality['bits per byte']} bits per byte" if "bits per byte" in quality else ""
    return ModelCard(
        name,
        f"{what}, {parameters} parameters{bits}",
        chats,
        warnings,
        {title: values for title, values in sections.items() if values},
    )


def _quality(record: Record) -> dict[str, str]:
    """Return the figures on held-out data: bits per byte first, then the one that sums the run up."""
    bits = record.outcome.get("val_bpb", record.metrics.get("val_bpb"))
    found = {} if bits is None else {"bits per byte": number(bits)}
    if record.headline and record.headline[0] != "val_bpb":
        found[record.headline[0].replace("_", " ")] = number(record.headline[1])
    return found


def _run(record: Record, state: Mapping[str, Any]) -> dict[str, str]:
    lines = {
        "id": record.id,
        "verb": record.verb,
        "status": record.status,
        "began": f"{record.created:%Y-%m-%d %H:%M}",
        "steps": f"{state['steps_done']:,}",
        "seed": "" if record.seed is None else str(record.seed),
        "builds on": ", ".join(record.parents),
        "tags": ", ".join(record.marks.tags),
    }
    try:
        told = json.loads((record.folder / "verified.json").read_bytes())
        lines["verified"] = "the same floats again, bit for bit" if told["identical"] else "differs when run again"
    except (OSError, ValueError, KeyError, TypeError):
        lines["verified"] = "not yet"
    return {name: line for name, line in lines.items() if line}


def _data(record: Record) -> dict[str, str]:
    """Return the data files by name with their sizes and hashes; built-in data are in no file."""
    files = record.data.get("data") or []
    if files:
        return {Path(one["path"]).name: f"{size_of(one['bytes'])}, sha256 {one['sha256'][:12]}" for one in files}
    named = (record.config.get("data") or {}).get("data") or []
    return {str(name): f"built in, from seed {record.seed}" for name in named if name == "smalltalk"}


def _code(record: Record) -> dict[str, str]:
    """Return which code the run had, and whether all of it was committed."""
    code = record.data.get("code") or {}
    if not record.commit:
        return {"kept": f"a copy of {counted(code['files'], 'file')}, outside git"} if code.get("files") else {}
    # Whole: every file as it was is in the run's snapshot, committed or not.
    edits = [*code.get("dirty_files", []), *code.get("untracked_files", [])]
    state = f"{counted(len(edits), 'file')} edited or new, kept with the run" if record.dirty else "all of it committed"
    return {"commit": f"{record.commit[:12]} on {code.get('branch') or 'no branch'}", "state": state}
