import os
import subprocess
import threading
import zipfile
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import understudy
from understudy.runs.code import snapshot
from understudy.runs.code.git import Change
from understudy.runs.code.secrets import is_secret_file
from understudy.runs.code.snapshot import choose, edits

Git = Callable[..., str]


def state(git: Git) -> list[Any]:
    """All that a snapshot must leave alone."""
    files = [".git/HEAD", ".git/config", ".git/logs/HEAD"]
    return [
        git("status", "--porcelain=v2", "--branch"),
        git("ls-files", "--stage"),
        git("stash", "list"),
        git("for-each-ref", "refs/heads", "refs/stash", "refs/tags"),
        {name: Path(name).read_bytes() for name in files if Path(name).exists()},
        sorted(os.listdir(".git/hooks")) if Path(".git/hooks").exists() else None,
    ]


def files_below(folder: Path) -> dict[str, tuple[int, bytes]]:
    """Every file of a working tree: whether it is executable, or a symlink, and its bytes."""
    found = {}
    for parent, folders, names in os.walk(folder):
        if ".git" in folders:
            folders.remove(".git")
        for name in [*names, *(name for name in folders if Path(parent, name).is_symlink())]:
            path = Path(parent, name)
            content = os.fsencode(os.readlink(path)) if path.is_symlink() else path.read_bytes()
            found[str(path.relative_to(folder))] = (2 if path.is_symlink() else path.stat().st_mode & 0o100, content)
    return found


def take(folder: Path, run_id: str, destination: Path, exclude: Iterable[Path] = ()) -> dict[str, Any]:
    taken = snapshot.take(folder, run_id, destination, destination.parent / "pool", exclude)
    assert taken.finish() == ""
    return taken.record


def cloned(here: Path, prefix: str = "", kept: Path | None = None, name: str = "clone") -> Path:
    """The bundles cloned as a user would; a warning fails the test."""
    kept = kept or here.parent / "kept"
    target = here.parent / f"{prefix}{name}"
    commands = [["clone", str(kept / f"{prefix}base.bundle"), str(target)]]
    if (kept / f"{prefix}edits.bundle").exists():
        commands += [["-C", str(target), "pull", "--quiet", str(kept / f"{prefix}edits.bundle"), "snapshot"]]
    for command in commands:
        done = subprocess.run(["git", *command], capture_output=True, text=True, check=True)
        assert "warning" not in done.stderr
    return target


def archived(kept: Path, prefix: str = "") -> dict[str, bytes]:
    with zipfile.ZipFile(kept / f"{prefix}sources.zip") as archive:
        return {name: archive.read(name) for name in archive.namelist()}


@pytest.fixture
def kept(here: Path) -> Path:
    return here.parent / "kept"


def test_a_dirty_tree_comes_back_byte_for_byte_and_stays_as_it_was(repository: Path, kept: Path, git: Git) -> None:
    (repository / "edited.py").write_text("stashed = 1\n")
    git("stash", "push", "--quiet")
    (repository / "edited.py").write_text("staged = 1\n")
    git("add", "edited.py")
    (repository / "edited.py").write_bytes(b"after = 1\r\nbytes = \x00\xff")
    (repository / "deleted.py").unlink()
    git("rm", "--quiet", "--cached", "kept.py")  # still there, now untracked
    (repository / "new module.py").write_text("new = 1\n")
    (repository / "run.sh").write_text("#!/bin/sh\n")
    (repository / "run.sh").chmod(0o755)
    (repository / "link").symlink_to("sub/deep.py")
    (repository / "dangling").symlink_to("nowhere")
    (repository / "build.ignored").write_text("ignored")
    before, expected = state(git), files_below(repository)
    os.utime(repository / "sub" / "deep.py", (1e9, 1e9))  # git would like to note that in its index
    index = Path(".git/index").read_bytes()
    record = take(repository, "some-run", kept)
    assert Path(".git/index").read_bytes() == index
    assert state(git) == before
    del expected["build.ignored"]
    assert files_below(cloned(repository)) == expected
    assert record["kind"] == "git"
    assert (record["commit"], record["branch"]) == (git("rev-parse", "HEAD").strip(), "main")
    assert record["dirty"]
    assert record["dirty_files"] == ["deleted.py", "edited.py", "kept.py"]
    assert record["untracked_files"] == ["dangling", "kept.py", "link", "new module.py", "run.sh"]
    assert record["left_out"] == []


