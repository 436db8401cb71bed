"""Diffs of code, read back line by line."""

import os
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from understudy.runs.code.kept import KeptCode, blob_id
from understudy.runs.compare.code import FileDiff, code_differences, code_ids, diff_files
from understudy.runs.compare.runs import compared
from understudy.runs.run import Run

Git = Callable[..., str]


def kept(contents: Mapping[str, bytes | None]) -> KeptCode:
    """Contents by path; None for one of which only the hash was kept."""
    known = {path: content for path, content in contents.items() if content is not None}
    ids = {path: path if content is None else blob_id(content) for path, content in contents.items()}
    return KeptCode(ids, {path: partial(known.__getitem__, path) for path in known})


def diff(before: Mapping[str, bytes | None], after: Mapping[str, bytes | None]) -> list[FileDiff]:
    return list(diff_files(kept(before), kept(after)))


def only(before: bytes, after: bytes) -> FileDiff:
    (found,) = diff({"a.py": before}, {"a.py": after})
    return found


def test_one_changed_line() -> None:
    found = only(b"a = 1\nb = 2\nc = 3\n", b"a = 1\nb = 5\nc = 3\n")
    assert found.lines == ("@@ -1,3 +1,3 @@", " a = 1", "-b = 2", "+b = 5", " c = 3")
    assert (found.how, found.count("+"), found.count("-")) == ("changed", 1, 1)


def test_files_that_came_went_moved_and_stayed() -> None:
    before: dict[str, bytes | None] = {"stays.py": b"1\n", "goes.py": b"2\n", "old/name.py": b"3\n"}
    after: dict[str, bytes | None] = {"stays.py": b"1\n", "comes.py": b"4\n", "new/name.py": b"3\n"}
    found = {file.path: (file.how, file.was, file.count("+"), file.count("-")) for file in diff(before, after)}
    assert found == {
        "comes.py": ("added", "", 1, 0),
        "goes.py": ("removed", "", 0, 1),
        "new/name.py": ("renamed", "old/name.py", 0, 0),
    }


def test_one_file_copied_to_two_places_is_renamed_once() -> None:
    found = diff({"a": b"same\n"}, {"b": b"same\n", "c": b"same\n"})
    assert [(file.path, file.how) for file in found] == [("b", "renamed"), ("c", "added")]


def test_the_own_files_come_first_and_the_package_last() -> None:
    names = ["/etc/x.toml", "understudy-package/understudy/a.py", "z.py"]
    assert [file.path for file in diff({}, dict.fromkeys(names, b"x\n"))] == ["z.py", names[0], names[1]]


REMARKS = [
    (b"a\0b", b"a\0bc", "not text: 3 → 4 bytes"),
    (b"text\n", b"a\0b", "not text: 5 → 3 bytes"),
    (b"x" * 1_000_001, b"y", "too large to show: 1,000,001 → 1 bytes"),
    (b"x\n" * 30_000, b"y\n", "too large to show: 30,000 → 1 lines"),
]


@pytest.mark.parametrize(("before", "after", "remark"), REMARKS)
def test_what_cannot_be_shown_says_why(before: bytes, after: bytes, remark: str) -> None:
    found = only(before, after)
    assert (found.lines, found.remark) == ((), remark)


def test_a_file_of_which_only_the_hash_was_kept() -> None:
    (found,) = diff({}, {"/data/big.bin": None})
    assert (found.how, found.remark) == ("added", "only its hash was kept")


def test_secrets_are_not_shown() -> None:
    key, other = (f"AK{rest}".encode() for rest in ("IAIOSFODNN7EXAMPLE", "IAIOSFODNN8EXAMPLE"))
    found = only(b"key = '" + key + b"'\na = 1\n", b"key = '" + key + b"'\na = 2\n")
    assert found.lines[1:] == (" key = '***'", "-a = 1", "+a = 2")
    assert only(key, other).remark == "the difference is in its secrets"
    (found,) = diff({"server.pem": b"a"}, {"server.pem": b"b"})
    assert found.remark == "its name says that it holds secrets"


