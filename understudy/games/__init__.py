"""Games: many worlds stepped in one call.

env.py           the interface, and what every game promises
names.py         games by name
kitchen/         Overcooked
lane/            a small MOBA lane
adapters.py      any environment of Gymnasium or PettingZoo as a game
worlds.py        one such environment
workers.py       many of them, in processes
spaces.py        Gymnasium's spaces for what games see and do
views.py         a game as Gymnasium and PettingZoo know games
sharing.py       worlds of native games shared out among threads
teams.py         who is who: sides, who decides, what is shared
recordings.py    episodes: taken down, played again, checked
demonstrations.py  recordings as batches to learn from
minari_files.py  recordings on disk
"""
