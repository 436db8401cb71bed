"""Overcooked: rules and observations as numba functions, layouts, and people's recorded games."""
