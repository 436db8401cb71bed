"""The record of every run: code, data, seeds, metrics. Knows nothing of the floors above."""
