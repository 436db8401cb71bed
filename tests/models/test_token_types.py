"""The type of a token is who speaks: found by the model itself, and remembered in its state."""

from collections.abc import Callable, Sequence

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from understudy.acting.engine import generate, generate_plain
from understudy.acting.sampling import SamplingConfig
from understudy.data.tokenizers import ByteTokenizer
from understudy.models.language_model import LanguageModel, token_type_ids
from understudy.models.spec import BlockKind, CoreConfig

TOKENIZER = ByteTokenizer()
SPEAKERS = tuple(TOKENIZER.special[name] for name in ("<|system|>", "<|user|>", "<|assistant|>"))


def a_model(block: BlockKind = "gpt1") -> LanguageModel:
    torch.manual_seed(0)
    model = LanguageModel(
        CoreConfig(layers=2, width=16, heads=2, context=48, block=block).resolved(), TOKENIZER.vocab_size
    )
    with torch.no_grad():
        model.embedding.weight.normal_(std=1.0)
    model.speakers = SPEAKERS
    return model.double().eval()


def plain_types(ids: Sequence[int], resets: Sequence[bool], before: int) -> list[int]:
    """Token by token."""
    types = []
    for token, reset in zip(ids, resets, strict=True):
        before = -1 if reset else before
        before = token if token in (7, 8, 9) else before
        types.append(before)
    return types


STEPS = st.lists(st.tuples(st.integers(0, 9), st.booleans()), min_size=1, max_size=12)


@given(STEPS, st.integers(-1, 9))
def test_types_are_those_found_token_by_token(steps: list[tuple[int, bool]], before: int) -> None:
    ids, resets = zip(*steps, strict=True)
    found = token_type_ids(torch.tensor([ids]), (7, 8, 9), torch.tensor([resets]), torch.tensor([before]))
    assert found.tolist() == [plain_types(ids, resets, before)]
    if not any(resets):
        assert token_type_ids(torch.tensor([ids]), (7, 8, 9), None, torch.tensor([before])).tolist() == found.tolist()


def test_each_vector_is_the_tokens_and_the_speakers() -> None:
    """What enters the core, by hand."""
    model = a_model()
    entered: list[torch.Tensor] = []
    model.core.register_forward_pre_hook(lambda _, inputs: entered.append(inputs[0]))
    bos, user, assistant = (TOKENIZER.special[name] for name in ("<|bos|>", "<|user|>", "<|assistant|>"))
    ids = [bos, user, 65, assistant, 66]
    model(torch.tensor([ids]))
    vectors = model.embedding.weight
    expected = [
        vectors[bos],
        vectors[user] + vectors[user],
        vectors[65] + vectors[user],
        vectors[assistant] + vectors[assistant],
        vectors[66] + vectors[assistant],
    ]
    torch.testing.assert_close(entered[0][0], torch.stack(expected))


def test_types_that_are_given_are_taken() -> None:
    model = a_model()
    ids_BT = torch.tensor([[TOKENIZER.special["<|bos|>"], SPEAKERS[1], 65, 66]])
    derived = model(ids_BT)[0]
    model.speakers = ()
    given_types = torch.tensor([[-1, SPEAKERS[1], SPEAKERS[1], SPEAKERS[1]]])
    assert torch.equal(model(ids_BT, token_type_ids_BT=given_types)[0], derived)
    assert not torch.allclose(model(ids_BT)[0], derived)


@pytest.mark.parametrize("block", ["gpt1", "gpt2", "modern"])
@pytest.mark.parametrize("cuts", [[5], [1, 2, 3], [7, 8], list(range(1, 12))])
def test_pieces_give_the_whole(block: BlockKind, cuts: list[int]) -> None:
    model = a_model(block)
    draw = torch.Generator().manual_seed(1)
    ids_BT = torch.randint(250, TOKENIZER.vocab_size, (3, 12), generator=draw)
    reset_BT = torch.rand(3, 12, generator=draw) < 0.15
    with torch.no_grad():
        whole, _ = model(ids_BT, reset_BT=reset_BT)
        state, pieces = model.initial_state(3), []
        for start, end in zip([0, *cuts], [*cuts, 12], strict=True):
            logits, state = model(ids_BT[:, start:end], state, reset_BT[:, start:end])
            pieces.append(logits)
    torch.testing.assert_close(torch.cat(pieces, dim=1), whole)


def test_ragged_prompts_get_the_replies_of_the_plain_path(sharp_model: Callable[..., LanguageModel]) -> None:
    model = sharp_model("gpt1", says=("<|end|>", "<|user|>", "<|assistant|>"))
    greedy = SamplingConfig(temperature=0.0, max_tokens=12)
    model.speakers = SPEAKERS
    bos, user, assistant = (TOKENIZER.special[name] for name in ("<|bos|>", "<|user|>", "<|assistant|>"))
    prompts = [[bos, user, *text.encode(), TOKENIZER.special["<|end|>"], assistant] for text in ("hi", "how are you")]
    replies = [reply.ids for reply in generate(model, TOKENIZER, prompts, greedy)]
    assert replies == [reply.ids for reply in generate_plain(model, TOKENIZER, prompts, greedy)]
    model.speakers = ()
    assert replies != [reply.ids for reply in generate(model, TOKENIZER, prompts, greedy)]


def test_a_repeated_state_remembers_who_spoke() -> None:
    model = a_model()
    _, state = model(torch.tensor([[SPEAKERS[1], 65]]), model.initial_state(1))
    _, alone = model(torch.tensor([[66]]), state.repeated(1))
    assert alone.type_B.tolist() == [SPEAKERS[1]]
    repeated = state.repeated(3)
    assert repeated.type_B.tolist() == [SPEAKERS[1]] * 3
