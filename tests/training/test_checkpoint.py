import errno
import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from understudy.data.chat_template import TokenizedDocument
from understudy.data.packing import PackedBatches
from understudy.data.token_store import build_store
from understudy.data.tokenizers import BPETokenizer, ByteTokenizer
from understudy.errors import CheckpointError, RunNotFoundError
from understudy.models.language_model import LanguageModel
from understudy.models.spec import CoreConfig
from understudy.runs.record import list_checkpoints
from understudy.training.checkpoint import KEPT, read_weights, restore, save_checkpoint
from understudy.training.learner import Learner, LearnerConfig
from understudy.training.loading import latest_checkpoint, load_model, resolve
from understudy.training.objectives import ImitationLoss

BYTES = ByteTokenizer()


def make_learner(seed: int = 0, core: Any = "transformer", **options: Any) -> Learner:
    torch.manual_seed(seed)
    config = CoreConfig(
        **{"core": core, "layers": 2, "width": 16, "heads": 2, "context": 24, "dropout": 0.3, **options}
    )
    model = LanguageModel(config.resolved(), BYTES.vocab_size)
    return Learner(ImitationLoss(model), LearnerConfig(steps=20, batch_size=4, dtype="float32"), torch.device("cpu"))


@pytest.fixture(scope="module")
def batches(tmp_path_factory: pytest.TempPathFactory) -> PackedBatches:
    random = np.random.default_rng(5)
    documents = [
        TokenizedDocument(random.integers(0, 256, 20).astype(np.int32), np.ones(20, dtype=bool)) for _ in range(20)
    ]
    store = build_store(tmp_path_factory.mktemp("data") / "store", documents, BYTES)
    return PackedBatches(store, np.arange(20), batch_size=4, context=24, seed=1)


@pytest.fixture
def saved(tmp_path: Path, batches: PackedBatches) -> Path:
    """A checkpoint after three steps."""
    learner = make_learner()
    for step in range(3):
        learner.step(batches.batch(step))
    return save_checkpoint(tmp_path / "run", learner, BYTES, kind="chats")


@pytest.mark.parametrize("core", ["transformer", "lstm"])
def test_what_was_restored_goes_on_bit_for_bit(core: Any, tmp_path: Path, batches: PackedBatches) -> None:
    learner = make_learner(core=core)
    torch.manual_seed(4)
    for step in range(3):
        learner.step(batches.batch(step))
    folder = save_checkpoint(tmp_path, learner, BYTES, kind="text", note=[1, "two"])
    uninterrupted = [learner.step(batches.batch(step)) for step in range(3, 6)]

    other = make_learner(seed=9, core=core)
    assert restore(other, folder)["progress"] == {"kind": "text", "note": [1, "two"]}
    assert other.steps_done == 3
    assert [other.step(batches.batch(step)) for step in range(3, 6)] == uninterrupted
    for name, weight in learner.model.state_dict().items():
        assert torch.equal(other.model.state_dict()[name], weight), name
    ours, theirs = (one.optimizer.state_dict()["state"] for one in (learner, other))
    for index, slots in ours.items():
        for slot, value in slots.items():
            assert torch.equal(theirs[index][slot], value), (index, slot)


def test_random_numbers_are_restored(tmp_path: Path, saved: Path) -> None:
    learner = make_learner()
    restore(learner, saved)
    first = torch.rand(5)
    torch.rand(100)
    restore(learner, saved)
    assert torch.equal(torch.rand(5), first)


def test_a_model_is_loaded_as_it_was_and_ready_to_use(saved: Path, batches: PackedBatches) -> None:
    for path in (saved, saved.parent.parent):
        loaded = load_model(path)
        assert loaded.folder == saved
        assert loaded.state["steps_done"] == 3
        assert loaded.state["progress"] == {"kind": "chats"}
        assert loaded.tokenizer.fingerprint == BYTES.fingerprint
        assert not loaded.model.training
        assert all(parameter.requires_grad for parameter in loaded.model.parameters())
    learner = make_learner(seed=1)
    restore(learner, saved)
    ids = torch.arange(10)[None]
    assert torch.equal(loaded.model(ids)[0], learner.model.eval()(ids)[0])


def test_loading_initialises_nothing_first(saved: Path) -> None:
    """Random weights that the file then replaces would cost seconds: torch imports its compiler to make them."""
    program = f"""
import sys
from pathlib import Path
from understudy.training.loading import load_model
load_model(Path({str(saved)!r}))
print("torch._dynamo" in sys.modules)
"""
    assert subprocess.run([sys.executable, "-c", program], capture_output=True, text=True).stdout == "False\n"


