"""One decode step as native code: every model of the package, from token ids to scores, in one call."""
