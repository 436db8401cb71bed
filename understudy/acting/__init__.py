"""Sampling and generation: a policy that carries state, stepped."""
