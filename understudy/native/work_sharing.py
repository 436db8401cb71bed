"""How threads share a decode step: in phases, each of pieces of work that whoever is free takes.

A phase begins when all work of the one before is done, not when all threads are there: a thread that the system has
put aside holds nobody up unless it holds a piece, and one that comes late passes over what the others did without it.
Who does what changes no number.
"""

import sys

from numba import types

from understudy.native.layout import FINISHED, PHASE, PIECES, STEP, TAKEN
from understudy.native.pointwise import native
from understudy.native.vectors import add_to, breathe, look, swap_if, tell

PATIENCE = 2000
"""Looks at a word before the thread lets others run: some tens of microseconds."""
AWAKE = 40
"""How often a thread without a step then looks again before it sleeps."""

if sys.platform == "win32":

    @native
    def _let_others_run():  # type: ignore[no-untyped-def]
        breathe()
else:
    _sched_yield = types.ExternalFunction("sched_yield", types.int32())

    @native
    def _let_others_run():  # type: ignore[no-untyped-def]
        _sched_yield()


@native
def take(control, phase, pieces, least, threads):  # type: ignore[no-untyped-def]
    """(first, how many) of the phase's next pieces; none once all are taken.

    At first nearly a whole share, then smaller and smaller helpings, so that all are done at about the same time; but
    no less than `least`, below which asking costs more than it wins.
    """
    while True:
        taken = look(control + TAKEN)
        first = taken - phase * PIECES
        rest = pieces - first
        if rest <= 0:  # far below 0 where the phase is over
            return first, 0
        share = pieces * 7 // (8 * threads)
        number = share if rest - share >= pieces // 8 else rest // (2 * threads)
        number = min(rest, max(number, least)) if threads > 1 else rest
        if swap_if(control + TAKEN, taken, taken + number):
            return first, number


@native
def finish(control, number, pieces):  # type: ignore[no-untyped-def]
    """All that this thread took is done. True for one thread, the last: it must call `begin_phase` for the next."""
    return number > 0 and add_to(control + FINISHED, number) + number == pieces


@native
def begin_phase(control, phase):  # type: ignore[no-untyped-def]
    """Let the phase's pieces be taken."""
    tell(control + FINISHED, 0)
    tell(control + TAKEN, phase * PIECES)
    tell(control + PHASE, phase)


@native
def await_phase(control, phase):  # type: ignore[no-untyped-def]
    """Wait until the phase has begun."""
    looks = 0
    while look(control + PHASE) < phase:
        breathe()
        looks += 1
        if looks == PATIENCE:
            looks = 0
            _let_others_run()


@native
def await_step(control, done):  # type: ignore[no-untyped-def]
    """The number of the step after `done`, or `done` itself where none came for a while."""
    for _ in range(AWAKE):
        for _ in range(PATIENCE):
            if look(control + STEP) != done:
                return look(control + STEP)
            breathe()
        _let_others_run()
    return done