def test_the_snapshot_is_one_commit_under_its_ref(repository: Path, kept: Path, git: Git) -> None:
    record = take(repository, "some-run", kept)
    assert not record["dirty"]
    assert record["ref"] == "refs/runs/some-run"
    assert git("rev-parse", "refs/runs/some-run").strip() == record["snapshot"] == record["base"]
    assert git("rev-list", "refs/runs/some-run").split() == [record["snapshot"]]
    assert git("rev-parse", "HEAD^{tree}") == git("rev-parse", "refs/runs/some-run^{tree}")
    assert "edits.bundle" not in os.listdir(kept)
    git("fsck", "--strict")


def test_the_edits_are_a_commit_on_the_clean_tree(repository: Path, kept: Path, git: Git) -> None:
    (repository / "edited.py").write_text("after = 1\n")
    record = take(repository, "some-run", kept)
    assert git("rev-list", "refs/runs/some-run").split() == [record["snapshot"], record["base"]]
    assert git("rev-parse", "HEAD^{tree}") == git("rev-parse", f"{record['base']}^{{tree}}")
    assert git("diff", "--stat", record["base"], record["snapshot"]).startswith(" edited.py | 2 +-")
    git("fsck", "--strict")


def test_a_thousand_runs_of_one_tree_cost_one(repository: Path, kept: Path, git: Git) -> None:
    (repository / "edited.py").write_text("after = 1\n")
    names = [take(repository, f"run{i}", kept / str(i))["snapshot"] for i in range(3)]
    assert len(set(names)) == 1
    for name in ("base.bundle", "edits.bundle"):
        assert len({(kept / str(i) / name).stat().st_ino for i in range(3)}) == 1
    git("commit", "--quiet", "--all", "--message=second")
    record = take(repository, "committed", kept / "committed")
    assert record["base"] == record["snapshot"] != names[0]
    assert git("rev-parse", f"{names[0]}^{{tree}}") == git("rev-parse", f"{record['snapshot']}^{{tree}}")


def test_equal_sources_cost_one_archive(here: Path, kept: Path) -> None:
    (here / "own.py").write_text("own = 1\n")
    digests = [take(here, f"run{i}", kept / str(i))["digest"] for i in range(2)]
    assert digests[0] == digests[1]
    assert len({(kept / str(i) / "sources.zip").stat().st_ino for i in range(2)}) == 1
    (here / "own.py").write_text("own = 2\n")
    assert take(here, "run2", kept / "2")["digest"] != digests[0]


KEY = "AK" + "IA" + "IOSFODNN7EXAMPLE"


def bytes_kept(kept: Path, here: Path) -> bytes:
    """All that a record holds, unpacked."""
    return b"".join(content for _, content in files_below(cloned(here, kept=kept)).values())


def test_secrets_stay_out(repository: Path, kept: Path, git: Git) -> None:
    (repository / ".env").write_text(f"AWS={KEY}\n")
    (repository / "config.yaml").write_text(f"layers: 3\nkey: {KEY}\n")
    (repository / "edited.py").write_text(f"key = '{KEY}'\n")
    record = take(repository, "some-run", kept)
    assert KEY.encode() not in bytes_kept(kept, repository)
    assert not (repository.parent / "clone" / ".env").exists()
    assert (repository.parent / "clone" / "config.yaml").read_text() == "layers: 3\nkey: ***\n"
    assert {entry["path"]: entry["reason"] for entry in record["left_out"]} == {
        ".env": "its name says that it holds secrets",
        "config.yaml": "redacted: AWS key on line 2",
        "edited.py": "redacted: AWS key on line 1",
    }
    assert record["untracked_files"] == ["config.yaml"]


def test_committed_secrets_are_kept_as_they_are(repository: Path, kept: Path, git: Git) -> None:
    """The repository holds them in any case, and the code has to run again; `runs export` refuses them."""
    (repository / "server.pem").write_text("whatever\n")
    (repository / "sub" / "deep.py").write_text(f"a = 1\nkey = '{KEY}'\n")
    git("add", ".")
    git("commit", "--quiet", "--message=careless")
    record = take(repository, "some-run", kept)
    assert (record["dirty"], record["left_out"]) == (False, [])
    assert files_below(cloned(repository)) == files_below(repository)


