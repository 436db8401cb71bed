"""What predicts a player's actions without learning to play: baselines that a clone has to beat.

Shape suffixes: N steps, F features, A possibilities of a choice.
"""

from collections.abc import Callable, Iterable

import numpy as np
import torch
import torch.nn.functional as F

from understudy.data.packing import Batch
from understudy.statistics import Floats
from understudy.training.play import Predictions

DECAYS = (0.003, 0.01, 0.03, 0.1)
"""Strengths of the logistic regression's decay, of which the validation games choose one."""
REPEATS = np.linspace(0.01, 0.99, 99)
"""Shares of repetitions to choose from."""


class Steps:
    """The steps of some batches with one choice each, one after another.

    Attributes:
        inputs_NF: float32, what was seen, laid flat.
        actions_N: what was done.
        last_N: what was done in the step before, -1 in a row's first step.
        row_N: which row of the batches each step is in.
    """

    def __init__(self, batches: Iterable[Batch]) -> None:
        inputs, actions, last, row, rows = [], [], [], [], 0
        for batch in batches:
            known_BT = batch.weights_BT > 0
            before_BT = np.roll(batch.targets_BT[..., 0], 1, axis=1)
            before_BT[batch.reset_BT] = -1
            inputs.append(batch.inputs_BT[known_BT].reshape(int(known_BT.sum()), -1).astype(np.float32))
            actions.append(batch.targets_BT[known_BT][:, 0])
            last.append(before_BT[known_BT])
            row.append(np.nonzero(known_BT)[0] + rows)
            rows += len(batch)
        self.inputs_NF, self.actions_N, self.last_N, self.row_N = map(np.concatenate, (inputs, actions, last, row))

    def compared(self, p_NA: Floats) -> Predictions:
        """Return how predicted probabilities compare with what was done."""
        nats_N = -np.log(np.take_along_axis(p_NA, self.actions_N[:, None], 1)[:, 0].clip(1e-12))
        right_N = (p_NA.argmax(1) == self.actions_N).astype(np.float64)
        return Predictions(nats_N, right_N, p_NA.max(1), self.row_N)


Baseline = Callable[[Steps, Steps, Steps, int], Predictions]
"""Learns from the first steps, chooses by the second and predicts the third ones; of so many possibilities."""


def commonest(train: Steps, valid: Steps, test: Steps, count: int) -> Predictions:
    """Predict every action by its frequency; the likeliest is always the commonest."""
    return test.compared(np.tile(_frequencies(train, count), (len(test.actions_N), 1)))


def repeat_last(train: Steps, valid: Steps, test: Steps, count: int) -> Predictions:
    """Predict the last action again with the best fixed probability, else every action by its frequency."""
    frequency_A = _frequencies(train, count)

    def predicted(steps: Steps, share: float) -> Floats:
        again_NA = np.where(steps.last_N[:, None] < 0, frequency_A, np.eye(count)[steps.last_N])
        mixed: Floats = share * again_NA + (1 - share) * frequency_A
        return mixed

    share = min(REPEATS, key=lambda one: train.compared(predicted(train, one)).nats.mean())
    found = test.compared(predicted(test, share))
    # The baseline repeats, even where something else is likelier.
    repeated_N = np.where(test.last_N < 0, frequency_A.argmax(), test.last_N)
    return found._replace(right=(repeated_N == test.actions_N).astype(np.float64))


def logistic_regression(train: Steps, valid: Steps, test: Steps, count: int) -> Predictions:
    """Predict by a multinomial logistic regression on what the policy sees, inputs standardised, with L2 decay."""
    mean_F, std_F = train.inputs_NF.mean(0), train.inputs_NF.std(0)
    std_F = np.where(std_F > 1e-6, np.maximum(std_F, 0.1), 1.0)
    tensors = [torch.from_numpy((one.inputs_NF - mean_F) / std_F) for one in (train, valid, test)]
    x_NF, valid_NF, test_NF = (F.pad(one, (0, 1), value=1.0) for one in tensors)  # the last feature is the bias
    y_N, valid_N = torch.from_numpy(train.actions_N), torch.from_numpy(valid.actions_N)
    best: tuple[float, torch.Tensor] | None = None
    weight_FA = torch.zeros(x_NF.shape[1], count, requires_grad=True)
    for decay in sorted(DECAYS, reverse=True):  # each from the one before, which is near
        optimizer = torch.optim.LBFGS([weight_FA], max_iter=60, line_search_fn="strong_wolfe")

        def loss(decay: float = decay, optimizer: torch.optim.Optimizer = optimizer) -> torch.Tensor:
            optimizer.zero_grad()
            found = F.cross_entropy(x_NF @ weight_FA, y_N) + decay / 2 * weight_FA[:-1].square().sum()
            found.backward()
            return found

        optimizer.step(loss)
        with torch.no_grad():
            measured = float(F.cross_entropy(valid_NF @ weight_FA, valid_N))
            if best is None or measured < best[0]:
                best = measured, weight_FA.clone()
    assert best is not None
    return test.compared((test_NF @ best[1]).double().softmax(-1).numpy())


BASELINES: dict[str, Baseline] = {
    "commonest action": commonest,
    "repeat the last": repeat_last,
    "logistic regression": logistic_regression,
}


def _frequencies(steps: Steps, count: int) -> Floats:
    counts = np.bincount(steps.actions_N, minlength=count).astype(np.float64) + 1e-3
    shares: Floats = counts / counts.sum()
    return shares
