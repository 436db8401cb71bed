"""Each planted bug is caught within 20 steps, by the check that should."""

from collections.abc import Callable
from typing import Any

import pytest

from bugs import planted_play, planted_rehearsal  # noqa: F401 - they add their own
from bugs.conftest import Train
from bugs.planted import BUGS, Bug


@pytest.mark.parametrize("bug", BUGS, ids=lambda bug: bug.name)
def test_a_planted_bug_is_caught(
    bug: Bug, train: Train, examine: Callable[[str], dict[str, str]], monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    with monkeypatch.context() as patch:
        bug.plant(patch)
        found = train(**bug.options)
        failed = found.failed
        if bug.needs_doctor:
            assert not failed - bug.also
            failed = {name for name, verdict in examine("last").items() if verdict == "failed"}
    assert bug.caught_by in failed
    assert failed <= {bug.caught_by, *bug.also}
    said = capsys.readouterr().out
    if not bug.needs_doctor:
        assert f"check {bug.caught_by}: " in said
    for check in found.record["checks"]:
        if check["verdict"] == "failed":
            assert check["measured"]
            assert check["expected"]
            assert len(check["causes"]) == 2
