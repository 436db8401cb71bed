import json
import re
from dataclasses import dataclass, field
from typing import Any, Literal

import pytest

from understudy.config import child_seed, from_dict
from understudy.errors import ConfigError
from understudy.files import plain


@dataclass(frozen=True)
class Core:
    width: int = 64
    kind: Literal["lstm", "transformer"] = "lstm"


@dataclass(frozen=True)
class Recipe:
    data: str
    core: Core = field(default_factory=Core)
    other: Core | None = None
    limit: float = float("inf")
    sizes: tuple[int, ...] = ()
    names: list[str] = field(default_factory=list)
    weights: dict[str, float] = field(default_factory=dict)
    resume: str | None = None
    strict: bool = False
    rate: float = 1e-3


RECIPES = [
    Recipe("a.jsonl"),
    Recipe("/x", Core(8, "transformer"), Core(), 2.5, (1, 2, 3), ["a"], {"b": 0.1}, "c", True, 1 / 3),
]


@pytest.mark.parametrize("recipe", RECIPES)
def test_a_configuration_survives_json(recipe: Recipe) -> None:
    assert from_dict(Recipe, json.loads(json.dumps(plain(recipe), allow_nan=False))) == recipe


def test_an_option_that_came_later_has_its_default() -> None:
    recipe = from_dict(Recipe, {"data": "x", "core": {"width": 3}, "other": {}})
    assert recipe == Recipe("x", Core(3), Core())


def changed(**changes: Any) -> dict[str, Any]:
    return {**plain(RECIPES[0]), **changes}


MISTAKES = [
    (changed(raet=1.0), "unknown field 'raet': Recipe has none; did you mean rate"),
    (changed(core={**plain(Core()), "widht": 3}), "unknown field 'core.widht': Core has none; did you mean width"),
    ({"core": {}}, "missing field 'data': Recipe needs it"),
    (changed(core=3), "core: expected the fields of Core, got 3"),
    (changed(core={**plain(Core()), "width": "wide"}), "core.width: expected int, got 'wide'"),
    (changed(core={**plain(Core()), "width": True}), "core.width: expected int, got True"),
    (changed(core={**plain(Core()), "width": 1.5}), "core.width: expected int, got 1.5"),
    (
        changed(core={**plain(Core()), "kind": "lsmt"}),
        "core.kind: expected one of lstm, transformer, got 'lsmt'; did you",
    ),
    (changed(sizes=[1, "b"]), "sizes[1]: expected int, got 'b'"),
    (changed(names="ab"), "names: expected a list, got 'ab'"),
    (changed(weights={"b": "heavy"}), "weights['b']: expected float, got 'heavy'"),
    (changed(resume=3), "resume: expected str, got 3"),
    (changed(strict="no"), "strict: expected bool, got 'no'"),
    (changed(rate=None), "rate: expected float, got None"),
]


@pytest.mark.parametrize(("values", "message"), MISTAKES)
def test_mistakes_are_named(values: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(message)) as caught:
        from_dict(Recipe, values)
    assert "\n" not in str(caught.value)


def test_child_seeds_are_fixed_and_apart() -> None:
    assert child_seed(1, "data") == 123978294025791374
    seeds = {child_seed(seed, name) for seed in range(100) for name in ("data", "init", "dropout", "1")}
    assert len(seeds) == 400
    assert all(0 <= seed < 2**63 for seed in seeds)
    assert max(seeds) > 2**62
