"""Figures about what a model says: metrics, ranking, recall, replies."""
