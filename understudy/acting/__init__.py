"""Generation: a model that carries state, stepped.

sampling   from logits to tokens: penalty, temperature, top-k, top-p, min-p
rows       one reply while it grows: its options, ids, text and finish reason
graphs     decode steps as a CUDA graph
engine     rows that are prefilled, decode together, join and leave
chat       a conversation whose cache stays across turns
samples    what a model says while it trains
"""
