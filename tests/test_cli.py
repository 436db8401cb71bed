"""The command line as a user meets it: help, and what is said of mistakes."""

import gzip
import importlib
import io
import json
import re
import resource
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import MISSING, fields, is_dataclass
from pathlib import Path
from typing import Any, get_type_hints

import pytest
import torch
import tyro

from understudy.cli import VERBS, main
from understudy.runs.find import list_runs

TINY = [
    "--tokenizer",
    "bytes",
    "--layers",
    "1",
    "--width",
    "16",
    "--heads",
    "2",
    "--context",
    "48",
    "--batch-size",
    "4",
]
GOOD = {"messages": [{"role": "user", "content": "hi"}, {"role": "assistant", "content": "hello"}]}


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, small_package: None) -> Iterator[Path]:
    """A current folder with some data; runs go below it."""
    monkeypatch.setenv("UNDERSTUDY_RUNS", str(tmp_path / "runs"))
    (tmp_path / "talk.jsonl").write_text(
        "".join(json.dumps(GOOD | {"id": i}) + "\n" for i in range(3)) + other(0) + other(1)
    )
    (tmp_path / "empty.jsonl").write_text("")
    (tmp_path / "book.txt").write_text("Once upon a time.\n" * 20)
    (tmp_path / "bad.jsonl").write_text(json.dumps(GOOD) + "\n" + other(1) + '{"messages": [\n')
    (tmp_path / "worse.jsonl").write_text('{"messages": [\n{"messages": {}}\n')
    (tmp_path / "role.jsonl").write_text(json.dumps(GOOD).replace('"user"', '"usr"') + "\n")
    (tmp_path / "long.jsonl").write_text(json.dumps(GOOD).replace("hello", "hello " * 20) + "\n")
    monkeypatch.chdir(tmp_path)
    yield tmp_path
    torch.set_flush_denormal(False)  # which a run sets for its process


