"""Behaviour cloning by the package `imitation`, for `clone_people.py`, in an environment of its own without understudy.

    PYTHON imitation_bc.py STEPS.npz FOUND.npy SEED

STEPS holds `train_NF`, `valid_NF` and `test_NF`, what was seen, and `train_N` and `valid_N`, what was done. FOUND gets
the probabilities [N, A] of the actions of the test steps. All settings are the package's own but the epochs, which it
leaves to the user: the validation steps choose them.
"""

import sys

import numpy as np
import torch
from gymnasium.spaces import Box, Discrete
from imitation.algorithms.bc import BC
from imitation.data.types import Transitions
from imitation.util.logger import configure

EPOCHS = 20


def main(steps_file: str, found_file: str, seed: str) -> None:
    torch.set_num_threads(1)
    torch.manual_seed(int(seed))
    steps = np.load(steps_file)
    seen_NF, done_N = steps["train_NF"], steps["train_N"]
    # What comes after a step is not looked at by cloning.
    transitions = Transitions(seen_NF, done_N, np.array([{}] * len(done_N)), seen_NF, np.zeros(len(done_N), bool))
    space = Box(-np.inf, np.inf, seen_NF.shape[1:], np.float32)
    bc = BC(
        observation_space=space,
        action_space=Discrete(int(done_N.max()) + 1),
        rng=np.random.default_rng(int(seed)),
        demonstrations=transitions,
        custom_logger=configure(format_strs=[]),
        device="cpu",
    )

    def predicted(seen_NF: np.ndarray) -> np.ndarray:
        with torch.no_grad():
            return bc.policy.get_distribution(torch.from_numpy(seen_NF)).distribution.probs.numpy()

    best, found_NA = np.inf, None
    for _ in range(EPOCHS):
        bc.train(n_epochs=1, progress_bar=False, log_interval=10**9)
        nats = -np.log(predicted(steps["valid_NF"])[np.arange(len(steps["valid_N"])), steps["valid_N"]]).mean()
        if nats < best:
            best, found_NA = nats, predicted(steps["test_NF"])
    np.save(found_file, found_NA)


if __name__ == "__main__":
    main(*sys.argv[1:])
