"""Continuous batching: requests join and leave between steps, and all that run share each step of the model.

A step feeds every running request some tokens: the one sampled last, or a piece of its prompt. So a long prompt holds
nobody up for longer than its pieces take. What the model computed for a prompt's beginning is kept (`prefix_cache`) and
serves whatever begins alike, such as the next turn of a conversation.
"""

import math
import threading
from collections import Counter, OrderedDict, deque
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from time import monotonic
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from understudy.acting.batch import Batch, PlainBatch
from understudy.acting.engine import banned_tokens, seen_tokens
from understudy.acting.prefix_cache import BLOCK, Block, PrefixCache
from understudy.acting.rows import FinishReason, RowState
from understudy.acting.sampling import SamplingConfig, make_generator, sample
from understudy.data.tokenizers import Tokenizer
from understudy.errors import QueueFullError, UserError
from understudy.models.language_model import LanguageModel
from understudy.native.dispatch import native_batch

PROMPT_TOKENS, PIECE = 64, 16
"""Most prompt tokens in one step, and most of one prompt where others run beside it, so that nobody waits long."""


@dataclass(frozen=True)
class Request:
    """A reply that is asked for."""

    prompt: list[int]
    """Ids that the reply follows."""
    config: SamplingConfig
    """How its tokens are sampled, and where it stops."""
    top_logprobs: int | None = None
    """How many of the likeliest tokens are told with each token's log-probability; None: no log-probabilities."""
    owner: str = ""
    """Who asks. Requests wait in a line per owner, and the lines are served in turn."""


@dataclass(frozen=True)
class TokenInfo:
    """A token with the model's own log-probability of it (temperature 1, no filter), and the likeliest tokens."""

    id: int
    logprob: float
    top: tuple[tuple[int, float], ...]


@dataclass(frozen=True)
class Update:
    """What is new in a reply. The one with a finish reason is the last."""

    text: str
    """Text that can be shown now. It lags behind the tokens where a stop text or a character may yet be completed."""
    tokens: tuple[TokenInfo | int, ...]
    """New tokens, without the end token: ids, or with their log-probabilities where the request asks for these."""
    finish_reason: FinishReason | Literal["cancelled", "error"] | None
    cached_tokens: int
    """How many tokens of the prompt did not have to be computed."""
    error: str = ""
    """What went wrong, for the finish reason `error`."""


@dataclass(frozen=True)
class SchedulerStats:
    """Figures of a scheduler; those without a unit count since it was made."""

    queued: int
    """Requests that wait now."""
    running: int
    """Requests that are being answered now."""
    slots: int
    """Most requests that are answered at once."""
    finished: int
    tokens_made: int
    """Tokens sampled."""
    tokens_prefilled: int
    """Prompt tokens computed."""
    tokens_saved: int
    """Prompt tokens that were found computed."""
    prefix_hits: int
    """Requests of which at least one prompt token was found computed."""
    prefix_bytes: int
    """Size of what is kept of prompts now."""
    steps: int
    batch_sizes: dict[int, int]
    """How many steps sampled so many tokens."""


@dataclass(eq=False)
class Ticket:
    """A request that was accepted, and how far it has come. Only `Scheduler` reads and changes it."""

    request: Request
    row: RowState
    generator: torch.Generator
    on_update: Callable[[Update], None]
    ids: list[int]
    """Those of the prompt, then those of the reply."""
    slot: int = -1
    fed: int = 0
    """How many of the ids the model's state holds."""
    block: Block | None = None
    """The last block of its ids that is kept, which ends at `kept`."""
    kept: int = 0
    cached: int = 0
    is_cancelled: bool = False
    began: float = field(default_factory=monotonic)

    @property
    def is_decoding(self) -> bool:
        """Whether all of the prompt has been fed."""
        return self.fed >= len(self.request.prompt)

    @property
    def keeps(self) -> bool:
        """Whether all blocks before the next one are kept."""
        return self.kept == 0 or self.block is not None

    @property
    def next_block(self) -> Hashable:
        """What names the whole block that comes next, for all whose prompts have it; else it is its own."""
        end = self.kept // BLOCK * BLOCK + BLOCK
        # The last token of a prompt is computed in any case.
        is_shared = self.keeps and end < len(self.request.prompt)
        return (self.block, *self.ids[self.kept : end]) if is_shared else self


