import gzip
import hashlib
import io
import json
import os
import random
import shutil
import socket
import subprocess
import sys
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from understudy.errors import ArchiveError
from understudy.runs.archive import LIST_NAME, pack, unpack
from understudy.runs.find import list_runs
from understudy.runs.process import this_process
from understudy.runs.record import change_marks, read_record, set_note
from understudy.runs.run import Run

Git = Callable[..., str]
KEY = "AK" + "IA" + "IOSFODNN7EXAMPLE"


@pytest.fixture
def there(here: Path) -> Path:
    """The runs folder of another machine."""
    folder = here / "there"
    folder.mkdir()
    return folder


def a_run(**options: Any) -> Path:
    """A finished run with everything that a run may have, the code a hard link into a pool."""
    with Run.create("pretrain", ["understudy"], {"lr": 1e-3}, **options) as run:
        run.log(1, loss=2.0)
        run.finish(headline=["loss", 2.0])
    pool = run.folder.parent / ".code"
    pool.mkdir(exist_ok=True)
    (pool / "shared.bundle").write_bytes(b"the code")
    os.link(pool / "shared.bundle", run.folder / "code" / "base.bundle")
    os.link(pool / "shared.bundle", run.folder / "code" / "again.bundle")
    checkpoint = run.folder / "checkpoints" / "step-000001"
    checkpoint.mkdir(parents=True)
    (checkpoint / "model.safetensors").write_bytes(random.Random(1).randbytes(3_000_000))
    (run.folder / "empty").write_bytes(b"")
    return run.folder


def files_of(folder: Path) -> dict[str, bytes]:
    paths = [path for path in folder.rglob("*") if path.is_file() and path.name != "heartbeat"]
    return {str(path.relative_to(folder)): path.read_bytes() for path in paths}


def leftovers(folder: Path) -> list[str]:
    return [path.name for path in folder.iterdir()]


def test_a_run_comes_over_whole(there: Path) -> None:
    folder = a_run(parents=["20260101-0000-calm-heron"])
    change_marks(folder, bad="labels were shifted", tags=("a",))
    set_note(folder, "café")
    _, special = pack([read_record(folder)], Path("runs.tar.gz"))
    assert special == ()
    imported = unpack(Path("runs.tar.gz"), there)
    assert imported == ([folder.name], [], ["20260101-0000-calm-heron"])
    assert files_of(there / folder.name) == files_of(folder)
    (record,) = list_runs(there)
    assert (record.status, record.marks.bad, record.note) == ("finished", "labels were shifted", "café")
    assert record.headline == ("loss", 2.0)
    assert leftovers(there) == [folder.name]
    # No link leads from one file of it to another: each can be changed alone.
    assert {(there / folder.name / "code" / name).stat().st_nlink for name in ("base.bundle", "again.bundle")} == {1}


def test_a_run_that_is_there_stays(there: Path) -> None:
    folder = a_run()
    archive = Path("runs.tar.gz")
    pack([read_record(folder)], archive)
    unpack(archive, there)
    (there / folder.name / "report.html").write_text("made later")
    assert unpack(archive, there)[1] == [folder.name]
    assert unpack(archive, folder.parent)[1] == [folder.name]
    (there / folder.name / "metrics.jsonl").write_text("{}\n")
    before = files_of(there)
    with pytest.raises(ArchiveError, match=r"already exists, with another metrics.jsonl: nothing was imported"):
        unpack(archive, there)
    assert files_of(there) == before


def test_without_checkpoints(there: Path) -> None:
    folder = a_run()
    pack([read_record(folder)], Path("light.tar.gz"), leave_out=["checkpoints"])
    unpack(Path("light.tar.gz"), there)
    assert not (there / folder.name / "checkpoints").exists()
    expected = {path: content for path, content in files_of(folder).items() if not path.startswith("checkpoints/")}
    assert files_of(there / folder.name) == expected
    assert unpack(Path("light.tar.gz"), folder.parent)[1] == [folder.name]


