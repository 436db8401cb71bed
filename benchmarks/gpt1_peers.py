"""Decoders of a GPT to race: ours, transformers, CTranslate2 and llama.cpp on our weights.

A contender takes how many tokens to make, and returns the seconds from the start to each token, and the tokens of its
first row. CTranslate2 and llama.cpp know no GPT-1, so they get a GPT-2 of the same size. Each is made in a process of
its own (see `report`), from the same random weights.
"""

import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from understudy.acting.engine import Engine, prefill
from understudy.acting.rows import RowState
from understudy.acting.sampling import SamplingConfig
from understudy.data.tokenizers import SPECIALS, BPETokenizer, ByteTokenizer, Tokenizer
from understudy.models.device import prepare_process
from understudy.models.huge_pages import settle
from understudy.models.language_model import LanguageModel
from understudy.models.pretrained.names import to_theirs
from understudy.models.spec import BlockKind, CoreConfig
from understudy.native import dispatch

VOCABULARY, PROMPT = 40_478, 16
Prompts = list[list[int]]
Decoded = tuple[list[float], list[int]]
Contender = Callable[[int], Decoded]


def build(block: BlockKind, format: str = "float32") -> LanguageModel:
    """Random weights of GPT-1's shape, the same each time; larger than GPT-1's first, so that scores have margins."""
    torch.manual_seed(0)
    model = LanguageModel(CoreConfig(block=block, size="gpt1").resolved(), VOCABULARY).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(2) if parameter.dim() > 1 else parameter.add_(0.05 * torch.randn_like(parameter))
    model.int8 = format == "int8"
    return model.bfloat16() if format == "bfloat16" else model


def prompts(batch: int) -> Prompts:
    """The same prompts for everyone."""
    generator = torch.Generator().manual_seed(1)
    return torch.randint(VOCABULARY - 500, (batch, PROMPT), generator=generator).tolist()  # type: ignore[no-any-return]


def any_tokens() -> Tokenizer:
    """A tokenizer of as many tokens, all of which read the same."""
    tokenizer = ByteTokenizer()
    Tokenizer.__init__(tokenizer, [b"x"] * (VOCABULARY - len(SPECIALS)))
    return tokenizer


def ours(block: BlockKind, format: str, batch: int = 1, temperature: float = 0.0, plain: bool = False) -> Contender:
    """Our own path, the one that `understudy sample` takes: prefill, then a token at a time."""
    prepare_process()
    if plain:
        dispatch._failure = "switched off"
    elif not dispatch.compiled(wait=True):
        raise RuntimeError(f"no native step: {dispatch._failure}")
    model, tokenizer, asked = build(block, format), any_tokens(), prompts(batch)
    settle(model)
    config = SamplingConfig(temperature=temperature, sampling_seed=0)

    def run(new: int) -> Decoded:
        began, moments, said = time.perf_counter(), [], []
        rows = [RowState(model, tokenizer, prompt, config) for prompt in asked]
        engine = Engine(model, rows, *prefill(model, asked, model.context))
        for _ in range(new):
            engine.step()
            said.append(int(engine.ids_B[0]))  # type: ignore[index]
            moments.append(time.perf_counter() - began)
        return moments, said

    return run


def transformers_model(model: LanguageModel) -> torch.nn.Module:
    """transformers' GPT-1 or GPT-2 with our weights."""
    from transformers import GPT2Config, GPT2LMHeadModel, OpenAIGPTConfig, OpenAIGPTLMHeadModel

    spec = model.spec
    kind, config = (OpenAIGPTLMHeadModel, OpenAIGPTConfig) if spec.block == "gpt1" else (GPT2LMHeadModel, GPT2Config)
    theirs = kind(
        config(
            vocab_size=model.vocab_size, n_positions=spec.context, n_embd=spec.width, n_layer=spec.layers,
            n_head=spec.heads, bos_token_id=None, eos_token_id=None,
        )
    )  # fmt: skip
    state = to_theirs(model.state_dict(), spec)
    theirs.load_state_dict(state | {"lm_head.weight": model.embedding.weight}, strict=False)
    return theirs.eval()  # type: ignore[no-any-return]


