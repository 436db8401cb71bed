"""The native decode step says what the plain path says, for every core, batch, length and number of threads."""

import copy
import os
import subprocess
import sys
import time
from contextlib import contextmanager

import pytest
import torch

from understudy.acting.chat import Chat
from understudy.acting.engine import generate, generate_plain, prefill
from understudy.acting.sampling import SamplingConfig
from understudy.data.chat_template import render_prompt
from understudy.data.conversations import Message
from understudy.data.tokenizers import ByteTokenizer
from understudy.errors import TooLongError
from understudy.models import attention
from understudy.models.language_model import LanguageModel
from understudy.models.lora import adapt
from understudy.models.spec import CoreConfig
from understudy.native import dispatch
from understudy.native.session import NEAR_TIE, Session
from understudy.native.weights import Weights, to_int8
from understudy.native.workers import Team, team

BYTES = ByteTokenizer()
KINDS = ("lstm", "modern", "gpt1", "gpt2")
# Sizes at the edges of vectors, blocks and groups of rows
SHAPES = {
    "plain": dict(layers=2, width=128, heads=4),
    "odd": dict(layers=1, width=90, heads=3),
    "one small head": dict(layers=3, width=10, heads=1),
    "wide heads": dict(layers=1, width=296, heads=2),
}
TOLERANCE = {"float32": 2e-5, "bfloat16": 1e-3, "int8": 4e-2}
"""Of logits whose standard deviation is 1, against the plain path in float32 on weights and cache rounded alike."""


@pytest.fixture(scope="module", autouse=True)
def _code():
    if not dispatch.compiled(wait=True):
        pytest.fail(f"the native step is not compiled: {dispatch._failure}")


@pytest.fixture(params=KINDS)
def kind(request):
    return request.param


def build(kind: str, vocabulary: int = 263, context: int = 64, **shape: int) -> LanguageModel:
    """Return a model in float32 with weights large enough that every part of it matters."""
    torch.manual_seed(0)
    where = {"core": "lstm"} if kind == "lstm" else {"block": kind}
    shape = shape or SHAPES["plain"]
    model = LanguageModel(CoreConfig(context=context, **shape, **where).resolved(), vocabulary).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() > 1:
                parameter.normal_(std=1.5 * parameter.shape[1] ** -0.5)
            else:
                parameter.add_(0.2 * torch.randn_like(parameter))
        model.embedding.weight.normal_(std=model.spec.width**-0.5)
    return model


def round_like(weight: torch.Tensor, format: str) -> torch.Tensor:
    if format == "int8":
        whole, scales, _ = to_int8(weight)
        return whole * scales[..., None]
    return weight.bfloat16().float() if format == "bfloat16" else weight


def rounded(model: LanguageModel, format: str) -> tuple[LanguageModel, torch.Tensor]:
    """Return the model with its matrices rounded except for the embedding, and the embedding rounded: the head."""
    other = copy.deepcopy(model)
    with torch.no_grad():
        for name, parameter in other.core.named_parameters():
            if parameter.dim() == 2 and not name.startswith("positions") and not name.endswith("taps_RD"):
                parameter.copy_(round_like(parameter, format))
    return other, round_like(model.embedding.weight.detach(), format)


@contextmanager
def read_rounded(format: str):
    """Let the plain path read keys and values rounded, as steps with rounded weights do."""
    exact = attention.attend
    attention.attend = lambda q, k, v, *rest: exact(q, round_like(k, format), round_like(v, format), *rest)
    try:
        yield
    finally:
        attention.attend = exact


def both(model, prompts, format, threads=1, steps=9, room=64, emptied=None):
    """Yield logits of the plain path, rounded alike, and of the native step, token after token, and their states.

    The plain path's likeliest token is fed to both.
    """
    plain_model, head_VD = rounded(model, format)
    with torch.inference_mode():
        logits_BV, plain = prefill(plain_model, prompts, room)
        _, given = prefill(plain_model, prompts, room)
        native = Session(model, Weights(model, format), given, team(threads))
        for step in range(steps):
            ids_B = logits_BV.argmax(dim=-1)
            full_B1 = emptied if step == 4 else None
            with read_rounded(format):
                hidden_B1D, plain = plain_model.hidden(ids_B[:, None], plain, full_B1)
            logits_BV = hidden_B1D[:, 0] @ head_VD.T
            native_BV, given = native.step(ids_B, given, full_B1)
            yield logits_BV, native_BV, plain, given


def lengths(*numbers: int) -> list[list[int]]:
    generator = torch.Generator().manual_seed(1)
    return [torch.randint(256, (number,), generator=generator).tolist() for number in numbers]