def test_several_runs_come_all_or_not_at_all(there: Path) -> None:
    first, second = a_run(), a_run()
    pack([read_record(first), read_record(second)], Path("both.tar.gz"))
    (there / second.name).mkdir()
    with pytest.raises(ArchiveError, match="already exists"):
        unpack(Path("both.tar.gz"), there)
    assert leftovers(there) == [second.name]
    (there / second.name).rmdir()
    assert unpack(Path("both.tar.gz"), there)[0] == [first.name, second.name]


def test_a_dead_run_is_not_running_elsewhere(there: Path) -> None:
    folder = a_run()
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    record = json.loads((folder / "run.json").read_text()) | this_process() | {"status": "running", "pid": gone.pid}
    (folder / "run.json").write_text(json.dumps(record))
    pack([read_record(folder)], Path("dead.tar.gz"))
    unpack(Path("dead.tar.gz"), there)
    assert json.loads((there / folder.name / "run.json").read_text()) == record | {"status": "dead"}
    assert [record.status for record in list_runs(there)] == ["dead"]
    assert unpack(Path("dead.tar.gz"), folder.parent)[1] == [folder.name]
    with Run.reopen(there / folder.name) as run:
        run.log(2, loss=1.0)
    assert read_record(there / folder.name).status == "finished"


def test_what_cannot_be_packed(here: Path) -> None:
    running = Run.create("pretrain", ["understudy"], {})
    with pytest.raises(ArchiveError, match="is still running"):
        pack([read_record(running.folder)], Path("a.tar.gz"))
    done = read_record(a_run())
    for name in ("a.rar", "a.zip"):
        with pytest.raises(ArchiveError, match=rf"'{name}' cannot name an archive; expected .* ends in .tar.gz"):
            pack([done], Path(name))
    Path("b.tar.gz").touch()
    with pytest.raises(ArchiveError, match=r"b.tar.gz already exists; name another file with --to"):
        pack([done], Path("b.tar.gz"))
    with pytest.raises(ArchiveError, match=r"cannot write no/c.tar.gz: No such file"):
        pack([done], Path("no/c.tar.gz"))
    odd = done.folder.rename(done.folder.with_name("two words"))
    with pytest.raises(ArchiveError, match="'two words' has a name that other machines may not take"):
        pack([read_record(odd)], Path("d.tar.gz"))
    assert sorted(path.name for path in here.iterdir()) == ["b.tar.gz", "runs"]


def committed(repository: Path, git: Git, **files: str) -> Path:
    """A run on a commit with these files."""
    for name, content in files.items():
        (repository / f"{name}.py").write_text(content)
    git("add", ".")
    git("commit", "--quiet", "--message=careless")
    with Run.create("pretrain", ["understudy"], {}) as run:
        pass
    return run.folder


def test_committed_secrets_do_not_leave_the_machine(repository: Path, git: Git, there: Path) -> None:
    (repository / "server.pem").write_text("whatever")
    folder = committed(repository, git, deep=f"a = 1\nkey = '{KEY}'\n")
    with pytest.raises(ArchiveError) as caught:
        pack([read_record(folder)], Path("a.tar.gz"))
    assert str(caught.value) == (
        "committed files hold what looks like secrets: deep.py (AWS key on line 2); server.pem (its name says that it "
        "holds secrets); leave the code out with --no-code, or include it anyway with --allow-secrets"
    )
    assert not Path("a.tar.gz").exists()
    pack([read_record(folder)], Path("without.tar.gz"), leave_out=["code"])
    unpack(Path("without.tar.gz"), there)
    assert KEY.encode() not in b"".join(files_of(there).values())
    assert not (there / folder.name / "code").exists()
    assert read_record(there / folder.name).commit == git("rev-parse", "HEAD").strip()
    pack([read_record(folder)], Path("with.tar.gz"), allow_secrets=True)


