"""Published weights: our models give transformers' logits, and what we save gives ours in transformers."""

import json
from pathlib import Path

import pytest
import torch
from published.checkpoints import CONTEXT, VOCABULARIES, random_model, write_checkpoint, write_release
from published.vocabularies import RELEASE, small_gpt1
from safetensors.torch import load_file, save_file

from understudy.acting.engine import generate
from understudy.acting.sampling import SamplingConfig
from understudy.data.chat_template import render_prompt
from understudy.data.conversations import Message
from understudy.data.tokenizers import SPECIALS, BPETokenizer, ByteTokenizer, Tokenizer
from understudy.errors import ConfigError
from understudy.models.language_model import LanguageModel
from understudy.models.pretrained import release
from understudy.models.pretrained.folder import describe, export, is_pretrained, read_pretrained
from understudy.models.pretrained.vocabulary import opening
from understudy.models.spec import CoreConfig

KINDS = ("gpt1", "gpt2")
EXACT = dict(rtol=0, atol=1e-4)
BATCH, TIME = 3, 20


@pytest.fixture(scope="module", params=KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture(scope="module")
def folder(kind: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp(kind)
    write_checkpoint(kind, folder)
    return folder


@pytest.fixture(scope="module")
def theirs(kind: str):
    return random_model(kind)


@pytest.fixture(scope="module")
def ours(folder: Path) -> LanguageModel:
    return read_pretrained(folder)[0]


def some_ids(kind: str, seed: int, rows: int = BATCH, time: int = TIME) -> torch.Tensor:
    named = len(VOCABULARIES[kind][0])
    return torch.randint(0, named, (rows, time), generator=torch.Generator().manual_seed(seed))


def same(ours_BTV: torch.Tensor, theirs_BTV: torch.Tensor) -> None:
    """Equal over the tokens that both have; ours has the special ones besides."""
    assert ours_BTV.shape[-1] == theirs_BTV.shape[-1] + len(SPECIALS)
    assert theirs_BTV.std() > 1, "logits so alike prove little"
    torch.testing.assert_close(ours_BTV[..., : -len(SPECIALS)], theirs_BTV, **EXACT)


@torch.no_grad()
@pytest.mark.parametrize("typed", [False, True])
def test_a_batch_has_transformers_logits(kind: str, ours: LanguageModel, theirs, typed: bool) -> None:
    ids_BT = some_ids(kind, seed=1, time=CONTEXT)
    token_type_ids_BT = some_ids(kind, seed=2, time=CONTEXT) if typed else None
    logits_BTV, _ = ours(ids_BT, token_type_ids_BT=token_type_ids_BT)
    same(logits_BTV, theirs(ids_BT, token_type_ids=token_type_ids_BT).logits)
    if typed:
        assert not torch.allclose(logits_BTV, ours(ids_BT)[0], atol=0.1), "the types changed nothing"


@torch.no_grad()
@pytest.mark.parametrize("typed", [False, True])
@pytest.mark.parametrize("cuts", [[], [7], list(range(1, TIME))])
def test_with_a_cache_too(kind: str, ours: LanguageModel, theirs, cuts: list[int], typed: bool) -> None:
    ids_BT = some_ids(kind, seed=3)
    token_type_ids_BT = some_ids(kind, seed=4) if typed else None
    state, pieces = ours.initial_state(BATCH, TIME), []
    for start, end in zip([0, *cuts], [*cuts, TIME], strict=True):
        types = None if token_type_ids_BT is None else token_type_ids_BT[:, start:end]
        logits_BTV, state = ours(ids_BT[:, start:end], state, token_type_ids_BT=types)
        pieces.append(logits_BTV)
    same(torch.cat(pieces, dim=1), theirs(ids_BT, token_type_ids=token_type_ids_BT).logits)


@torch.no_grad()
@pytest.mark.parametrize("cached", [False, True])
@pytest.mark.parametrize("typed", [False, True])
def test_a_ragged_batch_has_transformers_logits(kind: str, ours, theirs, cached: bool, typed: bool) -> None:
    """Padded on the left: by a mask and positions there, by a reset here."""
    lengths = (TIME, 13, 5)
    ids_BT, token_type_ids_BT = some_ids(kind, seed=5), some_ids(kind, seed=6) if typed else None
    first_B1 = torch.tensor([[TIME - length] for length in lengths])
    step_T = torch.arange(TIME)
    state = ours.initial_state(BATCH, TIME) if cached else None
    got_BTV, _ = ours(ids_BT, state, step_T == first_B1, token_type_ids_BT)
    position_BT = (step_T - first_B1).clamp(min=0)
    expected_BTV = theirs(
        ids_BT, attention_mask=(step_T >= first_B1).long(), position_ids=position_BT, token_type_ids=token_type_ids_BT
    ).logits
    for row, length in enumerate(lengths):
        same(got_BTV[row, -length:], expected_BTV[row, -length:])


@torch.no_grad()
def test_the_layout_of_2018_gives_the_same_model(tmp_path: Path) -> None:
    model = random_model("gpt1", width=128, heads=2)
    write_release(model, tmp_path)
    assert is_pretrained(tmp_path)
    ours, tokenizer = read_pretrained(tmp_path)
    assert describe(tmp_path) == (ours.spec, model.config.vocab_size)
    ids_BT = some_ids("gpt1", seed=7)
    same(ours(ids_BT)[0], model(ids_BT).logits)
    write_checkpoint("gpt1", tmp_path / "theirs", width=128, heads=2)
    other, other_tokenizer = read_pretrained(tmp_path / "theirs")
    assert all(torch.equal(tensor, other.state_dict()[name]) for name, tensor in ours.state_dict().items())
    assert tokenizer.fingerprint == other_tokenizer.fingerprint


@pytest.mark.skipif(not RELEASE.exists(), reason=f"the shapes of the 2018 release do not lie in {RELEASE}")
def test_the_release_s_own_shapes_are_gpt1_s() -> None:
    spec, rows = release.read_spec(RELEASE)
    assert (spec.layers, spec.width, spec.heads, spec.context, rows) == (12, 768, 12, 512, 40_478)
    with torch.device("meta"):
        assert LanguageModel(spec, rows).parameter_count() == 116_534_784


@torch.no_grad()
def test_what_we_save_gives_our_logits_in_transformers(kind: str, folder: Path, ours, tmp_path: Path) -> None:
    from transformers import AutoModelForCausalLM

    export(ours, read_pretrained(folder)[1], tmp_path / "saved")
    theirs, told = AutoModelForCausalLM.from_pretrained(tmp_path / "saved", output_loading_info=True)
    assert type(theirs).__name__ == {"gpt1": "OpenAIGPTLMHeadModel", "gpt2": "GPT2LMHeadModel"}[kind]
    assert not any(told[what] for what in ("missing_keys", "unexpected_keys", "mismatched_keys"))
    ids_BT = torch.randint(0, ours.vocab_size, (BATCH, TIME))
    token_type_ids_BT = torch.randint(0, ours.vocab_size, (BATCH, TIME))
    torch.testing.assert_close(
        theirs.eval()(ids_BT, token_type_ids=token_type_ids_BT).logits,
        ours(ids_BT, token_type_ids_BT=token_type_ids_BT)[0],
        **EXACT,
    )


def test_what_we_save_we_read_again(folder: Path, ours: LanguageModel, tmp_path: Path) -> None:
    tokenizer = read_pretrained(folder)[1]
    export(ours, tokenizer, tmp_path / "saved")
    again, again_tokenizer = read_pretrained(tmp_path / "saved")
    assert again.spec == ours.spec
    assert all(torch.equal(tensor, ours.state_dict()[name]) for name, tensor in again.state_dict().items())
    assert again_tokenizer.fingerprint == tokenizer.fingerprint


@pytest.mark.parametrize("tokenizer", [ByteTokenizer(), BPETokenizer.train(["the cat the hat"] * 9, 270)])
@pytest.mark.parametrize("block", KINDS)
def test_models_of_our_own_are_saved_too(block, tokenizer: Tokenizer, tmp_path: Path) -> None:
    """transformers encodes and renders a chat as we do."""
    from transformers import AutoModelForCausalLM, AutoTokenizer

    model = LanguageModel(CoreConfig(block=block, layers=1, width=16, heads=2).resolved(), tokenizer.vocab_size)
    export(model, tokenizer, tmp_path / "saved")
    AutoModelForCausalLM.from_pretrained(tmp_path / "saved")
    theirs = AutoTokenizer.from_pretrained(tmp_path / "saved")
    for text in ("the cat é 😀", "", "<|user|> the hat"[9:]):
        assert theirs(text)["input_ids"] == tokenizer.encode(text)
    said = [Message("system", "the cat"), Message("user", "the hat?")]
    messages = [{"role": message.role, "content": message.content} for message in said]
    rendered = theirs.apply_chat_template(messages, add_generation_prompt=True, tokenize=True, return_dict=False)
    assert rendered == render_prompt(said, tokenizer)


@pytest.mark.parametrize(("config", "kind"), [(CoreConfig(core="lstm"), "lstm"), (CoreConfig(), "modern block")])
def test_other_models_are_not_saved(config: CoreConfig, kind: str, tmp_path: Path) -> None:
    model = LanguageModel(config.resolved(), ByteTokenizer().vocab_size)
    with pytest.raises(ConfigError, match=rf"no model like this one \({kind}\)"):
        export(model, ByteTokenizer(), tmp_path / "saved")
    assert not list(tmp_path.iterdir())


def test_nothing_is_saved_over_another_folder(ours: LanguageModel, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="already exists; name a folder that is not"):
        export(ours, ByteTokenizer(), tmp_path)


def test_new_special_tokens_begin_as_the_mean_of_all_tokens(kind: str, ours: LanguageModel, folder: Path) -> None:
    embedding_VD = ours.embedding.weight
    ordinary_VD = embedding_VD[: -len(SPECIALS)]
    assert read_pretrained(folder)[1].special["<|bos|>"] == len(ordinary_VD) == len(VOCABULARIES[kind][0])
    torch.testing.assert_close(embedding_VD[-len(SPECIALS) :], ordinary_VD.mean(dim=0).expand(len(SPECIALS), -1))


def test_old_files_with_prefix_masks_and_a_tied_head_are_read(kind: str, folder: Path, ours, tmp_path: Path) -> None:
    write_checkpoint(kind, tmp_path)
    tensors = {
        name.removeprefix("transformer."): tensor for name, tensor in load_file(folder / "model.safetensors").items()
    }
    embedding = "tokens_embed.weight" if kind == "gpt1" else "wte.weight"
    old = {f"transformer.{name}": tensor.half().float() for name, tensor in tensors.items()}
    for layer in range(ours.spec.layers):
        old[f"transformer.h.{layer}.attn.bias"] = torch.ones(1, 1, CONTEXT, CONTEXT).tril()
        old[f"transformer.h.{layer}.attn.masked_bias"] = torch.tensor(-1e4)
    old["lm_head.weight"] = old[f"transformer.{embedding}"].clone()
    save_file(old, tmp_path / "model.safetensors")
    with_all = read_pretrained(tmp_path)[0].state_dict()
    save_file({name: tensor.half() for name, tensor in tensors.items()}, tmp_path / "model.safetensors")
    without = read_pretrained(tmp_path)[0].state_dict()
    assert all(
        tensor.dtype == torch.float32 and torch.equal(tensor, with_all[name]) for name, tensor in without.items()
    )


def test_weights_in_several_files_are_read(kind: str, folder: Path, ours: LanguageModel, tmp_path: Path) -> None:
    random_model(kind).save_pretrained(tmp_path, max_shard_size="20KB")
    for name in ("vocab.json", "merges.txt"):
        (tmp_path / name).write_bytes((folder / name).read_bytes())
    assert len(list(tmp_path.glob("model-*.safetensors"))) > 1
    again = read_pretrained(tmp_path)[0].state_dict()
    assert all(torch.equal(tensor, again[name]) for name, tensor in ours.state_dict().items())


def test_tokens_that_others_added_stay_where_they_are(tmp_path: Path) -> None:
    """Such as those of a chatbot fine-tuned elsewhere; ours come after them."""
    tokens, _merges = small_gpt1()
    write_checkpoint("gpt1", tmp_path)
    (tmp_path / "added_tokens.json").write_text(json.dumps({"<speaker1>": len(tokens), "<speaker 2>": len(tokens) + 1}))
    tensors = load_file(tmp_path / "model.safetensors")
    name = next(name for name in tensors if name.endswith("tokens_embed.weight"))
    tensors[name] = torch.cat([tensors[name], torch.ones(2, 32)])
    save_file(tensors, tmp_path / "model.safetensors")
    config = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps(config | {"vocab_size": len(tokens) + 2}))
    model, tokenizer = read_pretrained(tmp_path)
    assert tokenizer.special["<|bos|>"] == len(tokens) + 2
    assert torch.equal(model.embedding.weight[len(tokens)], torch.ones(32))
    assert tokenizer.decode([len(tokens)]) == "<speaker1>"
    assert max(tokenizer.encode("<speaker1> <speaker 2>")) < len(tokens)


def test_a_text_opens_with_what_the_weights_have_seen(kind: str, folder: Path) -> None:
    tokenizer = read_pretrained(folder)[1]
    (token,) = opening(tokenizer)
    assert tokenizer.bytes_of(token) == {"gpt1": b"\n", "gpt2": b"<|endoftext|>"}[kind]
    assert opening(ByteTokenizer()) == [ByteTokenizer().special["<|bos|>"]]


@pytest.mark.slow
def test_greedy_text_is_transformers_token_for_token(kind: str, tmp_path: Path) -> None:
    """480 new tokens from each of 20 prompts, all in one ragged batch with a cache; theirs in one pass by length."""
    theirs = write_checkpoint(kind, tmp_path, context=512, layers=2)
    model, tokenizer = read_pretrained(tmp_path)
    random = torch.Generator().manual_seed(0)
    named = len(VOCABULARIES[kind][0])
    lengths = (1, 7, 16, 32)
    groups = [torch.randint(0, named, (5, length), generator=random) for length in lengths]
    prompts = [prompt for ids_BT in groups for prompt in ids_BT.tolist()]
    replies = generate(model, tokenizer, prompts, SamplingConfig(temperature=0.0, max_tokens=480))
    expected = []
    for ids_BT in groups:
        # What they say greedily is ours if at each place of our text their likeliest token is ours.
        replies_BT = torch.tensor([reply.ids for reply in replies[len(expected) : len(expected) + len(ids_BT)]])
        with torch.no_grad():
            logits_BTV = theirs(torch.cat([ids_BT, replies_BT[:, :-1]], dim=1)).logits
        expected += logits_BTV[:, ids_BT.shape[1] - 1 :].argmax(-1).tolist()
    assert [reply.ids for reply in replies] == expected
    assert min(len(set(ids)) for ids in expected) > 20, "they say few different tokens: this proves little"
