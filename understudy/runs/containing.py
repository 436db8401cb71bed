"""A piece of code that somebody points at: a commit, some lines, a definition; and whether a run's code holds it.

What counts is the code itself, not its history: a run made before the commit, from the same edits not yet committed,
holds it; a run made after it was mended does not.
"""

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from understudy.errors import GitError, UserError, suggestion
from understudy.runs.code.git import files_of, git, repository_of
from understudy.runs.code.kept import PACKAGE_PREFIX, KeptCode, open_code
from understudy.runs.code.sources import read_sources
from understudy.runs.find import find_run

DISTINCTIVE = 16  # characters, blanks not counted, that make a block of lines recognisable without its neighbours


class Piece(Protocol):
    """What is pointed at; `place_in` says where a run's code holds it, and is empty where it does not."""

    @property
    def name(self) -> str:
        """What it is."""

    def place_in(self, code: KeptCode) -> str:
        """Like `train.py:12`, or "2 of 3 changes"."""


def find_piece(reference: str, folder: Path) -> Piece:
    """What FILE:LINE, FILE:FIRST-LAST, COMMIT or SYMBOL means, seen from `folder`.

    Lines and definitions are those of the files as they are now; with `@RUN` behind them, as they were in that run.
    Raises UserError where there is no such thing, or several.
    """
    wanted, _, run = reference.partition("@")
    if match := re.fullmatch(r"(.+):(\d+)(?:-(\d+))?", wanted):
        path, first, last = match[1], int(match[2]), int(match[3] or match[2])
        return _lines_at(path, first, last, _files(folder, run))
    if not run and (top := repository_of(folder)) and (commit := _commit_named(top, wanted)):
        return _commit(top, commit)
    return _definition(wanted, _files(folder, run))


@dataclass(frozen=True)
class Block:
    """Some lines of a file; `neighbours` stand right before and after, and tell it from other places like it."""

    path: str
    lines: tuple[str, ...]
    before: str | None
    after: str | None

    @property
    def name(self) -> str:
        """The first of the lines."""
        return f"{self.path}: {self.lines[0].strip()}" if self.lines else self.path

    def place_in(self, code: KeptCode) -> str:
        """Path and line of the block."""
        for path in _same_file(self.path, code):
            if number := self.line_in(_text(code.read(path))):
                return f"{path}:{number}"
        return ""

    def line_in(self, lines: list[str]) -> int:
        """The line (counted from 1) where it begins among the lines of a file; 0 where it does not stand."""
        alone = sum(len("".join(line.split())) for line in self.lines) >= DISTINCTIVE
        starts = [at for at in range(len(lines) - len(self.lines) + 1) if self._stands_at(lines, at)]
        if len(starts) > 1 or (starts and not alone):
            starts = [at for at in starts if self._between_its_neighbours(lines, at)]
        return starts[0] + 1 if starts else 0

    def _stands_at(self, lines: list[str], at: int) -> bool:
        return tuple(lines[at : at + len(self.lines)]) == self.lines

    def _between_its_neighbours(self, lines: list[str], at: int) -> bool:
        end = at + len(self.lines)
        before, after = lines[at - 1] if at else None, lines[end] if end < len(lines) else None
        return before == self.before and after == self.after


@dataclass(frozen=True)
class Changes:
    """A commit's changes, each as the block that it left behind; a change that only deletes left its neighbours."""

    name: str
    blocks: tuple[Block, ...]
    whole_files: tuple[tuple[str, str], ...] = ()
    """Binary files: path and content id."""

    def place_in(self, code: KeptCode) -> str:
        """How many of the changes are there."""
        held = sum(bool(block.place_in(code)) for block in self.blocks)
        held += sum(code.files.get(path) == content for path, content in self.whole_files)
        total = len(self.blocks) + len(self.whole_files)
        if not held:
            return ""
        return f"all {total} changes" if held == total > 1 else f"{held} of {total} changes" if total > 1 else "yes"


@dataclass(frozen=True)
class Definition:
    """A function, class or assignment, the same where it computes the same: comments and layout do not count."""

    name: str
    path: str
    qualified: str
    tree: str

    def place_in(self, code: KeptCode) -> str:
        """Path and line of the definition."""
        for path in _same_file(self.path, code):
            for qualified, node in _definitions(_text(code.read(path))):
                if qualified == self.qualified and ast.dump(node) == self.tree:
                    return f"{path}:{node.lineno}"
        return ""


Definable = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef | ast.Assign | ast.AnnAssign


def _files(folder: Path, run: str) -> dict[str, list[str]]:
    """Path to lines of the source files: in a run's code, or as they are now in the repository (or folder)."""
    if run:
        with open_code(find_run(run)) as code:
            return {path: _text(code.read(path)) for path in code.files if path.endswith(".py")}
    top = repository_of(folder) or folder
    return {path: _text(content) for path, content in read_sources(top).files.items()}