def test_huge_committed_files_are_named(
    repository: Path, kept: Path, git: Git, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(snapshot, "LARGEST_COMMITTED_FILE", 100)
    (repository / "weights.bin").write_bytes(b"x" * 101)
    git("add", ".")
    git("commit", "--quiet", "--message=weights")
    for number in range(2):  # the second time the sizes are remembered
        record = take(repository, f"run{number}", kept / str(number))
        assert [(entry["path"], entry["bytes"]) for entry in record["left_out"]] == [("weights.bin", 101)]
        clone = cloned(repository, kept=kept / str(number), name=f"clone{number}")
        assert not (clone / "weights.bin").exists()


NAMES = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="/\0"), min_size=1, max_size=20).filter(
    lambda name: name not in (".", "..") and not name.lower().startswith((".git", "git~")) and not is_secret_file(name)
)


@settings(max_examples=5, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(names=st.lists(NAMES, min_size=5, max_size=20))
def test_any_file_name(repository: Path, tmp_path_factory: pytest.TempPathFactory, names: list[str]) -> None:
    for name in [*names, "line\nbreak", 'quo"te\\', " spaces ", "ünï", os.fsdecode(b"no utf-8: \xff")]:
        (repository / name).write_text(name, errors="surrogateescape")
    target = tmp_path_factory.mktemp("clone")
    take(repository, "some-run", target / "kept")
    clone = cloned(target / "x", kept=target / "kept")
    assert files_below(clone) == files_below(repository)


def test_a_repository_without_a_commit(here: Path, kept: Path, git: Git) -> None:
    git("init", "--quiet", "--initial-branch=trunk")
    (here / "first.py").write_text("first = 1\n")
    record = take(here, "some-run", kept)
    assert (record["commit"], record["branch"], record["untracked_files"]) == (None, "trunk", ["first.py"])
    assert files_below(cloned(here)) == files_below(here)


def test_an_empty_repository(here: Path, kept: Path, git: Git) -> None:
    git("init", "--quiet")
    assert take(here, "some-run", kept)["kind"] == "git"
    assert files_below(cloned(here)) == {}


def test_a_detached_head(repository: Path, kept: Path, git: Git) -> None:
    git("checkout", "--quiet", "--detach")
    assert take(repository, "some-run", kept)["branch"] is None


def test_a_subfolder_gives_the_whole_repository(repository: Path, kept: Path) -> None:
    take(repository / "sub", "some-run", kept)
    assert files_below(cloned(repository)) == files_below(repository)


def test_a_worktree(repository: Path, kept: Path, git: Git) -> None:
    tree = repository.parent / "tree"
    git("worktree", "add", "--quiet", "-b", "side", str(tree))
    (tree / "side.py").write_text("side = 1\n")
    record = take(tree, "some-run", kept)
    assert (record["branch"], record["untracked_files"]) == ("side", ["side.py"])
    clone = files_below(cloned(repository))
    assert clone == {name: content for name, content in files_below(tree).items() if name != ".git"}
    assert git("rev-parse", "refs/runs/some-run").strip() == record["snapshot"]


def test_submodules_are_kept_as_they_stand(repository: Path, kept: Path, git: Git) -> None:
    inner = repository.parent / "inner"
    inner.mkdir()
    git("init", "--quiet", at=inner)
    (inner / "module.py").write_text("module = 1\n")
    git("add", ".", at=inner)
    git("commit", "--quiet", "--message=one", at=inner)
    git("submodule", "--quiet", "add", str(inner), "module")
    git("commit", "--quiet", "--message=module")
    git("commit", "--quiet", "--allow-empty", "--message=two", at=repository / "module")
    (repository / "module" / "loose.py").write_text("loose = 1\n")
    before = git("for-each-ref", at=repository / "module"), git("count-objects", at=repository / "module")
    record = take(repository, "some-run", kept)
    assert before == (git("for-each-ref", at=repository / "module"), git("count-objects", at=repository / "module"))
    now = git("rev-parse", "HEAD", at=repository / "module").strip()
    assert f"160000 commit {now}\tmodule" in git("ls-tree", "refs/runs/some-run")
    assert (record["dirty_files"], record["left_out"]) == (["module"], [])
    assert [(module["path"], module["untracked_files"]) for module in record["submodules"]] == [
        ("module", ["loose.py"])
    ]
    expected = {name: file for name, file in files_below(repository / "module").items() if name != ".git"}
    assert files_below(cloned(repository, "submodule-0-")) == expected
    cloned(repository)


def test_a_submodule_below_a_path_with_a_colon(repository: Path, kept: Path, git: Git) -> None:
    outer = repository.parent / 'run 10:00 "a"'
    outer.mkdir()
    git("init", "--quiet", at=outer)
    git("submodule", "--quiet", "add", str(repository), "module", at=outer)
    (outer / "module" / "edited.py").write_text("after = 1\n")
    (module,) = take(outer, "some-run", kept)["submodules"]
    assert (module["kind"], module["dirty_files"]) == ("git", ["edited.py"])
    assert (cloned(outer, "submodule-0-") / "edited.py").read_text() == "after = 1\n"


def test_a_shallow_clone(repository: Path, kept: Path, git: Git) -> None:
    (repository / "edited.py").write_text("second = 1\n")
    git("commit", "--quiet", "--all", "--message=second")
    shallow = repository.parent / "shallow"
    git("clone", "--quiet", "--depth=1", f"file://{repository}", str(shallow))
    (shallow / "edited.py").write_text("after = 1\n")
    take(shallow, "some-run", kept)
    assert files_below(cloned(repository)) == files_below(shallow)


def test_a_repository_inside_the_repository_is_named(repository: Path, kept: Path, git: Git) -> None:
    (repository / "nested").mkdir()
    git("init", "--quiet", at=repository / "nested")
    git("commit", "--quiet", "--allow-empty", "--message=one", at=repository / "nested")
    record = take(repository, "some-run", kept)
    assert [entry["path"] for entry in record["left_out"]] == ["nested/"]


@pytest.mark.parametrize("staged", [False, True])
def test_a_file_that_gave_way_to_a_folder_and_the_reverse(staged: bool, repository: Path, kept: Path, git: Git) -> None:
    (repository / "kept.py").unlink()
    (repository / "kept.py").mkdir()
    (repository / "kept.py" / "inner.py").write_text("inner = 1\n")
    (repository / "sub" / "deep.py").unlink()
    (repository / "sub").rmdir()
    (repository / "sub").write_text("a file now")
    if staged:
        git("add", "--all")
    take(repository, "some-run", kept)
    assert files_below(cloned(repository)) == files_below(repository)


def test_deletions_come_first(here: Path) -> None:
    changes = [Change("a/b", tracked=True), Change("a", tracked=True, deleted=True)]
    assert choose(here, changes) == (changes[::-1], [])


def test_a_file_taken_out_and_ignored_is_left_out(repository: Path, kept: Path, git: Git) -> None:
    git("rm", "--quiet", "--cached", "kept.py")
    (repository / ".gitignore").write_text("kept.py\n")
    take(repository, "some-run", kept)
    assert not (cloned(repository) / "kept.py").exists()


def test_a_folder_that_became_a_link(repository: Path, kept: Path) -> None:
    (repository / "sub").rename(repository / "moved")
    (repository / "sub").symlink_to("moved")
    take(repository, "some-run", kept)
    assert files_below(cloned(repository)) == files_below(repository)


def test_a_merge_conflict(repository: Path, kept: Path, git: Git) -> None:
    git("checkout", "--quiet", "-b", "side")
    (repository / "edited.py").write_text("side = 1\n")
    git("commit", "--quiet", "--all", "--message=side")
    git("checkout", "--quiet", "main")
    (repository / "edited.py").write_text("main = 1\n")
    git("commit", "--quiet", "--all", "--message=main")
    with pytest.raises(subprocess.CalledProcessError):
        git("merge", "side")
    assert take(repository, "some-run", kept)["dirty_files"] == ["edited.py"]
    assert files_below(cloned(repository)) == files_below(repository)


def test_a_locked_index_a_nameless_user_and_hooks_do_not_matter(repository: Path, kept: Path, git: Git) -> None:
    git("config", "user.useConfigOnly", "true")
    git("config", "core.autocrlf", "true")
    (repository / ".git" / "index.lock").write_text("")
    hook = repository / ".git" / "hooks" / "reference-transaction"
    hook.parent.mkdir(exist_ok=True)
    hook.write_text("#!/bin/sh\nexit 1\n")
    hook.chmod(0o755)
    (repository / "edited.py").write_bytes(b"lines\r\nend\r\n")
    assert take(repository, "some-run", kept)["kind"] == "git"
    assert (cloned(repository) / "edited.py").read_bytes() == b"lines\r\nend\r\n"


def test_git_variables_of_the_caller_do_not_matter(
    repository: Path, kept: Path, git: Git, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_OBJECT_DIRECTORY", "GIT_COMMON_DIR"):
        monkeypatch.setenv(name, "/nowhere")
    record = take(repository, "some-run", kept)
    assert (record["kind"], record["top"]) == ("git", str(repository))


def test_large_untracked_files_are_named_not_kept(repository: Path, kept: Path) -> None:
    with open(repository / "large.bin", "wb") as file:
        file.truncate(10_000_001)
    with open(repository / "edited.py", "wb") as file:
        file.truncate(10_000_001)
    record = take(repository, "some-run", kept)
    assert [(entry["path"], entry["bytes"]) for entry in record["left_out"]] == [("large.bin", 10_000_001)]
    assert (record["untracked_files"], record["dirty_files"]) == ([], ["edited.py"])
    clone = cloned(repository)
    assert not (clone / "large.bin").exists()
    assert (clone / "edited.py").stat().st_size == 10_000_001


def test_many_untracked_files_are_kept_up_to_a_limit(
    repository: Path, kept: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(snapshot, "LARGEST_UNTRACKED_TOTAL", 250)
    for name in "abc":
        (repository / name).write_bytes(b"x" * 100)
    record = take(repository, "some-run", kept)
    assert (record["untracked_files"], [entry["path"] for entry in record["left_out"]]) == (["a", "b"], ["c"])


def test_a_long_list_of_what_was_left_out_is_cut(here: Path, kept: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(snapshot, "MOST_NAMED", 2)
    for name in "abcd":
        (here / f"{name}.pem").write_text("key")
        (here / f"{name}.json").write_bytes(b" " * 1_000_001)
    left_out = take(here, "some-run", kept)["left_out"]
    assert [entry["path"] for entry in left_out] == ["a.json", "b.json", "..."]
    assert (left_out[2]["bytes"], left_out[2]["reason"]) == (2_000_002, "2 more files")


def test_excluded_folders_and_environments_stay_out(repository: Path, kept: Path) -> None:
    for name in ("runs/old/run.json", "venv/pyvenv.cfg", "venv/lib/module.py", "venture.py"):
        (repository / name).parent.mkdir(parents=True, exist_ok=True)
        (repository / name).write_text("x")
    record = take(repository, "some-run", repository / "runs" / "new" / "code", exclude=[repository / "runs"])
    assert record["untracked_files"] == ["venture.py"]
    assert record["left_out"] == [{"path": "venv/", "bytes": None, "reason": "a virtual environment"}]


def test_an_unreadable_file_is_named(here: Path) -> None:
    left_out: list[dict[str, Any]] = []
    name = "x" * 300  # longer than a file system takes: an error that even root meets
    assert list(edits(here, [Change(name, tracked=True)], left_out)) == []
    assert left_out[0]["path"] == name
    assert "too long" in left_out[0]["reason"]


def test_files_that_change_meanwhile(repository: Path, kept: Path) -> None:
    stop = threading.Event()

    def churn() -> None:
        while not stop.is_set():
            for i in range(50):
                (repository / f"busy{i}.txt").write_text("x" * (i * 1000))
            for i in range(50):
                (repository / f"busy{i}.txt").unlink()

    thread = threading.Thread(target=churn)
    thread.start()
    try:
        kinds = [take(repository, f"run{i}", kept)["kind"] for i in range(5)]
    finally:
        stop.set()
        thread.join()
    assert kinds == ["git"] * 5
    cloned(repository)


def test_a_named_pipe_does_not_block(repository: Path, kept: Path) -> None:
    (repository / "edited.py").unlink()
    os.mkfifo(repository / "edited.py")
    take(repository, "some-run", kept)
    assert not (cloned(repository) / "edited.py").exists()


def test_an_ignored_folder_is_not_the_repositorys(repository: Path, kept: Path) -> None:
    (repository / "project.ignored").mkdir()
    (repository / "project.ignored" / "own.py").write_text("own = 1\n")
    record = take(repository / "project.ignored", "some-run", kept)
    assert (record["kind"], record["files"]) == ("copy", 1)
    assert archived(kept) == {"own.py": b"own = 1\n"}


def test_outside_git_the_sources_are_copied(here: Path, kept: Path) -> None:
    (here / "own.py").write_text("own = 1\n")
    record = take(here, "some-run", kept)
    assert (record["kind"], record["error"], record["files"]) == ("copy", None, 1)
    assert archived(kept) == {"own.py": b"own = 1\n"}


def test_without_git_the_sources_are_copied(repository: Path, kept: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    monkeypatch.setattr(snapshot, "PACKAGE", Path(understudy.__file__).parent)
    record = take(repository, "some-run", kept)
    assert record["kind"] == "copy"
    assert record["understudy"]["kind"] == "copy"
    assert "sub/deep.py" in archived(kept)
    assert "runs/code/snapshot.py" in archived(kept, "understudy-")


def test_a_broken_repository_is_copied_and_says_why(repository: Path, kept: Path) -> None:
    (repository / ".git" / "index").write_bytes(b"no index")
    record = take(repository, "some-run", kept)
    assert record["kind"] == "copy"
    assert record["error"].startswith("git status: ")
    assert "kept.py" in archived(kept)


def test_a_failure_is_recorded_not_raised(repository: Path, kept: Path) -> None:
    kept.write_text("a file where the folder should be")
    record = take(repository, "some-run", kept)
    assert record["kind"] == "none"
    assert record["error"]


def test_this_package_is_kept_beside_another_project(
    repository: Path, kept: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ours = Path(understudy.__file__).parent
    monkeypatch.setattr(snapshot, "PACKAGE", ours)
    record = take(repository, "some-run", kept)["understudy"]
    assert (record["version"], record["path"]) == (understudy.__version__, str(ours))
    from_git = record["kind"] == "git"
    file = Path("runs", "code", "snapshot.py")
    if from_git:
        content = (cloned(repository, "understudy-") / "understudy" / file).read_bytes()
    else:
        content = archived(kept, "understudy-")[str(file)]
    assert content == (ours / file).read_bytes()


def test_this_package_is_not_kept_twice(
    repository: Path, kept: Path, git: Git, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(snapshot, "PACKAGE", repository / "sub")
    assert take(repository, "some-run", kept)["understudy"]["kind"] == "inside"
    assert os.listdir(kept) == ["base.bundle"]


def test_another_checkout_gets_no_ref(repository: Path, kept: Path, git: Git, monkeypatch: pytest.MonkeyPatch) -> None:
    other = repository.parent / "other"
    other.mkdir()
    (repository / "edited.py").write_text("after = 1\n")
    before = git("count-objects")
    monkeypatch.setattr(snapshot, "PACKAGE", repository / "sub")
    record = take(other, "some-run", kept)["understudy"]
    assert (record["kind"], record["ref"], record["dirty_files"]) == ("git", None, ["edited.py"])
    assert git("for-each-ref", "refs/runs") == ""
    assert git("count-objects") == before
    assert (cloned(repository, "understudy-") / "edited.py").read_text() == "after = 1\n"


def test_an_installed_package_is_copied(repository: Path, kept: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    installed = repository / "env" / "site-packages" / "understudy"
    installed.mkdir(parents=True)
    (installed / "__init__.py").write_text("")
    monkeypatch.setattr(snapshot, "PACKAGE", installed)
    (repository / ".git" / "info" / "exclude").write_text("env/\n")
    assert take(repository, "some-run", kept)["understudy"]["kind"] == "copy"
    assert list(archived(kept, "understudy-")) == ["__init__.py"]
