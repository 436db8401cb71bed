"""What a decode step must know, as tables of numbers: sizes, the kind of block, and where everything lies.

Addresses are int64. Strides are in bytes.
"""

import numpy as np

FORMATS = ("float32", "bfloat16", "int8")
ROWS = 4
"""Rows of a matrix that are multiplied together."""
BLOCK = 64
"""Bytes of a row that lie together where rows are packed by fours."""
GELU, SQUARED_RELU = 1, 2
"""Activations; 0 is none."""


def _table(names: str) -> np.dtype:
    return np.dtype([(name, np.int64) for name in names.split()])


OPERAND = _table("address stride bytes scales")
"""One vector per row of the batch, `stride` apart. Where the weights are int8, `bytes` and `scales` hold the same
vectors rounded (see `matmul.quantize`)."""

_NUMBERS = _table(
    "threads lstm format batch width heads head_size layers slots vocabulary pre_norm rms_norm qk_norm "
    "ids types lengths embedding embedding_stride embedding_is_half positions cosine sine "
    "taps recent start_gain start_bias zeros spare bytes_stride margins "
    "weights weights_stride queries queries_stride scratch scratch_stride packed_format packed_stride "
    "sequences groups firsts wanted asked"
)
PLAN = np.dtype(
    [(name, np.int64) for name in _NUMBERS.names or ()]
    + [(name, OPERAND) for name in ("stream", "normed", "branch", "mixed", "wide", "hidden", "recurrent", "logits")]
)
"""One row. `types` is 0 where tokens have none, `margins` where they are not asked for. `weights`, `queries` and
`scratch` have room for each thread. `packed_format` numbers the format of the cache's packed copy, with `packed_stride`
bytes per key or value; 0 for none.

A row of the batch is a token. `sequences` says for each row where its sequence stands in the cache and in what LSTMs
and convolutions remember, `lengths` how many tokens come before it there. The rows of one sequence lie together, in the
order of its tokens: a group. There are `groups` of them, and `firsts` has the first row of each, then the end. Logits
are computed for `asked` rows, those in `wanted`, in ascending order; where that is 0, for the first ones."""

LAYER = _table(
    "middle_gain middle_bias end_gain end_bias keys values packed_keys packed_values "
    "key_scales key_offsets value_scales qkv_recent mlp_taps mlp_recent hidden cell"
)
"""One row per layer; 0 where a block lacks the part. The `middle` norm stands after attention, the `end` norm after the
MLP. `packed_keys` and `packed_values` are copies of the cache in the weights' format (see `kv_cache`). `keys` and
`values` may be 0 where there are such copies."""

MATRIX = _table("address stride rows columns bias scales offsets activation taps")
"""One row per matrix: four per layer of a Transformer (qkv, out, up, down), two per layer of an LSTM (of inputs, of
hidden), then the head. `activation` and the convolution's `taps` are applied to the product."""

CACHE_LINE = 64
# Where the words by which threads synchronize stand in `control`, in bytes. Each has a cache line of its own, and so
# have the words of each thread's pieces, which come last.
PHASE, CLOSED, WAITING, STEP, IDLE, JOB, TIMEOUT, WORDS = (CACHE_LINE * line for line in range(8))
PIECES = CACHE_LINE // 8
"""The most pieces that a thread's share is cut into."""
PHASES = 1 << 12
"""A step's first phase is its number times this."""