def test_a_bpe_goes_along(tmp_path: Path) -> None:
    tokenizer = BPETokenizer.train(["the cat, the hat"] * 9, vocab_size=270)
    torch.manual_seed(0)
    model = LanguageModel(CoreConfig(layers=1, width=16, heads=2, context=24).resolved(), tokenizer.vocab_size)
    learner = Learner(ImitationLoss(model), LearnerConfig(batch_size=4), torch.device("cpu"))
    assert load_model(save_checkpoint(tmp_path, learner, tokenizer)).tokenizer.encode("the cat") == tokenizer.encode(
        "the cat"
    )


def test_only_the_last_ones_are_kept_and_the_steps_are_in_order(tmp_path: Path) -> None:
    learner = make_learner()
    for step in (5, 999_998, 999_999, 1_000_000):
        learner.steps_done = step
        save_checkpoint(tmp_path, learner, BYTES)
    assert KEPT == 2
    assert [folder.name for folder in list_checkpoints(tmp_path)] == ["step-999999", "step-1000000"]
    assert latest_checkpoint(tmp_path).name == "step-1000000"
    assert sorted(os.listdir(tmp_path / "checkpoints")) == ["step-1000000", "step-999999"]


def test_the_same_step_twice_is_written_once(saved: Path) -> None:
    learner = make_learner()
    restore(learner, saved)
    before = (saved / "model.safetensors").stat().st_mtime_ns
    assert save_checkpoint(saved.parent.parent, learner, BYTES) == saved
    assert (saved / "model.safetensors").stat().st_mtime_ns == before


def killed_at(event: int, run: Path, learner: Learner) -> bool:
    """Write a checkpoint in a process that is killed at the given event of opening, making or renaming a path.

    False when the write ended before it came to that.
    """
    child = os.fork()
    if child == 0:
        left = event

        def audit(name: str, arguments: tuple[Any, ...]) -> None:
            nonlocal left
            if name in ("open", "os.mkdir", "os.rename") and "step-000001" in str(arguments[0]):
                left -= 1
                if left < 0:
                    os.kill(os.getpid(), signal.SIGKILL)

        try:
            sys.addaudithook(audit)
            save_checkpoint(run, learner, BYTES)
            os._exit(0)
        finally:
            os._exit(1)
    return os.waitpid(child, 0)[1] == signal.SIGKILL


def test_a_kill_in_mid_write_leaves_the_older_one(tmp_path: Path) -> None:
    """Killed at each event of a write in turn: the folder, the files, their way to the disk, and at last the name."""
    learner = make_learner()
    save_checkpoint(tmp_path, learner, BYTES)
    learner.steps_done = 1
    torn = set()
    event = 0
    while killed_at(event, tmp_path, learner):
        assert [folder.name for folder in list_checkpoints(tmp_path)] == ["step-000000"]
        restore(make_learner(), latest_checkpoint(tmp_path))
        for folder in (tmp_path / "checkpoints").glob(".*"):
            torn |= {path.name for path in folder.iterdir()}
        event += 1
    assert event > 6
    assert torn >= {"model.safetensors", "training.safetensors", "tokenizer.json", "state.json"}
    # The write that was not killed had the pieces of the others in its way.
    assert sorted(os.listdir(tmp_path / "checkpoints")) == ["step-000000", "step-000001"]
    restore(make_learner(), latest_checkpoint(tmp_path))


@pytest.mark.parametrize(
    "options", [dict(width=32), dict(layers=3), dict(layers=1), dict(block="gpt2"), dict(core="lstm")]
)
def test_another_shape_is_named_with_the_tensor(options: Any, saved: Path) -> None:
    learner = make_learner(**options)
    before = {name: weight.clone() for name, weight in learner.model.state_dict().items()}
    for attempt in (lambda: read_weights(learner.model, saved, "cpu"), lambda: restore(learner, saved)):
        with pytest.raises(CheckpointError) as caught:
            attempt()
        message = str(caught.value)
        assert str(saved) in message
        assert "of another shape" in message
        assert "\n" not in message
        assert any(name in message for name in before) or "no such tensor" in message
    assert all(torch.equal(weight, before[name]) for name, weight in learner.model.state_dict().items())
    assert learner.steps_done == 0