def test_bytes_that_are_not_utf8_and_control_characters_are_spelt_out() -> None:
    found = only(b"latin \xe9\n", b"latin \xe8 \x1b[31mred\r\n")
    assert found.lines[1:] == ("-latin \\xe9", "+latin \\xe8 \\x1b[31mred\\x0d")


def test_a_missing_line_end_shows() -> None:
    found = only(b"a = 1", b"a = 1\n")
    assert found.lines[1:] == ("-a = 1", "\\ No newline at end of file", "+a = 1")


def test_other_line_breaks_do_not_split_lines() -> None:
    """A form feed or a Unicode line separator is part of its line, as it is for git."""
    found = only("a\x0c = 1\u2028b\n".encode(), "a\x0c = 2\u2028b\n".encode())
    assert [line[0] for line in found.lines] == ["@", "-", "+"]


texts = st.lists(st.sampled_from([b"a", b"b", b"", b"+x", b"-y", b"\\ z"]), max_size=30).map(b"\n".join)


@given(texts, texts)
def test_a_diff_turns_the_old_file_into_the_new_one(before: bytes, after: bytes) -> None:
    found = diff({"a": before}, {"a": after})
    assert bool(found) == (before != after)
    if found:
        assert patched(before, found[0].lines) == after


def patched(content: bytes, lines: Sequence[str]) -> bytes:
    """What `patch` would make of the content."""
    old, done = content.split(b"\n"), 0
    new: list[bytes] = []
    ends, before = True, ""
    for line in lines:
        sign, rest = line[0], line[1:]
        if sign == "@":
            start, _, count = line.split()[1].removeprefix("-").partition(",")
            begin = (
                int(start) if count == "0" else int(start) - 1
            )  # a hunk that removes nothing names the line before it
            new, done = new + old[done:begin], begin
        elif sign == "\\":
            ends = ends and before == "-"
        else:
            new += [rest.encode()] if sign in " +" else []
            done += sign in " -"
        before = sign
    rest_of_old = old[done:]
    if rest_of_old and rest_of_old != [b""]:
        return b"\n".join(new + rest_of_old)
    return b"\n".join(new) + (b"\n" if new and ends else b"")


def test_the_code_of_two_runs_in_a_repository(repository: Path, git: Git) -> None:
    """An untracked helper, a binary and a name that is not Unicode, as the snapshots have them."""
    odd = os.fsdecode(b"caf\xe9 <b>.py")
    (repository / "helper.py").write_text("RATE = 0.5\nBASE = 1\n")
    (repository / odd).write_text("x = 1\n")
    with Run.create("pretrain", ["understudy"], {}) as first:
        pass
    (repository / "helper.py").write_text("RATE = 0.25\nBASE = 1\n")
    (repository / odd).write_text("x = 2\n")
    (repository / "bin.dat").write_bytes(b"a\0b")
    with Run.create("pretrain", ["understudy"], {}) as second:
        pass
    (repository / "helper.py").write_text("RATE = 99\n")
    (found,) = code_differences(compared([first.folder, second.folder]))
    assert [(file.path, file.how) for file in found.files] == [
        ("bin.dat", "added"),
        (odd, "changed"),
        ("helper.py", "changed"),
    ]
    assert found.files[2].lines[1:] == ("-RATE = 0.5", "+RATE = 0.25", " BASE = 1")


def test_equal_code_differs_in_nothing(repository: Path) -> None:
    folders = []
    for _ in range(2):
        with Run.create("pretrain", ["understudy"], {}) as run:
            folders.append(run.folder)
    first, second = compared(folders)
    (found,) = code_differences([first, second])
    assert (found.files, found.problem) == ((), "")
    assert code_ids(first.record.folder) == code_ids(second.record.folder) != {}


def test_a_run_whose_code_was_not_kept(make_run) -> None:  # type: ignore[no-untyped-def]
    runs = compared([make_run("brave-otter"), make_run("calm-heron")])
    (found,) = code_differences(runs)
    assert "no code was kept with run" in found.problem
    assert code_ids(runs[0].record.folder) is None
