"""Cores (LSTM and Transformer) and the language model built on them."""
