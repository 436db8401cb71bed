"""The core that a specification describes."""

from understudy.models.core import Core
from understudy.models.lstm import LSTM
from understudy.models.spec import CoreSpec
from understudy.models.transformer import Transformer


def build_core(spec: CoreSpec) -> Core:
    """Return a core initialised as its paper describes."""
    return LSTM(spec) if spec.core == "lstm" else Transformer(spec)
