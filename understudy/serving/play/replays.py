"""Recorded episodes to look at: as moments in shapes, over HTTP, with what a policy thinks beside them."""

from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np
from fastapi import APIRouter
from fastapi.responses import FileResponse

from understudy.console import number
from understudy.errors import RecordingError
from understudy.files import plain
from understudy.games.demos import players_of
from understudy.games.env import Action, Array, Buffers, Env
from understudy.games.minari_files import exists, read
from understudy.games.names import make
from understudy.games.pictures import PALETTE, Frame, Scene, Shape, box, words
from understudy.games.recordings import Episode, Recording, check
from understudy.serving.page import HEADERS

FOLDER = Path(__file__).parent


class Thoughts(NamedTuple):
    """What a policy thinks at each of T steps for one agent."""

    name: str
    """Whose they are."""
    probabilities: Array
    """float [T, sum(Action.choices)]: of each possibility of each choice, side by side."""
    values: Array | None
    """float [T]: the return that it expects from here on; None where it never learned to."""


class Mind(Protocol):
    """A policy that says what it thinks of an episode."""

    def think(self, env: Env, episode: Episode) -> Mapping[int, Thoughts]:
        """Return the thoughts of those agents, by number, whose choices it makes or would make."""


@dataclass(frozen=True)
class Replay:
    """An episode as it is shown."""

    scene: Scene
    frames: Sequence[Frame]
    """At the beginning and after each step."""
    seconds: float


class Replays:
    """Episodes to look at: those of a folder, read anew each time, or given ones."""

    def __init__(self, episodes: Path | Recording, name: str, mind: Mind | None = None) -> None:
        self._episodes, self.name, self._mind = episodes, name, mind

    def recording(self, chosen: Sequence[int] | None = None) -> Recording:
        """Return the recording with all episodes, or these. Raises RecordingError where there are none such."""
        if isinstance(self._episodes, Path):
            if not exists(self._episodes):
                raise RecordingError(f"{self.name} has no games yet")
            return read(self._episodes, chosen)
        if chosen is None:
            return self._episodes
        return replace(self._episodes, episodes=[self._episodes.episodes[one] for one in chosen])

    def listed(self) -> dict[str, Any]:
        """Return what there is to look at, as plain JSON."""
        recording = self.recording()
        episodes = [
            {
                "steps": len(one.actions),
                "returns": plain(one.rewards.sum(0)),
                "players": players_of(one, recording),
                "time": one.provenance.get("time", ""),
                "ended": one.provenance.get("ended", ""),
            }
            for one in recording.episodes
        ]
        return {"name": self.name, "game": recording.game, "agents": recording.agents, "episodes": episodes}

    def replay(self, which: int) -> Replay:
        """Play an episode again.

        Raises:
            RecordingError: it did not happen by the rules as they are here.
        """
        recording = self.recording([which])
        (episode,) = recording.episodes
        with closing(make(recording.game, **recording.options)) as env:
            check(recording, env, self.name, which)
            scene, frames = env.scene(), frames_of(env, episode)
            thoughts = self._mind.think(env, episode) if self._mind else {}
        if thoughts:
            panel = Panel(scene, thoughts, env.action, env.agents)
            frames = [panel.beside(frame, episode, step) for step, frame in enumerate(frames)]
            scene = panel.scene
        return Replay(scene, frames, scene.seconds)

    def told(self, which: int) -> dict[str, Any]:
        """Return an episode as plain JSON for the page."""
        (episode,) = (recording := self.recording([which])).episodes
        shown = self.replay(which)
        names = recording.action.names
        return {
            "scene": plain(shown.scene),
            "palette": PALETTE,
            "agents": recording.agents,
            "players": players_of(episode, recording),
            "frames": [{"shapes": one.shapes, "places": one.places, "said": one.said} for one in shown.frames],
            "actions": [
                [names[int(one[0])] if names else ", ".join(map(number, one.tolist())) for one in step]
                for step in episode.actions
            ],
            "returns": plain(np.cumsum(episode.rewards, 0)),
        }