def assert_close(native_BV, plain_BV, format):
    worst = (native_BV - plain_BV).abs().max() / plain_BV.std()
    assert worst < TOLERANCE[format], worst


@pytest.mark.parametrize("format", ["float32", "bfloat16", "int8"])
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("prompts", [(5,), (7, 7), (3, 9, 1), (6, 6, 6, 6, 2, 6, 6)], ids=str)
def test_logits_are_those_of_the_plain_path(kind, shape, prompts, format):
    model = build(kind, **SHAPES[shape])
    for plain_BV, native_BV, _, _ in both(model, lengths(*prompts), format):
        assert_close(native_BV, plain_BV, format)


@pytest.mark.parametrize(("format", "most"), [("bfloat16", 0.008), ("int8", 0.025)])
def test_rounding_the_weights_costs_little(kind, format, most):
    model = build(kind, **SHAPES["wide heads"])
    with torch.inference_mode():
        _, plain = prefill(model, lengths(7, 7))
        _, state = prefill(model, lengths(7, 7))
        native = Session(model, Weights(model, format), state, team(1))
        for token in range(6):
            ids_B = torch.tensor([token, 2 * token])
            hidden_B1D, plain = model.hidden(ids_B[:, None], plain)
            native_BV, state = native.step(ids_B, state)
            error = (native_BV - model.logits(hidden_B1D[:, 0], float32=True)).square().mean().sqrt() / native_BV.std()
            assert 1e-4 < error < most


@pytest.mark.parametrize("vocabulary", [262, 263, 264, 1025])
@pytest.mark.parametrize("format", ["float32", "bfloat16", "int8"])
def test_any_number_of_rows_in_a_matrix(vocabulary, format):
    model = build("gpt1", vocabulary, layers=1, width=256, heads=2)
    for plain_BV, native_BV, _, _ in both(model, lengths(4), format, steps=2):
        assert_close(native_BV, plain_BV, format)


def test_float32_is_as_close_to_float64_as_pytorch_is(kind):
    model = build(kind)
    prompts, exact = lengths(12, 5), build(kind).double()
    with torch.inference_mode():
        ids_B = prefill(model, prompts)[0].argmax(dim=-1)
        _, state = prefill(exact, prompts)
        for plain_BV, native_BV, *_ in both(model, prompts, "float32"):
            hidden_B1D, state = exact.hidden(ids_B[:, None], state)
            exact_BV = exact.logits(hidden_B1D[:, 0], float32=True)
            ids_B = plain_BV.argmax(dim=-1)
            plain_error, native_error = ((x - exact_BV).abs().max() for x in (plain_BV, native_BV))
            assert native_error < 4 * plain_error + 1e-6


@pytest.mark.parametrize("format", ["float32", "bfloat16", "int8"])
def test_threads_change_no_number(kind, format):
    model = build(kind, 1025, layers=2, width=512, heads=8)  # large enough that there is work to share
    prompts = lengths(50, 48, 52)
    alone = [native_BV for _, native_BV, _, _ in both(model, prompts, format, threads=1)]
    for threads in (2, 3):
        together = [native_BV for _, native_BV, _, _ in both(model, prompts, format, threads=threads)]
        assert all(torch.equal(a, b) for a, b in zip(alone, together, strict=True))


def test_a_row_does_not_depend_on_its_neighbours(kind):
    model = build(kind)
    alone = [native_BV[0] for _, native_BV, _, _ in both(model, lengths(6), "float32")]
    among = [native_BV[0] for _, native_BV, _, _ in both(model, lengths(6, 9, 3), "float32")]
    # Up to rounding, since several rows are multiplied in other tiles
    for a, b in zip(alone, among, strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=2e-5)


def test_emptied_rows_start_fresh(kind):
    emptied_B1 = torch.tensor([[False], [True], [False]])
    for plain_BV, native_BV, _, _ in both(build(kind), lengths(9, 4, 6), "float32", emptied=emptied_B1):
        assert_close(native_BV, plain_BV, "float32")


def test_the_plain_path_goes_on_from_a_native_state(kind):
    model = build(kind)
    *_, (_, _, plain, native) = both(model, lengths(9, 4), "float32")
    ids_BT = torch.tensor(lengths(5, 5))
    with torch.inference_mode():
        expected_BTD, expected = model.hidden(ids_BT, plain)
        found_BTD, found = model.hidden(ids_BT, native)
    torch.testing.assert_close(found_BTD, expected_BTD, rtol=0, atol=1e-4)
    if kind != "lstm":
        assert found.length_B.tolist() == expected.length_B.tolist()
        assert (found.longest, found.ragged) == (expected.longest, expected.ragged)


