"""What a decode step as a CUDA graph promises. Without a GPU the steps themselves are held to what a graph needs."""

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from understudy.acting import graphs
from understudy.acting.engine import generate, prefill
from understudy.acting.graphs import GraphSession, graph_session
from understudy.acting.sampling import SamplingConfig
from understudy.data.tokenizers import ByteTokenizer
from understudy.errors import TooLongError

BYTES = ByteTokenizer()
ASKS_THE_DEVICE = ("_local_scalar_dense", "nonzero", "masked_select", "unique", "is_nonzero", "equal")


@pytest.fixture(params=["lstm", "modern", "gpt1", "gpt2"])
def model(request, sharp_model):
    return sharp_model(request.param)


def unrecorded(work):
    """What stands in for a CUDA graph where there is none."""
    return work


class Kernels(TorchDispatchMode):
    """Notes each kernel with all that a graph would freeze: numbers, shapes and strides."""

    def __init__(self):
        super().__init__()
        self.calls = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        self.calls.append((str(func), frozen(args), frozen(kwargs or {})))
        return func(*args, **(kwargs or {}))


def frozen(value):
    if isinstance(value, torch.Tensor):
        return tuple(value.shape), value.stride(), value.storage_offset(), value.dtype
    if isinstance(value, dict):
        return {name: frozen(part) for name, part in value.items()}
    return [frozen(part) for part in value] if isinstance(value, list | tuple) else value


def test_scores_and_states_are_those_of_the_plain_path(model):
    prompts = [[97, 98, 99, 100, 101], [102, 103]]
    emptied_B1 = torch.tensor([[False], [True]])
    with torch.inference_mode():
        logits_BV, plain = prefill(model, prompts, 40)
        session = GraphSession(model, prefill(model, prompts, 40)[1], unrecorded)
        state = None
        for step in range(9):
            ids_B, full_B1 = logits_BV.argmax(dim=-1), emptied_B1 if step == 4 else None
            hidden_B1D, plain = model.hidden(ids_B[:, None], plain, full_B1)
            logits_BV = model.logits(hidden_B1D[:, 0], float32=True)
            found_BV, state = session.step(ids_B, state, full_B1)
            torch.testing.assert_close(found_BV, logits_BV, rtol=0, atol=1e-9)
        more_BT = torch.tensor([[104, 105], [106, 107]])
        expected_BTV, _ = model(more_BT, plain)
        found_BTV, after = model(more_BT, state)
    torch.testing.assert_close(found_BTV, expected_BTV, rtol=0, atol=1e-9)
    if model.spec.core == "transformer":
        assert after.length_B.tolist() == [5 + 9 + 2, 5 + 2]


def test_every_step_is_the_same_kernels_with_the_same_numbers(model):
    model.speakers = (104, 105) if model.spec.core == "transformer" else ()
    with torch.inference_mode():
        _, state = prefill(model, [[97, 98, 99], [100, 104]])
        session = GraphSession(model, state, unrecorded)
        places, steps = [part.data_ptr() for part in graphs._changing(session._held)], []
        for token in (97, 105, 98, 99):
            session._ids_B.fill_(token)
            with Kernels() as kernels:
                session._advance()
            steps.append(kernels.calls)
            assert [part.data_ptr() for part in graphs._changing(session._held)] == places
    assert steps[0] == steps[1] == steps[2] == steps[3]
    assert len(steps[0]) > 10
    assert not [name for name, *_ in steps[0] if any(asking in name for asking in ASKS_THE_DEVICE)]


def test_the_plain_path_would_not_do_for_a_graph(sharp_model):
    model = sharp_model("gpt1")
    steps = []
    with torch.inference_mode():
        _, state = prefill(model, [[97, 98, 99]])
        for _ in range(2):
            with Kernels() as kernels:
                _, state = model.hidden(torch.tensor([[97]]), state)
            steps.append(kernels.calls)
    assert steps[0] != steps[1]


