import os
import platform
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from understudy.errors import DataError, UserError
from understudy.runs.process import packages
from understudy.runs.record import Record, read_record
from understudy.runs.rerun.child import command_of, variables_of
from understudy.runs.rerun.packages import build_environment, environment_differences
from understudy.runs.rerun.tree import Tree, restore_tree
from understudy.runs.run import Run

Git = Callable[..., str]
KEY = "AK" + "IA" + "IOSFODNN7EXAMPLE"


def run_here(read: tuple[str, ...] = (), data: tuple[str, ...] = (), config: dict[str, str] | None = None) -> Record:
    with Run.create("train", ["train.py"], config or {}, command=["train.py", "{config}"]) as run:
        for path in data:
            run.add_data(path)
        for path in read:
            Path(path).read_text()
    return read_record(run.folder)


def up(record: Record) -> Tree:
    return restore_tree(record, record.folder.parent / ".reruns" / record.id)


def test_the_tree_is_the_code_of_then(repository: Path, git: Git) -> None:
    (repository / ".gitattributes").write_text("*.txt text eol=crlf\n")
    (repository / "lines.txt").write_bytes(b"one\ntwo\r\n")
    (repository / "edited.py").write_text("then = 1\n")
    (repository / "run.sh").write_text("#!/bin/sh\n")
    (repository / "run.sh").chmod(0o755)
    (repository / "link").symlink_to("sub/deep.py")
    record = run_here()
    git("add", ".")
    git("commit", "--quiet", "--message=later")
    (repository / "edited.py").write_text("now = 1\n")
    tree = up(record)
    assert tree.cwd == tree.root / str(repository).lstrip("/")
    assert (tree.cwd / "edited.py").read_text() == "then = 1\n"
    assert (tree.cwd / "lines.txt").read_bytes() == b"one\ntwo\r\n"
    assert os.access(tree.cwd / "run.sh", os.X_OK)
    assert os.readlink(tree.cwd / "link") == "sub/deep.py"
    assert tree.notes == []
    assert git("status", "--porcelain", at=tree.cwd) == ""
    assert git("worktree", "list").count("\n") == 1


def test_a_run_in_a_subfolder_and_a_submodule(repository: Path, git: Git) -> None:
    inner = repository.parent / "inner"
    inner.mkdir()
    git("init", "--quiet", at=inner)
    (inner / "module.py").write_text("module = 1\n")
    git("add", ".", at=inner)
    git("commit", "--quiet", "--message=one", at=inner)
    git("submodule", "--quiet", "add", str(inner), "module")
    git("commit", "--quiet", "--message=module")
    (repository / "module" / "module.py").write_text("module = 2\n")
    os.chdir(repository / "sub")
    record = run_here()
    (repository / "module" / "module.py").write_text("module = 3\n")
    tree = up(record)
    assert tree.cwd == tree.inside(repository / "sub")
    assert (tree.cwd.parent / "module" / "module.py").read_text() == "module = 2\n"


def test_what_was_read_beside_is_put_in_its_place(repository: Path) -> None:
    outside = repository.parent / "lib"
    outside.mkdir()
    (outside / "shared.py").write_text("then = 1\n")
    (repository / "settings.ignored").write_text("then")
    (repository / "big.ignored").write_text("x" * 1_000_001)
    record = run_here(read=("../lib/shared.py", "settings.ignored", "big.ignored"))
    (repository / "settings.ignored").write_text("now")
    (outside / "shared.py").write_text("now = 1\n")
    tree = up(record)
    assert (tree.cwd / "settings.ignored").read_text() == "then"
    assert (tree.cwd / "../lib/shared.py").read_text() == "then = 1\n"
    assert (tree.cwd / "big.ignored").is_symlink()
    assert tree.notes == [
        f"{outside / 'shared.py'}: has changed since; a program that reads it by this path meets today's file"
    ]
    (repository / "big.ignored").write_text("y" * 1_000_001)
    assert "big.ignored: was only hashed, and has changed since" in up(record).notes
    (repository / "big.ignored").unlink()
    assert "big.ignored: was only hashed, and is gone" in up(record).notes


