"""Whether recorded games and the policy that learns from them are what they should be.

Shape suffixes: B batch rows, T time steps, N steps, A possibilities of all choices side by side.
"""

import hashlib
from collections.abc import Iterable, Iterator

import numpy as np
import torch

from understudy.acting.player import PolicyPlayer
from understudy.data.packing import Batch
from understudy.doctor.checks import Finding, check
from understudy.doctor.data import some_batches
from understudy.doctor.probes import clone, imitation_parts, one_document_per_row, probe_batch
from understudy.games.names import make
from understudy.games.recordings import Episode
from understudy.models.policy import Policy
from understudy.training.experiment import Experiment
from understudy.training.play import Play

# Steps from which an action that was never taken is odd.
ENOUGH = 500
# Share of the steps in which something that is seen must change.
CHANGING = 0.02
# By how many steps actions may lie too late, and numbers of what is seen that the change is told from.
SHIFTS = (-1, 0, 1)
NUMBERS = 256
# Share of the variance of actions that must be told by a change of what is seen for it to count; how much better than
# the steps beside it.
TOLD, CLEARER = 0.02, 1.02
# Steps of a window of a game, how many different ones it must have, and the share by which a game is known.
WINDOW, VARIED, KNOWN = 24, 8, 0.5
# How far probabilities may be apart.
APART = 1e-3
# How many times larger the head is made where a fresh policy's probabilities are compared, which are all alike.
SHARPER = 100.0


def _as_the_policy_gets(experiment: Experiment, batches: Iterable[Batch]) -> Iterator[tuple[np.ndarray, ...]]:
    """Yield inputs, actions and weights of batches as the learner hands them to the policy."""
    for batch in batches:
        for inputs, targets, weights, *_ in imitation_parts(experiment.learner, batch):
            yield inputs.cpu().numpy(), targets.cpu().numpy(), weights.cpu().numpy()


@check("the recorder or the adapter maps it to another action", "nobody who was recorded ever had a use for it")
def actions_taken(play: Play) -> Finding:
    """Check that each action that the game allows was taken in some game to learn from.

    What was never taken a clone will hardly ever do. A button that the recorder does not know looks the same. Source:
    Codevilla et al., "Exploring the Limitations of Behavior Cloning for Autonomous Driving" (2019), on what
    demonstrations lack.
    """
    choices, names = play.recording.action.choices, play.recording.action.names
    if not choices:
        return Finding("skipped", "real numbers, not choices")
    taken = np.concatenate([game.actions.reshape(-1, len(choices)) for game in play.train])
    flat = np.concatenate([np.bincount(one, minlength=count) for one, count in zip(taken.T, choices, strict=True)])
    allowed = np.ones(sum(choices), bool)
    if masks := [one.masks for one in play.train if one.masks is not None]:
        allowed = np.any([one.any((0, 1)) for one in masks], axis=0)
    never = np.flatnonzero((flat == 0) & allowed)
    if not len(never):
        return Finding(True, f"{len(flat)} actions, each taken at least {flat[allowed].min():,} times", "each taken")
    told = ", ".join(str(names[one]) if len(choices) == 1 and names else str(one) for one in never)
    measured = f"{told} never taken in {len(taken):,} steps"
    return Finding(False if len(taken) >= ENOUGH else "noted", measured, "each taken")


@check(
    "the recorder keeps the same array, which the game writes into", "a wrapper or the packing repeats one observation"
)
def observations_change(experiment: Experiment, play: Play, thorough: bool = False) -> Finding:
    """Check that what is seen changes from step to step: it is no constant, nor a copy of the first.

    Numbers that are the same in all games are counted, too: there are some in healthy games. Source: Karpathy, "A
    Recipe for Training Neural Networks" (2019), "visualize just before the net".
    """
    changed = steps = 0
    low = high = np.zeros(0)
    for inputs, _, weights in _as_the_policy_gets(experiment, some_batches(experiment.batches, thorough)):
        known, own = weights > 0, len(play.recording.observation.shape)
        # Without what the policy did last, which the recorder does not see
        seen = inputs[..., : play.recording.observation.shape[0]] if own == 1 else inputs
        flat = seen.reshape(*known.shape, -1)
        both = known[:, 1:] & known[:, :-1]
        changed += int((flat[:, 1:] != flat[:, :-1]).any(-1)[both].sum())
        steps += int(both.sum())
        least, most = flat[known].min(0), flat[known].max(0)
        low, high = (least, most) if not low.size else (np.minimum(low, least), np.maximum(high, most))
    if not steps:
        return Finding("skipped", "no row has two steps")
    share, constant = changed / steps, int((low == high).sum())
    measured = f"something changes in {share:.0%} of the steps; {constant} of {low.size} numbers never do"
    return Finding(share >= CHANGING and constant < low.size, measured, f"at least {CHANGING:.0%}, and not all")


