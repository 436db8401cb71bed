"""Print a trained model's replies to one prompt."""

from dataclasses import dataclass, field

from rich.console import Console
from rich.text import Text

from understudy.acting.engine import generate
from understudy.acting.sampling import SamplingConfig
from understudy.config import RunName, in_range
from understudy.console import printable
from understudy.data.chat_template import render_prompt
from understudy.data.conversations import Message
from understudy.models.device import ServingDtype, pick_device
from understudy.models.pretrained.config import read_learned
from understudy.models.pretrained.folder import is_pretrained
from understudy.models.pretrained.vocabulary import opening
from understudy.serving.terminal import announce
from understudy.training.loading import Loaded, load_to_serve, resolve


@dataclass(frozen=True)
class Config:
    """Prints what a trained model answers to a message or, trained on plain text, how it continues one."""

    run: RunName
    """Whose model: a run (its id, a beginning of it, last, last:pretrain) or a checkpoint's folder."""
    prompt: str = ""
    """The message to answer, or the text to continue; by default the model begins by itself."""
    count: int = 1
    """How many replies to draw."""
    device: str = "auto"
    """Where to compute: auto, cpu, cuda or cuda:0."""
    dtype: ServingDtype = "auto"
    """Number format of the weights: auto is float32 on a CPU and that of the training on a GPU; bfloat16 and int8 (CPU)
    are faster and less exact."""
    sampling: SamplingConfig = field(default_factory=SamplingConfig)


def main(config: Config, console: Console) -> None:
    """Print the replies. Raises TooLongError for a prompt that leaves no room in the model's context."""
    sampling = config.sampling.checked()
    in_range("count", config.count, 1)
    loaded = load_to_serve(resolve(config.run), pick_device(config.device), config.dtype)
    if loaded.state["progress"].get("kind") == "text":
        prompt = text_prompt(loaded, config.prompt)
    else:
        said = [Message("user", config.prompt)] if config.prompt else []
        prompt = render_prompt(said, loaded.tokenizer)
    announce(loaded.model)
    for reply in generate(loaded.model, loaded.tokenizer, [prompt] * config.count, sampling):
        console.print(Text(printable(reply.text)), soft_wrap=True)
        if config.count > 1:
            console.rule(style="dim")


def text_prompt(loaded: Loaded, text: str) -> list[int]:
    """Return the ids that the continuation of a text follows."""
    # A text starts at <|bos|>, which published weights have never met.
    prompt = loaded.tokenizer.encode(text)
    if is_pretrained(loaded.folder) and not read_learned(loaded.folder):
        return prompt or opening(loaded.tokenizer)
    return [loaded.tokenizer.special["<|bos|>"], *prompt]
