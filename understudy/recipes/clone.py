"""Clone a player: learn a policy from recorded games, and measure it on games that it never saw and by playing."""

import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from typing import Annotated, Literal

import numpy as np
import torch
import tyro
from rich.table import Column, Table

from understudy.acting.player import PolicyPlayer
from understudy.config import in_range
from understudy.console import table
from understudy.errors import ConfigError
from understudy.evaluation.baselines import BASELINES, Steps
from understudy.evaluation.play import calibration_error, play, returns
from understudy.files import write_json
from understudy.games.demonstrations import GameBatches
from understudy.games.names import make
from understudy.games.recordings import Episode, Recording
from understudy.games.teams import script
from understudy.models.device import pick_device
from understudy.models.policy import Policy, PolicyConfig, PolicySpec
from understudy.recipes.common import RunOptions, train_recorded, waiting
from understudy.recipes.dagger import DaggerBatches, corrected_games
from understudy.recipes.demonstrations import DemonstrationConfig, Demonstrations, agents_of, gather, made
from understudy.runs.run import Run
from understudy.statistics import Estimate, ratio_estimate
from understudy.training.distributed import DistInfo
from understudy.training.experiment import Experiment, LoopConfig
from understudy.training.learner import Learner, LearnerConfig
from understudy.training.loading import latest_checkpoint
from understudy.training.objectives import ImitationLoss
from understudy.training.play import MANNER, Manner, Play, Predictions, predict, softening

OWN = LearnerConfig(steps=300, batch_size=4, lr=5e-3, warmup=10, beta2=0.99, weight_decay=0.1, dtype="float32")
EXPERT = replace(OWN, steps=1500, batch_size=64, lr=3e-3)
OFTEN = LoopConfig(eval_every=50, save_every=100, sample_every=0)
MOST_WORLDS = 100


@dataclass(frozen=True)
class Config:
    """Clones a player from recorded games.

    `understudy clone --data kitchen/cramped_room` learns from people's games; `--env gym:CartPole-v1` from a scripted
    expert's.
    """

    demonstrations: DemonstrationConfig = field(default_factory=DemonstrationConfig)
    model: PolicyConfig = field(default_factory=PolicyConfig)
    last_action: Literal["auto", "yes", "no"] = "auto"
    """Whether the clone sees what it did last; auto: where it learns from recordings."""
    balance: float = 0.0
    """How far rare actions are given more weight: 0 not at all, 1 so that all actions weigh the same together."""
    dagger: int = 0
    """How many times the clone plays and the expert of --env corrects it (DAgger)."""
    play_games: int = 100
    """Games to play with itself at the end (0: none)."""
    temperature: float = 1.0
    """Temperature when it plays: 1 draws from its own probabilities, 0 takes the likeliest action."""
    move_temperature: float = 0.2
    """Second temperature of all actions but the idle one, which keeps its probability, in games that name one."""
    learner: LearnerConfig = OWN
    loop: LoopConfig = OFTEN
    options: Annotated[RunOptions, tyro.conf.arg(name="run")] = field(default_factory=RunOptions)

    def validate(self, dist: DistInfo) -> "Config":
        """Return self. Raises UserError for what cannot work."""
        if dist.size > 1:
            raise ConfigError("a clone learns in one process; start it without torchrun")
        pick_device(self.options.device)
        self.demonstrations.validate()
        self.model.resolved(1)
        self.learner.validate(dist)
        self.loop.validate()
        in_range("balance", self.balance, 0, 1)
        in_range("dagger", self.dagger, 0)
        in_range("play_games", self.play_games, 0)
        in_range("temperature", self.temperature, 0)
        in_range("move_temperature", self.move_temperature, 0, above=True)
        if self.dagger and not self.demonstrations.env:
            raise ConfigError("--dagger needs an expert to ask: give --env, and the script with --expert")
        if self.dagger and self.last_action == "yes":
            raise ConfigError("--dagger and --last-action do not go together: what the expert says was not done")
        return self


@dataclass(frozen=True)
class Basis:
    """The options that the defaults of all others depend on."""

    env: str = ""
    resume: str | None = None


def preset(basis: Basis) -> Config:
    """Return the defaults for recordings, or for a script in --env, which does the same whenever it sees the same.

    >>> preset(Basis()).model.core, preset(Basis(env="gym:CartPole-v1")).model.core
    ('lstm', 'none')
    """
    config = Config()
    # A resumed run takes its options from its record, and none from the command line.
    if basis.resume or not basis.env:
        return config
    model = PolicyConfig(core="none", width=64, dropout=0.0, noise=0.0)
    return replace(config, model=model, learner=EXPERT, temperature=0.0)


