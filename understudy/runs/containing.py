"""Which runs' code holds a commit, some lines or a definition, and `understudy runs containing`.

What counts is the code itself, not its history: a run made before the commit, from the same edits not yet committed,
holds it; a run made after it was fixed does not.
"""

import ast
import re
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import tyro
from rich.console import Console

from understudy.console import and_more, counted, progress, say, table, text
from understudy.errors import GitError, UserError, suggestion
from understudy.runs.code.git import files_of, git, repository_of
from understudy.runs.code.kept import PACKAGE_PREFIX, READ_FILES, KeptCode, open_code, parts_of
from understudy.runs.code.sources import read_sources
from understudy.runs.find import find_run, list_runs
from understudy.runs.record import Record, change_marks

DISTINCTIVE = 16  # characters, not counting blanks, that make a block of lines recognisable without its neighbours
CodeReference = tuple[str, Callable[[KeptCode], str]]
"""Some code that the user points at: its name, and the function that says where kept code has it, or ""."""
Definable = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef | ast.Assign | ast.AnnAssign


def resolve(reference: str, folder: Path) -> CodeReference:
    """Return what FILE:LINE, FILE:FIRST-LAST, COMMIT or SYMBOL names, seen from `folder`.

    Lines and definitions are those of the files as they are now; with `@RUN` behind them, as they were in that run.
    Raises UserError where nothing has that name, or several things.
    """
    wanted, _, run = reference.partition("@")
    top = None if run else repository_of(folder)
    lines = re.fullmatch(r"(.+):(\d+)(?:-(\d+))?", wanted)
    # A commit, unless it looks like lines of a file.
    if top and not lines:
        with suppress(GitError):  # it is not a commit
            name = git(top, "rev-parse", "--verify", "--quiet", "--end-of-options", f"{wanted}^{{commit}}")
            return _commit(top, name.decode().strip())

    # The files as they are now, or as they were in the run: path to lines.
    if run:
        with open_code(find_run(run)) as code:
            files = {path: _lines(code.read(path)) for path in code.readers if path.endswith(".py")}
    else:
        files = {path: _lines(content) for path, content in read_sources(top or folder).files.items()}
    if lines:
        block = _lines_at(lines[1], int(lines[2]), int(lines[3] or lines[2]), files)
        return f"{block.path}: {block.lines[0].strip()}", block.place_in
    return _definition(wanted, files)


@dataclass(frozen=True)
class Lines:
    """Some lines of a file; `before` and `after`, their neighbours, tell them from other places like them."""

    path: str
    lines: tuple[str, ...]
    before: str | None
    after: str | None

    def place_in(self, code: KeptCode) -> str:
        """Return path and number of the first line."""
        for path in _same_file(self.path, code):
            if number := self.line_in(_lines(code.read(path))):
                return f"{path}:{number}"
        return ""

    def line_in(self, lines: list[str]) -> int:
        """Return the line (counted from 1) at which they begin in a file of these lines; 0 where they do not."""
        count = len(self.lines)
        starts = [at for at in range(len(lines) - count + 1) if tuple(lines[at : at + count]) == self.lines]
        # Lines that stand there twice, or are too short to mean anything alone, need the same neighbours.
        distinctive = sum(len("".join(line.split())) for line in self.lines) >= DISTINCTIVE
        if len(starts) > 1 or (starts and not distinctive):
            padded = [None, *lines, None]
            starts = [at for at in starts if (padded[at], padded[at + count + 1]) == (self.before, self.after)]
        return starts[0] + 1 if starts else 0


def _lines_at(path: str, first: int, last: int, files: dict[str, list[str]]) -> Lines:
    found = [known for known in files if known == path] or [known for known in files if known.endswith(f"/{path}")]
    if not found:
        raise UserError(f"no source file {path} here{suggestion(path, files)}")
    if len(found) > 1:
        raise UserError(f"{path} may be any of {', '.join(found)}: write more of the path")
    lines = files[found[0]]
    if not 1 <= first <= last <= len(lines):
        raise UserError(
            f"{path} has {counted(len(lines), 'line')}; there is no {first}{f'-{last}' if last != first else ''}"
        )
    if not "".join(lines[first - 1 : last]).strip():
        raise UserError(f"line {first} of {path} is blank; point at a line of code")
    return _block(found[0].removeprefix(PACKAGE_PREFIX), lines, first, last)


