"""Improve a player by self-play: PPO from a clone that it stays near to, or from scratch."""

from dataclasses import dataclass, field, replace
from typing import Annotated

import numpy as np
import torch
import tyro

from understudy.acting.opponents import OpponentConfig, Opponents
from understudy.acting.player import PolicyPlayer
from understudy.acting.rollout import Rollout
from understudy.config import Texts, in_range
from understudy.errors import ConfigError
from understudy.games.env import Env
from understudy.games.names import make, option
from understudy.games.recordings import Recording
from understudy.games.teams import (
    FROZEN,
    LATEST,
    Controller,
    Scenario,
    Teams,
    against,
    check,
    control_of,
    everyone,
    known,
    read_scenario,
)
from understudy.models.device import pick_device
from understudy.models.policy import Policy, PolicyConfig, PolicySpec
from understudy.recipes.common import RunOptions, train_recorded
from understudy.recipes.rehearsal import PlayedBatches, Rehearsed
from understudy.runs.run import Run
from understudy.training.distributed import DistInfo
from understudy.training.experiment import Experiment, LoopConfig
from understudy.training.learner import Learner, LearnerConfig
from understudy.training.loading import load_policy
from understudy.training.ppo import PPOConfig, PPOLoss

SCRATCH = "scratch"
MOST_WORLDS = 100
FRESH = PolicyConfig(core="none", width=64, dropout=0.0, noise=0.0)
OFTEN = LoopConfig(eval_every=20, save_every=20, sample_every=0)
OWN = replace(
    LearnerConfig(steps=200, batch_size=128, lr=1e-3, warmup=0, schedule="linear", final_lr=0.0, weight_decay=0.0),
    beta2=0.999,
    clip=0.5,
    dtype="float32",
)


@dataclass(frozen=True)
class GameConfig:
    """What is played, in how many worlds."""

    env: str = ""
    """The game, such as kitchen/cramped_room, lane/duel or gym:CartPole-v1 (default: the one that the clone plays)."""
    option: Texts = ()
    """Options of the game as NAME=VALUE, such as view=grid (default: those that the clone plays with)."""
    scenario: str = ""
    """A YAML file that says who belongs to which side (default: the game's own sides)."""
    team_spirit: float = 0.0
    """Share of an agent's reward, shaped rewards included, that is the mean of its side (else: see --scenario)."""
    worlds: int = 256
    """Games at a time."""
    segment: int = 64
    """Steps of each game that are played before the policy learns from them."""
    shaping: float = 0.0
    """Weight of the game's shaped rewards at the start (kitchen and lane)."""
    shaping_until: float = 0.5
    """Share of the training by which their weight has fallen to 0."""

    def validate(self) -> None:
        """Raise ConfigError for a number that is out of range."""
        in_range("worlds", self.worlds, 1)
        in_range("team_spirit", self.team_spirit, 0, 1)
        if self.scenario and self.team_spirit:
            raise ConfigError("--team-spirit is for the game's own sides; the scenario has its own team_spirit")
        in_range("segment", self.segment, 2)
        in_range("shaping", self.shaping, 0)
        in_range("shaping_until", self.shaping_until, 0, 1, above=True)


@dataclass(frozen=True)
class Config:
    """Improves a player by playing against and beside itself (PPO).

    `understudy selfplay --from last` goes on from the last clone; `--from scratch --env lane/duel` begins from nothing.
    """

    origin: Annotated[str, tyro.conf.arg(name="from", metavar="RUN|scratch")] = SCRATCH
    """The clone, or other player, to begin with; scratch: nothing."""
    game: GameConfig = field(default_factory=GameConfig)
    model: PolicyConfig = FRESH
    ppo: PPOConfig = field(default_factory=PPOConfig)
    opponents: OpponentConfig = field(default_factory=OpponentConfig)
    eval_games: int = 100
    """Games of an evaluation with itself, and with each other player: with the game's scripts where there are sides."""
    eval_with: Texts = ()
    """Scripts and runs that it is measured with, or against, beside those that it plays with."""
    learner: LearnerConfig = OWN
    loop: LoopConfig = OFTEN
    options: Annotated[RunOptions, tyro.conf.arg(name="run")] = field(default_factory=RunOptions)

    def validate(self, dist: DistInfo) -> "Config":
        """Return self. Raises UserError for what cannot work."""
        if dist.size > 1:
            raise ConfigError("self-play learns in one process; start it without torchrun")
        pick_device(self.options.device)
        self.game.validate()
        self.ppo.validate()
        self.opponents.validate()
        self.learner.validate(dist)
        self.loop.validate()
        in_range("eval_games", self.eval_games, 1)
        loaded = None if self.origin == SCRATCH else load_policy(self.origin)
        if (loaded.policy.spec.core if loaded else self.model.core) == "transformer":
            raise ConfigError("self-play takes --core lstm, for a memory, or none; not a transformer")
        if loaded is None:
            if not self.game.env:
                raise ConfigError("--from scratch needs a game: --env lane/duel, for example")
            if self.ppo.anchor or self.ppo.value_warmup:
                raise ConfigError("--anchor and --value-warmup need a player to begin with: --from RUN")
        # A game that is not there, or an option that it does not have, is said before there is a run.
        made(self, loaded.recording if loaded else None, worlds=1).close()
        return self if loaded is None else replace(self, origin=str(loaded.folder))