def transformers_generate(block: BlockKind, batch: int = 1) -> Contender:
    """transformers' `generate`, which has a cache for GPT-2 and none for GPT-1."""
    from transformers import StoppingCriteria, StoppingCriteriaList

    theirs, ids_BT = transformers_model(build(block)), torch.tensor(prompts(batch))

    class Clock(StoppingCriteria):  # type: ignore[misc]
        def __init__(self) -> None:
            self.began, self.moments = time.perf_counter(), list[float]()

        def __call__(self, ids_BT: torch.Tensor, scores: object, **_: object) -> torch.Tensor:
            self.moments.append(time.perf_counter() - self.began)
            return torch.zeros(len(ids_BT), dtype=torch.bool)

    @torch.inference_mode()
    def run(new: int) -> Decoded:
        clock = Clock()
        said_BT = theirs.generate(  # type: ignore[operator]
            ids_BT, attention_mask=torch.ones_like(ids_BT), max_new_tokens=new, do_sample=False, pad_token_id=0,
            stopping_criteria=StoppingCriteriaList([clock]),
        )  # fmt: skip
        return clock.moments, said_BT[0, ids_BT.shape[1] :].tolist()

    return run


def ctranslate2_folder(model: LanguageModel, folder: Path, quantization: str | None) -> None:
    """Write our GPT-2 in CTranslate2's format."""
    from ctranslate2.specs import TransformerDecoderModelSpec
    from ctranslate2.specs.common_spec import Activation

    # Copies: it quantizes in place.
    spec, state = model.spec, {name: tensor.clone().numpy() for name, tensor in model.state_dict().items()}
    theirs = TransformerDecoderModelSpec.from_config(
        spec.layers, spec.heads, pre_norm=True, activation=Activation.GELUTanh
    )
    decoder = theirs.decoder
    decoder.scale_embeddings = False
    decoder.embeddings.weight = decoder.projection.weight = state["embedding.weight"]
    decoder.position_encodings.encodings = state["core.positions"]

    def norm(place: object, name: str) -> None:
        place.gamma, place.beta = state[f"{name}.weight"], state[f"{name}.bias"]  # type: ignore[attr-defined]

    def linear(place: object, name: str) -> None:
        place.weight, place.bias = state[f"{name}.weight"], state[f"{name}.bias"]  # type: ignore[attr-defined]

    norm(decoder.layer_norm, "core.norm_out")
    for index, layer in enumerate(decoder.layer):
        name = f"core.blocks.{index}"
        norm(layer.self_attention.layer_norm, f"{name}.norm_1")
        linear(layer.self_attention.linear[0], f"{name}.attention.qkv")
        linear(layer.self_attention.linear[1], f"{name}.attention.out")
        norm(layer.ffn.layer_norm, f"{name}.norm_2")
        linear(layer.ffn.linear_0, f"{name}.mlp.up")
        linear(layer.ffn.linear_1, f"{name}.mlp.out")
    theirs.config.bos_token = theirs.config.eos_token = theirs.config.unk_token = "0"
    theirs.register_vocabulary([str(token) for token in range(model.vocab_size)])
    theirs.validate()
    theirs.optimize(quantization=quantization)
    folder.mkdir()
    theirs.save(str(folder))


def ctranslate2_generate(format: str, batch: int = 1) -> Contender:
    """CTranslate2's generator."""
    import ctranslate2

    quantization = None if format == "float32" else format
    with tempfile.TemporaryDirectory() as temporary:
        ctranslate2_folder(build("gpt2"), Path(temporary) / "model", quantization)
        generator = ctranslate2.Generator(
            f"{temporary}/model", device="cpu", compute_type=format, intra_threads=torch.get_num_threads()
        )
    tokens = [[str(token) for token in prompt] for prompt in prompts(batch)]

    def run(new: int) -> Decoded:
        began, moments = time.perf_counter(), list[float]()

        def note(step: Any) -> bool:
            if step.batch_id == 0:
                moments.append(time.perf_counter() - began)
            return False

        said = generator.generate_batch(
            tokens, max_length=new, min_length=new, beam_size=1, sampling_topk=1, include_prompt_in_result=False,
            end_token=[], callback=note,
        )  # fmt: skip
        return moments, list(map(int, said[0].sequences_ids[0]))

    return run