def _block(path: str, lines: list[str], first: int, last: int) -> Lines:
    padded = [None, *lines, None]
    return Lines(path, tuple(lines[first - 1 : last]), padded[first - 1], padded[last + 1])


def _commit(top: Path, commit: str) -> CodeReference:
    """Return the changes of a commit against its (first) parent: the lines and the binary files that it left."""
    options = ("--format=%h %s", "--unified=0", "--no-renames", "--no-color", "--no-ext-diff", "--first-parent", "-m")
    title, _, diff = git(top, "show", *options, commit).decode(errors="replace").partition("\n")
    held = files_of(partial(git, top), commit)
    changes: list[Lines] = []
    binary: dict[str, str] = {}
    for part in re.split(r"^diff --git ", diff, flags=re.MULTILINE)[1:]:
        path = re.search(r"^(?:\+\+\+ b/(.*?)\t?|Binary files .* and b/(.*) differ)$", part, re.MULTILINE)
        if path and path[2]:
            binary[path[2]] = held[path[2]]
        elif path and path[1] in held:  # a submodule is not
            lines = _lines(git(top, "cat-file", "blob", held[path[1]]))
            for start, count in re.findall(r"^@@ -\S+ \+(\d+),?(\d*) @@", part, re.MULTILINE):
                first, added = int(start), int(count or 1)
                # What was only deleted, behind the line `first`, left its neighbours.
                last = first + added - 1 if added else min(first + 1, len(lines))
                changes.append(_block(path[1], lines, max(first, 1), last))
    if not changes and not binary:
        why = "it only deletes files, or is a merge"
        raise UserError(f"commit {title!r} changes no lines that a run could hold ({why})")

    def place_in(code: KeptCode) -> str:
        held = sum(bool(lines.place_in(code)) for lines in changes)
        held += sum(code.files.get(path) == content_id for path, content_id in binary.items())
        total = len(changes) + len(binary)
        if not held or total == 1:
            return "yes" if held else ""
        return f"all {total} changes" if held == total else f"{held} of {total} changes"

    return f"commit {title}", place_in


def _definition(wanted: str, files: dict[str, list[str]]) -> CodeReference:
    """Return a function, class or assignment, the same where it computes the same: comments and layout do not count."""
    found: list[tuple[str, str, Definable]] = []
    names: set[str] = set()
    for path, lines in files.items():
        if not path.endswith(".py"):
            continue
        plain_path = path.removeprefix(PACKAGE_PREFIX)
        module = plain_path.removesuffix(".py").removesuffix("/__init__").replace("/", ".")
        for qualified, node in _definitions(lines):
            names.add(qualified)
            if f".{module}.{qualified}".endswith(f".{wanted}"):
                found.append((plain_path, qualified, node))
    if not found:
        close = suggestion(wanted, names) or "; try FILE:LINE, COMMIT or SYMBOL"
        raise UserError(f"{wanted!r} is neither a commit nor a definition here{close}")
    if len(found) > 1:
        names_found = and_more([f"{path}: {qualified}" for path, qualified, _ in found], most=6)
        raise UserError(f"{wanted!r} may be any of {names_found}: write more of the name")
    defined_in, name, definition = found[0]
    tree = ast.dump(definition)

    def place_in(code: KeptCode) -> str:
        for path in _same_file(defined_in, code):
            for qualified, node in _definitions(_lines(code.read(path))):
                if qualified == name and ast.dump(node) == tree:
                    return f"{path}:{node.lineno}"
        return ""

    return f"{defined_in}: {name}", place_in


