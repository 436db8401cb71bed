from collections.abc import Callable
from pathlib import Path

import pytest

from understudy.errors import UserError
from understudy.runs.code.kept import blob_id, open_code
from understudy.runs.run import Run

Git = Callable[..., str]


def run_here() -> Path:
    with Run.create("pretrain", ["x"], {}) as run:
        pass
    return run.folder


def test_the_working_tree_as_it_was(repository: Path) -> None:
    (repository / "edited.py").write_text("after = 1\n")
    (repository / "deleted.py").unlink()
    (repository / "new module.py").write_text("new = 1\n")
    folder = run_here()
    (repository / "edited.py").write_text("later = 1\n")
    with open_code(folder) as code:
        mine = {path for path in code.files if not path.startswith("understudy-package/")}
        assert mine == {".gitignore", "edited.py", "kept.py", "new module.py", "sub/deep.py"}
        assert code.read("edited.py") == b"after = 1\n"
        assert code.read("sub/deep.py") == b"deep = 1\n"
        assert code.files["edited.py"] == blob_id(b"after = 1\n")
        assert code.read("understudy-package/__init__.py") == b""
        with pytest.raises(KeyError):
            code.read("deleted.py")
    with open_code(folder, without_edits=True) as code:
        assert code.read("edited.py") == b"before = 1\n"
        assert "deleted.py" in code.files


def test_where_the_repository_is_gone(repository: Path, git: Git) -> None:
    folder = run_here()
    (repository / ".git").rename(repository.parent / "elsewhere")
    with open_code(folder) as code:
        assert code.read("kept.py") == b"kept = 1\n"


def test_a_base_that_was_never_packed_is_read_from_the_repository(repository: Path) -> None:
    (repository / "edited.py").write_text("after = 1\n")
    folder = run_here()
    (folder / "code" / "base.bundle").unlink()
    with open_code(folder) as code:
        assert code.read("edited.py") == b"after = 1\n"


def test_sources_without_git(here: Path) -> None:
    (here / "own.py").write_text("own = 1\n")
    with open_code(run_here()) as code:
        assert code.read("own.py") == b"own = 1\n"
        assert code.files["own.py"] == blob_id(b"own = 1\n")


def test_code_that_cannot_be_read(repository: Path) -> None:
    (repository / "edited.py").write_text("after = 1\n")
    folder = run_here()
    (folder / "code" / "edits.bundle").unlink()
    (folder / "code" / "edits.bundle").write_bytes(b"no bundle")
    with pytest.raises(UserError, match="cannot be read"), open_code(folder):
        pass
    (folder / "run.json").write_text('{"verb": "pretrain", "status": "finished"}')
    with pytest.raises(UserError, match="no code was kept with run"), open_code(folder):
        pass
