"""How strong a player is, from the games that it wins and loses against others of known strength.

Ratings are openskill's (Weng & Lin 2011, "A Bayesian Approximation Method for Online Ranking", Plackett–Luce): a mean
and a standard deviation, 25 ± 8.3 before any game.
"""

from collections.abc import Mapping, Sequence
from itertools import zip_longest
from typing import Any, NamedTuple

from understudy.errors import MissingPackageError


class Rating(NamedTuple):
    """Skill and how uncertain it is."""

    mean: float = 25.0
    deviation: float = 25 / 3


Results = Mapping[str, Sequence[float]]
"""Outcomes of games by opponent: 1 won, 0.5 drawn, 0 lost."""


def rated(results: Results, pool: Mapping[str, Rating]) -> Rating:
    """Return the rating of one who had these results against players whose ratings stay as they are."""
    model, own = _model(), Rating()
    mine = model.rating(*own)
    # By turns, so that no opponent counts as the last
    for outcomes in zip_longest(*results.values()):
        for name, outcome in zip(results, outcomes, strict=True):
            if outcome is not None:
                other = model.rating(*pool[name])
                mine = model.rate([[mine], [other]], ranks=_ranks(outcome))[0][0]
    return Rating(mine.mu, mine.sigma)


def rated_together(results: Mapping[tuple[str, str], Sequence[float]]) -> dict[str, Rating]:
    """Return the ratings of players after their games with each other: outcomes, for the first of each pair."""
    model = _model()
    ratings: dict[str, Any] = {name: model.rating() for pair in results for name in pair}
    for outcomes in zip_longest(*results.values()):
        for (first, second), outcome in zip(results, outcomes, strict=True):
            if outcome is not None:
                (one,), (other,) = model.rate([[ratings[first]], [ratings[second]]], ranks=_ranks(outcome))
                ratings[first], ratings[second] = one, other
    return {name: Rating(one.mu, one.sigma) for name, one in ratings.items()}


def _ranks(outcome: float) -> list[float]:
    return [1 - outcome, outcome]


def _model() -> Any:
    try:
        from openskill.models import PlackettLuce
    except ImportError as error:
        raise MissingPackageError("ratings need openskill: pip install 'understudy[games]'") from error
    return PlackettLuce()