def _definitions(lines: list[str]) -> Iterator[tuple[str, Definable]]:
    """Yield the qualified name and syntax tree of each definition in a module; none where it cannot be parsed."""
    try:
        module = ast.parse("\n".join(lines))
    except (SyntaxError, ValueError):
        return

    def defined_in(parent: ast.Module | ast.ClassDef, prefix: str) -> Iterator[tuple[str, Definable]]:
        for node in parent.body:
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
                yield prefix + node.name, node
            elif isinstance(node, ast.Assign | ast.AnnAssign):
                targets = node.targets if isinstance(node, ast.Assign) else [node.target]
                yield from ((prefix + target.id, node) for target in targets if isinstance(target, ast.Name))
            if isinstance(node, ast.ClassDef):
                yield from defined_in(node, f"{prefix}{node.name}.")

    yield from defined_in(module, "")


def _same_file(path: str, code: KeptCode) -> list[str]:
    """Return where a run kept the file: at its path (in the package kept apart, too), else where one has its name."""
    at = [known for known in (path, PACKAGE_PREFIX + path) if known in code.readers]
    at += [known for known in code.readers if known.endswith(f"/{path}") and known.startswith((PACKAGE_PREFIX, "/"))]
    name = path.rpartition("/")[2]
    return at or [known for known in code.readers if known.rpartition("/")[2] == name]


def _lines(content: bytes) -> list[str]:
    # Neither a form feed nor what else `splitlines` takes for the end of a line counts as one for git and editors.
    return content.decode("utf-8", "replace").removesuffix("\n").split("\n")


@dataclass
class ContainingOptions:
    """What to look for."""

    code: Annotated[tyro.conf.Positional[str], tyro.conf.arg(metavar="COMMIT|FILE:LINE|SYMBOL")]
    """A commit, FILE:LINE or FILE:FIRST-LAST, or a function, class or constant. Lines and definitions are today's;
    with @RUN behind them, that run's."""
    mark_bad: Annotated[str, tyro.conf.arg(metavar="REASON")] = ""
    """Mark the runs that are listed as bad, with this reason."""


def list_containing(options: ContainingOptions, console: Console) -> None:
    """List the runs whose code holds a commit, a line or a definition: which results did this bug touch?

    The code itself counts, not its history. A run from the same edits before they were committed is listed; one that
    was made after the bug was fixed is not.
    """
    name, place_in = resolve(options.code, Path.cwd())
    records = [record for record in list_runs() if record.status != "broken"]
    found: list[tuple[Record, str]] = []
    unread: list[str] = []
    places: dict[Any, str] = {}
    with progress(console, "looking through", total=len(records)) as bar:
        for record in records:
            # Each different code is looked at once.
            key = _code_key(record)
            try:
                if key not in places:
                    with open_code(record.folder) as code:
                        places[key] = place_in(code)
                if places[key]:
                    found.append((record, places[key]))
            except UserError as error:
                unread.append(str(error))
            bar.advance()

    # What was found, and what to do about it.
    say(console, name, "bold")
    if found:
        rows = table("run", "verb", "status", "where", "note")
        for record, place in found:
            note = f"bad: {record.marks.bad}" if record.marks.bad else record.note
            rows.add_row(*map(text, (record.id, record.verb, record.status, place, note)))
        rows.columns[0].no_wrap = True
        console.print(rows)
    say(console, f"{len(found)} of {len(records)} runs hold this code", "" if found else "green")
    for line in unread:
        say(console, line, "yellow")
    if options.mark_bad:
        for record, _ in found:
            change_marks(record.folder, bad=options.mark_bad)
        say(console, f"marked as bad: {options.mark_bad}", "red")
    elif found:
        way = f'understudy runs containing {options.code} --mark-bad "why"'
        say(console, f"to take them out of comparisons: {way}", "dim")


def _code_key(record: Record) -> Any:
    """Return a value that is equal for runs of equal code."""
    code = record.data.get("code") or {}
    names = tuple(part.get("snapshot") or part.get("digest") for _, _, part in parts_of(code))
    read = record.folder / "code" / READ_FILES
    return names if names[0] else record.id, read.read_bytes() if read.exists() else b""
