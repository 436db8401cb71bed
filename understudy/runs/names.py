"""Run ids that read well and sort by time: 20261123-1412-brave-otter.

The words tell the time too: the adjective is the second of the minute and the animal the 64th of that second, both in
alphabetical order. So ids sort by time to a sixty-fourth of a second, and no dice are needed to tell them apart.
"""

from datetime import datetime, timedelta
from pathlib import Path

_SECONDS = """
amber ample bold brave bright brisk calm candid clever cosy crisp curious dapper daring eager early fair fleet
fond frank gentle glad golden grand happy hardy honest humble jolly keen kind lively loyal lucky mellow merry
mild modest neat nimble noble patient placid plucky polite proud quick quiet ready shy silver smart snug steady
sunny swift tidy warm wise witty
"""
_PARTS = """
adder badger bat bear beaver bison boar bream bunting camel carp cat crane crow deer dove eagle eel egret elk
falcon ferret finch fox frog gecko goat goose hare hawk hen heron horse ibex jay kite koala lark lemur lion
llama lynx magpie marten mole moose mouse newt otter owl panda perch pony puffin rabbit raven robin seal stork
swan tern toad wolf wren
"""
ADJECTIVES, ANIMALS = _SECONDS.split(), _PARTS.split()
SLOT = timedelta(seconds=1) / len(ANIMALS)


def run_id(now: datetime) -> str:
    """The id of a run that begins now (local time).

    >>> run_id(datetime(2026, 11, 23, 14, 12, 3, 750_000))
    '20261123-1412-brave-otter'
    """
    return f"{now:%Y%m%d-%H%M}-{ADJECTIVES[now.second]}-{ANIMALS[now.microsecond * len(ANIMALS) // 1_000_000]}"


def claim_folder(runs: Path) -> Path:
    """Makes the folder of a new run. Two processes never get the same one: the later takes the next free id."""
    now = datetime.now()
    while True:
        folder = runs / run_id(now)
        try:
            folder.mkdir()
            return folder
        except FileExistsError:
            now += SLOT
