"""Worlds of other packages, stepped here or in processes of their own."""

import multiprocessing
import signal
from collections.abc import Callable, Sequence
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from typing import Any

from understudy.errors import GameError, UserError
from understudy.games.env import Array
from understudy.games.worlds import Seen, World

Maker = Callable[[], World]


class Here:
    """Worlds `first` to `last` - 1 in this process."""

    def __init__(self, maker: Maker, name: str, first: int, last: int) -> None:
        self.name, self._first = name, first
        self.worlds = [maker() for _ in range(first, last)]
        self._steps = [0] * len(self.worlds)

    def reset(self, worlds: Sequence[int], seeds: Array) -> list[Seen]:
        """Begin an episode in each of these worlds."""
        return [self._try(world, "reset", int(seed)) for world, seed in zip(worlds, seeds, strict=True)]

    def step(self, worlds: Sequence[int], actions: Array) -> list[Seen]:
        """Let each of these worlds pass one step."""
        return [self._try(world, "step", action) for world, action in zip(worlds, actions, strict=True)]

    def _try(self, world: int, what: str, argument: Any) -> Seen:
        place = world - self._first
        self._steps[place] = self._steps[place] + 1 if what == "step" else 0
        try:
            seen: Seen = getattr(self.worlds[place], what)(argument)
        except Exception as error:  # other people's code fails in any way
            when = f"in step {self._steps[place]} of its episode" if what == "step" else "at a reset"
            said = str(error) if isinstance(error, UserError) else f"{type(error).__name__}: {error}"
            raise GameError(f"{self.name}: world {world} failed {when}: {said}") from error
        return seen

    def close(self) -> None:
        """End the worlds."""
        for world in self.worlds:
            world.close()


class Processes:
    """Worlds shared out among processes."""

    def __init__(self, maker: Maker, name: str, worlds: int, processes: int) -> None:
        self.name = name
        context = multiprocessing.get_context("spawn")
        self._cuts = [worlds * number // processes for number in range(processes + 1)]
        self._links: list[Connection] = []
        self._processes: list[BaseProcess] = []
        for first, last in zip(self._cuts[:-1], self._cuts[1:], strict=True):
            ours, theirs = context.Pipe()
            process = context.Process(target=_serve, args=(theirs, maker, name, first, last), daemon=True)
            process.start()
            theirs.close()
            self._links.append(ours)
            self._processes.append(process)

    def reset(self, worlds: Sequence[int], seeds: Array) -> list[Seen]:
        """Begin an episode in each of these worlds."""
        return self._ask("reset", worlds, seeds)

    def step(self, worlds: Sequence[int], actions: Array) -> list[Seen]:
        """Let each of these worlds pass one step."""
        return self._ask("step", worlds, actions)

    def _ask(self, what: str, worlds: Sequence[int], arguments: Array) -> list[Seen]:
        asked = []
        for number, link in enumerate(self._links):
            chosen = [at for at, world in enumerate(worlds) if self._cuts[number] <= world < self._cuts[number + 1]]
            if chosen:
                asked.append(number)
                try:
                    link.send((what, [worlds[at] for at in chosen], arguments[chosen]))
                except OSError:
                    # It has died, which its answer will tell
                    pass
        # All answers are taken before any of them is an error, so that the next question gets its own answers.
        answers = [self._answer(number) for number in asked]
        for answer in answers:
            if isinstance(answer, str):
                raise GameError(answer)
        return [seen for answer in answers for seen in answer]

    def _answer(self, number: int) -> Any:
        try:
            return self._links[number].recv()
        except (EOFError, OSError):
            process = self._processes[number]
            process.join(5)
            code = process.exitcode or 0
            how = signal.Signals(-code).name if code < 0 else f"exit code {code}"
            return (
                f"{self.name}: the process of worlds {self._cuts[number]} to {self._cuts[number + 1] - 1} died ({how})"
            )

    def close(self) -> None:
        """End the processes."""
        for link in self._links:
            link.close()
        for process in self._processes:
            process.join(5)
            process.kill()


def _serve(link: Connection, maker: Maker, name: str, first: int, last: int) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for whoever asks, who then closes the link
    here = Here(maker, name, first, last)
    try:
        while True:
            what, worlds, arguments = link.recv()
            try:
                link.send(getattr(here, what)(worlds, arguments))
            except GameError as error:
                link.send(str(error))
    except (EOFError, OSError):
        here.close()
