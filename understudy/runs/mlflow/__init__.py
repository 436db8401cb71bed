"""A run's record in an MLflow store: SQLite, PostgreSQL or an HTTP server.

The folder of a run is the truth and MLflow a window on it. So there is one operation, `replay`: it sends what the
folder holds and the store does not have yet. `runs sync` calls it once. A training run has a process beside it that
calls it every few seconds (`stream`). Only `store` imports MLflow itself.
"""
