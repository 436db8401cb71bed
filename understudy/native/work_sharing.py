"""How threads share a decode step: in phases, each cut into pieces of work that the next free thread takes.

A phase begins when all work of the one before is done, not when all threads have arrived, and a late thread skips the
phases that are over. A thread that the system has suspended in the middle of a piece delays nobody either: what it
computes lies in memory of its own until it writes the piece, and another thread that finds nothing else to do computes
the piece again. Whichever of the two comes first writes it. Only while a thread writes, or does the little work between
two phases, do the others have to wait for it. They do so awake for a moment, then asleep, so that the system can give
their core to the thread that they wait for. The numbers do not depend on which thread does what.

Each piece has a word, of 8 times the phase plus the state of the piece there; a lower number means that nobody has
taken it yet. A thread has pieces of its own, the first of them half of its share and each further one half of the one
before, so that memory is read in long streams and all threads finish at about the same time.
"""
# mypy: allow-untyped-defs

import platform
import sys
from typing import Any

from numba import types
from numba.core.typing import signature

from understudy.native.layout import CLOSED, IDLE, JOB, PHASE, PIECES, STEP, TIMEOUT, WAITING, WORDS
from understudy.native.pointwise import native
from understudy.native.vectors import compare_exchange, fetch_add, load_acquire, pause, store_release

LEAST = 16384
"""Bytes of memory below which a piece is not halved: about half a microsecond."""
OPENING, TAKEN, WRITING, DONE = 1, 2, 3, 4
"""States of a piece: one thread prepares it, any thread may compute it, one thread writes it, it is there."""
AWAKE = 3000
"""Looks at a word before a thread sleeps within a step: some tens of microseconds."""
BETWEEN = 30_000
"""Looks for the next step before it sleeps: some tenths of a millisecond, in which most tokens are chosen."""
PATIENCE, RATE = 200, 1024
"""Looks at a late piece before it is computed again: so many, and one per `RATE` bytes that the piece reads."""

if sys.platform == "linux" and (number := {"x86_64": 202, "aarch64": 98}.get(platform.machine())):
    FUTEX, WAIT, WAKE = number, 128, 129
    _system_call: Any = types.ExternalFunction("syscall", signature(types.int64, *[types.int64] * 7))

    @native
    def _sleep(word, seen, timeout):
        """Sleep until `_wake` or the timeout, unless the lower half of the word is no longer what was seen."""
        _system_call(FUTEX, word, WAIT, seen & 0xFFFFFFFF, timeout, 0, 0)

    @native
    def _wake(word):
        _system_call(FUTEX, word, WAKE, 0x7FFFFFFF, 0, 0, 0)
elif sys.platform != "win32":
    _usleep: Any = types.ExternalFunction("usleep", types.int32(types.uint32))

    @native
    def _sleep(word, seen, timeout):
        """Sleep for a moment."""
        _usleep(50)

    @native
    def _wake(word):
        """Do nothing: whoever sleeps looks again by itself."""
else:

    @native
    def _sleep(word, seen, timeout):
        """Stay awake."""
        pause()

    @native
    def _wake(word):
        """Do nothing: nobody sleeps."""


