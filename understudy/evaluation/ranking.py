"""Rank candidates for a reply by how well a model finds that they follow a prompt.

Shape suffixes: K candidates, T tokens, V vocabulary.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from understudy.acting.engine import prefill
from understudy.models.language_model import LanguageModel


@torch.inference_mode()
def candidate_scores(model: LanguageModel, prompt: Sequence[int], candidates: Sequence[Sequence[int]]) -> Tensor:
    """Return scores_K: how well each candidate follows the prompt, the higher the better.

    The score is what the next-reply head says at the candidate's last token. Without that head it is how much likelier
    the prompt makes the candidate than it is as the first words of a conversation, in nats: a likely reply fits
    anything, and what counts is what fits here (Holtzman 2021, "Surface Form Competition").

    Args:
        model: in evaluation mode.
        prompt: ids up to and with `<|assistant|>`, with room in the context for each candidate.
        candidates: ids of each reply, `<|end|>` included.
    """
    if model.choice is None:
        return _log_p(model, prompt, candidates) - _log_p(model, [prompt[0], prompt[-1]], candidates)
    _, _, hidden_KTD, length_K = _after(model, prompt, candidates)
    last_KD = hidden_KTD[torch.arange(len(candidates), device=hidden_KTD.device), length_K - 1]
    return model.choice(last_KD)[:, 0]


def _log_p(model: LanguageModel, prompt: Sequence[int], candidates: Sequence[Sequence[int]]) -> Tensor:
    """Return the log-probability of each candidate after the prompt, summed over its tokens, K."""
    logits_1V, ids_KT, hidden_KTD, length_K = _after(model, prompt, candidates)
    log_p_KT = torch.zeros(ids_KT.shape, dtype=logits_1V.dtype, device=ids_KT.device)
    log_p_KT[:, 0] = logits_1V.log_softmax(dim=-1)[0, ids_KT[:, 0]]
    # The others are padding. They are left out before the head: over a large vocabulary that is most of the work.
    later_KT = torch.arange(1, ids_KT.shape[1], device=ids_KT.device) < length_K[:, None]
    later_NV = model.logits(hidden_KTD[:, :-1][later_KT], float32=True).log_softmax(dim=-1)
    log_p_KT[:, 1:][later_KT] = later_NV.gather(-1, ids_KT[:, 1:][later_KT][:, None])[:, 0]
    return log_p_KT.sum(dim=1)


def _after(
    model: LanguageModel, prompt: Sequence[int], candidates: Sequence[Sequence[int]]
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return logits_1V after the prompt, the candidates' padded ids_KT, hidden_KTD over them, and length_K."""
    # The prompt is computed once, and each candidate goes on from a copy of its state.
    longest = max(map(len, candidates))
    logits_1V, state = prefill(model, [prompt], len(prompt) + longest)
    device = logits_1V.device
    ids_KT = torch.tensor([[*reply, *[0] * (longest - len(reply))] for reply in candidates], device=device)
    hidden_KTD, _ = model.hidden(ids_KT, state.repeated(len(candidates)))
    return logits_1V, ids_KT, hidden_KTD, torch.tensor([len(reply) for reply in candidates], device=device)