def main(config: Config, run: Run, dist: DistInfo) -> None:
    """Clone as `config` says, and record everything in `run`."""
    demonstrations = _gathered(config, run)
    experiment = assemble(config, run, dist, demonstrations)
    figures = train_recorded(experiment, run)
    subject = experiment.subject
    assert isinstance(subject, Play)

    # How it plays, which the checkpoint says beside its weights, so that a resumed run finds these as they were.
    batches = partial(_batches, config, subject.recording)
    model, dtype = experiment.learner.model, experiment.learner.dtype
    manner = Manner(softening(model, batches(subject.valid).eval_batches(), dtype), config.move_temperature)
    write_json(latest_checkpoint(run.folder) / MANNER, asdict(manner))
    model.soften(manner.softening)
    run.say(f"logits divided by {manner.softening:.2f}, which predicts the validation games best")
    figures["softening"] = manner.softening

    # How well it predicts games that it never saw, beside what needs no training.
    found = {"the clone": predict(model, batches(subject.test).eval_batches(), dtype)}
    choices = subject.recording.action.choices
    if len(choices) == 1:
        with waiting(run, "measuring baselines"):
            train, valid, test = (
                Steps(batches(part).eval_batches()) for part in (subject.train, subject.valid, subject.test)
            )
            found |= {name: baseline(train, valid, test, choices[0]) for name, baseline in BASELINES.items()}
    games_of_rows = np.array([part.game for part in batches(subject.test).parts])
    estimates = {name: _estimates(one, games_of_rows) for name, one in found.items()}
    run.console.print(_table(estimates, f"{len(subject.test)} games never seen, 95% intervals over games"))
    figures |= {f"test_{name}": one.value for name, one in estimates["the clone"].items()}
    told = {name: {figure: vars(one) for figure, one in row.items()} for name, row in estimates.items()}

    # What it earns.
    headline = ["test_loss", figures["test_loss"]]
    if config.play_games:
        earned = returns(_played(config, subject.recording, model, run))
        estimate = ratio_estimate(earned, np.ones(len(earned)))
        headline = ["return", estimate.value]
        figures |= {"return": estimate.value}
        told["return"] = {"return": {**vars(estimate), "deviation": float(earned.std())}}
        run.say(
            f"return {estimate.value:.1f} ({estimate.low:.1f} to {estimate.high:.1f}), "
            f"{len(earned)} games with itself at temperature {config.temperature:g}, moves {config.move_temperature:g}"
        )
    run.log(experiment.learner.steps_done, **{name: x for name, x in figures.items() if not name.startswith("val_")})
    run.finish(**figures, headline=headline, steps=experiment.learner.steps_done, kind=subject.kind, intervals=told)


def build(config: Config, run: Run, dist: DistInfo) -> Experiment:
    """Return the experiment: the recorded games, a fresh policy and its learner."""
    return assemble(config, run, dist, _gathered(config, run))


def _gathered(config: Config, run: Run) -> Demonstrations:
    with waiting(run, f"reading {config.demonstrations.env or ' '.join(config.demonstrations.data)}"):
        found = gather(config.demonstrations, run.seed("games"))
    for file in found.files:
        run.add_data(file)
    return found


def assemble(config: Config, run: Run, dist: DistInfo, demonstrations: Demonstrations) -> Experiment:
    """Return the experiment of these games."""
    subject = demonstrations.play
    recording, action = subject.recording, subject.recording.action

    # A fresh policy, for which inputs are standardised as they are in the games to learn from.
    torch.manual_seed(run.seed("init"))
    longest = max(len(one.actions) for part in (subject.train, subject.valid, subject.test) for one in part)
    core = config.model.resolved(longest)
    seen, bounds = recording.observation.shape, (action.choices, action.low, action.high)
    layers, noise = config.model.encoder_layers, config.model.noise
    policy = Policy(PolicySpec(core, seen, *bounds, layers, _sees_last_action(config), noise))
    policy.value.requires_grad_(False)  # rewards are not learned from
    batches = _batches(config, recording, subject.train, core.context, run.seed("batches"))
    policy.standardise(*_moments(batches))

    # The batches; with DAgger they grow while the clone learns.
    learner = Learner(ImitationLoss(policy), config.learner, pick_device(config.options.device), dist)
    growing: GameBatches | DaggerBatches = batches
    if config.dagger:
        growing = _dagger(config, run, policy, subject, batches)
    validation = _batches(config, recording, subject.valid, core.context)
    frozen = frozenset(name for name, parameter in policy.named_parameters() if not parameter.requires_grad)
    return Experiment(learner, growing, validation, subject, run.seed("dropout"), loop=config.loop, frozen=frozen)