@native
def cut(pieces, size, threads):
    """Return among how many threads work is shared, and into how many pieces the share of each is cut.

    Args:
        pieces: the smallest parts that there can be.
        size: bytes of memory that each of them reads.
        threads: threads that there are.
    """
    sharing, halves = max(1, min(threads, pieces * size // LEAST)), 1
    if sharing > 1:
        share = pieces * size // sharing
        while halves < PIECES and share >> halves >= LEAST:
            halves += 1
    return sharing, halves


@native
def bounds(piece, pieces, sharing, halves):
    """Return the first of the smallest parts in a piece, and the first after it."""
    share, half, whole = piece // PIECES, piece % PIECES, 1 << (halves - 1)
    low, high = pieces * share // sharing, pieces * (share + 1) // sharing
    first = low + (high - low) * (whole - (whole >> half)) // whole
    if half + 1 < halves:
        high = low + (high - low) * (whole - (whole >> (half + 1))) // whole
    return first, high


@native
def _word(control, piece):
    return control + WORDS + 8 * piece


@native
def _open(control, phase, piece, state):
    """Take a piece that nobody has. Returns whether it was free."""
    word = _word(control, piece)
    seen = load_acquire(word)
    return seen < 8 * phase + OPENING and compare_exchange(word, seen, 8 * phase + state)


@native
def take(control, phase, thread, sharing, halves, state):
    """Take a piece that nobody has, in this state. Returns its number, −1 where there is none.

    A thread begins with the largest of its own pieces. Of another's it takes the smallest.
    """
    own = thread % sharing
    if load_acquire(control + PHASE) > phase:
        return -1
    for half in range(halves):
        if _open(control, phase, own * PIECES + half, state):
            return own * PIECES + half
    for step in range(1, sharing):
        other = (own - step + sharing) % sharing
        for half in range(halves - 1, -1, -1):
            if _open(control, phase, other * PIECES + half, state):
                return other * PIECES + half
    return -1


@native
def opened(control, phase, piece):
    """Let others compute the piece too, from now on."""
    store_release(_word(control, piece), 8 * phase + TAKEN)


@native
def may_write(control, phase, piece):
    """Return whether this thread is the one that writes the piece."""
    return compare_exchange(_word(control, piece), 8 * phase + TAKEN, 8 * phase + WRITING)


@native
def written(control, phase, piece):
    """Report the piece as done."""
    store_release(_word(control, piece), 8 * phase + DONE)


@native
def overdue(control, phase, thread, pieces, size, sharing, halves):
    """Return a piece that another thread has taken and is late with, −1 where none is."""
    own, looks, most = thread % sharing, 0, PATIENCE
    while True:
        found = -1
        for step in range(sharing):
            other = (own + step) % sharing
            for half in range(halves):
                if load_acquire(_word(control, other * PIECES + half)) == 8 * phase + TAKEN:
                    found = other * PIECES + half
        if found < 0 or looks >= most:
            return found
        first, end = bounds(found, pieces, sharing, halves)
        most = PATIENCE + (end - first) * size // RATE
        looks += 1
        pause()


@native
def close(control, phase, sharing, halves):
    """Return True for one thread once all pieces are done. That one must begin the next phase."""
    for share in range(sharing):
        for half in range(halves):
            if load_acquire(_word(control, share * PIECES + half)) < 8 * phase + DONE:
                return False
    return compare_exchange(control + CLOSED, phase, phase + 1)


@native
def _announce(word, sleepers, value):
    """Set a word, and wake whoever sleeps until it changes. `sleepers` may count some that are awake again."""
    store_release(word, value)
    asleep = fetch_add(sleepers, 0)
    if asleep > 0:
        compare_exchange(sleepers, asleep, 0)
        _wake(word)


@native
def begin_phase(control, phase):
    """Let the phase's pieces be taken."""
    _announce(control + PHASE, control + WAITING, phase)


@native
def await_phase(control, phase):
    """Wait until the phase has begun."""
    while True:
        for _ in range(AWAKE):
            seen = load_acquire(control + PHASE)
            if seen >= phase:
                return
            pause()
        fetch_add(control + WAITING, 1)
        _sleep(control + PHASE, seen, 0)


@native
def begin_step(control, step, job, phase):
    """Let the other threads in on a step, which begins with this phase."""
    # The phase and the job go before the step: whoever sees the new step takes part at once.
    store_release(control + CLOSED, phase)
    begin_phase(control, phase)
    store_release(control + JOB, job)
    _announce(control + STEP, control + IDLE, step)


@native
def await_step(control, done):
    """Return the number of the step after `done`, or `done` itself where none comes for a while."""
    for _ in range(BETWEEN):
        if load_acquire(control + STEP) != done:
            return load_acquire(control + STEP)
        pause()
    fetch_add(control + IDLE, 1)
    _sleep(control + STEP, done, control + TIMEOUT)
    return load_acquire(control + STEP)
