"""Comparing runs: what differs between them, what came of them, and whether seeds tell two settings apart."""
