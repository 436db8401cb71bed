"""What a policy learns from in self-play: games that it plays itself, with its opponents.

Shape suffixes: T steps of a segment, R rows, A possibilities of all choices side by side.
"""

import copy
import json
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file, save_file

from understudy.acting.opponents import PAST, Opponents
from understudy.acting.player import PolicyPlayer
from understudy.acting.rollout import Games, Rollout, Trajectories
from understudy.console import counted
from understudy.doctor.probes import clone
from understudy.evaluation.play import between, outcomes
from understudy.evaluation.ratings import Rating, rated, rated_together
from understudy.files import reading, whole, write_json
from understudy.games.env import Array, Env
from understudy.games.names import make
from understudy.games.recordings import Recording
from understudy.games.teams import LATEST, Controller, Scenario, Teams, known
from understudy.models.language_model import evaluating
from understudy.models.policy import Policy
from understudy.training.checkpoint import BEFORE
from understudy.training.learner import Learner
from understudy.training.play import GAME
from understudy.training.ppo import PPOLoss, Segments, advantages, tensors

PLAYED = "played.npz"
"""The file of a checkpoint that says where all games stood."""
LEAGUE = "league.json"
"""The file of a checkpoint with past selves and what is known of them."""
SHORT = 20
"""Steps after which games of a small rehearsal end, where the game can be told so."""
SLOWEST = 0.05
"""Least share of the newest batch in the running mean and deviation of the returns."""


@dataclass
class Rehearsed:
    """A game as the subject of self-play: the policy is measured by playing it with itself and with others.

    Others are controls: where there are sides, the policy plays against each of them; else beside each.
    """

    env: Env
    """To be measured in."""
    scenario: Scenario
    games: int
    others: Mapping[str, Controller]
    batches: "PlayedBatches"
    unit: str = field(default="action", init=False)
    kind: str = field(default="play", init=False)

    @property
    def recording(self) -> Recording:
        """What is played."""
        return Recording.of(self.env)

    @property
    def competes(self) -> bool:
        """Whether there are sides that win or lose."""
        return len(self.scenario.sides) > 1

    @property
    def headline(self) -> str:
        """The figure by which runs are compared."""
        return "val_rating" if self.competes and self.others else "val_return"

    @property
    def summary(self) -> str:
        """What is played, and with whom."""
        rollout, opponents = self.batches.rollout, self.batches.opponents
        guests = ", ".join(opponents.others)
        past = f", {opponents.config.past:.0%} of the games against past selves" if opponents.competes else ""
        also = f", {opponents.config.others_share:.0%} of them with {guests}" if guests else ""
        played = f"{counted(rollout.teams.env.worlds, 'game')} at a time, {rollout.length} steps an iteration"
        return f"{self.env.name}: {played}{past}{also}"

    def evaluate(self, model: Policy, batches: Iterable[Any], dtype: torch.dtype) -> dict[str, float]:
        """Return what is earned with itself, and with others; or how often these are beaten, and the rating for it."""
        with evaluating(model):
            me: Controller = PolicyPlayer(model, self.env)
            own = self._games({LATEST: me})
            found = {control: self._games({LATEST: me, control: other}) for control, other in self.others.items()}
        figures = {"val_return": float(own.returns.mean()), "val_length": float(own.lengths.mean())}
        for control, games in found.items():
            name = control.partition(":")[2].rpartition("/")[2] or control
            if self.competes:
                figures[f"val_wins_{name}"] = float(np.mean(outcomes(games, LATEST)))
            else:
                mine = games.controls == LATEST
                figures[f"val_with_{name}"] = float(games.returns[mine].mean())
                for place in range(len(self.env.agents)):
                    figures[f"val_with_{name}_as_{place + 1}"] = float(games.returns[mine[:, place]].mean())
        if self.competes and self.others:
            results = {control: outcomes(games, LATEST).tolist() for control, games in found.items()}
            figures["val_rating"] = rated(results, self.pool).mean
        return figures

    @cached_property
    def pool(self) -> dict[str, Rating]:
        """The ratings of the others, from games with each other; always the same ones."""
        pairs = list(combinations(self.others.items(), 2))
        return {name: Rating() for name in self.others} | rated_together(
            {
                (one, two): outcomes(self._games({one: first, two: second}), one).tolist()
                for (one, first), (two, second) in pairs
            }
        )

    def _games(self, players: Mapping[str, Controller]) -> Games:
        return between(self.env, self.scenario, players, range(self.games))

    def told(self, figures: Mapping[str, float]) -> str:
        """Return the figures in a few words."""
        rest = [
            f"{name.removeprefix('val_').replace('_', ' ')} {x:.3g}"
            for name, x in figures.items()
            if name not in ("val_return", "val_length")
        ]
        return ", ".join([f"return {figures['val_return']:.4g} in games of {figures['val_length']:.0f} steps", *rest])

    def save(self, folder: Path) -> None:
        """Write what is played, and where all games stand."""
        write_json(folder / GAME, self.recording.description())
        self.batches.save(folder)


