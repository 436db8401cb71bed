import io
import os
import signal
import threading

import pytest
from rich.console import Console

from understudy.console import CONTROL, interrupt, on_signals, printable, progress, say, table, text, visible


@pytest.mark.parametrize("total", [None, 10])
def test_a_bar_shows_what_is_done_on_a_terminal_and_nothing_elsewhere(total: int | None) -> None:
    for terminal in (True, False):
        shown = io.StringIO()
        console = Console(file=shown, force_terminal=terminal, width=120)
        with progress(console, "learning", total) as bar:
            bar.advance(3)
            bar.update(figures="[loss] 1.5")
        assert all((piece in shown.getvalue()) is terminal for piece in ("learning", "[loss] 1.5"))
        assert ("3/10" in shown.getvalue()) is (terminal and total is not None)


def test_a_table_has_its_title_and_no_lines() -> None:
    shown = io.StringIO()
    found = table("run", "loss", title="Runs")
    found.add_row("brave-otter", "1.5")
    Console(file=shown, width=40).print(found)
    lines = [line.split() for line in shown.getvalue().splitlines()]
    assert lines == [["Runs"], ["run", "loss"], ["brave-otter", "1.5"]]


def test_no_control_character_reaches_the_terminal() -> None:
    text = "".join(map(chr, range(256)))
    for shown, kept in ((printable(text), "\t\n"), (visible(text), "\t")):
        assert not [char for char in shown if not char.isprintable() and char not in kept + "\xa0\xad"]
    assert {chr(code) for code in CONTROL}.isdisjoint("\t\n")


def test_what_others_wrote_cannot_drive_the_terminal() -> None:
    console = Console(file=io.StringIO(), width=80)
    console.print(text("a\x1b[31mred\udcff"))
    say(console, "b\x9b31m")
    assert console.file.getvalue() == "a\ufffd[31mred\\udcff\nb\ufffd31m\n"  # type: ignore[attr-defined]


def test_a_signal_is_handled_within_the_block_only() -> None:
    before = signal.getsignal(signal.SIGTERM)
    got: list[int] = []
    with on_signals(got.append, signal.SIGTERM, signal.SIGINT):
        os.kill(os.getpid(), signal.SIGTERM)
        os.kill(os.getpid(), signal.SIGINT)
    with pytest.raises(KeyboardInterrupt), on_signals(interrupt, signal.SIGTERM):
        os.kill(os.getpid(), signal.SIGTERM)
    assert got == [signal.SIGTERM, signal.SIGINT]
    assert signal.getsignal(signal.SIGTERM) is before


def test_a_forked_child_just_ends() -> None:
    with on_signals(interrupt, signal.SIGTERM):
        child = os.fork()
        if not child:
            os.kill(os.getpid(), signal.SIGTERM)
            os._exit(0)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 128 + signal.SIGTERM


def test_other_threads_leave_signals_alone() -> None:
    before = signal.getsignal(signal.SIGTERM)
    seen = []

    def work() -> None:
        with on_signals(interrupt, signal.SIGTERM):
            seen.append(signal.getsignal(signal.SIGTERM))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen == [before]