def main(config: Config, run: Run, dist: DistInfo) -> None:
    """Improve a player as `config` says, and record everything in `run`."""
    experiment = build(config, run, dist)
    figures = train_recorded(experiment, run)
    subject, batches = experiment.subject, experiment.batches
    assert isinstance(subject, Rehearsed)
    assert isinstance(batches, PlayedBatches)
    headline = [subject.headline, figures[subject.headline]]
    run.finish(
        **figures, headline=headline, steps=experiment.learner.steps_done, kind=subject.kind, samples=batches.samples
    )


def build(config: Config, run: Run, dist: DistInfo) -> Experiment:
    """Return the experiment: the game, the policy with its opponents, and the learner."""
    device = pick_device(config.options.device)
    loaded = None if config.origin == SCRATCH else load_policy(config.origin, device)
    if loaded is not None:
        run.update(parents=[loaded.folder.parent.parent.name])
    recording = loaded.recording if loaded else None
    env = made(config, recording, config.game.worlds)
    measured = made(config, recording, min(config.eval_games, MOST_WORLDS))
    scenario = read_scenario(config.game.scenario) if config.game.scenario else against(env, config.game.team_spirit)
    check_playable(scenario, env, config)
    if config.game.shaping and not hasattr(env, "shaping"):
        raise ConfigError(f"--shaping: {env.name} has no shaped rewards; leave it out")

    # Who plays with the policy, in training and when it is measured.
    controls = tuple(control_of(env, name) for name in config.opponents.others)
    opponents = Opponents(config.opponents, scenario, controls, run.seed("opponents"))
    teams = Teams(scenario, env, seated=opponents.seated if controls or opponents.competes else None)
    for control in controls:
        teams.add(control, controller(control, env, device))
    named = [control_of(measured, name) for name in (*config.opponents.others, *config.eval_with)]
    named += [f"script:{name}" for name in ("random", *measured.scripts)] if opponents.competes else []
    others = {control: controller(control, measured, device) for control in dict.fromkeys(named)}

    # The policy, the one that it must stay near to, and how it learns.
    torch.manual_seed(run.seed("init"))
    policy = loaded.policy if loaded else fresh(config, env).to(device)
    policy.set_dropout(0.0)
    anchor = load_policy(config.origin, device).policy if config.ppo.anchor else None
    rollout = Rollout(policy, teams, config.game.segment, run.seed("play"))
    loss = PPOLoss(policy, config.ppo, config.learner.batch_size, run.seed("order"))
    learner = Learner(loss, config.learner, device, dist)
    shaping = config.game.shaping, config.game.shaping_until
    batches = PlayedBatches(learner, rollout, opponents, run.folder, anchor, shaping)
    subject = Rehearsed(measured, scenario, config.eval_games, others, batches)
    return Experiment(learner, batches, batches, subject, run.seed("dropout"), config.loop, fresh=loaded is None)


def check_playable(scenario: Scenario, env: Env, config: Config) -> None:
    """Raise UserError unless the scenario fits the game and self-play, and there is a place for the others."""
    check(scenario, env)
    for side in scenario.sides:
        for control in side.controls():
            if control != LATEST:
                raise ConfigError(
                    f"--scenario: {control} decides in it; in self-play all are latest: --others {control}"
                )
        if side.share_observation:
            raise ConfigError("--scenario: self-play lets each agent see by itself; leave out share_observation")
    if config.opponents.others and len(env.agents) == 1:
        raise ConfigError(f"--others {' '.join(config.opponents.others)}: {env.name} is played alone; leave it out")


def made(config: Config, recording: Recording | None, worlds: int) -> Env:
    """Return the game: as the options say, else as the player that it begins with knows it."""
    options = dict(recording.options) if recording else {}
    options |= dict(map(option, config.game.option))
    name = config.game.env or (recording.game if recording else "")
    return make(name, worlds, **options)


def fresh(config: Config, env: Env) -> Policy:
    """Return a policy that knows nothing; what it sees counts in deviations as in a first segment of its play."""
    action = env.action.choices, env.action.low, env.action.high
    core, layers = config.model.resolved(config.game.segment), config.model.encoder_layers
    policy = Policy(PolicySpec(core, env.observation.shape, *action, layers)).eval()
    sample = Rollout(
        policy, Teams(everyone(env.name, dict.fromkeys(env.agents, LATEST), env.options), env), config.game.segment, 0
    )
    seen = sample.play().observations.reshape(-1, *env.observation.shape)
    policy.standardise(seen.mean(0, dtype=np.float64), seen.std(0, dtype=np.float64))
    return policy.train()


def controller(control: str, env: Env, device: torch.device) -> Controller:
    """Return who decides for a control: a script, or a run as it is. Raises UserError where there is none such."""
    found = known(control, env)
    if found is not None:
        return found
    loaded = load_policy(control.removeprefix(FROZEN), device)
    return PolicyPlayer(loaded.policy, env, move_temperature=loaded.move_temperature)