@check("actions are recorded after the observation that they led to", "the packing shifts actions against observations")
def action_alignment(experiment: Experiment, play: Play, thorough: bool = False) -> Finding:
    """Check that each action stands beside the observation in which it was decided, not one step earlier or later.

    What an action does shows in the next observation. So the change from each observation to the next is compared with
    the actions `shift` steps later, by linear regression on one half of the steps and its R² on the other: shift 0 must
    tell the most, unless changes tell nothing. Source: the inverse model of Agrawal et al., "Learning to Poke by
    Poking: Experiential Learning of Intuitive Physics" (2016).
    """
    action, batches = play.recording.action, some_batches(experiment.batches, thorough)
    changes: dict[int, list[np.ndarray]] = {shift: [] for shift in SHIFTS}
    done: dict[int, list[np.ndarray]] = {shift: [] for shift in SHIFTS}
    random = np.random.default_rng(0)
    chosen: np.ndarray | None = None
    for inputs, actions_BTC, weights_BT in _as_the_policy_gets(experiment, batches):
        own = play.recording.observation.shape
        flat = (inputs[..., : own[0]] if len(own) == 1 else inputs).reshape(*weights_BT.shape, -1).astype(np.float64)
        if chosen is None:
            chosen = random.permutation(flat.shape[-1])[:NUMBERS]
        flat = flat[..., chosen]
        shown = actions_BTC.astype(np.float64)
        if action.choices:
            shown = np.concatenate(
                [np.eye(count)[actions_BTC[..., one]] for one, count in enumerate(action.choices)], axis=-1
            )
        length = weights_BT.shape[1]
        known = weights_BT > 0
        middle = slice(1, length - 2)
        inner = known[:, 0 : length - 3] & known[:, 3:length]
        for shift in SHIFTS:
            changes[shift].append((flat[:, 2 : length - 1] - flat[:, middle])[inner])
            done[shift].append(shown[:, 1 + shift : length - 2 + shift][inner])
    if chosen is None or not sum(map(len, changes[0])):
        return Finding("skipped", "no row is long enough")
    told = {shift: _explained(np.concatenate(changes[shift]), np.concatenate(done[shift])) for shift in SHIFTS}
    best = max(SHIFTS, key=lambda shift: (told[shift], shift == 0))
    measured = (
        f"changes tell {told[0]:.0%} of the actions beside them, {told[-1]:.0%} of those before, {told[1]:.0%} after"
    )
    if max(told.values()) < TOLD:
        return Finding("noted", f"{measured}: too little to tell", "most of those beside them")
    good = best == 0 or told[best] <= CLEARER * told[0]
    return Finding(good, measured, "most of those beside them")


def _explained(changes_NF: np.ndarray, shown_NA: np.ndarray) -> float:
    """Return R² of actions by a linear regression on changes, fitted on one half of the steps, on the other half."""
    half = len(changes_NF) // 2
    x_NF = np.concatenate([changes_NF, np.ones((len(changes_NF), 1))], axis=1)
    fitted, tested = x_NF[:half], x_NF[half:]
    ridge = 1e-3 * len(fitted) * np.diag(fitted.var(0).clip(1e-6))
    weights = np.linalg.solve(fitted.T @ fitted + ridge, fitted.T @ shown_NA[:half])
    rest = ((shown_NA[half:] - tested @ weights) ** 2).sum()
    whole = ((shown_NA[half:] - shown_NA[:half].mean(0)) ** 2).sum()
    return float(1 - rest / whole) if whole else 0.0


@check("whoever plays does not forget where a game begins", "a row's state is kept at another row's place")
def state_forgotten(experiment: Experiment, play: Play) -> Finding:
    """Check that a policy which plays game after game begins each as its first, whatever went before.

    Some rows play, then half of them begin again: their probabilities must be those of a fresh start, and the others'
    must be those of going on. Source: PufferLib 3 carries an LSTM's state over an episode's end inside a segment; the
    contract of cores (tests/contracts/test_cores.py).
    """
    policy: Policy = clone(experiment.learner).model.eval()
    if not policy.policy.last_action and policy.core is None:
        return Finding("skipped", "a policy without memory")
    with torch.no_grad():
        policy.action.weight.mul_(SHARPER if experiment.fresh else 1.0)
    env = make(play.recording.game, 2, **play.recording.options)
    try:
        rows, half = np.arange(env.rows), env.rows // 2
        random = np.random.default_rng(0)
        games = [game for game in play.train if len(game.actions) > 1]
        lengths = [min(6, *(len(game.actions) for game in games[:8]))]
        shown = np.stack([games[row % len(games)].observations[: lengths[0], row % len(env.agents)] for row in rows], 1)
        masks, seeds = np.ones((env.rows, sum(env.action.choices)), bool), random.integers(1, 2**31, env.rows)
        played, steady, fresh = (PolicyPlayer(policy, env, temperature=0.0) for _ in range(3))
        for one in (played, steady):
            one.reset(rows, seeds)
            for seen in shown[:-1]:
                one.act(rows, seen, masks)
        played.reset(rows[:half], seeds[:half])
        fresh.reset(rows, seeds)
        found = []
        for one in (played, steady, fresh):
            one.act(rows, shown[-1], masks)
            assert one.acted is not None
            found.append(one.acted.probabilities)
    finally:
        env.close()
    again, on, first = found
    apart = float(np.abs(again[:half] - first[:half]).max())
    others = float(np.abs(again[half:] - on[half:]).max())
    measured = f"{apart:.1e} from a fresh start where a game begins, {others:.1e} from going on elsewhere"
    return Finding(max(apart, others) <= APART, measured, f"at most {APART:.0e}")


