"""Which of several replies a model finds the best: the reply that was given among others that were not.

Shape suffixes: K candidates, T tokens, V vocabulary.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from understudy.acting.generate import prefill
from understudy.models.language_model import LanguageModel


@torch.inference_mode()
def candidate_scores(model: LanguageModel, prompt: Sequence[int], candidates: Sequence[Sequence[int]]) -> Tensor:
    """How well each candidate follows the prompt, scores_K: the higher, the better.

    What the next-reply head says at a candidate's last token. Of a model without that head the mean log-probability of
    the candidate's tokens, so that long replies are at no disadvantage. The prompt is computed once.

    Args:
        model: in evaluation mode.
        prompt: ids up to and with `<|assistant|>`, with room in the context for each candidate.
        candidates: ids of each reply, `<|end|>` included.
    """
    longest = max(map(len, candidates))
    scores_1V, state = prefill(model, [prompt], len(prompt) + longest)
    device = scores_1V.device
    ids_KT = torch.tensor([[*reply, *[0] * (longest - len(reply))] for reply in candidates], device=device)
    length_K = torch.tensor([len(reply) for reply in candidates], device=device)
    hidden_KTD, _ = model.hidden(ids_KT, model.core.repeated(state, len(candidates)))
    if model.choice is not None:
        last_KD = hidden_KTD[torch.arange(len(candidates), device=device), length_K - 1]
        return model.choice(last_KD)[:, 0]
    log_p_KT = torch.zeros(ids_KT.shape, dtype=scores_1V.dtype, device=device)
    log_p_KT[:, 0] = scores_1V.log_softmax(dim=-1)[0, ids_KT[:, 0]]
    later_KT = torch.arange(1, longest, device=device) < length_K[:, None]  # the others are padding, not to be scored
    later_NV = model.scores(hidden_KTD[:, :-1][later_KT]).log_softmax(dim=-1)
    log_p_KT[:, 1:][later_KT] = later_NV.gather(-1, ids_KT[:, 1:][later_KT][:, None])[:, 0]
    return log_p_KT.sum(dim=1) / length_K