def test_data_are_links_and_must_be_there(repository: Path) -> None:
    (repository.parent / "data").mkdir()
    (repository.parent / "data" / "x.jsonl").write_text("data")
    record = run_here(data=("../data/x.jsonl",))
    tree = up(record)
    assert (tree.cwd / "../data/x.jsonl").read_text() == "data"
    assert tree.notes == []
    (repository.parent / "data" / "x.jsonl").write_text("atad")
    assert "has changed since, so the run will learn from other data" in up(record).notes[0]
    (repository.parent / "data" / "x.jsonl").unlink()
    with pytest.raises(DataError, match=r"x.jsonl is gone: the run learned from it \(4 bytes"):
        up(record)


def test_secrets_come_back_from_where_they_lie(repository: Path) -> None:
    (repository / ".env").write_text("password")
    (repository / "config.yaml").write_text(f"key: {KEY}\n")
    record = run_here()
    tree = up(record)
    assert (tree.cwd / ".env").read_text() == "password"
    assert (tree.cwd / "config.yaml").read_text() == f"key: {KEY}\n"
    (repository / "config.yaml").write_text(f"other: 1\nkey: {KEY}\n")
    (repository / ".env").unlink()
    tree = up(record)
    assert (tree.cwd / "config.yaml").read_text() == "key: ***\n"
    assert any(note.startswith("config.yaml: secrets in it are ***") for note in tree.notes)
    assert any(note.startswith(".env: was not kept") for note in tree.notes)


def test_sources_without_git(here: Path) -> None:
    (here / "own.py").write_text("then = 1\n")
    record = run_here()
    (here / "own.py").write_text("now = 1\n")
    tree = up(record)
    assert (tree.cwd / "own.py").read_text() == "then = 1\n"
    assert (tree.package_parent / "understudy" / "__init__.py").exists()


def test_a_run_without_code(here: Path) -> None:
    record = run_here()
    record.data["code"] = {"kind": "none", "error": "the disk was full"}
    with pytest.raises(UserError, match="cannot run again: the disk was full"):
        restore_tree(record, here / "tree")


def test_a_run_that_was_exported_without_its_code(here: Path) -> None:
    record = run_here()
    shutil.rmtree(record.folder / "code")
    with pytest.raises(UserError, match="exported without its code"):
        restore_tree(record, here / "tree")


def test_the_command_and_its_surroundings(repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    record = run_here(config={"width": "64"})
    record.data["command"] = [f"{repository}/kept.py", "{config}", "--rate", "0.1"]
    record.data["processes"] = 2
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "7")
    tree = up(record)
    command = command_of(record, tree, Path("python"))
    launcher = ["python", "-m", "torch.distributed.run", "--nproc-per-node", "2"]
    assert command == [*launcher, str(tree.cwd / "kept.py"), str(tree.root / "config.json"), "--rate", "0.1"]
    assert (tree.root / "config.json").read_text() == '{\n  "width": "64"\n}\n'
    variables = variables_of(record, tree, record.folder.parent)
    assert variables["OMP_NUM_THREADS"] == "3"
    assert "CUDA_VISIBLE_DEVICES" not in variables
    assert variables["PYTHONPATH"].split(os.pathsep)[0] == str(tree.package_parent)
    record.data["command"] = []
    with pytest.raises(UserError, match="did not record how to run it again"):
        command_of(record, tree, Path("python"))


def test_environments_are_compared_and_built(here: Path) -> None:
    record = run_here()
    here_now = {"python": platform.python_version(), "packages": packages()}
    then = {name: record.data[name] for name in here_now}
    assert environment_differences(then, here_now) == {}
    record.data["packages"]["rich"] = "1.0"
    lines = environment_differences(then | {"python": "3.9.1"}, here_now)
    assert list(lines) == ["python", "package rich"]
    assert lines["python"].startswith("python 3.9.1 then, ")
    assert lines["package rich"].startswith("rich 1.0 then, ")
    record.data["packages"] = {}
    record.data["python"] = "3.0.0"
    with pytest.raises(UserError, match=r"the run had Python 3.0.0, and there is no python3.0 here"):
        build_environment(record, here / "environments")


@pytest.mark.slow
def test_an_empty_environment(here: Path) -> None:
    record = run_here()
    record.data["packages"] = {}
    python = build_environment(record, here / "environments")
    assert python.exists()
    assert build_environment(record, here / "environments") == python