@check("the masks do not reach the heads", "masks and actions count the possibilities in another order")
def masked_actions(experiment: Experiment, play: Play) -> Finding:
    """Check that what a mask forbids has no probability, in training and at play, and that no teacher did such a thing.

    Half of the possibilities are forbidden at random, never the one that was taken. Source: Huang & Ontañón, "A Closer
    Look at Invalid Action Masking in Policy Gradient Algorithms" (2020).
    """
    policy: Policy = clone(experiment.learner).model.eval()
    choices = policy.policy.choices
    if not choices:
        return Finding("skipped", "real numbers, not choices")
    batch = one_document_per_row(probe_batch(experiment, rows=2, length=16))
    random = np.random.default_rng(0)
    masks = random.random((*batch.weights_BT.shape, sum(choices))) < 0.5
    starts = np.cumsum((0, *choices[:-1]))
    np.put_along_axis(masks, batch.targets_BT + starts, True, axis=-1)
    device = experiment.learner.device
    masks_BTA = torch.from_numpy(masks).to(device)
    with torch.no_grad():
        hidden_BTD, _ = policy.hidden(torch.from_numpy(batch.inputs_BT).to(device))
        trained = torch.cat([one.softmax(-1) for one in policy.choices(hidden_BTD, masks_BTA)], dim=-1)
    first = batch.inputs_BT[:, 0][..., : policy.policy.observation[-1]] if len(policy.policy.observation) == 1 else None
    worst = float(trained[~masks_BTA].max()) if bool((~masks_BTA).any()) else 0.0
    if first is not None:
        acted = policy.act(np.ascontiguousarray(first), policy.initial_state(len(first)), masks[:, 0])
        worst = max(worst, float(np.where(masks[:, 0], 0, acted.probabilities).max()))
    wrong = 0
    for game in (*play.train, *play.valid, *play.test):
        if game.masks is not None:
            wrong += int((~np.take_along_axis(game.masks, game.actions + starts, -1)).sum())
    measured = f"a probability of {worst:.1e} for what is forbidden; {wrong:,} recorded actions were forbidden"
    return Finding(worst == 0 and wrong == 0, measured, "none, and none")


@check(
    "the split goes by steps or agents instead of by whole games", "a game was recorded, or added to the files, twice"
)
def games_shared(play: Play) -> Finding:
    """Check that no game is both learned from and held out, whole or for the most part.

    A game is known when half of its windows of 24 steps, what was seen and done in them, are in the games to learn
    from. Windows in which little happens do not count. Source: Kapoor & Narayanan, "Leakage and the Reproducibility
    Crisis in Machine-Learning-Based Science" (2023), on duplicates.
    """
    train = {window for game in play.train for window in _windows(game, stride=1)}
    shared = []
    for name, games in (("validation", play.valid), ("test", play.test)):
        known = 0
        for game in games:
            windows = list(_windows(game, stride=WINDOW // 4))
            known += bool(windows and np.mean([window in train for window in windows]) >= KNOWN)
        shared.append((name, known, len(games)))
    measured = ", ".join(f"{known} of {count} {name} games are learned from" for name, known, count in shared)
    return Finding(not any(known for _, known, _ in shared), measured, "none")


def _windows(game: Episode, stride: int) -> Iterator[bytes]:
    """Yield a hash of each window in which enough happens: of what all agents see and do."""
    steps = len(game.actions)
    whole = np.concatenate(
        [game.observations[:steps].reshape(steps, -1).astype(np.float32), game.actions.reshape(steps, -1)], axis=1
    )
    of_step = [hashlib.blake2b(row.tobytes(), digest_size=8).digest() for row in whole]
    for start in range(0, steps - WINDOW + 1, stride):
        window = of_step[start : start + WINDOW]
        if len(set(window)) >= VARIED:
            yield hashlib.blake2b(b"".join(window), digest_size=8).digest()