def frames_of(env: Env, episode: Episode) -> list[Frame]:
    """Return what an episode looked like, at its beginning and after each step, played again in a game of one world."""
    out = Buffers.of(env)
    env.reset([episode.seed], out)
    frames = [env.frame()]
    for actions in episode.actions:
        env.step(actions, out)
        frames.append(env.frame())
    return frames


class Panel:
    """What a policy thinks, in shapes to the right of a game: a bar per possibility, or real numbers in words."""

    def __init__(self, scene: Scene, thoughts: Mapping[int, Thoughts], action: Action, agents: Sequence[str]) -> None:
        self._thoughts, self._agents, self._left = thoughts, agents, scene.width
        self._choices = action.choices
        self._names = [
            names[value] if choice == 0 and (names := action.names) else f"{choice + 1}: {value}"
            for choice, many in enumerate(action.choices)
            for value in range(many)
        ] or [f"number {which + 1}" for which in range(action.width)]
        rows = len(thoughts) * (len(self._names) + 2)
        # As wide as its words need, and no wider than the game
        self._row = min(scene.height / rows, scene.width / 14)
        self._width = 14 * self._row
        ground = box(scene.width, 0, self._width, scene.height, "ground")
        self.scene = replace(scene, width=scene.width + self._width, background=(*scene.background, ground))

    def beside(self, frame: Frame, episode: Episode, step: int) -> Frame:
        """Return a frame with what is thought before a step, and which action was taken; nothing after the last."""
        if step >= len(episode.actions):
            return frame
        shapes: list[Shape] = []
        said = list(frame.said or [()] * len(self._agents))
        y, size = 0.0, self._row
        for agent, thoughts in self._thoughts.items():
            value = "" if thoughts.values is None else f": value {thoughts.values[step]:.1f}"
            title = f"{self._agents[agent]}{value}"
            shapes.append(words(self._left + self._width / 2, y + size / 2, size * 0.7, title, "ink"))
            rows, summary = self._rows(thoughts.probabilities[step].tolist(), episode.actions[step, agent].tolist())
            for place, (name, share, taken, told) in enumerate(rows):
                middle = y + (place + 1.5) * size
                bar = box(self._left + 5.4 * size, middle - 0.35 * size, 6 * size * share, 0.7 * size, taken)
                shapes += [
                    words(self._left + 2.7 * size, middle, size * 0.58, name, "ink"),
                    *([bar] if share else ()),
                    words(self._left + 12.7 * size, middle, size * 0.58, told, "ink"),
                ]
            y += (len(self._names) + 2) * size
            said[agent] = (*said[agent], f"{thoughts.name}: {summary}")
        return replace(frame, shapes=(*frame.shapes, *shapes), said=tuple(said))

    def _rows(self, shown: list[float], taken: list[float]) -> tuple[list[tuple[str, float, str, str]], str]:
        """Return per possibility its name, its bar (share, colour) and what is told; and a sentence on them all."""
        if not self._choices:
            pairs = zip(self._names, shown[: len(taken)], shown[len(taken) :], strict=True)
            told = [(name, 0.0, "shade", f"{mean:.2f} ± {std:.2f}") for name, mean, std in pairs]
            return told, "; ".join(f"{name} {words}" for name, _, _, words in told) + "."
        starts = np.cumsum((0, *self._choices[:-1]))
        done = [int(start + value) for start, value in zip(starts, taken, strict=True)]
        rows = [
            (name, share, "blue" if place in done else "shade", f"{share:.0%}")
            for place, (name, share) in enumerate(zip(self._names, shown, strict=True))
        ]
        share, name = max(zip(shown, self._names, strict=True))
        return rows, f"likeliest {name}, {share:.0%}."


def replay_routes(replays: Replays) -> APIRouter:
    """Return the routes of the page that shows episodes."""
    router = APIRouter(tags=["episodes"])

    @router.get("/watch", include_in_schema=False)
    def page() -> FileResponse:
        return FileResponse(FOLDER / "watch.html", headers=HEADERS)

    @router.get("/api/episodes")
    def list_episodes() -> dict[str, Any]:
        """List the episodes that can be watched."""
        return replays.listed()

    @router.get("/api/episodes/{number}")
    def tell_episode(number: int) -> dict[str, Any]:
        """Return what one episode looked like, moment by moment."""
        return replays.told(number)

    return router
