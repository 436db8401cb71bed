import json
import math
import operator
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from understudy.errors import QueryError
from understudy.runs.find import list_runs
from understudy.runs.journal import Journal
from understudy.runs.query import in_order, matching
from understudy.runs.record import Record, change_marks, set_note

OTTER, NEWT, HERON, WREN = "brave-otter", "bright-newt", "calm-heron", "tidy-wren"


def make(folder: Path, words: str, created: datetime, **record: Any) -> Path:
    run = folder / f"{created:%Y%m%d-%H%M}-{words}"
    run.mkdir(parents=True)
    record = {"verb": "pretrain", "status": "finished", "created": created.astimezone().isoformat()} | record
    (run / "run.json").write_text(json.dumps(record))
    return run


def make_runs(folder: Path) -> list[Record]:
    """Four runs that differ in everything that may be asked for."""
    now = datetime.now()
    otter = make(
        folder,
        OTTER,
        datetime(2026, 11, 20, 14, 12, 30),
        seed=1,
        host="alpha",
        code={"commit": "abc123def", "dirty": True},
        config={"learner": {"lr": 1e-3, "steps": 400}, "data": ["smalltalk", "a.txt"], "resume": True, "note": None},
        outcome={"recall": 0.9, "headline": ["recall", 0.9]},
    )
    journal = Journal(otter / "metrics.jsonl")
    journal.log(1, loss=3.0, lr=1.0, val_bpb=1.5)
    journal.log(2, loss=2.0, lr=0.5)
    change_marks(otter, tags=("baseline", "Paper 1"), pinned=True)
    newt = make(
        folder,
        NEWT,
        datetime(2026, 11, 21, 9),
        verb="finetune",
        seed=2,
        parents=[otter.name],
        config={"learner": {"lr": 3e-4}, "optimizer": {"width": 8}, "core": {"width": 64}},
    )
    Journal(newt / "metrics.jsonl").log(9, loss=math.nan, val_bpb=1.25)
    change_marks(newt, bad="labels were shifted")
    set_note(newt, 'said "no" (twice)')
    make(folder, HERON, now - timedelta(hours=30), status="failed", error="CUDA out of memory")
    make(folder, WREN, now - timedelta(minutes=5), verb="eval", outcome={"loss": 7, "nested": {"deep": 1}})
    return list_runs(folder)


@pytest.fixture
def runs(here: Path) -> list[Record]:
    return make_runs(here / "runs")


def words(records: list[Record]) -> list[str]:
    return [record.id.split("-", 2)[2] for record in records]


