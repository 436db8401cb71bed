"""A run's record in an MLflow store: SQLite, PostgreSQL or an HTTP server.

The folder of a run is the truth and MLflow a window on it. So there is one operation, `replay`: it looks at what the
folder holds and the store does not know yet, and sends that. `runs sync` calls it once; a training run has a helping
process beside it that calls it every few seconds (`stream`, `worker`). MLflow itself is imported in `store` only.
"""
