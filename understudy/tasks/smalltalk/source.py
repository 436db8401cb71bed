"""The built-in conversations as a source of data."""

import hashlib
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path

from understudy.data.conversations import Conversation
from understudy.tasks.smalltalk.dialogue import generate
from understudy.tasks.smalltalk.names import Split


class Smalltalk:
    """Makes the conversations that `--data smalltalk` names (see `understudy.data.dataset.ConversationGenerator`)."""

    @cached_property
    def version(self) -> str:
        """A digest of the generator's source and phrases."""
        digest = hashlib.sha256()
        for path in sorted(path for path in Path(__file__).parent.rglob("*") if path.suffix in (".py", ".toml")):
            digest.update(path.read_bytes())
        return digest.hexdigest()[:16]

    def conversations(self, count: int, seed: int, part: Split) -> Iterator[Conversation]:
        """Make the first `count` conversations of a split."""
        return (talk.conversation for talk in generate(count, seed, part))
