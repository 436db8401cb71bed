"""Runs as one file that another machine takes in: `pack` writes it, `unpack` reads it and trusts nothing in it."""
