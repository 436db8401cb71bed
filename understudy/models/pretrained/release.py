"""The 2018 release of GPT-1: all numbers end to end in ten files, and the shapes to cut them by.

Order: positions, tokens, then for each layer what LAYER lists. Linear layers have a leading dimension of 1.
"""

import json
import math
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from understudy.errors import CheckpointError
from understudy.files import reading
from understudy.models.spec import CoreSpec

SHAPES = "params_shapes.json"
PARTS = ("attn.c_attn", "attn.c_proj", "ln_1", "mlp.c_fc", "mlp.c_proj", "ln_2")
LAYER = [f"{part}.{kind}" for part in PARTS for kind in ("weight", "bias")]
HEAD_SIZE = 64
DROPOUT = 0.1


def is_release(folder: Path) -> bool:
    """Whether the folder holds weights in the layout of 2018."""
    return (folder / SHAPES).is_file()


def read_spec(folder: Path) -> tuple[CoreSpec, int]:
    """Return the core that the shapes describe, and its number of tokens. Heads are of size 64, which no file says."""
    shapes = _shapes(folder)
    (context, width), (rows, _) = shapes[:2]
    spec = CoreSpec(
        "transformer", "gpt1", (len(shapes) - 2) // len(LAYER), width, max(1, width // HEAD_SIZE), context, DROPOUT
    )
    return spec, rows


def read_tensors(folder: Path) -> dict[str, Tensor]:
    """Return the weights by transformers' names.

    Raises:
        CheckpointError: a file is missing, cut short or damaged, or their numbers do not add up to the shapes.
    """
    shapes = _shapes(folder)
    parts = []
    for path in files(folder)[1:]:
        with reading(path, "expected an array of numbers: fetch it again"):
            parts.append(np.load(path, allow_pickle=False).astype(np.float32, copy=False).ravel())
    numbers = np.concatenate(parts)
    wanted = sum(map(math.prod, shapes))
    if len(numbers) != wanted:
        raise CheckpointError(
            f"{folder}: the params files hold {len(numbers):,} numbers and {SHAPES} takes {wanted:,}; expected the "
            "release's files, all of them: fetch them again"
        )
    layers = (len(shapes) - 2) // len(LAYER)
    names = ["positions_embed.weight", "tokens_embed.weight"]
    names += [f"h.{layer}.{name}" for layer in range(layers) for name in LAYER]
    pieces = torch.from_numpy(numbers).split([math.prod(shape) for shape in shapes])
    return {
        name: piece.view(shape[1:] if len(shape) == 3 and shape[0] == 1 else shape)
        for name, piece, shape in zip(names, pieces, shapes, strict=True)
    }


def files(folder: Path) -> list[Path]:
    """Return the file of shapes, then those of numbers in order. Raises CheckpointError where one is missing."""
    found = {int(path.stem.removeprefix("params_")): path for path in folder.glob("params_[0-9]*.npy")}
    count = max(10, len(found))
    if missing := [number for number in range(count) if number not in found]:
        raise CheckpointError(f"{folder / f'params_{missing[0]}.npy'} is missing; expected params_0 to params_9.npy")
    return [folder / SHAPES, *(found[number] for number in range(count))]


def _shapes(folder: Path) -> list[list[int]]:
    path = folder / SHAPES
    with reading(path, "expected the 2018 release's file"):
        shapes = [[int(size) for size in shape] for shape in json.loads(path.read_text(encoding="utf-8"))]
        fits = len(shapes) > 2 and (len(shapes) - 2) % len(LAYER) == 0 and len(shapes[0]) == len(shapes[1]) == 2
        if not fits or any(size < 1 for shape in shapes for size in shape):
            raise ValueError("not two matrices, and twelve shapes a layer")
    return shapes
