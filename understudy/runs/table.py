"""The list of runs on the terminal."""

from collections.abc import Iterable, Iterator
from itertools import zip_longest

from rich.cells import cell_len
from rich.console import Console, ConsoleOptions
from rich.segment import Segment
from rich.style import Style
from rich.text import Text

from understudy.console import age, number, text, unicode
from understudy.runs.find import Record

COLUMNS = ("run", "verb", "status", "age", "headline")
STATUS_STYLES = {"running": "cyan", "finished": "green", "failed": "red", "broken": "red"}
GAP = 2
NARROWEST_REMARKS = 30  # in less room they go on lines of their own


class RunsTable:
    """A row a run, in the given order: id, verb, status, age, headline, and remarks (marks and note, or the error).

    Written out by hand because rich's own table takes two seconds for 10,000 rows.
    """

    def __init__(self, records: Iterable[Record]) -> None:
        self._records = list(records)

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> Iterator[Segment]:
        rows = [_cells(record) for record in self._records]
        remarks = [remarks_of(record) for record in self._records]
        widths = [max(map(cell_len, column)) for column in zip(COLUMNS, *rows, strict=True)]
        indent = sum(widths) + GAP * len(widths)
        beside = options.max_width - indent >= NARROWEST_REMARKS
        names = _padded(COLUMNS, widths) + (["note"] if beside and any(remarks) else [])
        yield from _line([Segment((" " * GAP).join(names).rstrip(), Style(bold=True))])
        for record, row, remark in zip(self._records, rows, remarks, strict=True):
            main = _main(_padded(row, widths), STATUS_STYLES.get(record.status, "yellow"))
            if not beside or not remark:
                yield from _line(main)
            if remark:
                indent = indent if beside else GAP
                said = [list(line.render(console)) for line in remark.wrap(console, max(options.max_width - indent, 1))]
                first = [main] if beside else []
                for start, line in zip_longest(first, said, fillvalue=[Segment(" " * indent)]):
                    yield from _line([*start, *line])


def remarks_of(record: Record) -> Text:
    """What is to be said of a run beside its figures: bad and why, pinned, its tags, its note or else its error."""
    marks = record.marks
    parts = [text(f"bad: {marks.bad}", "red")] if marks.bad else []
    parts += [Text("pinned", "magenta")] if marks.pinned else []
    parts += [text(" ".join(f"#{tag}" for tag in marks.tags), "cyan")] if marks.tags else []
    said = record.note or record.facts.error
    parts += [text(" ".join(said.split()))] if said else []
    return Text(" · ").join(parts)


def headline_of(record: Record) -> str:
    """The figure that sums the run up, with its name; empty where there is none yet."""
    headline = record.figures.headline
    return f"{headline[0]} {number(headline[1])}" if headline else ""


def _cells(record: Record) -> tuple[str, ...]:
    cells = (record.id, record.verb, record.status, age(record.created), headline_of(record))
    return tuple(map(unicode, cells))


def _padded(cells: Iterable[str], widths: list[int]) -> list[str]:
    """The cells in their columns, the age to the right."""
    padded = []
    for name, cell, width in zip(COLUMNS, cells, widths, strict=True):
        room = " " * (width - cell_len(cell))
        padded.append(room + cell if name == "age" else cell + room)
    return padded


def _main(cells: list[str], style: str) -> list[Segment]:
    gap = " " * GAP
    run, verb, status, *rest = cells
    return [
        Segment(run + gap + verb + gap),
        Segment(status, Style.parse(style)),
        Segment(gap + gap.join(rest) + gap),
    ]


def _line(segments: list[Segment]) -> list[Segment]:
    return [*segments, Segment.line()]
