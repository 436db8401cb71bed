"""Running a run again, on its own code, and comparing what comes of it."""
