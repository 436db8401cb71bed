"""LoRA: an adapted model begins as the plain one, learns beside it, and can be made plain again."""

from collections.abc import Callable

import pytest
import torch

from understudy.acting.engine import generate
from understudy.acting.sampling import SamplingConfig
from understudy.data.tokenizers import SPECIALS, ByteTokenizer
from understudy.errors import ConfigError
from understudy.models.language_model import LanguageModel, empty_model
from understudy.models.lora import SCALE, LoRALinear, adapt, adapted, merge, plain_state, unmerged_state
from understudy.models.spec import BlockKind, CoreConfig
from understudy.training.objectives import ImitationLoss

BLOCKS: list[BlockKind] = ["modern", "gpt1", "gpt2"]
VOCABULARY = 300


def a_model(block: BlockKind = "gpt1") -> LanguageModel:
    torch.manual_seed(0)
    spec = CoreConfig(layers=2, width=16, heads=2, context=32, block=block).resolved()
    return LanguageModel(spec, VOCABULARY).double().eval()


def learned(model: LanguageModel, rank: int = 3) -> LanguageModel:
    """Adapted, with factors as if they had learned."""
    adapt(model, rank)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "lora_" in name:
                parameter.normal_(std=0.2)
    return model


@pytest.fixture(name="ids_BT")
def some_ids() -> torch.Tensor:
    ids_BT = torch.randint(0, VOCABULARY, (3, 12), generator=torch.Generator().manual_seed(1))
    ids_BT[0, 3] = VOCABULARY - 1
    ids_BT[1, 0] = VOCABULARY - len(SPECIALS)
    return ids_BT


@pytest.mark.parametrize("block", BLOCKS)
def test_an_adapted_model_begins_as_the_plain_one(block: BlockKind, ids_BT: torch.Tensor) -> None:
    model = a_model(block)
    plain_BTV, _ = model(ids_BT)
    before = {name: parameter.clone() for name, parameter in model.named_parameters()}
    resting = adapt(model, rank=2)
    torch.testing.assert_close(model(ids_BT)[0], plain_BTV, rtol=1e-12, atol=1e-12)
    assert resting == before.keys()
    assert all(torch.equal(dict(model.named_parameters())[name], before[name]) for name in resting)


@pytest.mark.parametrize("block", BLOCKS)
def test_merged_computes_what_the_factors_did(block: BlockKind, ids_BT: torch.Tensor) -> None:
    model = a_model(block)
    plain_BTV, _ = model(ids_BT)
    learned(model)
    with torch.no_grad():
        adapted_BTV, _ = model(ids_BT)
    assert (adapted_BTV - plain_BTV).abs().max() > 0.1
    other = empty_model(model.spec, VOCABULARY)
    other.load_state_dict(plain_state(model), assign=True)
    merge(model)
    assert not list(adapted(model))
    assert all(parameter.requires_grad for parameter in model.parameters())
    for plain in (model, other):
        torch.testing.assert_close(plain(ids_BT)[0], adapted_BTV, rtol=1e-9, atol=1e-9)


def test_the_formula() -> None:
    """y = x Wᵀ + b + 2 (x Aᵀ) Uᵀ, by hand."""
    layer = LoRALinear(torch.nn.Linear(2, 2), rank=1)
    with torch.no_grad():
        layer.weight.copy_(torch.tensor([[1.0, 0.0], [0.0, 1.0]]))
        layer.bias.copy_(torch.tensor([0.5, 0.0]))
        layer.lora_A.copy_(torch.tensor([[1.0, 3.0]]))
        layer.lora_U.copy_(torch.tensor([[10.0], [-1.0]]))
    x = torch.tensor([[1.0, 2.0]])
    assert layer(x).tolist() == [[1.5 + SCALE * 70, 2 - SCALE * 7]]


def test_only_factors_and_special_tokens_learn(ids_BT: torch.Tensor) -> None:
    model = a_model()
    adapt(model, rank=3)
    ones_BT = torch.ones(ids_BT.shape, dtype=torch.float64)
    ImitationLoss(model)(ids_BT, ids_BT.roll(-1, 1), ones_BT, None).backward()
    with_gradient = {name for name, parameter in model.named_parameters() if parameter.grad is not None}
    assert with_gradient == {name for name, _ in model.named_parameters() if "lora_" in name}
    inputs_and_outputs = 2 * ((16 + 48) + (16 + 16) + (16 + 64) + (64 + 16))
    assert model.parameter_count(learned=True) == 3 * inputs_and_outputs + len(SPECIALS) * 16
    assert bool((model.embedding.lora_special.grad != 0).any(dim=1).all())  # all are scored at every place


def test_the_gradient_is_that_of_the_merged_matrix(ids_BT: torch.Tensor) -> None:
    """dL/dU = 2 (dL/dW) Aᵀ: what reaches the factors is what reaches the matrix that they stand beside."""
    model = learned(a_model())
    layer = model.core.blocks[1].mlp.up
    layer.weight.requires_grad_(True)
    model(ids_BT)[0].square().sum().backward()
    torch.testing.assert_close(layer.lora_U.grad, SCALE * layer.weight.grad @ layer.lora_A.T)
    torch.testing.assert_close(layer.lora_A.grad, SCALE * layer.lora_U.T @ layer.weight.grad)


def test_plain_and_unmerged_state_together_give_the_adapted_model_back_bit_for_bit() -> None:
    model = learned(a_model())
    other = a_model()
    other.load_state_dict(plain_state(model))  # as a resumed run finds it: merged
    adapt(other, rank=3)
    other.load_state_dict(plain_state(other) | unmerged_state(model))
    for one, two in zip(model.state_dict().items(), other.state_dict().items(), strict=True):
        if one[0] == "embedding.weight":  # of which the special tokens' rows are not read
            one, two = ((name, tensor[: -len(SPECIALS)]) for name, tensor in (one, two))
        assert one[0] == two[0]
        assert torch.equal(one[1], two[1]), one[0]


def test_replies_are_those_of_the_merged_model(sharp_model: Callable[..., LanguageModel]) -> None:
    """Whatever path sampling takes must heed the factors."""
    tokenizer, greedy = ByteTokenizer(), SamplingConfig(temperature=0.0, max_tokens=20)
    prompts = [tokenizer.encode(text) for text in ("hello", "what is it")]
    plain = sharp_model("gpt1")
    before = [reply.ids for reply in generate(plain, tokenizer, prompts, greedy)]
    adapt(plain, rank=4)
    with torch.no_grad():
        for _, layer in adapted(plain):
            if isinstance(layer, LoRALinear):
                layer.lora_U.normal_(std=0.5, generator=torch.Generator().manual_seed(0))
    replies = [reply.ids for reply in generate(plain, tokenizer, prompts, greedy)]
    merge(plain)
    assert [reply.ids for reply in generate(plain, tokenizer, prompts, greedy)] == replies
    assert replies != before


def test_what_cannot_be_adapted() -> None:
    with pytest.raises(ConfigError, match="--lora 17 is out of range; expected 0 to 16"):
        adapt(a_model(), rank=17)
    lstm = LanguageModel(CoreConfig(core="lstm", layers=1, width=8).resolved(), VOCABULARY)
    with pytest.raises(ConfigError, match="--lora takes a Transformer, and this base is an LSTM"):
        adapt(lstm, rank=2)
