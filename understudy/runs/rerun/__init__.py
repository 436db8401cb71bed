"""Running a run again on its own code, and comparing what it logs."""
