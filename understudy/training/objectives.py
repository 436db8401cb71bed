"""The loss of imitation: the log-probability of what the teacher chose, under a mask.

Shape suffixes: B batch rows, T time steps, N chosen positions, V vocabulary; of next-reply classification: Q questions,
C candidates, R rows, D width.
"""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from understudy.models.functional import weighted_nll
from understudy.models.language_model import LanguageModel


class TokenLoss(nn.Module):
    """The weighted sum of a batch's token losses; a module, so that DDP and torch.compile can wrap it."""

    def __init__(self, model: LanguageModel, *, select: bool = True):
        super().__init__()
        self.model = model
        self.select = select
        """Whether to score only positions with weight: less work, but shapes that vary, which compiling dislikes."""

    def forward(self, inputs_BT: Tensor, targets_BT: Tensor, weights_BT: Tensor, reset_BT: Tensor | None) -> Tensor:
        """Sum over the batch, in nats (see `weighted_nll`)."""
        hidden_BTD, _ = self.model.hidden(inputs_BT, reset_BT=reset_BT)
        hidden_ND, targets_N, weights_N = hidden_BTD.flatten(0, 1), targets_BT.flatten(), weights_BT.flatten()
        if self.select and not bool(weights_N.all()):
            chosen_N = weights_N.nonzero().squeeze(1)
            hidden_ND, targets_N, weights_N = hidden_ND[chosen_N], targets_N[chosen_N], weights_N[chosen_N]
        return weighted_nll(self.model.logits(hidden_ND), targets_N, weights_N)


class Choices(NamedTuple):
    """Replies to choose from, as `data.choices.Layout` has them, on the device; resets are None where none matters."""

    ids_RT: Tensor
    reset_RT: Tensor | None
    last_QC: Tensor


class DialogueLoss(TokenLoss):
    """Token losses, or those of finding the true reply among others (Wolf 2019, "TransferTransfo")."""

    def forward(self, *part: Tensor | None, choices: Choices | None = None) -> Tensor:
        """The sum over a part of the batch as `TokenLoss` has it, or that over `choices`, in nats."""
        if choices is None:
            return super().forward(*part)  # type: ignore[arg-type]
        head = self.model.choice
        assert head is not None
        hidden_RTD, _ = self.model.hidden(choices.ids_RT, reset_BT=choices.reset_RT)
        scores_RT = head(hidden_RTD)[..., 0]
        scores_RT = scores_RT.to(torch.promote_types(scores_RT.dtype, torch.float32))
        scores_QC = scores_RT.flatten()[choices.last_QC]
        nats = F.cross_entropy(scores_QC, scores_QC.new_zeros(len(scores_QC), dtype=torch.long), reduction="sum")
        return nats + 0.0 * scores_RT.sum()  # which has a gradient where nothing is asked, too