def test_types_go_on(sharp_model):
    model = sharp_model("gpt1")
    model.speakers = (104, 105)
    with torch.inference_mode():
        _, plain = prefill(model, [[97, 104, 98], [99, 97]])
        session = GraphSession(model, prefill(model, [[97, 104, 98], [99, 97]])[1], unrecorded)
        for ids in ([105, 98], [97, 104], [98, 98]):
            ids_B = torch.tensor(ids)
            hidden_B1D, plain = model.hidden(ids_B[:, None], plain)
            found_BV, state = session.step(ids_B, None)
            torch.testing.assert_close(found_BV, model.logits(hidden_B1D[:, 0], float32=True), rtol=0, atol=1e-9)
            assert torch.equal(state.type_B, plain.type_B)


def test_the_state_given_stays_good_and_the_cache_is_not_outgrown(model):
    context = model.context
    prompt = [*range(97, 97 + 20)] * 5
    with torch.inference_mode():
        _, state = prefill(model, [prompt[: context - 2]])
        expected_BTV, _ = model(torch.tensor([[97]]), prefill(model, [prompt[: context - 2]])[1])
        session = GraphSession(model, state, unrecorded)
        for _ in range(2):
            session.step(torch.tensor([98]), None)
        torch.testing.assert_close(model(torch.tensor([[97]]), state)[0], expected_BTV, rtol=0, atol=1e-9)
        if model.spec.core == "transformer":
            with pytest.raises(TooLongError, match=f"a segment of {context + 1} tokens does not fit"):
                session.step(torch.tensor([98]), None)


def test_a_graph_is_recorded_once_after_one_step_and_replayed(model, monkeypatch):
    recorded, replays = [], []

    def record(work):
        recorded.append(work)
        return lambda: (replays.append(1), work())

    monkeypatch.setattr("understudy.acting.engine.graph_session", lambda m, s: GraphSession(m, s, record))
    monkeypatch.setattr("understudy.acting.engine.native_session", lambda *_: None)
    config = SamplingConfig(temperature=0.0, max_tokens=12)
    found = generate(model, BYTES, [[97, 98]], config)
    monkeypatch.setattr("understudy.acting.engine.graph_session", lambda *_: None)
    assert found == generate(model, BYTES, [[97, 98]], config)
    assert len(recorded) == 1
    assert len(replays) == len(found[0].ids) - (2 if found[0].finish_reason == "length" else 1)


def test_where_nothing_can_be_recorded_the_steps_go_on_and_it_is_said(model):
    def record(work):
        raise RuntimeError("operation not permitted when stream is capturing")

    with torch.inference_mode():
        _, plain = prefill(model, [[97, 98, 99]])
        session = GraphSession(model, prefill(model, [[97, 98, 99]])[1], record)
        with pytest.warns(UserWarning, match="no CUDA graph could be recorded, so steps are slower: operation not"):
            session.step(torch.tensor([97]), None)
        found_BV, _ = session.step(torch.tensor([98]), None)
        expected_BTV, _ = model(torch.tensor([[97, 98]]), plain)
    torch.testing.assert_close(found_BV, expected_BTV[:, -1], rtol=0, atol=1e-9)


def test_no_graph_without_a_gpu(model):
    assert graph_session(model, prefill(model, [[97]])[1]) is None


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_a_recorded_graph_says_what_the_plain_path_says(model):
    model = model.float().cuda()
    with torch.inference_mode():
        logits_BV, plain = prefill(model, [[97, 98, 99], [100, 101]])
        _, state = prefill(model, [[97, 98, 99], [100, 101]])
        session = graph_session(model, state)
        for _ in range(20):
            ids_B = logits_BV.argmax(dim=-1)
            hidden_B1D, plain = model.hidden(ids_B[:, None], plain)
            logits_BV = model.logits(hidden_B1D[:, 0], float32=True)
            found_BV, state = session.step(ids_B, state, None)
            torch.testing.assert_close(found_BV, logits_BV, rtol=1e-3, atol=1e-3)
