"""Tasks: a generator of examples and the scorer that goes with it."""