def _lines_at(path: str, first: int, last: int, files: dict[str, list[str]]) -> Block:
    matches = [known for known in files if known == path] or [known for known in files if known.endswith(f"/{path}")]
    if not matches:
        raise UserError(f"no source file {path} here{suggestion(path, files)}")
    if len(matches) > 1:
        raise UserError(f"{path} may be any of {', '.join(matches)}: write more of the path")
    lines = files[matches[0]]
    if not 1 <= first <= last <= len(lines):
        raise UserError(f"{path} has {len(lines)} lines; there is no {first}{f'-{last}' if last != first else ''}")
    if not "".join(lines[first - 1 : last]).strip():
        raise UserError(f"line {first} of {path} is blank; point at a line of code")
    before = lines[first - 2] if first > 1 else None
    after = lines[last] if last < len(lines) else None
    return Block(matches[0].removeprefix(PACKAGE_PREFIX), tuple(lines[first - 1 : last]), before, after)


def _commit_named(top: Path, name: str) -> str | None:
    try:
        return git(top, "rev-parse", "--verify", "--quiet", "--end-of-options", f"{name}^{{commit}}").decode().strip()
    except GitError:
        return None


def _commit(top: Path, commit: str) -> Changes:
    """The changes of a commit against its (first) parent."""
    options = ("--format=%h %s", "--unified=1", "--no-renames", "--no-color", "--no-ext-diff", "--first-parent", "-m")
    title, _, diff = git(top, "show", *options, commit).decode(errors="replace").partition("\n")
    blocks: list[Block] = []
    binary: list[str] = []
    for part in re.split(r"^diff --git ", diff, flags=re.MULTILINE)[1:]:
        path = re.search(r"^\+\+\+ b/(.*)$", part, re.MULTILINE)
        if path:
            blocks += _blocks(path[1].rstrip("\t"), part)
        elif named := re.search(r"^Binary files .* and b/(.*) differ$", part, re.MULTILINE):
            binary.append(named[1])
    if not blocks and not binary:
        raise UserError(
            f"commit {title!r} changes no lines that a run could hold (it only deletes files, or is a merge)"
        )
    held = files_of(lambda *words: git(top, *words), commit) if binary else {}
    return Changes(f"commit {title}", tuple(blocks), tuple((path, held[path]) for path in binary))


def _blocks(path: str, diff: str) -> Iterator[Block]:
    """What each hunk left behind: the lines that it added, or the two between which it deleted."""
    for hunk in re.split(r"^@@ .*?@@.*$", diff, flags=re.MULTILINE)[1:]:
        lines = [line for line in hunk.split("\n")[1:] if line and not line.startswith("\\")]
        added = [index for index, line in enumerate(lines) if line[0] == "+"]
        kept = [line for line in lines if line[0] in "+ "]
        if not added:
            yield Block(path, tuple(line[1:] for line in kept), None, None)
            continue
        new = [line[1:] for line in lines if line[0] == "+"]
        before = next((line[1:] for line in lines[: added[0]] if line[0] == " "), None)
        after = next((line[1:] for line in lines[added[-1] + 1 :] if line[0] == " "), None)
        yield Block(path, tuple(new), before, after)


def _definition(wanted: str, files: dict[str, list[str]]) -> Definition:
    found: list[Definition] = []
    names: set[str] = set()
    for path, lines in files.items():
        if not path.endswith(".py"):
            continue
        plain_path = path.removeprefix(PACKAGE_PREFIX)
        module = plain_path.removesuffix(".py").removesuffix("/__init__").replace("/", ".")
        for qualified, node in _definitions(lines):
            names.add(qualified)
            if f".{module}.{qualified}".endswith(f".{wanted}"):
                found.append(Definition(f"{plain_path}: {qualified}", plain_path, qualified, ast.dump(node)))
    if not found:
        close = suggestion(wanted, names)
        raise UserError(f"{wanted!r} is no commit and no definition here{close or '; try FILE:LINE, COMMIT or SYMBOL'}")
    if len(found) > 1:
        raise UserError(f"{wanted!r} may be any of {', '.join(one.name for one in found[:6])}: write more of the name")
    return found[0]


def _definitions(lines: list[str]) -> Iterator[tuple[str, Definable]]:
    """The qualified names and syntax trees of what a module defines; nothing where it cannot be parsed."""
    try:
        module = ast.parse("\n".join(lines))
    except (SyntaxError, ValueError):
        return
    yield from _defined_in(module, "")


def _defined_in(parent: ast.Module | ast.ClassDef, prefix: str) -> Iterator[tuple[str, Definable]]:
    for node in parent.body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            yield prefix + node.name, node
        elif isinstance(node, ast.Assign | ast.AnnAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            yield from ((prefix + target.id, node) for target in targets if isinstance(target, ast.Name))
        if isinstance(node, ast.ClassDef):
            yield from _defined_in(node, f"{prefix}{node.name}.")


def _same_file(path: str, code: KeptCode) -> list[str]:
    """Where the run has the file: at its path (in the package kept apart, too), or else wherever one is called so."""
    at = [known for known in (path, PACKAGE_PREFIX + path) if known in code.files]
    at += [known for known in code.files if known.endswith(f"/{path}") and known.startswith((PACKAGE_PREFIX, "/"))]
    name = path.rpartition("/")[2]
    return at or [known for known in code.files if known.rpartition("/")[2] == name]


def _text(content: bytes) -> list[str]:
    return content.decode("utf-8", "replace").splitlines()
