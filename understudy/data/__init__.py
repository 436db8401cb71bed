"""Conversations, text and tokenizers: what people made, ready for a model."""
