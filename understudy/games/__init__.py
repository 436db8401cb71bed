"""Games: many worlds stepped in one call.

env.py         the interface, and what every game promises
names.py       games by name
kitchen/       Overcooked
recordings.py  episodes: taken down, played again, checked
"""