class Scheduler:
    """Answers requests for one model, in a thread of its own.

    A request's tokens depend on nothing but its prompt, its options and its seed: in float32 on a CPU to the last bit.
    """

    def __init__(
        self,
        model: LanguageModel,
        tokenizer: Tokenizer,
        slots: int = 32,
        max_queue: int = 256,
        prefix_bytes: int = 256 << 20,
    ) -> None:
        """Begin to wait for requests.

        Args:
            model: in evaluation mode.
            tokenizer: the model's.
            slots: most requests that are answered at once.
            max_queue: most requests that wait.
            prefix_bytes: most memory for what is kept of prompts.
        """
        self._model, self._tokenizer, self._slots, self._max_queue = model, tokenizer, slots, max_queue
        self._batch: Batch = native_batch(model, slots, PROMPT_TOKENS + slots) or PlainBatch(model, slots)
        self._prefixes = PrefixCache(prefix_bytes)
        self._changed = threading.Condition()
        # Those that wait, by owner; the first owner is next.
        self._waiting: OrderedDict[str, deque[Ticket]] = OrderedDict()
        self._running: list[Ticket] = []
        self._free = list(range(slots))
        self._closing: Literal["", "drain", "now"] = ""
        self._queued = self._finished = self._made = self._prefilled = self._saved = self._hits = self._steps = 0
        self._batch_sizes: Counter[int] = Counter()
        self._usual_seconds = 1.0
        self._thread = threading.Thread(target=self._run, name="scheduler", daemon=True)
        self._thread.start()

    def submit(self, request: Request, on_update: Callable[[Update], None]) -> Ticket:
        """Accept a request. `on_update` is called in the scheduler's thread and must return soon.

        Raises:
            TooLongError: the prompt leaves no room in the model's context.
            QueueFullError: too many requests wait, or the scheduler is closing.
            ConfigError: an option is out of range.
        """
        config, device = request.config.checked(), self._model.embedding.weight.device
        generator = make_generator(config, device)
        if generator is None:
            generator = torch.Generator(device)
            generator.seed()
        row = RowState(self._model, self._tokenizer, request.prompt, config, generator, self._tokenizer.unknown)
        ticket = Ticket(request, row, generator, on_update, list(request.prompt))
        with self._changed:
            if self._closing:
                raise QueueFullError("the server is shutting down; try again later", retry_after=10)
            if self._queued >= self._max_queue:
                seconds = math.ceil(self._usual_seconds * (1 + self._queued / self._slots))
                raise QueueFullError(f"{self._queued} requests wait already; try again in {seconds} s", seconds)
            self._waiting.setdefault(request.owner, deque()).append(ticket)
            self._queued += 1
            self._changed.notify()
        return ticket

    def cancel(self, ticket: Ticket) -> None:
        """Take a request out, whether it waits or runs, before the next step; nothing where it has finished."""
        with self._changed:
            ticket.is_cancelled = True
            self._changed.notify()

    def stats(self) -> SchedulerStats:
        """Return the figures as they are now."""
        with self._changed:
            return SchedulerStats(
                self._queued, len(self._running), self._slots, self._finished, self._made, self._prefilled,
                self._saved, self._hits, self._prefixes.bytes, self._steps, dict(self._batch_sizes),
            )  # fmt: skip

    def close(self, drain: bool) -> None:
        """Take no more requests, and return once the thread has ended. With `drain` running replies finish before."""
        with self._changed:
            self._closing = "drain" if drain and self._closing != "now" else "now"
            self._changed.notify()
        self._thread.join()

    def _run(self) -> None:
        """Step as long as there is anything to do, until closed."""
        torch.set_flush_denormal(True)  # which is set per thread
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._running or self._queued or self._closing)
                gone = self._take_out()
                self._admit()
                if self._closing and not self._running:
                    break
            for ticket in gone:
                self._tell(ticket, Update("", (), "cancelled", ticket.cached))
            try:
                self._step()
            except Exception as error:  # whatever it is, those who wait for an answer must get one
                for ticket in list(self._running):
                    self._fail(ticket, error)
        for ticket in gone:
            self._tell(ticket, Update("", (), "cancelled", ticket.cached))

    def _take_out(self) -> list[Ticket]:
        """Take out the requests that were cancelled, when closing also those that need not finish; return them."""
        gone = []
        for owner, line in list(self._waiting.items()):
            out = [ticket for ticket in line if ticket.is_cancelled or self._closing]
            gone += out
            self._queued -= len(out)
            left = deque(ticket for ticket in line if ticket not in out)
            if left:
                self._waiting[owner] = left
            else:
                del self._waiting[owner]
        for ticket in list(self._running):
            if ticket.is_cancelled or self._closing == "now":
                self._leave(ticket)
                gone.append(ticket)
        return gone

    def _admit(self) -> None:
        """Give free slots to those who wait, one per owner in turn."""
        while self._free and self._waiting:
            owner, line = self._waiting.popitem(last=False)
            ticket = line.popleft()
            if line:
                self._waiting[owner] = line
            self._queued -= 1
            ticket.slot = self._free.pop()
            self._batch.begin(ticket.slot)
            self._running.append(ticket)

    def _leave(self, ticket: Ticket) -> None:
        self._running.remove(ticket)
        self._free.append(ticket.slot)

    def _step(self) -> None:
        """Feed each running request some tokens, and sample the next one of those whose prompts are through."""
        pieces = self._pieces()
        ready = [ticket for ticket in pieces if ticket.fed + len(pieces[ticket]) == len(ticket.ids)]
        logits = self._batch.feed(
            {ticket.slot: piece for ticket, piece in pieces.items()}, {ticket.slot for ticket in ready}
        )
        for ticket, piece in pieces.items():
            self._prefilled += 0 if ticket.is_decoding else len(piece)
            ticket.fed += len(piece)
            if ticket.fed % BLOCK == 0:
                self._keep(ticket)
        if ready:
            self._batch_sizes[len(ready)] += 1
        self._steps += 1
        for ticket in ready:
            try:
                self._extend(ticket, logits[ticket.slot])
            except UserError as error:
                self._fail(ticket, error)

    def _pieces(self) -> dict[Ticket, list[int]]:
        """Return the tokens of a step by the requests that they belong to."""
        pieces = {ticket: ticket.ids[-1:] for ticket in self._running if ticket.is_decoding}
        begun = [ticket for ticket in self._running if not ticket.is_decoding]
        # Where several prompts go on alike, one computes the block and the others wait to find it.
        ahead = {ticket.next_block: ticket for ticket in begun if ticket.fed > ticket.kept}
        # Whoever came first goes on in any case, the others by what is left of their prompts.
        left = PROMPT_TOKENS
        for first in begun[:1] + sorted(begun[1:], key=lambda ticket: len(ticket.ids) - ticket.fed):
            if left > 0:
                ticket = ahead.get(first.next_block, first)
                self._find(ticket)
                ticket = ahead.setdefault(ticket.next_block, ticket)
                if ticket in pieces:
                    continue
                most = min(left, PIECE) if len(self._running) > 1 else BLOCK
                end = min(ticket.fed + most, ticket.fed // BLOCK * BLOCK + BLOCK, len(ticket.ids))
                pieces[ticket] = ticket.ids[ticket.fed : end]
                left -= len(pieces[ticket])
        return pieces

    def _find(self, ticket: Ticket) -> None:
        """Load what is kept of the rest of a prompt. Its last token is computed, for the logits after it."""
        while (
            ticket.keeps
            and ticket.fed == ticket.kept
            and (block := self._prefixes.find(ticket.block, ticket.ids[ticket.fed : -1]))
        ):
            self._batch.load(ticket.slot, block.state)
            ticket.block, ticket.fed = block, ticket.fed + len(block.tokens)
            ticket.kept = ticket.fed
            self._hits += ticket.cached == 0
            self._saved += len(block.tokens)
            ticket.cached += len(block.tokens)

    def _keep(self, ticket: Ticket) -> None:
        """Keep what was computed for a request since its last block."""
        tokens = ticket.ids[ticket.kept : ticket.fed]
        if not (tokens and ticket.keeps):
            return
        ticket.block = self._prefixes.add(ticket.block, tokens, *self._batch.save(ticket.slot, ticket.kept))
        ticket.kept = ticket.fed

    def _extend(self, ticket: Ticket, logits_V: Tensor) -> None:
        """Sample a request's next token and tell of it."""
        row, config = ticket.row, ticket.row.config
        logits_1V = logits_V[None]
        seen_1V = None if config.repetition_penalty == 1 else seen_tokens(ticket.ids, self._model)[None]
        token = int(sample(logits_1V, config, ticket.generator, seen_1V, banned_tokens([row], logits_1V)))
        before = len(row.ids)
        row.add(token)
        self._made += 1
        new: tuple[TokenInfo | int, ...] = ()
        if len(row.ids) > before:
            ticket.ids.append(token)
            top = ticket.request.top_logprobs
            new = (token if top is None else token_info(logits_V, token, top),)
        if row.finish_reason:
            self._keep(ticket)
            self._leave(ticket)
            self._finished += 1
            self._usual_seconds += (monotonic() - ticket.began - self._usual_seconds) / 16
        self._tell(ticket, Update(row.new_text(), new, row.finish_reason, ticket.cached))

    def _fail(self, ticket: Ticket, error: Exception) -> None:
        self._leave(ticket)
        self._tell(ticket, Update("", (), "error", ticket.cached, str(error) or type(error).__name__))

    def _tell(self, ticket: Ticket, update: Update) -> None:
        if not (update.text or update.tokens or update.finish_reason):
            return
        try:
            ticket.on_update(update)
        except Exception:  # nobody listens any more
            ticket.is_cancelled = True


def token_info(logits_V: Tensor, token: int, top: int) -> TokenInfo:
    """Return a token's log-probability, and the `top` likeliest tokens with theirs.

    >>> info = token_info(torch.tensor([0.5, 0.25, 0.25]).log(), 1, top=1)
    >>> info.id, round(info.logprob, 3), info.top[0][0]
    (1, -1.386, 0)
    """
    numbers = logits_V.detach().cpu().numpy().astype(np.float64)
    peak = numbers.max()
    whole = peak + math.log(np.exp(numbers - peak).sum())
    best: list[int] = np.argpartition(-numbers, min(top, len(numbers)) - 1)[:top].tolist() if top else []
    likeliest = sorted(((one, float(numbers[one] - whole)) for one in best), key=lambda pair: -pair[1])
    return TokenInfo(token, float(numbers[token] - whole), tuple(likeliest))
