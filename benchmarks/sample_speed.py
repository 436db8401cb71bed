"""Cost of a token against the context, and tokens a second against transformers' `generate`, at about 10M parameters.

    python benchmarks/sample_speed.py [--quick]        needs the extra `bench` (transformers)

First table: milliseconds for one more token with 16 to 511 tokens before it, with the cache (or the LSTM's state) and
by the plain path, which computes the whole sequence again. Second: greedy decoding of a GPT-2 block, all rows alike,
ours against transformers with its own cache on a GPT-2 of the same size, both in float32 and in bfloat16 (in which we
serve what was trained in it), each contender in a process of its own; the limit reads every weight, and half of the
cache, once per step.
"""

import argparse
import time
from collections.abc import Callable, Mapping
from statistics import median

import torch
from report import Maker, contend, finish, race, racers, reading, side_by_side, table

from understudy.acting.engine import generate
from understudy.acting.sampling import SamplingConfig
from understudy.data.tokenizers import ByteTokenizer
from understudy.models.device import prepare_process
from understudy.models.language_model import LanguageModel
from understudy.models.spec import CoreConfig
from understudy.native.dispatch import compiled

CONTEXTS = (16, 64, 128, 256, 511)
VOCABULARY = ByteTokenizer().vocab_size
PROMPT = 16
IN_A_ROW = 8  # the first call after another model's finds none of its weights in the processor's caches


def build(core: str, block: str = "modern") -> LanguageModel:
    """An untrained model of the size `base`."""
    torch.manual_seed(0)
    return LanguageModel(CoreConfig(core=core, block=block, size="base").resolved(), VOCABULARY).eval()  # type: ignore[arg-type]


@torch.inference_mode()
def one_more(model: LanguageModel, context: int, cached: bool) -> Callable[[], object]:
    """What computes the scores after one token more than `context`; with a cache as often as `IN_A_ROW` says."""
    ids_BT = torch.randint(VOCABULARY, (1, context + 1))
    if not cached:
        return torch.inference_mode()(lambda: model.logits(model.hidden(ids_BT)[0][:, -1]))
    _, state = model.hidden(ids_BT[:, :-1], model.initial_state(1, 512))

    @torch.inference_mode()
    def in_a_row() -> None:
        for _ in range(IN_A_ROW):
            model.logits(model.hidden(ids_BT[:, -1:], state)[0][:, -1])

    return in_a_row


def cost_table(rounds: int) -> float:
    """Print the cost of a token; how much dearer the dearest is than the cheapest, for the cached Transformer."""
    kinds = [("transformer", True), ("transformer", False), ("lstm", True), ("lstm", False)]
    models = {core: build(core) for core in ("transformer", "lstm")}
    contenders = {
        (core, cached, context): one_more(models[core], context, cached)
        for core, cached in kinds
        for context in CONTEXTS
    }
    seconds = side_by_side(contenders, rounds, warm_up=2)  # type: ignore[arg-type, type-var]
    for kind in contenders:
        if kind[1]:
            seconds[kind] /= IN_A_ROW  # type: ignore[index]
    rows = [
        [f"{core}, {'cached' if cached else 'plain'}"]
        + [f"{1e3 * seconds[core, cached, context]:.2f}" for context in CONTEXTS]  # type: ignore[index]
        for core, cached in kinds
    ]
    table("milliseconds a token, batch 1, by the tokens before it", ["", *map(str, CONTEXTS)], rows)
    flat = [seconds["transformer", True, context] for context in CONTEXTS]  # type: ignore[index]
    spread = max(flat) / min(flat) - 1
    print(f"the cached Transformer's dearest token costs {spread:.0%} more than its cheapest\n")
    return spread


def decoder(batch: int, dtype: str, theirs: bool = False) -> Callable[..., float]:
    """Make a contender: greedy decoding, ours or transformers' own; it returns the seconds that `new` tokens took."""
    prepare_process()
    prompts, kind = torch.randint(200, (batch, PROMPT)), getattr(torch, dtype)
    if theirs:
        from transformers import GPT2Config, GPT2LMHeadModel

        sizes = {"n_positions": 512, "n_embd": 384, "n_layer": 6, "n_head": 6}
        config = GPT2Config(vocab_size=VOCABULARY, bos_token_id=None, eos_token_id=None, **sizes)
        other = GPT2LMHeadModel(config).eval().to(kind)
        mask = torch.ones_like(prompts)

        def run(new: int) -> object:
            return other.generate(prompts, attention_mask=mask, max_new_tokens=new, do_sample=False, pad_token_id=0)
    else:
        compiled(wait=True)
        model, lists, tokenizer = build("transformer", "gpt2").to(kind), prompts.tolist(), ByteTokenizer()
        tokenizer.special["<|end|>"] = -1  # nothing ends a row early

        def run(new: int) -> object:
            return generate(model, tokenizer, lists, SamplingConfig(temperature=0, max_tokens=new))

    @torch.inference_mode()
    def seconds(new: int) -> float:
        began = time.perf_counter()
        run(new)
        return time.perf_counter() - began

    return seconds


MAKERS: dict[str, Maker] = {"decoder": decoder, "memory": reading}


def speeds(batch: int, new: int, rounds: int) -> dict[str, float]:
    """Return tokens per second of both in both number formats, and the bound of ours in bfloat16."""
    contenders: dict[str, tuple[str, Mapping[str, object]]] = {"memory": ("memory", {})}
    for dtype in ("float32", "bfloat16"):
        contenders[f"ours, {dtype}"] = "decoder", {"batch": batch, "dtype": dtype}
        contenders[f"transformers, {dtype}"] = "decoder", {"batch": batch, "dtype": dtype, "theirs": True}
    with racers(contenders) as started:
        found = {name: median(results) for name, results in race(started, rounds, new=new).items()}
    bytes_per_step = 2 * build("transformer", "gpt2").parameter_count() + batch * (PROMPT + new // 2) * 2 * 6 * 384 * 2
    limit = batch * found.pop("memory") / bytes_per_step
    return {name: batch * new / seconds for name, seconds in found.items()} | {"limit": limit}


def main() -> None:
    contend(MAKERS)
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="fewer rounds and tokens: under a minute")
    quick = parser.parse_args().quick
    prepare_process()
    cost_table(rounds=5 if quick else 25)
    found = {batch: speeds(batch, 48 if quick else 240, 2 if quick else 5) for batch in (1, 8, 32)}
    names = list(found[1])
    rows = [[str(batch), *(f"{row[name]:,.0f}" for name in names)] for batch, row in found.items()]
    table("greedy tokens a second, GPT-2 block", ["batch", *names], rows)
    for dtype in ("float32", "bfloat16"):
        ratios = {batch: row["ours, bfloat16"] / row[f"transformers, {dtype}"] for batch, row in found.items()}
        print(f"ours, bfloat16, against transformers, {dtype}: " + ", ".join(f"{r:.2f}×" for r in ratios.values()))
    usual = min(row["ours, bfloat16"] / row["transformers, float32"] for row in found.values())
    peers = {name: found[1][name] for name in names if name.startswith("transformers")}
    finish(
        "sample_speed",
        "tokens/s at batch 1; ratio: the worst batch's, to transformers' usual float32",
        found[1]["ours, bfloat16"],
        peers,
        found[1]["limit"],
        usual,
        1.5,
    )


if __name__ == "__main__":
    main()
