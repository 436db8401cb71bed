"""What a decode step must know, as tables of numbers: sizes, what kind of block, and where everything lies.

Addresses are int64; strides are in bytes from one row of the batch to the next.
"""

import numpy as np

FORMATS = ("float32", "bfloat16", "int8")
ROWS = 4
"""Rows of a matrix that are multiplied together."""
BLOCK = 64
"""Bytes of a row that lie together where rows are packed by fours."""


def _table(names: str) -> np.dtype:
    return np.dtype([(name, np.int64) for name in names.split()])


PLAN = _table(
    "threads lstm format batch width heads head_size layers slots vocabulary "
    "pre_norm rms_norm qk_norm squared_relu "
    "ids types lengths embedding embedding_stride embedding_is_half positions cosine sine "
    "taps recent norm_gain norm_bias "
    "zeros spare stream normed narrow narrow_stride mixed wide wide_stride "
    "weights weights_stride queries queries_stride near_format near_stride "
    "bytes more_bytes bytes_stride byte_scales more_byte_scales scores margins"
)
"""One row. `types` is 0 where tokens have none, `margins` where nobody asks; `narrow_stride` goes for stream, normed,
narrow and mixed; `weights` and `queries` have room for each thread. `near_format` numbers the format in which the cache
is kept a second time, with `near_stride` bytes a key or value; 0 for none."""

LAYER = _table(
    "norm_1_gain norm_1_bias norm_2_gain norm_2_bias keys values near_keys near_values "
    "key_scales key_offsets value_scales qkv_taps qkv_recent mlp_taps mlp_recent hidden cell"
)
"""A row a layer; 0 where a block has no such thing. `near_keys` and `near_values` are copies of the cache that steps
with rounded weights read, see `near.py`."""

MATRIX = _table("address stride rows columns bias scales offsets")
"""A row a matrix: a Transformer's layer has four (qkv, out, up, out), an LSTM's two (of inputs, of hidden); a head."""

CACHE_LINE = 64
# Where the words that threads say to each other stand in `control`, in bytes; each on a cache line of its own.
PHASE, TAKEN, FINISHED, STEP, JOB = (CACHE_LINE * line for line in range(5))
CONTROL_BYTES = 5 * CACHE_LINE
PIECES = 1 << 20
"""The word TAKEN is the present phase times this, plus how many of its pieces are taken."""
PHASES = 1 << 12
"""A step's first phase is its number times this."""