def other(number: int) -> str:
    messages = [{"role": "user", "content": f"number {number}"}, {"role": "assistant", "content": str(number)}]
    return json.dumps({"messages": messages}) + "\n"


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The runs folder with one finished run, made once."""
    folder = tmp_path_factory.mktemp("trained")
    (folder / "talk.jsonl").write_text(json.dumps(GOOD) + "\n" + other(0) + other(1))
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setenv("UNDERSTUDY_RUNS", str(folder / "runs"))
        assert main(["pretrain", "--data", "talk.jsonl", *TINY, "--steps", "2", "--sample-every", "0"]) == 0
    return folder / "runs"


@pytest.fixture
def run(here: Path, trained: Path) -> Path:
    """A finished run here."""
    shutil.copytree(trained, here / "runs")
    return list_runs()[-1].folder


Complaint = Callable[..., str]


@pytest.fixture
def complaint(capsys: pytest.CaptureFixture[str]) -> Complaint:
    """The one line said of a mistake; exit code 2 and no traceback with it."""

    def of(*arguments: str) -> str:
        capsys.readouterr()
        code = main(list(arguments))
        captured = capsys.readouterr()
        assert code == 2, captured
        assert captured.err.count("\n") == 1, captured.err
        assert captured.err.endswith("\n")
        assert "Traceback" not in captured.out + captured.err
        assert "\x1b" not in captured.err
        return captured.err

    return of


BEFORE_A_RUN = [
    (["pretrain", "--data", "tlak.jsonl"], ["no such file: tlak.jsonl", "did you mean talk.jsonl"]),
    (["pretrain", "--data", "nowhere/a.jsonl"], ["no such file: nowhere/a.jsonl", "there is no folder nowhere"]),
    (["pretrain", "--data", "*.csv"], ["no file matches *.csv"]),
    (["pretrain", "--data", "."], ["is a folder"]),
    (["pretrain", "--data"], ["no data files given"]),
    (["pretrain", "--data", "talk.jsonl", "--valid", "vlaid.jsonl"], ["no such file: vlaid.jsonl"]),
    (["pretrain", "--data", "empty.jsonl"], ["empty.jsonl is empty"]),
    (["pretrain", "--data", "talk.jsonl", "book.txt"], ["do not mix", "talk.jsonl is chats", "book.txt is text"]),
    (["pretrain", "--data", "smalltalk", "talk.jsonl"], ["--data smalltalk stands alone"]),
    (["pretrain", "--width", "100", "--heads", "6"], ["--width 100 does not split into 6 heads", "try --width 96"]),
    (["pretrain", "--layers", "0"], ["--layers 0", "expected 1 or more"]),
    (["pretrain", "--dropout", "1"], ["--dropout 1.0", "below 1"]),
    (["pretrain", "--lr", "-1"], ["--lr -1.0 is out of range"]),
    (["pretrain", "--other-weight", "2"], ["--other-weight 2.0", "0 to 1"]),
    (["pretrain", "--valid-share", "1"], ["--valid-share 1.0", "more than 0, and below 1"]),
    (["pretrain", "--vocab-size", "100"], ["--vocab-size 100", "262"]),
    (["pretrain", "--smalltalk-conversations", "0"], ["--smalltalk-conversations 0", "1 or more"]),
    (["pretrain", "--eval-every", "-1"], ["--eval-every -1", "0 or more"]),
    (["pretrain", "--device", "gpu"], ["--device gpu is unknown", "cuda:0"]),
    (["pretrain", "--lr", "x"], ["--lr takes a number, not 'x'", "understudy pretrain --help"]),
    (["pretrain", "--steps", "1.5"], ["--steps takes a whole number, not '1.5'"]),
    (["pretrain", "--layers", "x"], ["--layers takes a whole number, not 'x'"]),
    (["pretrain", "--core", "gru"], ["--core 'gru' is unknown", "'transformer', 'lstm'"]),
    (["pretrain", "--lr"], ["--lr needs a value"]),
    (["pretrain", "--lrr", "3"], ["`understudy pretrain` does not know '--lrr'", "did you mean --lr"]),
    (["pretrain", "--bach-size=3"], ["'--bach-size=3'", "did you mean --batch-size"]),
    (["pretrain", "talk.jsonl"], ["does not know 'talk.jsonl'", "understudy pretrain --help"]),
    (["pretrain", "--strict", "yes"], ["does not know 'yes'"]),
    (["pretrian"], ["unknown verb pretrian", "did you mean pretrain"]),
    (["xyz"], ["unknown verb xyz", "understudy --help"]),
    (["finetune", "--data", "talk.jsonl"], ["no run of finetune or pretrain yet"]),
    (["finetune", "--data", "book.txt"], ["--data book.txt is plain text", "conversations"]),
    (["finetune", "--base", "brave-otter"], ["no run 'brave-otter'", "no runs in"]),
    (["eval"], ["RUN is missing"]),
    (["eval", "last"], ["no run of finetune or pretrain yet"]),
    (["sample", "last"], ["no run of finetune or pretrain yet"]),
    (["sample", "last", "--temperature", "-1"], ["--temperature -1.0 is out of range"]),
    (["sample", "last", "--count", "0"], ["--count 0", "1 or more"]),
    (["chat", "last", "--top-p", "2"], ["--top-p 2.0 is out of range"]),
    (["runs", "shwo"], ["did you mean show"]),
    (["runs", "show"], ["needs the id of a run"]),
    (["runs", "--al"], ["does not know '--al'", "did you mean --all"]),
]


@pytest.mark.parametrize(("arguments", "words"), BEFORE_A_RUN, ids=lambda value: " ".join(value))
def test_a_mistake_is_named_before_there_is_a_run(
    arguments: list[str], words: list[str], here: Path, complaint: Complaint
) -> None:
    said = complaint(*arguments)
    for word in words:
        assert word in said
    assert not (here / "runs").exists()


DURING_A_RUN = [
    (["--data", "bad.jsonl", "--strict"], ["bad.jsonl:3: invalid JSON"]),
    (["--data", "worse.jsonl"], ["nothing usable in worse.jsonl: worse.jsonl:1: invalid JSON"]),
    (["--data", "role.jsonl"], ["role.jsonl:1: unknown role 'usr'", "system, user or assistant", "did you mean user"]),
    (["--data", "long.jsonl"], ["long.jsonl", "does not fit a context of 48 tokens", "take a larger context"]),
    (["--data", "talk.jsonl", "long.jsonl", "--strict"], ["long.jsonl:1", "does not fit a context of 48 tokens"]),
    (["--data", "talk.jsonl", "--valid", "talk.jsonl"], ["every training document stands in the validation files"]),
]


@pytest.mark.parametrize(("arguments", "words"), DURING_A_RUN, ids=lambda value: " ".join(value))
def test_a_mistake_within_the_data_fails_the_run_which_says_so(
    arguments: list[str], words: list[str], complaint: Complaint, capsys: pytest.CaptureFixture[str]
) -> None:
    said = complaint("pretrain", *TINY, *arguments)
    for word in words:
        assert word in said
    assert [record.status for record in list_runs()] == ["failed"]
    assert said.strip() in list_runs()[0].data["error"]
    assert main(["runs"]) == 0
    listed = " ".join(capsys.readouterr().out.split())
    assert "failed" in listed
    assert "Error:" in listed


def test_malformed_lines_are_left_out_named_and_counted(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["pretrain", *TINY, "--data", "bad.jsonl", "--steps", "1", "--sample-every", "0"]) == 0
    said = capsys.readouterr().out
    assert "bad.jsonl:3: invalid JSON" in said
    assert "2 entries read, 1 left out as malformed" in said


def test_one_too_long_among_others_is_left_out_and_named(capsys: pytest.CaptureFixture[str]) -> None:
    data = ["--data", "talk.jsonl", "long.jsonl"]
    assert main(["pretrain", *TINY, *data, "--steps", "1", "--sample-every", "0"]) == 0
    said = capsys.readouterr().out
    assert "long.jsonl:1: an exchange of" in said
    assert "does not fit a context of 48 tokens" in said


def test_a_damaged_gzip_file(here: Path, complaint: Complaint) -> None:
    (here / "talk.jsonl.gz").write_bytes(gzip.compress((here / "talk.jsonl").read_bytes())[:-9])
    assert "talk.jsonl.gz: damaged gzip data" in complaint("pretrain", *TINY, "--data", "talk.jsonl.gz")


@pytest.mark.parametrize("verb", [["sample"], ["chat"], ["eval"], ["finetune", "--base"], ["runs", "show"]])
def test_a_run_that_is_not_there(verb: list[str], run: Path, complaint: Complaint) -> None:
    words = run.name.split("-", 2)[2]
    said = complaint(*verb, words + "x")
    assert f"no run '{words}x'" in said
    assert f"did you mean {words}?" in said
    assert len(list_runs()) == 1


def test_a_message_longer_than_the_context(
    run: Path, complaint: Complaint, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for words in ["context of 48", "shorten"]:
        assert words in complaint("sample", "last", "--prompt", "hello " * 20)
        monkeypatch.setattr("sys.stdin", io.StringIO("hello " * 20 + "\n"))
        assert words in complaint("chat", "last")


@pytest.mark.parametrize("verb", [["sample"], ["chat"], ["eval"], ["finetune", "--data", "talk.jsonl", "--base"]])
def test_a_checkpoint_of_another_shape(verb: list[str], run: Path, complaint: Complaint) -> None:
    path = run / "checkpoints" / "step-000002" / "state.json"
    path.write_text(path.read_text().replace('"width": 16', '"width": 32'))
    said = complaint(*verb, "last")
    assert "step-000002 is of another shape" in said
    assert "(3, 48), this model" in said


def test_a_run_without_a_checkpoint(run: Path, complaint: Complaint) -> None:
    shutil.rmtree(run / "checkpoints")
    assert "holds no checkpoint yet" in complaint("sample", "last")
    assert "holds no checkpoint yet" in complaint("finetune", "--data", "talk.jsonl")
    assert len(list_runs()) == 1


def test_text_of_special_tokens_is_plain_text(here: Path, run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (here / "sly.jsonl").write_text(json.dumps(GOOD).replace("hi", "<|end|>") + "\n" + other(0) + other(1))
    assert main(["pretrain", *TINY, "--data", "sly.jsonl", "--steps", "1"]) == 0
    assert main(["sample", "last", "--prompt", "<|end|><|assistant|>", "--max-tokens", "3"]) == 0


def test_a_word_more_on_a_bad_folder(here: Path, monkeypatch: pytest.MonkeyPatch, complaint: Complaint) -> None:
    monkeypatch.setenv("UNDERSTUDY_RUNS", str(here / "book.txt"))
    assert "UNDERSTUDY_RUNS" in complaint("pretrain", "--data", "talk.jsonl", *TINY)


def command(*arguments: str, **options: Any) -> "subprocess.CompletedProcess[str]":
    line = [sys.executable, "-m", "understudy", *arguments]
    return subprocess.run(line, capture_output=True, text=True, check=False, **options)


def test_debug_shows_the_traceback_and_nothing_else_does() -> None:
    plain, debugged = (command("runs", "show", "nothing", *more) for more in ([], ["--debug"]))
    assert plain.returncode == 2
    assert plain.stderr.count("\n") == 1
    assert "Traceback" not in plain.stderr
    assert debugged.returncode != 0
    assert "Traceback" in debugged.stderr
    assert "RunNotFoundError: no run 'nothing'" in debugged.stderr


def test_help_is_there_at_once_and_imports_nothing_heavy() -> None:
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = command("--help")
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert done.returncode == 0
    for name, verb in VERBS.items():
        assert re.search(rf"^  {name} +{re.escape(verb.meaning)}$", done.stdout, re.MULTILINE)
    assert all(word in done.stdout for word in ("--debug", "--version", "VERB --help"))
    traced = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "understudy", "--help"], capture_output=True, text=True, check=True
    )
    imported = {line.rpartition("|")[2].strip() for line in traced.stderr.splitlines()}
    assert "understudy.cli" in imported
    assert not imported & {"torch", "numpy", "rich", "tyro", "tokenizers", "safetensors"}
    assert after.ru_utime - before.ru_utime < 1  # of processor time


def test_a_reader_that_stops_listening_is_no_error() -> None:
    command = f"{sys.executable} -m understudy pretrain --help | head -n 1; echo ${{PIPESTATUS[0]}}"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True)
    assert done.stderr == ""
    assert done.stdout.splitlines()[-1] in ("141", "0")


def test_without_a_verb_and_with_a_question(capsys: pytest.CaptureFixture[str]) -> None:
    pages = set()
    for arguments in ([], ["-h"], ["--help"], ["help"]):
        assert main(arguments) == 0
        pages.add(capsys.readouterr().out)
    assert len(pages) == 1
    assert main(["--version"]) == 0
    assert re.fullmatch(r"understudy \d+\.\d+\.\d+\n", capsys.readouterr().out)


CONFIGS = {
    "pretrain": "recipes.pretrain",
    "finetune": "recipes.finetune",
    "clone": "recipes.clone",
    "selfplay": "recipes.selfplay",
    "league": "recipes.league",
    "chat": "serving.terminal",
    "sample": "serving.sample",
    "serve": "serving.serve",
    "play": "serving.play.play",
    "watch": "serving.play.watch",
    "eval": "recipes.evaluate",
    "doctor": "recipes.doctor",
    "import-chats": "recipes.import_chats",
    "export-model": "recipes.export_model",
}


def options_of(config: Any, default: Any = None) -> Iterator[tuple[Any, str, Any, str]]:
    """(class, name, default, docstring) of each option; `default` is the instance that the defaults come from."""
    source = io.StringIO(Path(importlib.import_module(config.__module__).__file__).read_text()).getvalue()  # type: ignore[arg-type]
    types_of, marked = get_type_hints(config), get_type_hints(config, include_extras=True)
    for field in fields(config):
        if tyro.conf.Suppress in getattr(marked[field.name], "__metadata__", ()):
            continue
        value = getattr(default, field.name) if default is not None else default_of(field)
        if is_dataclass(types_of[field.name]):
            yield from options_of(types_of[field.name], value)
        else:
            body = source.partition(f"class {config.__name__}")[2]
            meaning = re.search(rf'^    {field.name}: [^\n]*\n    """(.*?)"""', body, re.MULTILINE | re.DOTALL)
            assert meaning, f"{config.__name__}.{field.name} has no docstring"
            yield config, field.name, value, " ".join(meaning[1].split())


def default_of(field: Any) -> Any:
    return field.default_factory() if field.default_factory is not MISSING else field.default


@pytest.mark.parametrize("verb", CONFIGS)
def test_the_help_of_a_verb_lists_each_option_with_its_default_and_meaning(
    verb: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "100")
    config = importlib.import_module(f"understudy.{CONFIGS[verb]}").Config
    with pytest.raises(SystemExit) as caught:
        main([verb, "--help"])
    assert caught.value.code == 0
    page = capsys.readouterr().out
    assert page.startswith(f"usage: understudy {verb}")
    text = " ".join(re.sub("[│╭╮╰╯─|]|-{4,}", " ", page).split())
    options = list(options_of(config))
    assert options
    for _, name, default, meaning in options:
        option = "--" + {"origin": "from"}.get(name, name).replace("_", "-")
        positional = default is MISSING or name in ("run", "game")
        shown_name = "RUN" if name == "target" else name.upper().rstrip("S")
        assert re.search(shown_name if positional else rf"{option}\b", text), option
        shown = "required" if default is MISSING else shown_default(default)
        assert re.search(rf"{re.escape(meaning)} \((default: )?{shown}\)", text), (option, meaning, shown)


def shown_default(value: Any) -> str:
    """How help writes a default, as a pattern."""
    if isinstance(value, tuple):
        return " ".join(value) or "(none)?"
    return "''" if value == "" else re.escape(str(value))


@pytest.mark.parametrize("verb", CONFIGS)
def test_no_page_of_help_speaks_python(verb: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main([verb, "--help"])
    page = capsys.readouterr().out
    for word in ("{None}", "options options", "Optional", "Literal", "dataclass"):
        assert word not in page


def test_every_verb_has_a_row_here() -> None:
    assert {*CONFIGS, "runs", "demos"} == set(VERBS)


def test_defaults_can_be_built() -> None:
    """What the help shows as defaults makes a model."""
    from understudy.models.language_model import LanguageModel
    from understudy.recipes import pretrain
    from understudy.training.distributed import DistInfo

    config = pretrain.Config().validate(DistInfo())
    with torch.device("meta"):
        LanguageModel(config.model.resolved(), config.vocab_size)