QUERIES = [
    ("verb=pretrain", [OTTER, HERON]),
    ("verb = 'pretrain'", [OTTER, HERON]),
    ('"verb"="pretrain"', [OTTER, HERON]),
    ("verb=PRETRAIN and not pinned", [HERON]),
    ("verb!=pretrain", [NEWT, WREN]),
    ("not verb!=pretrain and note~or", []),
    ("verb~train", [OTTER, HERON]),
    ("verb=finetune and val_bpb<1.3 and bad", [NEWT]),
    ("verb=finetune and val_bpb<1.3 and not bad", []),
    ("not bad", [OTTER, HERON, WREN]),
    ("not not bad", [NEWT]),
    ("not " * 5000 + "bad and  NOT pinned and bad", [NEWT]),
    ("dirty", [OTTER]),
    ("bad~shifted", [NEWT]),
    ("NOT bad AND NOT pinned", [HERON, WREN]),
    ("tag=baseline", [OTTER]),
    ("tag='paper 1'", [OTTER]),
    ("tag!=baseline", [NEWT, HERON, WREN]),
    ("tag~pap", [OTTER]),
    ("id=brave-otter", [OTTER]),
    ("id=20261120", [OTTER]),
    ("id=br", [OTTER, NEWT]),
    ("id~e", [OTTER, NEWT, HERON, WREN]),
    ("commit=ABC1", [OTTER]),
    ("commit!=abc1", [NEWT, HERON, WREN]),
    ("parent=brave", [NEWT]),
    ("host=alpha", [OTTER]),
    ("seed=1", [OTTER]),
    ("seed>1", [NEWT]),
    ("seed!=1", [NEWT, HERON, WREN]),
    ("status=failed", [HERON]),
    ("error~memory", [HERON]),
    ("note~'\\\"no\\\" ('", [NEWT]),
    ('note~"(twice)"', [NEWT]),
    ("age<1h", [WREN]),
    ("age<=2d and age>0.5d", [HERON]),
    ("age<1w", None),
    ("created=2026-11-20", [OTTER]),
    ("created=2026-11-20T14", [OTTER]),
    ("created=2026-11-20T14:12", [OTTER]),
    ("created='2026-11-20 14:12:30'", [OTTER]),
    ("created=2026-11-20T14:12:31", []),
    ("created!=2026-11-20", [NEWT, HERON, WREN]),
    ("created<2026-11-21", [OTTER]),
    ("created<=2026-11-21", [OTTER, NEWT]),
    ("created>2026-11-20", [NEWT, HERON, WREN]),
    ("created>=2026-11-20", [OTTER, NEWT, HERON, WREN]),
    ("created>2026-11-20 and created<2026-11-22", [NEWT]),
    ("loss=2", [OTTER]),
    ("loss=2.0", [OTTER]),
    ("loss=nan", [NEWT]),
    ("loss<100", [OTTER, WREN]),
    ("loss>=2", [OTTER, WREN]),
    ("val_bpb<=1.25", [NEWT]),
    ("step>5", [NEWT]),
    ("headline>0.8", [OTTER, NEWT]),
    ("recall=9e-1", [OTTER]),
    ("nested.deep=1", [WREN]),
    ("lr=1e-3", [OTTER]),
    ("lr=0.001", [OTTER]),
    ("learner.lr<1e-3", [NEWT]),
    ("metric.lr=0.5", [OTTER]),
    ("config.lr=0.5", []),
    ("outcome.loss=7", [WREN]),
    ("core.width=64", [NEWT]),
    ("data=smalltalk", [OTTER]),
    ("data=a.txt and data~talk", [OTTER]),
    ("data!=smalltalk", [NEWT, HERON, WREN]),
    ("resume=true", [OTTER]),
    ("resume<2", []),
    ("config.note=none", [OTTER]),
]


@pytest.mark.parametrize(("query", "expected"), QUERIES)
def test_a_query_finds_its_runs(query: str, expected: list[str] | None, runs: list[Record]) -> None:
    found = words(matching(query, runs))
    if expected is None:  # depends on today's date
        assert WREN in found
    else:
        assert found == expected


NO_OR = "queries have no `or` and no brackets: join conditions by `and`, write `not` before one to negate it"
MISTAKES = [
    ("val_bpd<1.2", "no run has 'val_bpd'", "at ^ in `^val_bpd<1.2`", "did you mean val_bpb"),
    ("bad and lrr=1", "no run has 'lrr'", "`bad and ^lrr=1`", "did you mean lr"),
    ("width=8", "may be any of core.width, optimizer.width", "`^width=8`"),
    ("status=runing", "'runing' is not a status", "`status=^runing`", "did you mean running"),
    ("status=zzz", "expected one of running, finished, failed, interrupted, dead, broken"),
    ("pined", "expected an operator after 'pined'", "`pined^`", "did you mean pinned"),
    ("'bad'", "expected an operator"),
    ("bad pinned", "expected `and`", "`bad ^pinned`"),
    ("bad or pinned", NO_OR, "`bad ^or pinned`"),
    ("bad and or", "expected an operator after 'or'"),
    ("bad OR pinned", NO_OR),
    ("verb=eval and (bad", NO_OR, "`verb=eval and^ (bad`"),
    ("not (bad)", NO_OR, "`not ^(bad)`"),
    ("", "expected a condition such as status=failed"),
    ("and", "expected an operator after 'and'"),
    ("bad and", "expected a condition", "`bad and^`"),
    ("not", "expected an operator after 'not'"),
    ("verb=", "expected a value after `=`", "`verb=^`"),
    ("verb==pretrain", "expected a value after `=`", "`verb=^=pretrain`"),
    ("(bad", NO_OR, "`^(bad`"),
    ("bad)", NO_OR, "`bad^)`"),
    ("=3", "expected a condition", "`^=3`"),
    ("!bad", "expected a condition", "`^!bad`"),
    ("note='open", "a quote that is not closed", "`note=^'open`"),
    ("loss<low", "expected a number after `<`", "`loss<^low`"),
    ("verb<b", "verb is a text: expected =, != or ~"),
    ("id<b", "id is a text"),
    ("created>monday", "expected a date such as 2026-11-20"),
    ("created>9999-12-31", "expected a date"),
    ("created~2026", "created is a time: expected = != < <= > >="),
    ("age=2d", "age takes < <= > >= and a duration such as 90m, 12h, 2d or 1w"),
    ("age<2", "age takes"),
    ("age~2", "age takes"),
]