def test_the_given_state_is_not_modified(kind):
    model = build(kind)
    prompts = lengths(9)
    with torch.inference_mode():
        _, state = prefill(model, prompts)
        ids_B = torch.tensor([3])
        first_BV, _ = model.hidden(ids_B[:, None], prefill(model, prompts)[1])
        native = Session(model, Weights(model, "float32"), state, team(1))
        after = state
        for _ in range(4):
            _, after = native.step(torch.tensor([5]), after)
        again_BV, _ = model.hidden(ids_B[:, None], state)
    torch.testing.assert_close(again_BV, first_BV, rtol=0, atol=1e-6)


@pytest.mark.parametrize("kind", ["modern", "gpt1", "gpt2"], indirect=True)
def test_the_cache_is_filled_to_its_end_and_no_further(kind):
    model = build(kind, context=16)
    steps = list(both(model, lengths(9, 4), "float32", steps=7, room=16))
    for plain_BV, native_BV, _, _ in steps:
        assert_close(native_BV, plain_BV, "float32")
    with torch.inference_mode():
        _, state = prefill(model, lengths(16), 16)
        native = Session(model, Weights(model, "float32"), state, team(1))
        with pytest.raises(TooLongError, match="a segment of 17 tokens does not fit the cache of 16"):
            native.step(torch.tensor([1]), state)


@pytest.mark.parametrize("kind", ["modern", "gpt1"], indirect=True)
def test_token_types_continue(kind):
    model = build(kind)
    model.speakers = (7, 8)
    prompts = [[1, 7, 2, 3], [4, 5, 6]]
    with torch.inference_mode():
        _, plain = prefill(model, prompts)
        _, state = prefill(model, prompts)
        native = Session(model, Weights(model, "float32"), state, team(1))
        for ids in ([3, 4], [8, 7], [1, 2], [9, 8], [2, 2]):
            ids_B = torch.tensor(ids)
            hidden_B1D, plain = model.hidden(ids_B[:, None], plain)
            native_BV, state = native.step(ids_B, state)
            assert_close(native_BV, model.logits(hidden_B1D[:, 0], float32=True), "float32")
            assert torch.equal(state.type_B, plain.type_B)


@pytest.fixture
def sessions(monkeypatch):
    """The format of each session that is made, and whether it has exact weights beside."""
    made: list[tuple[str, bool]] = []
    make = Session.__init__

    def noted(self, model, weights, state, team, exact=None):
        made.append((weights.format, exact is not None))
        make(self, model, weights, state, team, exact)

    monkeypatch.setattr(Session, "__init__", noted)
    return made


def sharp(kind, sharp_model, context=96) -> LanguageModel:
    return sharp_model(kind, context=context).float()


@pytest.mark.parametrize(
    "config",
    [
        SamplingConfig(temperature=0.0, max_tokens=60),
        SamplingConfig(temperature=0.0, max_tokens=30, repetition_penalty=1.4, stop=("ab",)),
        SamplingConfig(temperature=0.0, max_tokens=200, no_repeat_ngram=3),
    ],
)
def test_generate_says_natively_what_it_says_plainly(kind, config, sharp_model, sessions):
    model = sharp(kind, sharp_model)
    prompts = [render_prompt([Message("user", text)], BYTES) for text in ("hi", "a long thing to say", "ho", "", "x")]
    assert generate(model, BYTES, prompts, config) == generate_plain(model, BYTES, prompts, config)
    assert sessions == [("float32", False)]


@pytest.mark.parametrize("seed", range(3))
def test_a_seed_draws_the_same_natively(kind, seed, sharp_model):
    config = SamplingConfig(temperature=1.3, max_tokens=40, top_k=30, top_p=0.95, sampling_seed=seed)
    model, prompt = sharp(kind, sharp_model), render_prompt([Message("user", "well")], BYTES)
    assert generate(model, BYTES, [prompt], config) == generate_plain(model, BYTES, [prompt], config)


def test_480_greedy_tokens_are_the_plain_path_s(kind, sharp_model, monkeypatch):
    model = sharp(kind, sharp_model, context=512)
    # It never ends a reply, and the penalty keeps it from repeating one letter.
    with torch.no_grad():
        model.embedding.weight[BYTES.special["<|end|>"]] *= 0
    config = SamplingConfig(temperature=0.0, max_tokens=480, repetition_penalty=1.5, no_repeat_ngram=4)
    (native,) = generate(model, BYTES, [[*b"hello there"]], config)
    plainly(monkeypatch)
    assert generate(model, BYTES, [[*b"hello there"]], config) == [native]
    assert len(native.ids) == 480
    assert len(set(native.ids)) > 5


