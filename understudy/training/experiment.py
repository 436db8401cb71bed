"""What a training run is made of, in one object: recipes build it, the loop trains it, the doctor examines it."""

from collections.abc import Callable
from dataclasses import asdict, dataclass, field

from understudy.data.dataset import Dataset
from understudy.data.packing import PackedBatches
from understudy.data.tokenizers import Tokenizer
from understudy.errors import ConfigError
from understudy.training.learner import Learner


@dataclass(frozen=True)
class LoopConfig:
    """When to evaluate, to save and to show samples."""

    eval_every: int = 500
    """Steps between evaluations on the validation split (0: only at the end)."""
    save_every: int = 500
    """Steps between checkpoints (0: only at the end)."""
    sample_every: int = 500
    """Steps between samples of the model's talk (0: none)."""

    def checked(self) -> "LoopConfig":
        """Itself, or a ConfigError that names the number that cannot work."""
        for name, value in asdict(self).items():
            if value < 0:
                raise ConfigError(f"--{name.replace('_', '-')} {value} is out of range; expected 0 or more")
        return self


@dataclass
class Experiment:
    """All that a training run is about to use, or has used."""

    learner: Learner
    batches: PackedBatches
    validation: PackedBatches
    dataset: Dataset
    tokenizer: Tokenizer
    seed_process: Callable[[int], None]
    """Seeds torch's random numbers as the process of that rank does before its first step."""
    loop: LoopConfig = field(default_factory=LoopConfig)
    fresh: bool = True
    """Whether the weights are as they were initialised."""
    frozen: frozenset[str] = frozenset()
    """Names of the parameters that do not learn."""
    sample: Callable[[], list[dict[str, str]]] = list
    """Returns some of what the model says, to show while it trains. Must leave random numbers alone."""