def _sees_last_action(config: Config) -> bool:
    return config.last_action == "yes" or (config.last_action == "auto" and not config.demonstrations.env)


def _batches(
    config: Config, recording: Recording, episodes: Sequence[Episode], context: int = 0, seed: int | None = None
) -> GameBatches:
    """Return batches of some games; what is measured has no weights but 1."""
    return GameBatches(
        episodes,
        config.learner.batch_size,
        context or config.model.context,
        seed,
        balance=config.balance if seed is not None and len(recording.action.choices) == 1 else 0.0,
        agents=agents_of(config.demonstrations, recording),
        last_action=recording.action if _sees_last_action(config) else None,
    )


def _moments(batches: GameBatches) -> tuple[np.ndarray, np.ndarray]:
    """Return mean and standard deviation of the inputs over all steps."""
    count, total, squares = 0, 0.0, 0.0
    for part in batches.parts:
        seen = batches.seen(part).astype(np.float64)
        count, total, squares = count + len(seen), total + seen.sum(0), squares + (seen**2).sum(0)
    mean = np.asarray(total / count)
    std = np.sqrt(np.maximum(squares / count - mean**2, 0.0))
    return mean, std


def _dagger(config: Config, run: Run, policy: Policy, subject: Play, batches: GameBatches) -> DaggerBatches:
    """Return batches to which the clone's own games are added, as the expert would have played them."""
    demonstrations = config.demonstrations

    def grow(games: Sequence[Episode]) -> GameBatches:
        return _batches(config, subject.recording, [*subject.train, *games], batches.context, batches.seed)

    def correct(number: int) -> Recording:
        run.say(
            f"round {number} of {config.dagger}: the clone plays and {demonstrations.expert} corrects it", style="dim"
        )
        env = made(demonstrations, min(MOST_WORLDS, demonstrations.games))
        seeds = np.random.default_rng(run.seed(f"dagger {number}")).integers(1, 2**31, demonstrations.games)
        try:
            return corrected_games(policy, env, script(env, demonstrations.expert), seeds.tolist())
        finally:
            env.close()

    return DaggerBatches(batches, grow, correct, config.dagger, config.learner.steps, run.folder)


def _played(config: Config, recording: Recording, model: Policy, run: Run) -> list[Episode]:
    """Return the games that the clone plays with itself."""
    env = make(recording.game, min(MOST_WORLDS, config.play_games), **recording.options)
    model.eval()
    try:
        player = PolicyPlayer(model, env, config.temperature, run.seed("play"), config.move_temperature)
        with waiting(run, f"playing {config.play_games} games"):
            return play(env, player, range(config.play_games))
    finally:
        env.close()


def _estimates(found: Predictions, games_of_rows: np.ndarray) -> dict[str, Estimate]:
    """Return nats, accuracy and calibration error, with intervals from whole games where there are some."""
    game = games_of_rows[found.row]
    sizes = np.bincount(game)
    estimates = {"loss": ratio_estimate(np.bincount(game, found.nats), sizes)}
    if np.isnan(found.confidence).any():
        return {**estimates, "error": ratio_estimate(np.bincount(game, found.right), sizes).map(math.sqrt)}
    estimates["accuracy"] = ratio_estimate(np.bincount(game, found.right), sizes)
    return {**estimates, "ece": Estimate(calibration_error(found.confidence, found.right))}


def _table(estimates: dict[str, dict[str, Estimate]], title: str) -> Table:
    shown: dict[str, tuple[str, Callable[[float], str]]] = {
        "accuracy": ("right", lambda x: f"{x:.1%}"),
        "error": ("root mean square error", lambda x: f"{x:.3g}"),
        "loss": ("nats per action", lambda x: f"{x:.3f}"),
        "ece": ("calibration error", lambda x: f"{x:.1%}"),
    }
    names = [name for name in shown if name in estimates["the clone"]]
    found = table("", *(Column(shown[name][0], justify="right") for name in names), title=title)
    for who, row in estimates.items():
        cells = []
        for name in names:
            one, form = row[name], shown[name][1]
            cells.append(form(one.value) + ("" if math.isnan(one.low) else f" ({form(one.low)} to {form(one.high)})"))
        found.add_row(who, *cells)
    return found
