from collections.abc import Callable
from pathlib import Path

import pytest

from understudy.errors import UserError
from understudy.runs.code.kept import open_code
from understudy.runs.containing import Lines, resolve
from understudy.runs.run import Run

Git = Callable[..., str]

LOSS = '''"""Losses."""

LIMIT = 3


class Loss:
    def shift(self, x):
        return x[1:]

    def mean(self, x):
        total = sum(x)
        return total / len(x)


def shift(x):
    # Comments do not count.
    return x[2:]
'''


def run_here() -> Path:
    with Run.create("pretrain", ["x"], {}) as run:
        pass
    return run.folder


def place(reference: str, run: Path) -> str:
    with open_code(run) as code:
        return resolve(reference, Path.cwd())[1](code)


@pytest.fixture
def project(repository: Path, git: Git) -> Path:
    (repository / "sub" / "loss.py").write_text(LOSS)
    git("add", ".")
    git("commit", "--quiet", "--message=loss")
    return repository


def test_a_line_is_found_where_it_moved_to(project: Path) -> None:
    first = run_here()
    (project / "sub" / "loss.py").write_text("import math\n" + LOSS.replace("total / len(x)", "total / math.prod(x)"))
    second = run_here()
    assert place("sub/loss.py:13", second) == "sub/loss.py:13"
    assert place("loss.py:13", first) == ""
    assert place("loss.py:11", first) == "sub/loss.py:10"
    assert place("loss.py:12", first) == ""  # too short to be told apart, and the line below it is another now
    assert place(f"loss.py:12@{first.name}", first) == "sub/loss.py:12"
    assert place(f"loss.py:12@{first.name}", second) == ""


def test_lines_that_stand_twice_are_told_apart_by_their_neighbours() -> None:
    block = Lines("a.py", ("return 0",), "if x:", None)
    assert block.line_in(["if y:", "return 0", "if x:", "return 0"]) == 4
    assert block.line_in(["if y:", "return 0"]) == 0
    assert Lines("a.py", ("long = compute(1, 2, 3)",), "x", "y").line_in(["", "long = compute(1, 2, 3)"]) == 2


def test_a_definition_is_the_same_where_it_computes_the_same(project: Path) -> None:
    first = run_here()
    reworded = LOSS.replace("# Comments do not count.", "# None of them.").replace("x[2:]", "x[ 2 : ]")
    (project / "sub" / "loss.py").write_text(reworded)
    assert place("sub.loss.shift", first) == "sub/loss.py:15"
    assert place("Loss.shift", first) == "sub/loss.py:7"
    assert place("LIMIT", first) == "sub/loss.py:3"
    (project / "sub" / "loss.py").write_text(LOSS.replace("x[2:]", "x[3:]"))
    assert place("sub.loss.shift", first) == ""
    assert place(f"sub.loss.shift@{first.name}", first) == "sub/loss.py:15"


def test_a_commit_counts_by_what_it_left_behind(project: Path, git: Git) -> None:
    before = run_here()
    (project / "sub" / "loss.py").write_text(LOSS.replace("x[1:]", "x[1:][:-1]").replace("LIMIT = 3", "LIMIT = 30"))
    (project / "blob.bin").write_bytes(b"\0\1\2")
    uncommitted = run_here()
    git("add", ".")
    git("commit", "--quiet", "--message=two changes")
    commit = git("rev-parse", "HEAD").strip()
    (project / "sub" / "loss.py").write_text(LOSS.replace("LIMIT = 3", "LIMIT = 30"))
    fixed = run_here()
    git("commit", "--quiet", "--all", "--message=half of it fixed")
    assert place(commit, before) == ""
    assert place(commit[:8], uncommitted) == "all 3 changes"
    assert place(commit, fixed) == "2 of 3 changes"
    assert resolve("HEAD~1", project)[0].endswith("two changes")


def test_changes_with_a_line_between_them(project: Path, git: Git) -> None:
    changed = LOSS.replace("def mean(self, x)", "def mean(self, ys)").replace("total / len(x)", "total / len(ys)")
    (project / "sub" / "loss.py").write_text(changed)
    git("commit", "--quiet", "--all", "--message=near each other")
    assert place("HEAD", run_here()) == "all 2 changes"
    (project / "sub" / "loss.py").write_text(changed.replace("total / len(ys)", "total / sum(ys)"))
    assert place("HEAD", run_here()) == "1 of 2 changes"


def test_a_commit_that_deletes(project: Path, git: Git) -> None:
    before = run_here()
    (project / "sub" / "loss.py").write_text(LOSS.replace("        total = sum(x)\n", ""))
    git("commit", "--quiet", "--all", "--message=deleted")
    assert place("HEAD", before) == ""
    assert place("HEAD", run_here()) == "yes"


def test_a_file_of_which_only_the_hash_was_kept(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("understudy.runs.code.opened_files.LARGEST_COPY", 1)
    (project.parent / "outside").mkdir()
    outside = project.parent / "outside" / "loss.py"
    outside.write_text(LOSS)
    with Run.create("pretrain", ["x"], {}) as run:
        outside.read_text()
    with open_code(run.folder) as code:
        assert str(outside) in code.files
    (project / "sub" / "loss.py").unlink()
    assert place(f"sub/loss.py:8@{run.folder.name}", run.folder) == "sub/loss.py:8"
    (project / "loss.py").write_text(LOSS.replace("LIMIT = 3", "LIMIT = compute_the_limit()"))
    assert place("loss.py:3", run.folder) == ""


MISTAKES = [
    ("loss.py:99", "has 17 lines; there is no 99"),
    ("loss.py:2", "line 2 of loss.py is blank"),
    ("los.py:1", "no source file los.py here; did you mean"),
    ("shift", "may be any of sub/loss.py: Loss.shift, sub/loss.py: shift"),
    ("shfit", "did you mean shift"),
    ("LIMIT@nonesuch", "no run 'nonesuch'"),
]


@pytest.mark.parametrize(("reference", "message"), MISTAKES)
def test_mistakes_are_named(reference: str, message: str, project: Path) -> None:
    run_here()
    with pytest.raises(UserError) as caught:
        resolve(reference, Path.cwd())
    assert message in str(caught.value)
