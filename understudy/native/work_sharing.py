"""How threads share a decode step: in phases, each cut into pieces of work that the next free thread takes.

A phase begins when all work of the one before is done, not when all threads have arrived. A thread that the system has
suspended delays the others only while it holds a piece, and a late one skips the phases that are over. The numbers do
not depend on which thread does what.
"""
# mypy: allow-untyped-defs

import sys

from numba import types

from understudy.native.layout import FINISHED, PHASE, PIECES, STEP, TAKEN
from understudy.native.pointwise import native
from understudy.native.vectors import compare_exchange, fetch_add, load_acquire, pause, store_release

PATIENCE = 2000
"""Looks at a word before the thread lets others run: some tens of microseconds."""
AWAKE = 40
"""How often a thread without a step then looks again before it sleeps."""

if sys.platform == "win32":

    @native
    def _let_others_run():
        pause()
else:
    _sched_yield = types.ExternalFunction("sched_yield", types.int32())

    @native
    def _let_others_run():
        _sched_yield()


@native
def take(control, phase, pieces, least, threads):
    """Take the phase's next pieces. Returns the first and their number, 0 once all are taken.

    The first helping is nearly a whole share, then they shrink, so that all threads finish at about the same time. None
    is smaller than `least`, below which asking costs more than it gains.
    """
    while True:
        taken = load_acquire(control + TAKEN)
        first = taken - phase * PIECES
        # Far below 0 where the phase is over
        rest = pieces - first
        if rest <= 0:
            return first, 0
        share = pieces * 7 // (8 * threads)
        number = share if rest - share >= pieces // 8 else rest // (2 * threads)
        number = min(rest, max(number, least)) if threads > 1 else rest
        if compare_exchange(control + TAKEN, taken, taken + number):
            return first, number


@native
def finish(control, number, pieces):
    """Report this thread's pieces as done. Returns True for the last thread, which must then begin the next phase."""
    return number > 0 and fetch_add(control + FINISHED, number) + number == pieces


@native
def begin_phase(control, phase):
    """Let the phase's pieces be taken."""
    store_release(control + FINISHED, 0)
    store_release(control + TAKEN, phase * PIECES)
    store_release(control + PHASE, phase)


@native
def await_phase(control, phase):
    """Wait until the phase has begun."""
    looks = 0
    while load_acquire(control + PHASE) < phase:
        pause()
        looks += 1
        if looks == PATIENCE:
            looks = 0
            _let_others_run()


@native
def await_step(control, done):
    """Return the number of the step after `done`, or `done` itself where none comes for a while."""
    for _ in range(AWAKE):
        for _ in range(PATIENCE):
            if load_acquire(control + STEP) != done:
                return load_acquire(control + STEP)
            pause()
        _let_others_run()
    return done
