"""Initialisation, sizes and the errors of models."""

import pytest
import torch

from understudy.errors import ConfigError, TooLongError
from understudy.models import device
from understudy.models.language_model import LanguageModel
from understudy.models.spec import CoreConfig


def stream_spreads(model: LanguageModel, ids_BT: torch.Tensor) -> list[float]:
    """Standard deviation of the stream after each Transformer block."""
    spreads: list[float] = []
    for block in model.core.blocks:
        block.register_forward_hook(lambda _module, _inputs, y_BTD: spreads.append(float(y_BTD.std())))
    with torch.no_grad():
        model.hidden(ids_BT)
    return spreads


@pytest.mark.parametrize("block", ["modern", "gpt1", "gpt2"])
def test_activations_neither_grow_nor_vanish_with_depth(block):
    torch.manual_seed(0)
    config = CoreConfig(block=block, layers=16, width=128, heads=4, context=64)
    spreads = stream_spreads(LanguageModel(config.resolved(), 300), torch.randint(300, (4, 64)))
    assert 0.5 < spreads[-1] / spreads[7] < 2, spreads  # the second half of the depth leaves the spread alone
    assert 0.02 < spreads[-1] < 3, spreads


def test_lstm_activations_are_alike_at_each_depth():
    torch.manual_seed(0)
    model = LanguageModel(CoreConfig(core="lstm", layers=4, width=128, context=64).resolved(), 300)
    x_BTD = model.core.norm(model.embedding(torch.randint(300, (4, 64))))
    _, (h_LBD, _) = model.core.rnn(x_BTD)
    assert all(0.02 < h_BD.std() < 0.6 for h_BD in h_LBD)
    assert torch.equal(model.core.rnn.bias_ih_l0[128:256], torch.ones(128))  # the forget gate starts open


@pytest.mark.parametrize("resets", [False, True])
def test_dropout_in_bfloat16_attends_in_float32(resets, monkeypatch):
    """torch's own attention is slowest in bfloat16 on a CPU, and by hand nothing is dropped."""
    seen = []
    attention = torch.nn.functional.scaled_dot_product_attention
    monkeypatch.setattr(
        torch.nn.functional,
        "scaled_dot_product_attention",
        lambda q, *rest, **options: seen.append(q.dtype) or attention(q, *rest, **options),
    )
    model = LanguageModel(CoreConfig(layers=1, width=16, heads=2, context=8, dropout=0.5).resolved(), 20)
    reset_BT = torch.tensor([[True, False, False, True, False]]) if resets else None
    with torch.autocast("cpu", torch.bfloat16):
        hidden_BTD, _ = model.hidden(torch.zeros(1, 5, dtype=torch.long), reset_BT=reset_BT)
    hidden_BTD.sum().backward()
    assert set(seen) == {torch.float32}


@pytest.mark.parametrize("resets", [False, True])
@pytest.mark.parametrize("kind", [{"core": "lstm"}, {"block": "modern"}, {"block": "gpt1"}, {"block": "gpt2"}])
def test_bfloat16_takes_other_paths_to_about_the_same_gradients(kind, resets):
    """Attention by hand, rotations and convolutions in bfloat16, against float32 and torch's attention."""
    torch.manual_seed(0)
    model = LanguageModel(CoreConfig(layers=2, width=64, context=32, **kind).resolved(), 100)
    ids_BT, reset_BT = torch.randint(100, (3, 32)), torch.rand(3, 32) < 0.1
    gradients = []
    for enabled in (False, True):
        with torch.autocast("cpu", torch.bfloat16, enabled=enabled):
            hidden_BTD, _ = model.hidden(ids_BT, reset_BT=reset_BT if resets else None)
            loss = torch.nn.functional.cross_entropy(
                model.logits(hidden_BTD)[:, :-1].flatten(0, 1), ids_BT[:, 1:].flatten()
            )
        model.zero_grad()
        loss.backward()
        gradients.append(torch.cat([parameter.grad.flatten() for parameter in model.parameters()]))
    assert torch.nn.functional.cosine_similarity(*gradients, dim=0) > 0.995


@pytest.mark.parametrize("block", ["modern", "gpt1", "gpt2"])
def test_bfloat16_weights_with_a_float32_cache_say_about_the_same(block):
    torch.manual_seed(0)
    model = LanguageModel(CoreConfig(block=block, layers=2, width=64, context=32).resolved(), 100).eval()
    torch.nn.init.normal_(model.embedding.weight)
    ids_BT = torch.randint(100, (2, 12))
    with torch.no_grad():
        exact_BV = model.logits(model.hidden(ids_BT)[0][:, -1], float32=True)
        model.bfloat16()
        state = model.initial_state(2)
        assert state.keys_LBHSK.dtype == torch.float32
        for step in range(12):
            hidden_B1D, state = model.hidden(ids_BT[:, step : step + 1], state)
    logits_BV = model.logits(hidden_B1D[:, -1], float32=True)
    assert logits_BV.dtype == torch.float32
    assert torch.nn.functional.cosine_similarity(logits_BV, exact_BV).min() > 0.999