class PlayedBatches:
    """Batches of what the policy plays: `batch(step)` plays a segment with the weights of that moment.

    A resumed run goes on from its last checkpoint, in which `save` has written where the games stood.

    Args:
        learner: its policy plays, and learns by a `PPOLoss`.
        rollout: plays.
        opponents: take part.
        folder: of the run.
        anchor: the policy to stay near to, where one is asked for.
        shaping: weight of the game's shaped rewards at the start, and the share of the training by which it is 0.
    """

    batches_per_epoch = 1

    def __init__(
        self,
        learner: Learner,
        rollout: Rollout,
        opponents: Opponents,
        folder: Path,
        anchor: Policy | None = None,
        shaping: tuple[float, float] = (0.0, 1.0),
    ) -> None:
        assert isinstance(learner.objective, PPOLoss)
        self.learner, self.rollout, self.opponents, self.anchor = learner, rollout, opponents, anchor
        self._loss, self._folder, self._shaping = learner.objective, folder, shaping
        rows = rollout.teams.env.rows
        self.batch_size, self.context = learner.config.batch_size, rollout.length
        self.targets_per_epoch = rows * rollout.length
        self.trajectories: Trajectories
        """What happened in the segment that the last batch was made of."""
        self.samples = 0
        """Steps that the policy has decided in all."""
        self._step = -1
        self._counted = 0
        self._anchored: Any = None if anchor is None else anchor.initial_state(rows)
        """What the anchor remembers, having seen all that was played."""

    def batch(self, step: int) -> Segments:
        """Return what the policy plays before iteration `step`; asked again for the same, it is the same."""
        if step != self._step:
            if step != self._step + 1:
                self._resume(step)
            self._loss.iteration = self._step = step
            self._played = self._play(step / self.learner.config.steps)
        return self._played

    def eval_batches(self) -> Iterator[Segments]:
        """Yield nothing: a player is measured by playing."""
        yield from ()

    @contextmanager
    def small(self, worlds: int, length: int) -> Iterator["PlayedBatches"]:
        """Yield a small rehearsal to experiment with: copies of the learner and its opponents, in short games.

        Nothing that is played, learned or kept there reaches this one.
        """
        teams = self.rollout.teams
        options = dict(teams.env.options)
        if "horizon" in options or teams.env.name.startswith("gym:"):
            name = "horizon" if "horizon" in options else "max_episode_steps"
            options[name] = min(options.get(name) or SHORT, SHORT)
        env = make(teams.env.name, worlds, **options)
        with tempfile.TemporaryDirectory(prefix="understudy-rehearsal-") as folder:
            learner, opponents = clone(self.learner), copy.deepcopy(self.opponents)
            seated = None if teams.uniform else opponents.seated
            own = Teams(teams.scenario, env, seated=seated)
            for control, player in teams.players():
                if isinstance(player, PolicyPlayer) and control != LATEST:
                    guest = PolicyPlayer(player.policy, env, player.temperature, player.seed)
                    guest.moves = player.moves
                    own.add(control, guest)
                elif control != LATEST:
                    own.add(control, known(control, env))
            rollout = Rollout(learner.model, own, min(length, self.context), seed=0)
            yield PlayedBatches(learner, rollout, opponents, Path(folder), self.anchor, self._shaping)
        env.close()

    def _play(self, progress: float) -> Segments:
        # Who plays, and for what, in this iteration.
        opponents, env = self.opponents, self.rollout.teams.env
        opponents.progress = progress
        if opponents.competes and self._step % opponents.config.snapshot_every == 0:
            self._keep_past_self()
        weight, until = self._shaping
        if weight:
            env.shaping = weight * max(0.0, 1 - progress / until)  # type: ignore[attr-defined]

        self.learner.model.eval()
        played, games = self.rollout.play(), self.rollout.games
        self.trajectories = played
        opponents.learn(games)

        # What it gained over what it expected, and what it should have expected.
        config, decided = self._loss.config, played.decided
        gains = advantages(played, config.gamma, config.gae_lambda)
        returns = gains + played.values[:-1]
        self.samples += int(decided.sum())
        figures = {"samples": float(self.samples), "games": float(len(games.lengths))}
        figures["explained_variance"] = 1 - float(gains[decided].var() / max(returns[decided].var(), 1e-12))
        own = games.controls == LATEST
        if own.any():
            figures |= {"return": float(games.returns[own].mean()), "length": float(games.lengths.mean())}
        self._count_in(returns[decided])

        normal = (gains - gains[decided].mean()) / (gains[decided].std() + 1e-8)

        def rows(array: Array) -> Array:
            return array.swapaxes(0, 1)

        segments = Segments(
            inputs_BT=rows(played.observations),
            actions_BTC=rows(played.actions),
            log_probs_BT=rows(played.log_probs),
            advantages_BT=rows(normal),
            returns_BT=rows(returns),
            weights_BT=rows(decided.astype(np.float32)),
            reset_BT=rows(played.begins),
            masks_BTA=None if played.masks.all() else rows(played.masks),
            state=played.state,
            entropy=config.entropy + (config.final_entropy - config.entropy) * progress,
            anchor=config.anchor + (config.final_anchor - config.anchor) * progress,
            learns=self._step >= config.value_warmup,
            figures=figures,
        )
        return segments if self.anchor is None else replace(segments, anchor_BTA=self._anchor_says(segments))

    def _count_in(self, returns: Array) -> None:
        """Have the value count in deviations of the returns so far."""
        policy: Policy = self.learner.model
        self._counted += 1
        share = max(1 / self._counted, SLOWEST)
        before, mean, std = float(policy.value_mean), float(returns.mean()), float(returns.std())
        now = before + share * (mean - before)
        square = (1 - share) * (float(policy.value_std) ** 2 + (before - now) ** 2) + share * (
            std**2 + (mean - now) ** 2
        )
        policy.count_values_in(now, max(square**0.5, 1e-4))

    @torch.no_grad()
    def _anchor_says(self, segments: Segments) -> Array:
        """Return the anchor's distributions at all steps, [B, T, A], having it see all that was played."""
        anchor = self.anchor
        assert anchor is not None
        part = tensors(replace(segments, state=self._anchored), self.learner.device)
        hidden_BTD, self._anchored = anchor.seen(part.inputs_BT, part.actions_BTC, self._anchored, part.reset_BT)
        masks_BTA = part.masks_BTA
        said: Array = anchor.distribution(hidden_BTD, masks_BTA).cpu().numpy()
        return said

    def _keep_past_self(self) -> None:
        """Keep the policy as it is as an opponent."""
        control, file = f"{PAST}{self._step}", self._folder / "league" / f"past-{self._step:06d}.safetensors"
        file.parent.mkdir(exist_ok=True)
        with whole(file) as building:
            save_file({name: x.contiguous() for name, x in self.learner.model.state_dict().items()}, building)
        self._load_past_self(control)
        self.opponents.add(control)

    def _load_past_self(self, control: str) -> None:
        number = int(control.removeprefix(PAST))
        policy = Policy(self.learner.model.policy).to(self.learner.device)
        policy.load_state_dict(load_file(self._folder / "league" / f"past-{number:06d}.safetensors"))
        teams = self.rollout.teams
        teams.add(control, PolicyPlayer(policy.eval(), teams.env, seed=number))

    def save(self, folder: Path) -> None:
        """Write where all games stand, and what is known of the opponents."""
        arrays = {"controls": self.rollout.teams.controls.astype(str), **self.rollout.snapshot()}
        for control, player in self.rollout.teams.players():
            if isinstance(player, PolicyPlayer):
                arrays |= {f"{control}/{name}": array for name, array in player.snapshot().items()}
        if self.anchor is not None:
            remembered = self.anchor.remembered(self._anchored)
            arrays |= {f"anchor/{name}": x.cpu().numpy() for name, x in remembered.items()}
        np.savez(folder / PLAYED, **arrays)  # type: ignore[arg-type]
        state = {"samples": self.samples, "counted": self._counted, "opponents": self.opponents.state()}
        write_json(folder / LEAGUE, state)

    def _resume(self, step: int) -> None:
        folder = self._folder / "checkpoints" / f"step-{step:06d}"
        with reading(folder, BEFORE):
            state = json.loads((folder / LEAGUE).read_bytes())
            kept = dict(np.load(folder / PLAYED))
        self.samples, self._counted = state["samples"], state["counted"]
        self.opponents.restore(state["opponents"], self._load_past_self)
        self.rollout.restore(kept, kept["controls"].astype(object))
        for control, player in self.rollout.teams.players():
            if isinstance(player, PolicyPlayer):
                player.restore(
                    {name.partition("/")[2]: x for name, x in kept.items() if name.startswith(f"{control}/")}
                )
        if self.anchor is not None:
            for name, x in self.anchor.remembered(self._anchored).items():
                x.copy_(torch.from_numpy(kept[f"anchor/{name}"]))
        self._step = step - 1
