"""Who else decodes a GPT: transformers, CTranslate2 and llama.cpp on our weights, each made to decode greedily.

A contender is a function of how many tokens to make: it returns the moments (`time.perf_counter`) at which it began and
at which each token was there, and the tokens of its first row. CTranslate2 and llama.cpp know no GPT-1, so they get a
GPT-2 of the same size.
"""

import importlib.util
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import torch

from understudy.acting.engine import Engine, prefill
from understudy.acting.rows import RowState
from understudy.acting.sampling import SamplingConfig
from understudy.data.tokenizers import ByteTokenizer
from understudy.models.language_model import LanguageModel
from understudy.models.pretrained.names import to_theirs

Contender = Callable[[int], tuple[list[float], list[int]]]
Prompts = list[list[int]]
GREEDY = SamplingConfig(temperature=0.0)


def ours(model: LanguageModel, prompts: Prompts, config: SamplingConfig = GREEDY) -> Contender:
    """Our own path, the one that `understudy sample` takes: prefill, then a token at a time."""

    def run(new: int) -> tuple[list[float], list[int]]:
        moments, said = [time.perf_counter()], []
        rows = [RowState(model, ByteTokenizer(), prompt, config) for prompt in prompts]
        engine = Engine(model, rows, *prefill(model, prompts, model.context))
        while len(said) < new:
            engine.step()
            said.append(int(engine.ids_B[0]))
            moments.append(time.perf_counter())
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


def transformers_generate(model: LanguageModel, prompts: Prompts) -> Contender:
    """transformers' `generate`, which has a cache for GPT-2 and none for GPT-1."""
    from transformers import StoppingCriteria, StoppingCriteriaList

    theirs, ids_BT = transformers_model(model), torch.tensor(prompts)

    class Clock(StoppingCriteria):  # type: ignore[misc]
        def __init__(self) -> None:
            self.moments = [time.perf_counter()]

        def __call__(self, ids_BT: torch.Tensor, scores: object, **_: object) -> torch.Tensor:
            self.moments.append(time.perf_counter())
            return torch.zeros(len(ids_BT), dtype=torch.bool)

    @torch.inference_mode()
    def run(new: int) -> tuple[list[float], list[int]]:
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


def ctranslate2_generate(model: LanguageModel, prompts: Prompts, quantization: str | None) -> Contender:
    """CTranslate2's generator."""
    import ctranslate2

    with tempfile.TemporaryDirectory() as temporary:
        ctranslate2_folder(model, Path(temporary) / "model", quantization)
        generator = ctranslate2.Generator(
            f"{temporary}/model",
            device="cpu",
            compute_type=quantization or "float32",
            intra_threads=torch.get_num_threads(),
        )
    tokens = [[str(token) for token in prompt] for prompt in prompts]

    def run(new: int) -> tuple[list[float], list[int]]:
        moments = [time.perf_counter()]

        def note(step: object) -> bool:
            if step.batch_id == 0:  # type: ignore[attr-defined]
                moments.append(time.perf_counter())
            return False

        said = generator.generate_batch(
            tokens, max_length=new, min_length=new, beam_size=1, sampling_topk=1, include_prompt_in_result=False,
            end_token=[], callback=note,
        )  # fmt: skip
        return moments, list(map(int, said[0].sequences_ids[0]))

    return run


def gguf_file(model: LanguageModel, path: Path, kind: str) -> None:
    """Write our GPT-2 in llama.cpp's format, its matrices as float32, f16, bf16 or q8_0."""
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
    writer.add_tokenizer_model("no_vocab")
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


def llama_cpp_generate(model: LanguageModel, prompts: Prompts, kind: str) -> Contender:
    """llama.cpp by its C interface, one row: evaluate a token, take the likeliest."""
    import ctypes

    import llama_cpp as c

    with tempfile.TemporaryDirectory() as temporary:
        gguf_file(model, Path(temporary) / "model.gguf", kind)
        c.llama_log_set(_silent(c), ctypes.c_void_p(0))
        settings = c.llama_model_default_params()
        settings.use_mmap = False
        loaded = c.llama_model_load_from_file(f"{temporary}/model.gguf".encode(), settings)
    how = c.llama_context_default_params()
    how.n_ctx, how.n_batch, how.n_threads, how.n_threads_batch = 512, 512, *[torch.get_num_threads()] * 2

    def run(new: int) -> tuple[list[float], list[int]]:
        context = c.llama_init_from_model(loaded, how)
        moments, said, ids = [time.perf_counter()], [], prompts[0]
        for _ in range(new):
            array = (c.llama_token * len(ids))(*ids)
            if c.llama_decode(context, c.llama_batch_get_one(array, len(ids))):
                raise RuntimeError("llama_decode failed")
            scores = np.ctypeslib.as_array(c.llama_get_logits_ith(context, -1), (model.vocab_size,))
            ids = [int(scores.argmax())]
            said += ids
            moments.append(time.perf_counter())
        c.llama_free(context)
        return moments, said

    return run


_kept: list[object] = []


def _silent(c: object) -> object:
    _kept.append(c.llama_log_callback(lambda level, text, data: None))  # type: ignore[attr-defined]
    return _kept[-1]


def peers(model: LanguageModel, prompts: Prompts, quick: bool) -> Mapping[str, Contender | str]:
    """Each peer on this GPT-2, or why it is not here."""
    found: dict[str, Contender | str] = {}
    for quantization in (None, "int8"):
        found[f"CTranslate2, {quantization or 'float32'}"] = _made(
            "ctranslate2",
            lambda: ctranslate2_generate(model, prompts, quantization),  # noqa: B023 - called at once
        )
    if len(prompts) == 1:
        for kind in ("float32", "q8_0") if quick else ("float32", "f16", "bf16", "q8_0"):
            found[f"llama.cpp, {kind}"] = _made(
                "llama_cpp",
                lambda: llama_cpp_generate(model, prompts, kind),  # noqa: B023 - called at once
            )
    return found


def _made(package: str, make: Callable[[], Contender]) -> Contender | str:
    if importlib.util.find_spec(package) is None:
        return f"{package} is not installed"
    try:
        return make()
    except Exception as error:  # a peer that breaks must not stop the others
        return f"{type(error).__name__}: {error}"[:60]
