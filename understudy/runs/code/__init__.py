"""The exact code behind a run: kept when the run begins, and read back later."""