def test_a_secret_committed_before_a_resume_is_found(repository: Path, git: Git) -> None:
    with pytest.raises(KeyboardInterrupt), Run.create("pretrain", ["understudy"], {}) as run:
        raise KeyboardInterrupt
    pack([read_record(run.folder)], Path("a.tar.gz"))
    (repository / "deep.py").write_text(f"key = '{KEY}'\n")
    git("add", ".")
    git("commit", "--quiet", "--message=careless")
    with Run.reopen(run.folder):
        pass
    with pytest.raises(ArchiveError, match=r"secrets: deep.py \(AWS key on line 1\)"):
        pack([read_record(run.folder)], Path("b.tar.gz"))


def test_code_that_cannot_be_searched_is_not_exported(repository: Path, git: Git) -> None:
    folder = committed(repository, git, deep="a = 1\n")
    (folder / "code" / "base.bundle").unlink()
    (folder / "code" / "base.bundle").write_text("not a bundle")
    with pytest.raises(ArchiveError, match=r"cannot be searched for secrets: git .*--no-code"):
        pack([read_record(folder)], Path("a.tar.gz"))
    pack([read_record(folder)], Path("a.tar.gz"), leave_out=["code"])


def test_links_and_special_files_are_left_out_and_named(there: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = a_run()
    (folder / "link").symlink_to("/etc/passwd")
    (folder / "folder").symlink_to("/etc")
    os.mkfifo(folder / "pipe")
    (folder / ".run.json.abc.tmp").write_text("half")
    (folder / "checkpoints" / ".step-000002").mkdir()
    (folder / "checkpoints" / ".step-000002" / "model.safetensors").write_text("half")
    _, special = pack([read_record(folder)], Path("a.tar.gz"))
    assert special == tuple(f"{folder.name}/{name}" for name in ("folder", "link", "pipe"))
    unpack(Path("a.tar.gz"), there)
    found = files_of(there / folder.name)
    assert "checkpoints/step-000001/model.safetensors" in found
    assert not [name for name in found if "link" in name or "half" in name or ".tmp" in name or ".step" in name]


def test_names_that_are_no_unicode(there: Path) -> None:
    folder = a_run()
    name = os.fsdecode(b"caf\xe9.txt")
    (folder / name).write_text("x")
    pack([read_record(folder)], Path("a.tar.gz"))
    unpack(Path("a.tar.gz"), there)
    assert (there / folder.name / name).read_text() == "x"


# From here on: archives made by hand.

ID = "20261123-1412-brave-otter"
Entry = tuple[str, bytes]


def listed(files: list[Entry], **changes: Any) -> bytes:
    entries = [
        {"path": name, "bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()} | changes for name, data in files
    ]
    run = {"id": ID, "verb": "pretrain", "parents": [], "files": entries}
    return json.dumps({"format": 1, "runs": [run]}).encode()


RECORD: Entry = ("run.json", b'{"verb": "pretrain", "status": "finished"}')
GOOD = [RECORD, ("notes/a.txt", b"hello")]


def entry(name: str, data: bytes = b"", **fields: Any) -> tuple[tarfile.TarInfo, bytes]:
    info = tarfile.TarInfo(name)
    info.size = len(data)
    for field, value in fields.items():
        setattr(info, field, value)
    return info, data


def tar(*entries: tuple[tarfile.TarInfo, bytes], path: str = "made.tar.gz") -> Path:
    with tarfile.open(path, "w:gz") as archive:
        for info, data in entries:
            archive.addfile(info, io.BytesIO(data))
    return Path(path)


def in_run(files: list[Entry]) -> list[tuple[tarfile.TarInfo, bytes]]:
    return [entry(f"{ID}/{name}", data) for name, data in files]


def good() -> list[tuple[tarfile.TarInfo, bytes]]:
    return [entry(LIST_NAME, listed(GOOD)), *in_run(GOOD)]


def pax_bomb() -> Path:
    """A header that says it has a gigabyte."""
    block = tarfile.TarInfo("././@PaxHeader")
    block.type, block.size = tarfile.XHDTYPE, 1 << 30
    with gzip.open("made.tar.gz", "wb", compresslevel=9) as file:
        for info, data in good():
            file.write(info.tobuf() + data + b"\0" * (-len(data) % 512))
        file.write(block.tobuf())
        for _ in range(4):
            file.write(b"0" * (1 << 24))
    return Path("made.tar.gz")


def negative_header() -> Path:
    block = tarfile.TarInfo("././@PaxHeader")
    block.type, block.size = tarfile.XHDTYPE, -512
    with gzip.open("made.tar.gz", "wb") as file:
        file.write(block.tobuf(tarfile.GNU_FORMAT) + b"\0" * 2048)
    return Path("made.tar.gz")


def sparse() -> Path:
    info = tarfile.TarInfo(f"{ID}/notes/a.txt")
    info.type, info.size = tarfile.GNUTYPE_SPARSE, 0
    block = bytearray(info.tobuf(tarfile.GNU_FORMAT))
    block[483:495] = b"%011o\0" % (1 << 32)  # the size that it claims to have
    block[148:156] = b"        "
    block[148:156] = b"%06o\0 " % sum(block)
    with gzip.open("made.tar.gz", "wb") as file:
        for head, data in good()[:2]:
            file.write(head.tobuf() + data + b"\0" * (-len(data) % 512))
        file.write(bytes(block) + b"\0" * 1024)
    return Path("made.tar.gz")


def bomb() -> Path:
    """The list says five bytes; the file has a hundred million."""
    return tar(*good()[:2], entry(f"{ID}/notes/a.txt", b"0" * 100_000_000))


def hidden_headers() -> Path:
    """Megabytes between the files, which no list knows of."""
    with gzip.open("made.tar.gz", "wb", compresslevel=9) as file:
        for info, data in good()[:2]:
            file.write(info.tobuf() + data + b"\0" * (-len(data) % 512))
        for _ in range(20):  # each an extended header of its own
            block = tarfile.TarInfo("././@PaxHeader")
            block.type, block.size = tarfile.XHDTYPE, 1 << 20
            line = b"1048576 comment=" + b"x" * ((1 << 20) - 17) + b"\n"
            file.write(block.tobuf() + line)
    return Path("made.tar.gz")


def cut_short() -> Path:
    path = tar(*good()[:2], entry(f"{ID}/notes/a.txt", random.Random(1).randbytes(5)))
    path.write_bytes(path.read_bytes()[:-30])
    return path


def nested() -> Path:
    return tar(entry(LIST_NAME, b"[" * 100_000))


def plain(data: bytes) -> Callable[[], Path]:
    def write() -> Path:
        Path("made.tar.gz").write_bytes(data)
        return Path("made.tar.gz")

    return write


def with_list(**changes: Any) -> Callable[[], Path]:
    return lambda: tar(entry(LIST_NAME, listed(GOOD, **changes)), *in_run(GOOD))


def with_file(name: str) -> Callable[[], Path]:
    """An archive whose list and content agree on a file of this name."""
    files = [RECORD, (name, b"hello")]
    return lambda: tar(entry(LIST_NAME, listed(files)), *in_run(files))


def with_id(run_id: Any) -> Callable[[], Path]:
    written = json.loads(listed(GOOD))
    written["runs"][0]["id"] = run_id
    return lambda: tar(entry(LIST_NAME, json.dumps(written).encode()), *in_run(GOOD))


def twice_listed() -> Path:
    return tar(entry(LIST_NAME, listed([*GOOD, GOOD[1]])), *in_run(GOOD))


EVIL = f"/tmp/evil-{os.getpid()}"
LINK = {"type": tarfile.SYMTYPE, "linkname": "/etc/passwd"}
ATTACKS: dict[str, tuple[Callable[[], Path], str]] = {
    "up": (with_file("../../evil"), "leads out of the run's folder"),
    "up inside": (with_file("a/../../evil"), "leads out of the run's folder"),
    "absolute": (with_file(EVIL), "leads out of the run's folder"),
    "empty part": (with_file("a//b"), "leads out of the run's folder"),
    "dot": (with_file("./a"), "leads out of the run's folder"),
    "nul": (with_file("a\0b"), "leads out of the run's folder"),
    "up, unlisted": (lambda: tar(*good(), entry("../evil", b"x")), "'../evil', which is not on its list"),
    "absolute, unlisted": (lambda: tar(*good(), entry(EVIL, b"x")), f"'{EVIL}', which is not on its list"),
    "id up": (with_id(".."), "which cannot name a run's folder"),
    "id path": (with_id("a/b"), "which cannot name a run's folder"),
    "id absolute": (with_id(EVIL), "which cannot name a run's folder"),
    "id hidden": (with_id(".code"), "which cannot name a run's folder"),
    "id cache": (with_id("cache"), "which cannot name a run's folder"),
    "id index": (with_id("index.sqlite"), "which cannot name a run's folder"),
    "id number": (with_id(5), "not what `understudy runs export` writes: id: expected str, got 5"),
    "symlink": (lambda: tar(*good()[:2], entry(f"{ID}/notes", **LINK)), "a link: only plain files"),
    "symlink at the list": (lambda: tar(entry(LIST_NAME, **LINK)), "a link: only plain files"),
    "symlink then file": (
        lambda: tar(good()[0], entry(f"{ID}/notes", **LINK | {"linkname": "/tmp"}), *good()[1:]),
        "a link: only plain files",
    ),
    "hard link": (
        lambda: tar(*good()[:2], entry(f"{ID}/notes/a.txt", type=tarfile.LNKTYPE, linkname="/etc/passwd")),
        "a link: only plain files",
    ),
    "device": (lambda: tar(*good()[:2], entry(f"{ID}/notes/a.txt", type=tarfile.CHRTYPE)), "a device"),
    "pipe": (lambda: tar(*good()[:2], entry(f"{ID}/notes/a.txt", type=tarfile.FIFOTYPE)), "a device"),
    "folder": (lambda: tar(good()[0], entry(ID, type=tarfile.DIRTYPE), *good()[1:]), "a folder: only plain files"),
    "sparse": (sparse, "only plain files are taken"),
    "file in a file": (with_file("run.json/x"), "cannot import"),
    "long name": (with_file("x" * 300), "cannot import"),
    "other content": (with_list(sha256="0" * 64), "its sha256 differs"),
    "longer": (with_list(bytes=3), "bytes; the archive's list says"),
    "negative": (with_list(bytes=-1), "a size of -1"),
    "true": (with_list(bytes=True), "bytes: expected int, got True"),
    "no number": (with_list(bytes="5"), "bytes: expected int, got '5'"),
    "absurd": (with_list(bytes=1 << 60), "the archive unpacks to .*TB, and .* of free space"),
    "bomb": (bomb, "100,000,000 bytes; the archive's list says 5"),
    "header bomb": (pax_bomb, "a header of absurd size"),
    "negative header": (negative_header, "a header of absurd size|is damaged, or no archive"),
    "hidden headers": (hidden_headers, "holds more than its list says"),
    "unlisted": (lambda: tar(*good(), entry(f"{ID}/more", b"x")), "which is not on its list"),
    "twice": (lambda: tar(*good(), good()[2]), "is there twice"),
    "twice on the list": (twice_listed, "lists '.*/notes/a.txt' twice"),
    "missing": (lambda: tar(*good()[:2]), "lacks '.*notes/a.txt', which is on its list"),
    "no run.json": (lambda: tar(entry(LIST_NAME, listed(GOOD[1:])), *in_run(GOOD[1:])), "holds no run.json"),
    "broken run.json": (
        lambda: tar(entry(LIST_NAME, listed([("run.json", b"{")])), *in_run([("run.json", b"{")])),
        "holds a run.json that is damaged",
    ),
    "another's run.json": (
        lambda: tar(entry(LIST_NAME, listed([("run.json", b'{"id": "x"}')])), *in_run([("run.json", b'{"id": "x"}')])),
        "or another run's",
    ),
    "no list": (lambda: tar(*in_run(GOOD)), "is not at its beginning"),
    "list not first": (lambda: tar(*in_run(GOOD), good()[0]), "is not at its beginning"),
    "huge list": (lambda: tar(entry(LIST_NAME, b" " * (65 << 20))), "the archive's list of files takes"),
    "list of another kind": (lambda: tar(entry(LIST_NAME, b"{}")), "is not what `understudy runs export` writes"),
    "nested list": (nested, "is not what `understudy runs export` writes"),
    "a later format": (lambda: tar(entry(LIST_NAME, b'{"format": 2}')), "is of format 2; expected 1"),
    "empty": (plain(b""), "is damaged, or not an archive of runs"),
    "text": (plain(b"hello " * 1000), "is damaged, or not an archive of runs"),
    "gzip of text": (plain(gzip.compress(b"hello " * 1000)), "is damaged, or not an archive of runs"),
    "cut short": (cut_short, "is damaged, or not an archive of runs|its sha256 differs"),
    "zip": (
        plain(b"PK\3\4" + b"\0" * 100),
        "is a .zip archive; expected a .tar.gz: export the runs again, or",
    ),
    "not there": (lambda: Path("nowhere.tar.gz"), "cannot import nowhere.tar.gz: No such file"),
}


@pytest.mark.parametrize("attack", ATTACKS)
def test_nothing_of_an_archive_is_trusted(attack: str, there: Path, here: Path) -> None:
    make, message = ATTACKS[attack]
    path = make()
    before = sorted(here.rglob("*"))
    with pytest.raises(ArchiveError, match=message) as caught:
        unpack(path, there)
    assert "\n" not in str(caught.value)
    assert sorted(here.rglob("*")) == before
    assert not Path(EVIL).exists()


def test_a_good_archive_made_by_hand(there: Path) -> None:
    assert unpack(tar(*good()), there)[0] == [ID]
    assert files_of(there / ID) == dict(GOOD)


def test_a_run_that_says_it_runs_here_does_not(there: Path) -> None:
    mine = json.dumps({"verb": "pretrain", "status": "running", **this_process()}).encode()
    assert read_record(_written(there / "live", mine)).status == "running"
    shutil.rmtree(there / "live")
    unpack(tar(entry(LIST_NAME, listed([("run.json", mine)])), *in_run([("run.json", mine)])), there)
    assert [record.status for record in list_runs(there)] == ["dead"]
    assert socket.gethostname() == list_runs(there)[0].host


def _written(folder: Path, record: bytes) -> Path:
    folder.mkdir()
    (folder / "run.json").write_bytes(record)
    return folder


def test_damage_anywhere_is_noticed_or_harmless(there: Path) -> None:
    folder = a_run()
    pack([read_record(folder)], Path("a.tar.gz"), leave_out=["checkpoints"])
    whole, dice = Path("a.tar.gz").read_bytes(), random.Random(1)
    refused = 0
    for _ in range(150):
        at = dice.randrange(len(whole))
        Path("b.tar.gz").write_bytes(whole[:at] + dice.randbytes(8) + whole[at + 8 :])
        try:
            unpack(Path("b.tar.gz"), there)
        except ArchiveError:
            refused += 1
            assert leftovers(there) == []
        else:
            assert files_of(there / folder.name).items() <= files_of(folder).items()
            shutil.rmtree(there / folder.name)
    assert refused > 75
