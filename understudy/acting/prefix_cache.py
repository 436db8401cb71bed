"""What a model computed for the beginnings of prompts, kept so that it is not computed again.

The tokens of a sequence are cut into blocks, and each block is kept under the blocks before it. So what many prompts
begin with is kept once, and the next turn of a conversation finds all that was said before. The last block of a
sequence may be shorter than the others.
"""

import itertools
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

BLOCK = 32
"""Tokens of a whole block. Blocks begin at multiples of it."""


@dataclass(frozen=True, eq=False)
class Block:
    """A block of tokens after those of its parents."""

    number: int
    parent: "Block | None"
    tokens: tuple[int, ...]
    state: Any
    """What the model's state holds of these tokens."""
    size: int
    """Bytes of it."""


class PrefixCache:
    """Blocks by their parent and their tokens, of bounded size; those that were not used for longest go first."""

    def __init__(self, max_bytes: int) -> None:
        self.max_bytes, self.bytes = max_bytes, 0
        self._numbers = itertools.count(1)
        # From the block not used for longest. A block is used whenever one below it is, so it goes after those.
        self._blocks: OrderedDict[tuple[int, tuple[int, ...]], Block] = OrderedDict()

    def find(self, parent: Block | None, tokens: Sequence[int]) -> Block | None:
        """Return the longest block that these tokens begin with after the parent; None where there is none."""
        for length in range(min(len(tokens), BLOCK), 0, -1):
            block = self._blocks.get(_key(parent, tokens[:length]))
            if block is not None:
                self._use(block)
                return block
        return None

    def add(self, parent: Block | None, tokens: Sequence[int], state: Any, size: int) -> Block | None:
        """Keep a block; return it, or None where its parent is gone by now or it alone would exceed the limit."""
        if size > self.max_bytes or (parent is not None and self._blocks.get(_key_of(parent)) is not parent):
            return None
        known = self._blocks.get(_key(parent, tokens))
        if known is not None:
            self._use(known)
            return known
        block = Block(next(self._numbers), parent, tuple(tokens), state, size)
        self._blocks[_key_of(block)] = block
        self.bytes += size
        self._use(block)
        while self.bytes > self.max_bytes:
            _, oldest = self._blocks.popitem(last=False)
            self.bytes -= oldest.size
        return block if _key_of(block) in self._blocks else None

    def _use(self, block: Block) -> None:
        """Move a block and those above it to the end, itself before its parents."""
        above: Block | None = block
        while above is not None:
            self._blocks.move_to_end(_key_of(above))
            above = above.parent


def _key(parent: Block | None, tokens: Sequence[int]) -> tuple[int, tuple[int, ...]]:
    return parent.number if parent else 0, tuple(tokens)


def _key_of(block: Block) -> tuple[int, tuple[int, ...]]:
    return _key(block.parent, block.tokens)
