"""Losses, schedules, the learner and its checkpoints."""