@pytest.mark.parametrize("mistake", MISTAKES, ids=lambda mistake: mistake[0][:30])
def test_mistakes_are_named_and_pointed_at(mistake: tuple[str, ...], runs: list[Record]) -> None:
    query, *parts = mistake
    with pytest.raises(QueryError) as caught:
        matching(query, runs)
    message = str(caught.value)
    assert "\n" not in message
    for part in parts:
        assert part in message


@pytest.fixture(scope="module")
def four(tmp_path_factory: pytest.TempPathFactory) -> list[Record]:
    return make_runs(tmp_path_factory.mktemp("runs"))


@settings(max_examples=300, deadline=None)
@example("bad and\x00 (")
@given(query=st.text(st.sampled_from("bad not and or()=!<>~'\"\\ 1.e-\n\x00é^"), max_size=30))
def test_any_text_is_a_query_or_a_mistake_in_one_line(four: list[Record], query: str) -> None:
    mistake = ""
    try:
        matching(query, four)
    except QueryError as error:
        mistake = str(error)
    assert "\n" not in mistake


SIGNS = ["<", "<=", ">", ">=", "=", "!="]
Oracle = Callable[[Record], bool]


def last_loss(record: Record) -> float | None:
    return record.outcome.get("loss", record.metrics.get("loss"))


def compared(name: str, read: Callable[[Record], Any], sign: str, value: float) -> tuple[str, Oracle]:
    test = {"<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge, "=": operator.eq}.get(sign)
    if test is None:
        return f"{name} != {value!r}", lambda record: not (read(record) is not None and read(record) == value)
    return f"{name}{sign}{value!r}", lambda record: read(record) is not None and test(read(record), value)


numbers = st.sampled_from([-1.0, 0.0, 1.0, 2.0, 2.5, 7.0, 1e-3])
leaves = st.one_of(
    st.just(("bad", lambda record: bool(record.marks.bad))),
    st.just(("pinned", lambda record: record.marks.pinned)),
    st.builds(lambda sign, value: compared("loss", last_loss, sign, value), st.sampled_from(SIGNS), numbers),
    st.builds(
        lambda sign, value: compared("seed", lambda record: record.seed, sign, value),
        st.sampled_from(SIGNS),
        numbers,
    ),
    st.builds(
        lambda verb: (f"verb='{verb}'", lambda record: record.verb == verb), st.sampled_from(["eval", "pretrain", "x"])
    ),
)


def denied(condition: tuple[str, Oracle]) -> tuple[str, Oracle]:
    return f"not {condition[0]}", lambda record: not condition[1](record)


@settings(max_examples=300, deadline=None)
@given(conditions=st.lists(leaves | st.builds(denied, leaves), min_size=1, max_size=6))
def test_queries_mean_what_they_say(four: list[Record], conditions: list[tuple[str, Oracle]]) -> None:
    query = " and ".join(condition for condition, _ in conditions)
    expected = [record for record in four if all(fits(record) for _, fits in conditions)]
    assert words(matching(query, four)) == words(expected)


def test_no_runs_have_no_fields(here: Path) -> None:
    assert matching("whatever=1", []) == []


def test_runs_in_the_order_of_a_field(runs: list[Record]) -> None:
    assert words(in_order("loss", runs, runs)) == [OTTER, WREN]  # the nan has no place
    assert words(in_order("val_bpb", runs, runs)) == [NEWT, OTTER]
    assert words(in_order("lr", runs[:1], runs)) == [OTTER]
    assert words(in_order("verb", runs, runs)) == [WREN, NEWT, OTTER, HERON]
    with pytest.raises(QueryError, match="no run has 'val_bpd'; did you mean val_bpb"):
        in_order("val_bpd", runs, runs)
