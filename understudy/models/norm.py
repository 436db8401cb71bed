"""The norm of both cores."""

from torch import Tensor, nn

from understudy.models.device import compute_dtype
from understudy.models.functional import rms_norm


class RMSNorm(nn.Module):
    """Root-mean-square norm without a gain: the matrices that follow can scale."""

    def forward(self, x: Tensor) -> Tensor:
        """See `functional.rms_norm`; under autocast in its dtype, which the matrices want."""
        return rms_norm(x, compute_dtype(x))