def plainly(monkeypatch) -> None:
    """Take the plain path from now on."""
    monkeypatch.setattr("understudy.acting.engine.native_session", lambda model, state, greedy: None)


def test_a_chat_continues_natively(kind, sharp_model, monkeypatch):
    said = {}
    for way in ("native", "plain"):
        if way == "plain":
            plainly(monkeypatch)
        chat = Chat(sharp(kind, sharp_model, 160), BYTES, SamplingConfig(temperature=0.0, max_tokens=12))
        said[way] = ["".join(chat.say(text)) for text in ("hi", "what is it")]
        said[way].append("".join(chat.regenerate()))
        said[way] += ["".join(chat.say(text)) for text in ("ho", "on and on", "a rather long thing to say")]
    assert said["native"] == said["plain"]


def test_the_model_decides_the_format(kind, sessions):
    config = SamplingConfig(temperature=0.0, max_tokens=4)
    model = build(kind, BYTES.vocab_size)
    model.int8 = True
    generate(model, BYTES, [[*b"hi"]], config)
    generate(build(kind, BYTES.vocab_size).bfloat16(), BYTES, [[*b"hi"]], config)
    generate(build(kind, BYTES.vocab_size).double(), BYTES, [[*b"hi"]], config)
    assert sessions == [("int8", True), ("bfloat16", False)]


def test_weights_trained_since_are_read_again(kind):
    model = build(kind, BYTES.vocab_size)
    model.int8 = True
    config = SamplingConfig(temperature=0.0, max_tokens=8)
    generate(model, BYTES, [[*b"hi"]], config)
    changed = build(kind, BYTES.vocab_size)
    with torch.no_grad():
        for parameter, other in zip(model.parameters(), changed.parameters(), strict=True):
            parameter.mul_(-1.1)
            other.mul_(-1.1)
    changed.int8 = True
    assert generate(model, BYTES, [[*b"hi"]], config) == generate(changed, BYTES, [[*b"hi"]], config)


def test_adapted_models_and_dropout_take_the_plain_path(kind):
    model = build(kind)
    assert dispatch.native_format(model) == "float32"
    model.set_dropout(0.1)
    assert dispatch.native_format(model.train()) is None
    assert dispatch.native_format(model.eval()) == "float32"
    with torch.autocast("cpu", torch.bfloat16):
        assert dispatch.native_format(model) is None
    if kind != "lstm":
        adapt(model, rank=2)
        assert dispatch.native_format(model) is None


def test_int8_rounds_to_the_nearest_of_255_steps():
    weight = torch.randn(6, 50)
    whole, scales, offsets = to_int8(weight)
    assert ((whole * scales[:, None] - weight).abs() <= scales[:, None] / 2 + 1e-7).all()
    assert whole.abs().amax(dim=1).tolist() == [127] * 6
    assert torch.equal(offsets, 128 * whole.int().sum(dim=1))


# How the work is shared depends on the core and on the format, but not on the two together.
@pytest.mark.parametrize(("kind", "format"), [("lstm", "int8"), ("modern", "float32"), ("gpt1", "int8")])
def test_suspended_threads_change_no_number(kind, format):
    # More threads than there can be cores: each is suspended again and again, in the middle of whatever it does.
    model, prompts = build(kind, 1025, layers=3, width=256, heads=4), lengths(9)
    others = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(2)]
    try:
        (_, alone, *_), *_, (_, alone_last, *_) = both(model, prompts, format, threads=1, steps=40)
        for _ in range(3):
            crowd = 2 * (os.cpu_count() or 1) + 3
            (_, first, *_), *_, (_, last, *_) = both(model, prompts, format, threads=crowd, steps=40)
            assert torch.equal(first, alone)
            assert torch.equal(last, alone_last)
    finally:
        for other in others:
            other.kill()
            other.wait()


def test_sleeping_threads_are_woken_and_several_models_take_turns(kind):
    crew = Team(3)
    models = [build(kind), build("modern")]
    with torch.inference_mode():
        states = [prefill(model, lengths(5))[1] for model in models]
        expected = [prefill(model, [[*lengths(5)[0], 1, 2, 3]])[0] for model in models]
        sessions = [Session(m, Weights(m, "float32"), s, crew) for m, s in zip(models, states, strict=True)]
        for token in (1, 2, 3):
            for index, session in enumerate(sessions):
                logits_BV, states[index] = session.step(torch.tensor([token]), states[index])
                torch.testing.assert_close(logits_BV, expected[index], rtol=0, atol=1e-3) if token == 3 else None
            # Until the others have gone to sleep
            while any(awake.is_set() for awake in crew._awake):
                time.sleep(0.001)


