"""One decode step as native code: from token ids to logits in one call, for every model of the package, on CPUs.

layout.py        what a step must know, as tables of numbers
vectors.py       instructions on 16 float32 for numba
kernels.py       four rows of a matrix times a few vectors: float32, bfloat16, int8
pointwise.py     norms, activations, short convolutions, rounding to int8
work_sharing.py  how threads share a step
matmul.py        a matrix times the batch's vectors
kv_cache.py      the cache in each format: append to it, score keys, mix values
attention.py     one new token's attention to its cache
steps.py         the whole step, Transformer and LSTM
compilation.py   the step as machine code, kept on disk
workers.py       the threads
weights.py       a model's weights as the step reads them
session.py       rows that decode step after step
dispatch.py      which models are served, and when
"""
