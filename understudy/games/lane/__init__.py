"""A small MOBA lane: two teams of heroes, creeps that walk in waves, a tower each."""