@pytest.mark.parametrize(
    ("asked", "where", "trained", "core", "expected"),
    [
        ("auto", "cpu", "bfloat16", "transformer", torch.float32),
        ("auto", "cuda", "bfloat16", "transformer", torch.bfloat16),
        ("auto", "cuda", "float32", "transformer", torch.float32),
        ("auto", "cuda", "bfloat16", "lstm", torch.float32),
        ("bfloat16", "cpu", "float32", "lstm", torch.bfloat16),
        ("float32", "cuda", "bfloat16", "transformer", torch.float32),
        ("int8", "cpu", "bfloat16", "transformer", torch.float32),
    ],
)
def test_the_number_format_to_sample_with(asked, where, trained, core, expected):
    spec = CoreConfig(core=core).resolved()
    assert device.pick_serving_dtype(asked, torch.device(where), spec, trained) == expected


def test_int8_is_for_cpus():
    with pytest.raises(ConfigError, match="--dtype int8 is for CPUs, not cuda; try --dtype bfloat16"):
        device.pick_serving_dtype("int8", torch.device("cuda"), CoreConfig().resolved(), "float32")


@pytest.mark.parametrize("core", ["transformer", "lstm"])
def test_an_untrained_model_is_close_to_uniform(core):
    torch.manual_seed(0)
    model = LanguageModel(CoreConfig(core=core, size="tiny").resolved(), 300)
    logits_BTV, _ = model(torch.randint(300, (4, 32)))
    loss = torch.nn.functional.cross_entropy(logits_BTV.flatten(0, 1), torch.randint(300, (128,)))
    assert abs(loss.item() - torch.tensor(300.0).log().item()) < 0.2


def test_gpt1_has_the_published_number_of_parameters():
    with torch.device("meta"):
        model = LanguageModel(CoreConfig(size="gpt1", block="gpt1").resolved(), 40_478)
    assert model.parameter_count() == 116_534_784


@pytest.mark.parametrize(("size", "tolerance"), [("tiny", 0.05), ("small", 0.05), ("base", 0.05), ("gpt1", 0.05)])
def test_both_cores_of_a_size_have_about_the_same_parameters(size, tolerance):
    with torch.device("meta"):
        counts = [
            sum(p.numel() for p in LanguageModel(CoreConfig(core=core, size=size).resolved(), 1).core.parameters())
            for core in ("transformer", "lstm")
        ]
    assert abs(counts[0] / counts[1] - 1) < tolerance


def test_the_head_is_the_embedding():
    model = LanguageModel(CoreConfig(layers=1, width=8, heads=2).resolved(), 11)
    assert sum("embedding" in name or "head" in name for name, _ in model.named_parameters()) == 1


@pytest.mark.parametrize(
    ("config", "words"),
    [
        (CoreConfig(width=100, heads=6), "--width 100 does not split into 6 heads"),
        (CoreConfig(layers=0), "--layers 0 is out of range"),
        (CoreConfig(dropout=1.5), "--dropout 1.5"),
    ],
)
def test_impossible_shapes_are_named(config, words):
    with pytest.raises(ConfigError, match=words):
        config.resolved()


def test_more_than_the_context_is_refused():
    model = LanguageModel(CoreConfig(layers=1, width=8, heads=2, context=4).resolved(), 11)
    with pytest.raises(TooLongError, match="context of 4"):
        model(torch.zeros(1, 5, dtype=torch.long))
    _, state = model(torch.zeros(1, 4, dtype=torch.long), model.initial_state(1))
    with pytest.raises(TooLongError, match="cache of 4"):
        model(torch.zeros(1, 1, dtype=torch.long), state)


@pytest.mark.parametrize("block", ["modern", "gpt1", "gpt2"])
def test_gradients_on_two_threads_are_the_same_each_time(block):
    """Positions come many times in a batch; were their gradients added up in the threads' order, bits would differ."""
    torch.manual_seed(0)
    model = LanguageModel(CoreConfig(block=block, layers=1, width=128, heads=4, context=64).resolved(), 256)
    ids_BT, reset_BT = torch.randint(256, (8, 64)), torch.rand(8, 64) < 0.05
    threads = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        found = set()
        for _ in range(5):
            model.zero_grad()
            hidden_BTD, _ = model.hidden(ids_BT, reset_BT=reset_BT)
            model.logits(hidden_BTD, float32=True).square().sum().backward()
            found.add(b"".join(p.grad.numpy().tobytes() for p in model.parameters() if p.grad is not None))
    finally:
        torch.set_num_threads(threads)
    assert len(found) == 1
