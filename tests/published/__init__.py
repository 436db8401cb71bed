"""Small stand-ins for the published checkpoints, made on the spot: vocabularies, weights, files in each layout."""