def test_without_numba_the_plain_path_is_taken_and_announced():
    script = """
import sys, torch
sys.modules["llvmlite"] = None
from understudy.acting.engine import generate
from understudy.native.dispatch import announcement
from understudy.acting.sampling import SamplingConfig
from understudy.data.tokenizers import ByteTokenizer
from understudy.models.spec import CoreConfig
from understudy.models.language_model import LanguageModel
model = LanguageModel(CoreConfig(layers=1, width=16, heads=2).resolved(), ByteTokenizer().vocab_size).eval()
print(len(generate(model, ByteTokenizer(), [[1, 2]], SamplingConfig(temperature=0, max_tokens=3))))
print(announcement(model))
model.int8 = True
print(announcement(model))
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    first, plain, rounded = done.stdout.splitlines()
    assert first == "1"
    assert "The native decode step is unavailable (import of llvmlite halted" in plain
    assert plain.endswith("); using PyTorch's slower steps instead.\", True)")
    assert "; using float32 instead of int8." in rounded


def test_code_is_kept_where_the_home_can_be_written_else_among_temporary_files(tmp_path):
    script = "from understudy.native.compilation import code_file; print(code_file().parent)"
    places = {}
    for name, cache in (("home", tmp_path), ("none", "/proc/nowhere")):
        environment = os.environ | {"XDG_CACHE_HOME": str(cache)}
        done = subprocess.run(
            [sys.executable, "-c", script], env=environment, capture_output=True, text=True, check=True
        )
        places[name] = done.stdout.strip()
    assert places["home"] == str(tmp_path / "understudy" / "native")
    assert "understudy-native-" in places["none"]


@pytest.mark.parametrize("vocabulary", [262, 263, 272, 17])
def test_margins_are_those_of_the_two_likeliest(kind, vocabulary):
    model = build(kind, vocabulary, **SHAPES["odd"])
    with torch.no_grad():
        # An exact tie wherever these two lead
        model.embedding.weight[vocabulary - 1] = model.embedding.weight[3]
        model.embedding.weight[16 % vocabulary] *= 2
    prompts = [[1, 2], [3, 4], [5, 6]]
    with torch.inference_mode():
        _, state = prefill(model, prompts)
        native = Session(model, Weights(model, "int8"), state, team(1), Weights(model, "float32"))
        # The step is taken again with the same weights.
        native._exact_job = native._job
        for token in range(12):
            logits_BV, state = native.step(torch.tensor([token, token + 1, 3]), state)
            best_B2 = logits_BV.topk(2).values
            torch.testing.assert_close(torch.tensor(native._margins), best_B2[:, 0] - best_B2[:, 1], rtol=0, atol=0)


def test_near_ties_are_left_to_float32(kind):
    model, prompts = build(kind), lengths(5, 8)
    redone = 0
    with torch.inference_mode():
        states = {format: prefill(model, prompts)[1] for format in ("float32", "int8", "alone")}
        exact = Weights(model, "float32")
        sessions = {
            "float32": Session(model, exact, states["float32"], team(1)),
            "alone": Session(model, Weights(model, "int8"), states["alone"], team(1)),
            "int8": Session(model, Weights(model, "int8"), states["int8"], team(1), exact),
        }
        for token in range(40):
            logits = {}
            for name, session in sessions.items():
                logits[name], states[name] = session.step(torch.tensor([token, 2 * token]), states[name])
            best_B2 = logits["alone"].topk(2).values
            if (best_B2[:, 0] - best_B2[:, 1]).min() < NEAR_TIE / 2:
                off = {name: (logits[name] - logits["float32"]).abs().mean() for name in ("int8", "alone")}
                assert off["int8"] < 0.9 * off["alone"]
                redone += 1
    assert redone


@pytest.mark.parametrize(("rows", "temperature", "exact"), [(1, 0.0, True), (2, 0.0, False), (1, 0.7, False)])
def test_a_single_greedy_row_gets_near_ties_from_float32(kind, rows, temperature, exact, sessions):
    model = build(kind, BYTES.vocab_size)
    model.int8 = True
    generate(model, BYTES, [[*b"hi"]] * rows, SamplingConfig(temperature=temperature, max_tokens=3))
    assert sessions == [("int8", exact)]
