"""Comparing runs: what differs between them, how they did, and whether seeds tell two settings apart."""
