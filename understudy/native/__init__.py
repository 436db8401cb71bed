"""One decode step as native code: from token ids to scores in one call, for every model of the package, on CPUs.

plan.py         what a step must know, as tables of numbers
vectors.py      instructions on 16 float32 for numba
tiles.py        four rows of a matrix times a few vectors: float32, bfloat16, int8
pointwise.py    norms, activations, short convolutions, numbers in two bytes
products.py     a matrix times the batch's vectors
attention.py    one new token's attention to its cache
team.py         how threads share a step
steps.py        the whole step, Transformer and LSTM
compilation.py  the step as machine code, kept on disk
workers.py      the threads
weights.py      a model's weights as the step reads them
session.py      rows that decode step after step
choice.py       which models are served, and when
"""
