"""Samples a second of whole training by PPO on CartPole: playing, advantages and learning, ours against others'.

    python benchmarks/train_rl_speed.py [--quick] [--worlds 4096]

needs stable-baselines3, sb3-contrib, and pufferlib where it installs. Each trains in a process of its own, in turn with
the others, a network of one hidden layer of 128 (tanh or ReLU, as it comes), with an LSTM of 128 or without, 1 epoch,
segments of 64 steps. Ours and PufferLib play as many carts as --worlds says, in compiled code; others, which play
Gymnasium's in Python, as many as their users do: 8 and 64. The loop in the style of CleanRL is that of its ppo.py,
written out here. The limit is the arithmetic of the network, in playing once and in learning three times over, at the
measured rate of a matrix product.
"""

import argparse
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from statistics import median
from tempfile import mkdtemp

import numpy as np
import torch
from report import contend, finish, matrix_rate, race, racers, table
from torch import nn

from understudy.models.device import prepare_process

WIDTH, SEGMENT = 128, 64
SECONDS = 4.0
"""That a contender trains for in a round, at least."""


def ours(core: str, worlds: int, dtype: str) -> Callable[..., float]:
    """Make our training."""
    from cartpole import CartPole

    from understudy.acting.opponents import OpponentConfig, Opponents
    from understudy.acting.rollout import Rollout
    from understudy.games.teams import Teams, against
    from understudy.models.policy import Policy, PolicyConfig, PolicySpec
    from understudy.recipes.rehearsal import PlayedBatches
    from understudy.recipes.selfplay import OWN
    from understudy.training.learner import Learner
    from understudy.training.ppo import PPOConfig, PPOLoss

    prepare_process()
    env = CartPole(worlds)
    shape = PolicyConfig(core, width=WIDTH, dropout=0.0, noise=0.0).resolved(SEGMENT)  # type: ignore[arg-type]
    policy = Policy(PolicySpec(shape, (4,), (2,), layers=1))
    config = replace(OWN, steps=10**6, batch_size=max(1, worlds // 16), dtype=dtype)
    loss = PPOLoss(policy, PPOConfig(epochs=1, kl_stop=0.0), config.batch_size, 0)
    learner = Learner(loss, config, torch.device("cpu"))
    teams = Teams(against(env), env)
    batches = PlayedBatches(
        learner, Rollout(policy, teams, SEGMENT, 0), Opponents(OpponentConfig(), teams.scenario, (), 0), Path(mkdtemp())
    )

    def train() -> int:
        batch = batches.batch(learner.steps_done)
        learner.step(batch)
        return int(batch.weights_BT.size)

    return _timed(train)


def stable_baselines(core: str, worlds: int) -> Callable[..., float]:
    """Make Stable-Baselines3's PPO, or sb3-contrib's recurrent one, with its usual settings but one epoch."""
    from stable_baselines3 import PPO
    from stable_baselines3.common.env_util import make_vec_env

    envs = make_vec_env("CartPole-v1", worlds)
    shape = {"net_arch": [WIDTH]}
    common = {"n_steps": SEGMENT, "batch_size": max(64, SEGMENT * worlds // 16), "n_epochs": 1, "device": "cpu"}
    if core == "lstm":
        from sb3_contrib import RecurrentPPO

        policy = {**shape, "lstm_hidden_size": WIDTH, "enable_critic_lstm": False, "shared_lstm": True}
        model = RecurrentPPO("MlpLstmPolicy", envs, policy_kwargs=policy, **common)
    else:
        model = PPO("MlpPolicy", envs, policy_kwargs=shape, **common)

    def train() -> int:
        model.learn(SEGMENT * worlds, reset_num_timesteps=False)
        return SEGMENT * worlds

    return _timed(train)


class CleanAgent(nn.Module):
    """Actor and critic as CleanRL's ppo.py has them, with one hidden layer."""

    def __init__(self) -> None:
        super().__init__()
        self.critic = nn.Sequential(nn.Linear(4, WIDTH), nn.Tanh(), nn.Linear(WIDTH, 1))
        self.actor = nn.Sequential(nn.Linear(4, WIDTH), nn.Tanh(), nn.Linear(WIDTH, 2))


def clean(worlds: int) -> Callable[..., float]:
    """Make a loop in the style of CleanRL's ppo.py: Gymnasium's vector environment and tensors a step."""
    import gymnasium

    envs = gymnasium.vector.SyncVectorEnv([lambda: gymnasium.make("CartPole-v1") for _ in range(worlds)])
    agent = CleanAgent()
    optimizer = torch.optim.Adam(agent.parameters(), lr=2.5e-4, eps=1e-5)
    seen, done = torch.tensor(envs.reset(seed=0)[0]), torch.zeros(worlds)

    def train() -> int:
        nonlocal seen, done
        obs, actions = torch.zeros(SEGMENT, worlds, 4), torch.zeros(SEGMENT, worlds, dtype=torch.long)
        logs, rewards, dones, values = torch.zeros(4, SEGMENT, worlds).unbind(0)
        for step in range(SEGMENT):
            obs[step], dones[step] = seen, done
            with torch.no_grad():
                chances = torch.distributions.Categorical(logits=agent.actor(seen))
                actions[step] = chances.sample()
                logs[step], values[step] = chances.log_prob(actions[step]), agent.critic(seen).flatten()
            found, reward, terminated, truncated, _ = envs.step(actions[step].numpy())
            seen, rewards[step] = torch.tensor(found), torch.tensor(reward)
            done = torch.tensor(np.logical_or(terminated, truncated), dtype=torch.float32)
        with torch.no_grad():
            ahead, gain, gains = agent.critic(seen).flatten(), torch.zeros(worlds), torch.zeros(SEGMENT, worlds)
            for step in reversed(range(SEGMENT)):
                alive = 1 - (done if step == SEGMENT - 1 else dones[step + 1])
                delta = rewards[step] + 0.99 * ahead * alive - values[step]
                gain = delta + 0.99 * 0.95 * alive * gain
                gains[step], ahead = gain, values[step]
        flat = [x.flatten(0, 1) for x in (obs, actions, logs, gains, gains + values)]
        for rows in torch.randperm(SEGMENT * worlds).chunk(16):
            seen_, act, old, gain, target = (x[rows] for x in flat)
            chances = torch.distributions.Categorical(logits=agent.actor(seen_))
            ratio = (chances.log_prob(act) - old).exp()
            gain = (gain - gain.mean()) / (gain.std() + 1e-8)
            loss = torch.max(-gain * ratio, -gain * ratio.clamp(0.8, 1.2)).mean() - 0.01 * chances.entropy().mean()
            loss = loss + 0.5 * 0.5 * (agent.critic(seen_).flatten() - target).square().mean()
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(agent.parameters(), 0.5)
            optimizer.step()
        return SEGMENT * worlds

    return _timed(train)


def puffer(core: str, worlds: int) -> Callable[..., float]:
    """Make PufferLib 3's trainer on its own compiled CartPole, one epoch."""
    from pufferlib import pufferl
    from pufferlib.models import Default, LSTMWrapper
    from pufferlib.ocean.cartpole.cartpole import Cartpole
    from pufferlib.vector import PufferEnv, make

    torch.set_flush_denormal(True)
    arguments = pufferl.load_config("puffer_cartpole")
    arguments["train"] |= {
        "device": "cpu", "compile": False, "bptt_horizon": SEGMENT, "update_epochs": 1, "use_rnn": core == "lstm",
        "batch_size": worlds * SEGMENT, "minibatch_size": worlds * SEGMENT // 16, "total_timesteps": 10**12,
    }  # fmt: skip
    vector = make(Cartpole, env_kwargs={"num_envs": worlds}, backend=PufferEnv)
    policy: nn.Module = Default(vector.driver_env, hidden_size=WIDTH)
    if core == "lstm":
        policy = LSTMWrapper(vector.driver_env, policy, WIDTH, WIDTH)
    trainer = pufferl.PuffeRL({**arguments["train"], "env": "puffer_cartpole"}, vector, policy)

    def train() -> int:
        trainer.evaluate()
        trainer.train()
        return worlds * SEGMENT

    return _timed(train)


def _timed(train: Callable[[], int]) -> Callable[..., float]:
    def run(seconds: float) -> float:
        began, samples = time.perf_counter(), 0
        while (took := time.perf_counter() - began) < seconds or not samples:
            samples += train()
        return samples / took

    return run


MAKERS = {"ours": ours, "stable_baselines": stable_baselines, "clean": clean, "puffer": puffer}


def operations(core: str) -> float:
    """Return the operations of the network for a sample: playing, and learning three times over."""
    products = 4 * WIDTH + 3 * WIDTH + (8 * WIDTH * WIDTH if core == "lstm" else 0)
    return 4 * 2 * products


def main() -> None:
    contend(MAKERS)
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="fewer and shorter rounds: a few minutes")
    parser.add_argument("--worlds", type=int, default=4096)
    options = parser.parse_args()
    rates = {name: matrix_rate(getattr(torch, name)) for name in ("float32", "bfloat16")}
    for core, hidden, target in (("lstm", "LSTM-128", 2.0), ("none", "MLP-128", 1.2)):
        entrants: dict[str, tuple[str, dict[str, object]]] = {
            f"ours, {dtype}": ("ours", {"core": core, "worlds": options.worlds, "dtype": dtype}) for dtype in rates
        }
        entrants["PufferLib 3"] = ("puffer", {"core": core, "worlds": options.worlds})
        for worlds in (8, 64):
            contributed = "sb3-contrib RecurrentPPO" if core == "lstm" else "Stable-Baselines3 PPO"
            entrants[f"{contributed}, {worlds} carts"] = ("stable_baselines", {"core": core, "worlds": worlds})
            if core == "none":
                entrants[f"CleanRL-style loop, {worlds} carts"] = ("clean", {"worlds": worlds})
        with racers(entrants) as started:
            found = race(started, rounds=2 if options.quick else 5, seconds=SECONDS / 2 if options.quick else SECONDS)
            missing = {name: one.missing for name, one in started.items() if one.missing}
        speed = {name: median(values) for name, values in found.items()}
        limits = {f"limit, {name} products": rate / operations(core) for name, rate in rates.items()}
        rows = [[name, f"{x:,.0f}"] for name, x in (speed | limits).items()]
        rows += [[name, f"missing: {why}"] for name, why in missing.items()]
        table(f"CartPole, {hidden}: samples a second of whole training", ["", "samples/s"], rows)
        exact, limit = speed["ours, float32"], limits["limit, float32 products"]
        print(f"ours reaches {exact / limit:.0%} of the arithmetic limit in float32")
        peers = {name: x for name, x in speed.items() if not name.startswith("ours")}
        others = {name: x for name, x in peers.items() if "Puffer" not in name}
        best = max(speed["ours, float32"], speed["ours, bfloat16"])
        if "PufferLib 3" in peers:
            finish(f"train_rl_{hidden}", "samples/s", best, peers, limit, best / peers["PufferLib 3"], target)
        finish(f"train_rl_{hidden}_others", "samples/s", best, others, limit, best / max(others.values()), 4.0)


if __name__ == "__main__":
    main()
