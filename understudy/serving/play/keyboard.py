"""What a person's keys mean for the next step of a game."""

from collections.abc import Sequence

from understudy.games.env import Action, Array
from understudy.games.pictures import Key

MOST_WAITING = 2
"""Presses that wait for their steps; more would have the player act on what was long ago."""


class Keyboard:
    """Turns presses and releases of keys into an action per step.

    Each press counts in one step, however short it was; presses in one step wait for their turn. A key that is held
    goes on, and of several the one that was pressed last counts. Keys of different choices count together.
    """

    def __init__(self, keys: Sequence[Key], action: Action) -> None:
        self._keys = {name.lower(): key for key in keys for name in key.names}
        self._action = action
        self._held: list[Key] = []
        self._waiting: list[tuple[Key, int]] = []
        self.acted = 0
        """The number of the latest press that has counted."""

    def press(self, name: str, number: int = 0) -> bool:
        """Press a key, by its name in browsers; return whether it means something. `number` tells presses apart."""
        key = self._keys.get(name.lower())
        if key is None:
            return False
        self._waiting = [*self._waiting, (key, number)][-MOST_WAITING:]
        if key.repeats and key not in self._held:
            self._held.append(key)
        return True

    def release(self, name: str) -> None:
        """Let a key go."""
        key = self._keys.get(name.lower())
        self._held = [held for held in self._held if held is not key]

    def release_all(self) -> None:
        """Let all keys go, and forget what waits."""
        self._held, self._waiting = [], []

    def take(self) -> Array:
        """Return the action of the next step: [width], of the action's dtype."""
        action = self._action.idling(1)[0]
        chosen = set[int]()
        while self._waiting and self._waiting[0][0].choice not in chosen:
            key, self.acted = self._waiting.pop(0)
            chosen.add(key.choice)
            action[key.choice] = key.value
        for key in reversed(self._held):
            if key.choice not in chosen:
                chosen.add(key.choice)
                action[key.choice] = key.value
        return action
