"""The built-in conversations: a small world in which people tell things, and the partner remembers them exactly.

A user tells their name, home, work, pets, family, tastes and plans, and asks for them later; the partner answers,
counts, compares, and says so when it cannot know. Everything is drawn from a seed. How much of
everything there is stands in mix.toml, what is said in phrases/, which words exist in words.toml and names.toml.
"""

from understudy.tasks.smalltalk.dialogue import SmallTalk, Smalltalk, generate
from understudy.tasks.smalltalk.names import Split, split_of
from understudy.tasks.smalltalk.scoring import Question, is_right, refuses
from understudy.tasks.smalltalk.topic import Lines, read_toml

DEMO_LINES: Lines = read_toml("demo.toml")["lines"]

__all__ = ["DEMO_LINES", "Question", "SmallTalk", "Smalltalk", "Split", "generate", "is_right", "refuses", "split_of"]