def gguf_file(model: LanguageModel, path: Path, kind: str, tokenizer: BPETokenizer | None = None) -> None:
    """Write our GPT-2 in llama.cpp's format, matrices as float32, f16, bf16 or q8_0, with its vocabulary, if any."""
    import gguf

    types = gguf.GGMLQuantizationType
    quantized = {"float32": types.F32, "f16": types.F16, "bf16": types.BF16, "q8_0": types.Q8_0}[kind]
    spec = model.spec
    writer = gguf.GGUFWriter(path, "gpt2")
    writer.add_context_length(spec.context)
    writer.add_embedding_length(spec.width)
    writer.add_block_count(spec.layers)
    writer.add_feed_forward_length(4 * spec.width)
    writer.add_head_count(spec.heads)
    writer.add_layer_norm_eps(1e-5)
    writer.add_vocab_size(model.vocab_size)
    if tokenizer is None:
        writer.add_tokenizer_model("no_vocab")
    else:
        words = tokenizer.definition()["vocabulary"]
        writer.add_tokenizer_model("gpt2")
        writer.add_tokenizer_pre("gpt-2")
        writer.add_token_list([*words, *SPECIALS])
        writer.add_token_types([gguf.TokenType.NORMAL] * len(words) + [gguf.TokenType.CONTROL] * len(SPECIALS))
        # llama.cpp wants merges; no text has this one.
        writer.add_token_merges([f"{words[255]} {words[254]}"])
        writer.add_eos_token_id(tokenizer.special["<|end|>"])
    for name, tensor in model.state_dict().items():
        values = np.ascontiguousarray(tensor.numpy())
        if values.ndim == 2 and name != "core.positions":
            writer.add_tensor(gguf_name(name), gguf.quants.quantize(values, quantized), raw_dtype=quantized)
        else:
            writer.add_tensor(gguf_name(name), values)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def gguf_name(ours: str) -> str:
    """llama.cpp's name of one of our tensors."""
    outside = {"embedding.weight": "token_embd.weight", "core.positions": "position_embd.weight"}
    outside |= {f"core.norm_out.{kind}": f"output_norm.{kind}" for kind in ("weight", "bias")}
    if ours in outside:
        return outside[ours]
    _, _, layer, rest = ours.split(".", 3)
    part, kind = rest.rsplit(".", 1)
    parts = {"norm_1": "attn_norm", "attention.qkv": "attn_qkv", "attention.out": "attn_output", "norm_2": "ffn_norm"}
    return f"blk.{layer}.{(parts | {'mlp.up': 'ffn_up', 'mlp.out': 'ffn_down'})[part]}.{kind}"


def llama_cpp_generate(format: str, batch: int = 1) -> Contender:
    """llama.cpp by its C interface: evaluate a token per row, take the likeliest."""
    import ctypes

    import llama_cpp as c

    with tempfile.TemporaryDirectory() as temporary:
        gguf_file(build("gpt2"), Path(temporary) / "model.gguf", format)
        quiet = c.llama_log_callback(lambda level, text, data: None)
        c.llama_log_set(quiet, ctypes.c_void_p(0))
        settings = c.llama_model_default_params()
        settings.use_mmap = False
        loaded = c.llama_model_load_from_file(f"{temporary}/model.gguf".encode(), settings)
    how = c.llama_context_default_params()
    how.n_ctx, how.n_batch, how.n_seq_max = 512 * batch, 512, batch
    how.n_threads = how.n_threads_batch = torch.get_num_threads()

    def run(new: int) -> Decoded:
        assert quiet
        context = c.llama_init_from_model(loaded, how)
        began, moments, said = time.perf_counter(), list[float](), list[int]()
        ids, done, together = prompts(batch), 0, c.llama_batch_init(PROMPT * batch, 0, 1)
        for _ in range(new):
            # The tokens of each row in turn; the last of each is asked for its scores.
            asked = []
            together.n_tokens = 0
            for row, tokens in enumerate(ids):
                for place, token in enumerate(tokens):
                    at = together.n_tokens
                    together.token[at], together.pos[at] = token, done + place
                    together.n_seq_id[at], together.seq_id[at][0] = 1, row
                    together.logits[at] = place + 1 == len(tokens)
                    together.n_tokens += 1
                asked.append(together.n_tokens - 1)
            if c.llama_decode(context, together):
                raise RuntimeError("llama_decode failed")
            scores = [c.llama_get_logits_ith(context, at) for at in asked]
            done += len(ids[0])
            ids = [[int(np.ctypeslib.as_array(row, (VOCABULARY,)).argmax())] for row in scores]
            said += ids[0]
            moments.append(time.perf_counter() - began)
        c.llama_batch_free(together)
        c.llama_free(context)
        return moments, said

    return run


MAKERS = {
    "ours": ours,
    "transformers": transformers_generate,
    "ctranslate2": ctranslate2_generate,
    "llama.cpp": llama_cpp_generate,
}
