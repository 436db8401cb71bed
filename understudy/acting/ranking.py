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

    The mean log-probability of its tokens, so that long replies are at no disadvantage. The prompt is computed once.

    Args:
        model: in evaluation mode.
        prompt: ids up to and with `<|assistant|>`, with room in the context for each candidate.
        candidates: ids of each reply, `<|end|>` included.
    """
    longest = max(map(len, candidates))
    scores_1V, state = prefill(model, [prompt], len(prompt) + longest - 1)
    device = scores_1V.device
    ids_KT = torch.tensor([[*reply, *[0] * (longest - len(reply))] for reply in candidates], device=device)
    length_K = torch.tensor([len(reply) for reply in candidates], device=device)
    log_p_KT = scores_1V.log_softmax(dim=-1)[0, ids_KT[:, :1]]
    if longest > 1:
        hidden_KTD, _ = model.hidden(ids_KT[:, :-1], model.core.repeated(state, len(candidates)))
        later_KTV = model.scores(hidden_KTD).log_softmax(dim=-1)
        log_p_KT = torch.cat([log_p_KT, later_KTV.gather(-1, ids_KT[:, 1:, None])[..., 0]], dim=1)
    counted_KT = torch.arange(longest, device=device) < length_K[:, None]
    return log_p_KT.masked_fill(~counted_KT, 0).sum(dim=1) / length_K