def test_both_shapes_are_said(saved: Path) -> None:
    with pytest.raises(CheckpointError, match=r"embedding.weight is \(262, 16\), this model's is \(300, 16\)"):
        read_weights(LanguageModel(CoreConfig(layers=2, width=16, heads=2, context=24).resolved(), 300), saved, "cpu")


def test_a_write_that_fails_leaves_nothing(saved: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*arguments: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    learner = make_learner()
    restore(learner, saved)
    learner.steps_done += 1
    monkeypatch.setattr(type(BYTES), "save", fail)
    with pytest.raises(OSError, match="No space"):
        save_checkpoint(saved.parent.parent, learner, BYTES)
    assert os.listdir(saved.parent) == [saved.name]


def test_what_is_left_of_a_checkpoint_is_replaced(saved: Path) -> None:
    learner = make_learner()
    restore(learner, saved)
    (saved / "state.json").unlink()
    assert list_checkpoints(saved.parent.parent) == []
    save_checkpoint(saved.parent.parent, learner, BYTES)
    restore(make_learner(), saved)


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def scribble(path: Path) -> None:
    path.write_bytes(b"\xff" * 100)


@pytest.mark.parametrize("name", ["model.safetensors", "training.safetensors"])
@pytest.mark.parametrize(
    ("damage", "words"), [(truncate, "cannot be read"), (scribble, "cannot be read"), (Path.unlink, "is missing")]
)
def test_a_damaged_file_is_named(name: str, damage: Any, words: str, saved: Path) -> None:
    damage(saved / name)
    with pytest.raises(CheckpointError, match=words) as caught:
        restore(make_learner(), saved)
    assert str(saved / name) in str(caught.value)
    if name == "model.safetensors":
        with pytest.raises(CheckpointError, match=words):
            load_model(saved)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("{", "cannot be read"),
        ("[]", "cannot be read"),
        ("{}", "does not have 'spec'"),
        ('{"spec": {"core": "lstm"}, "vocab_size": 3}', "missing field 'block'"),
        ('{"spec": 3, "vocab_size": 3}', "cannot be read"),
    ],
)
def test_a_damaged_state_is_named(text: str, words: str, saved: Path) -> None:
    (saved / "state.json").write_text(text)
    for attempt in (lambda: load_model(saved), lambda: restore(make_learner(), saved)):
        with pytest.raises(CheckpointError, match=words) as caught:
            attempt()
        assert str(saved / "state.json") in str(caught.value)


def test_a_tokenizer_of_another_vocabulary_is_refused(saved: Path) -> None:
    BPETokenizer.train(["the cat, the hat"] * 9, vocab_size=270).save(saved)
    with pytest.raises(CheckpointError, match=r"tokenizer of \d+ tokens.* model.* 262"):
        load_model(saved)
    (saved / "tokenizer.json").unlink()
    with pytest.raises(CheckpointError, match=r"no tokenizer at"):
        load_model(saved)


def test_a_run_without_a_checkpoint(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="holds no checkpoint yet"):
        load_model(tmp_path)


def test_where_a_checkpoint_may_be(saved: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = saved.parent.parent
    (run / "run.json").write_text(json.dumps({"verb": "pretrain", "status": "finished"}))
    monkeypatch.chdir(run.parent)
    monkeypatch.setenv("UNDERSTUDY_RUNS", str(run.parent))
    assert resolve("run/checkpoints/step-000003") == saved
    for reference in ("run", "ru", "last", "last:pretrain", "./run", str(run)):
        assert resolve(reference) == run
    with pytest.raises(RunNotFoundError, match=r"did you mean run\?"):
        resolve("rum")
    with pytest.raises(RunNotFoundError, match="expected one of finetune, pretrain"):
        resolve("last:eval")


def test_files_hold_what_they_are_said_to(saved: Path) -> None:
    assert sorted(os.listdir(saved)) == ["model.safetensors", "state.json", "tokenizer.json", "training.safetensors"]
    weights = load_file(saved / "model.safetensors")
    assert set(weights) == set(make_learner().model.state_dict())
    state = json.loads((saved / "state.json").read_text())
    assert state["spec"]["width"] == 16
    assert (state["vocab_size"], state["dtype"]) == (262, "float32")


def test_extra_weights_are_refused(saved: Path) -> None:
    weights = load_file(saved / "model.safetensors")
    save_file({**weights, "more": torch.zeros(2)}, saved / "model.safetensors")
    with pytest.raises(CheckpointError, match=r"its more is \(2,\), this model's is no such tensor"):
        load_model(saved)
