"""Who plays against or beside the policy that learns: its past selves by the published quality rule, scripts and runs.

Past selves are drawn with probabilities pᵢ ∝ exp(qᵢ). A new one starts at the highest q; where the latest beats
opponent i, qᵢ falls by 0.01 / (N pᵢ) [1, appendix N]. Whoever is drawn stays for the whole game.

[1] OpenAI et al., "Dota 2 with Large Scale Deep Reinforcement Learning", arXiv 1912.06680.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from understudy.acting.rollout import Games
from understudy.config import Texts, child_seed, in_range
from understudy.errors import ConfigError
from understudy.games.teams import LATEST, Scenario
from understudy.statistics import Floats

PAST = "past:"
QUALITY_STEP = 0.01


@dataclass(frozen=True)
class OpponentConfig:
    """Against or beside whom the policy plays, apart from itself."""

    past: float = 0.2
    """Share of the games against a past self, where there are sides to win or lose."""
    snapshot_every: int = 10
    """Iterations between past selves that are kept."""
    others: Texts = ()
    """Scripts, such as expert, or runs, of which one takes part in some games."""
    others_share: float = 1.0
    """Share of the games with one of the others, once it is reached."""
    others_from: float = 0.0
    """Share of the training after which they begin to take part."""
    others_by: float = 0.0
    """Share of the training by which their share is reached; it rises linearly."""

    def validate(self) -> None:
        """Raise ConfigError for a number that is out of range."""
        for name in ("past", "others_share", "others_from", "others_by"):
            in_range(name, getattr(self, name), 0, 1)
        in_range("snapshot_every", self.snapshot_every, 1)
        if self.others_by < self.others_from:
            raise ConfigError(f"--others-by {self.others_by} comes before --others-from {self.others_from}")


class Opponents:
    """Draws who sits where when a game begins, and learns from how games end.

    Args:
        config: shares.
        scenario: the game's sides; the latest policy is `latest` everywhere.
        others: controls of those who take part beside past selves.
        seed: of what is drawn, beside the episode's.
    """

    def __init__(self, config: OpponentConfig, scenario: Scenario, others: Sequence[str], seed: int) -> None:
        self.config, self.others, self.seed = config, tuple(others), child_seed(seed, "opponents")
        self.sides = [len(side.agents) for side in scenario.sides]
        self.past: dict[str, float] = {}
        """The quality of each past self, by its control."""
        self.progress = 0.0
        """How much of the training is done, from 0 to 1."""

    @property
    def competes(self) -> bool:
        """Whether there are sides that win or lose."""
        return len(self.sides) > 1

    def add(self, control: str) -> None:
        """Let a past self take part from now on."""
        self.past[control] = max(self.past.values(), default=0.0)

    def probabilities(self) -> Floats:
        """Return how likely each past self is drawn, in the order of `past`."""
        qualities = np.array(list(self.past.values()))
        weights = np.exp(qualities - qualities.max())
        return weights / weights.sum()

    @property
    def others_share(self) -> float:
        """Share of the games with one of the others, now."""
        config, ramp = self.config, self.config.others_by - self.config.others_from
        if not self.others or self.progress < config.others_from:
            return 0.0
        done = min(1.0, (self.progress - config.others_from) / ramp) if ramp else 1.0
        return config.others_share * done

    def seated(self, seed: int) -> list[str]:
        """Return who decides for each agent of a game that begins with this seed."""
        random = np.random.default_rng([self.seed, seed])
        drawn, guest = random.random(), ""
        if drawn < self.others_share:
            guest = self.others[random.integers(len(self.others))]
        elif self.competes and self.past and drawn < self.others_share + (1 - self.others_share) * self.config.past:
            guest = list(self.past)[random.choice(len(self.past), p=self.probabilities())]
        seats = [LATEST] * sum(self.sides)
        if not guest:
            return seats
        if not self.competes:
            # One place for the policy that learns, the others for the guest
            own = random.integers(len(seats))
            return [LATEST if place == own else guest for place in range(len(seats))]
        side = int(random.integers(len(self.sides)))
        first = sum(self.sides[:side])
        seats[first : first + self.sides[side]] = [guest] * self.sides[side]
        return seats

    def learn(self, games: Games) -> None:
        """Lower the quality of past selves that were beaten."""
        if not self.past:
            return
        chances = dict(zip(self.past, self.probabilities(), strict=True))
        for controls, earned in zip(games.controls, games.returns, strict=True):
            for guest in {one for one in controls if one.startswith(PAST)}:
                mine = controls == LATEST
                if mine.any() and earned[mine].mean() > earned[controls == guest].mean():
                    self.past[guest] -= QUALITY_STEP / (len(self.past) * chances[guest])

    def state(self) -> dict[str, Any]:
        """Return what a resumed training goes on with, as JSON."""
        return {"past": self.past}

    def restore(self, state: dict[str, Any], load: Callable[[str], None]) -> None:
        """Go on from a state; `load` brings back a past self."""
        self.past = dict(state["past"])
        for control in self.past:
            load(control)
