"""The loss of imitation: the log-probability of what the teacher chose, under a mask.

Shape suffixes: B batch rows, T time steps, N chosen positions, V vocabulary.
"""

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
