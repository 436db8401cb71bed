"""Conversations as token ids, the same for training and for serving.

    <|bos|> <|system|> Be brief. <|end|> <|user|> Hi! <|end|> <|assistant|> Hello. <|end|>

Loss falls on what the assistant says and on the `<|end|>` after it: on "Hello." and the last `<|end|>` here. A prompt
is the same sequence up to `<|assistant|>`, so a model meets in a chat exactly what it met in training.
"""

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, islice, pairwise, takewhile

import numpy as np
import numpy.typing as npt

from understudy.data.conversations import Conversation, Message
from understudy.data.files import Report
from understudy.data.tokenizers import Tokenizer
from understudy.errors import TooLongError

ENCODED_AT_ONCE = 512  # conversations


@dataclass(frozen=True)
class TokenizedDocument:
    """A document as a model sees it.

    Attributes:
        ids: int32 [tokens].
        loss_mask: bool [tokens], whether the token carries loss.
        source: the content hash of the conversation that this is a window of; None for a whole document. A split keeps
            windows of one source on one side.
        sizes: int32 [tokens], bytes of the text that each token stands for; None if the tokenizer's `token_bytes` give
            them. With a tokenizer that is not lossless, each token has an equal share of its message.
    """

    ids: npt.NDArray[np.int32]
    loss_mask: npt.NDArray[np.bool_]
    source: int | None = None
    sizes: npt.NDArray[np.int32] | None = None


@dataclass(frozen=True)
class _Turn:
    """A message as tokens, role and end token included."""

    role: str
    ids: list[int]
    size: int
    """Bytes of its content."""


def render(conversation: Conversation, tokenizer: Tokenizer) -> TokenizedDocument:
    """Tokenize a whole conversation: `<|bos|>`, then for each message its role, its content and `<|end|>`.

    >>> from understudy.data.tokenizers import ByteTokenizer
    >>> rendered = render(Conversation((Message("user", "Hi!"), Message("assistant", "Yo"))), ByteTokenizer())
    >>> rendered.ids.tolist()
    [256, 258, 72, 105, 33, 260, 259, 89, 111, 260]
    >>> rendered.loss_mask.astype(int).tolist()
    [0, 0, 0, 0, 0, 0, 0, 1, 1, 1]
    """
    return _joined(_encode([conversation.messages], tokenizer)[0], tokenizer)


def render_text(text: str, tokenizer: Tokenizer) -> TokenizedDocument:
    """Tokenize a plain text: `<|bos|>` and its tokens, which all carry loss."""
    ids = np.array([tokenizer.special["<|bos|>"], *tokenizer.encode(text)], dtype=np.int32)
    loss_mask = np.ones(len(ids), dtype=np.bool_)
    loss_mask[0] = False
    sizes = None if tokenizer.lossless else np.array([0, *_shares(_size(text), len(ids) - 1)], dtype=np.int32)
    return TokenizedDocument(ids, loss_mask, sizes=sizes)


def render_message(message: Message, tokenizer: Tokenizer) -> list[int]:
    """Return the ids of one message: role token, content, `<|end|>`."""
    return _framed(message, tokenizer.encode(message.content), tokenizer)


def render_prompt(messages: Sequence[Message], tokenizer: Tokenizer) -> list[int]:
    """Return the ids that the assistant's next reply follows: a prefix of what `render` gives with that reply."""
    said = chain.from_iterable(render_message(message, tokenizer) for message in messages)
    return [tokenizer.special["<|bos|>"], *said, tokenizer.special["<|assistant|>"]]


def render_windows(
    conversations: Iterable[Conversation], tokenizer: Tokenizer, context: int, report: Report, strict: bool = False
) -> Iterator[TokenizedDocument]:
    """Stream conversations, each as one window of at most `context` tokens or, if it is longer, as several in turn.

    It is cut between exchanges (the user's messages and the answers to them). Each window starts with `<|bos|>` and the
    system message, if there is one, and holds as many whole exchanges as fit. A conversation that cannot fit is left
    out and reported by its source. The report counts the conversations that were cut, and their windows.

    Raises:
        TooLongError: (strict) a conversation cannot fit.
    """
    number, stream = 0, iter(conversations)
    while some := list(islice(stream, ENCODED_AT_ONCE)):
        many_turns = _encode([conversation.messages for conversation in some], tokenizer)
        for conversation, turns in zip(some, many_turns, strict=True):
            number += 1
            try:
                windows = _windows(turns, tokenizer, context)
                if len(windows) > 1:
                    report.cut += 1
                    report.windows += len(windows)
                yield from windows
            except TooLongError as error:
                problem = f"{conversation.source or f'conversation {number}'}: {error}"
                if strict:
                    raise TooLongError(problem) from error
                report.add_problem(problem)


def truncate_prompt(
    messages: Sequence[Message], tokenizer: Tokenizer, context: int, reserve: int
) -> tuple[list[Message], int]:
    """Drop the oldest exchanges of a chat until its prompt leaves `reserve` tokens of the context for the reply.

    Only whole exchanges are dropped, and no more than necessary. The system message and the last message stay.

    Returns:
        The messages kept, and the number of messages dropped.

    Raises:
        TooLongError: the system message and the last message alone leave too little room.
    """
    turns = _encode([messages], tokenizer)[0]
    starts = _exchange_starts(turns)
    head = starts[0] if starts else len(turns)
    # <|bos|> and <|assistant|>, and what stays before the exchanges.
    fixed = 2 + _length(turns[:head])
    for first in [*starts, *range(starts[-1] + 1, len(turns))] if starts else [head]:
        if fixed + _length(turns[first:]) + reserve <= context:
            return [*messages[:head], *messages[first:]], first - head
    raise TooLongError(
        f"a last message of {_length(turns[head:][-1:])} tokens and {fixed} around it leave no room for {reserve} more "
        f"in a context of {context}; shorten it"
    )


def content_hash(ids: npt.NDArray[np.integer]) -> int:
    """Return 64 bits of BLAKE2b over token ids: equal for equal documents."""
    return int.from_bytes(hashlib.blake2b(ids.astype("<u4").tobytes(), digest_size=8).digest(), "little")


def _framed(message: Message, content: list[int], tokenizer: Tokenizer) -> list[int]:
    return [tokenizer.special[f"<|{message.role}|>"], *content, tokenizer.special["<|end|>"]]


def _encode(many: Sequence[Sequence[Message]], tokenizer: Tokenizer) -> list[list[_Turn]]:
    """Return the turns of many conversations, encoded in one call."""
    contents = iter(tokenizer.encode_batch([message.content for messages in many for message in messages]))
    return [
        [_Turn(m.role, _framed(m, next(contents), tokenizer), _size(m.content)) for m in messages] for messages in many
    ]


def _joined(turns: Sequence[_Turn], tokenizer: Tokenizer, source: int | None = None) -> TokenizedDocument:
    ids, loss_mask, sizes = [tokenizer.special["<|bos|>"]], [False], [0]
    for turn in turns:
        ids += turn.ids
        loss_mask += [False] + [turn.role == "assistant"] * (len(turn.ids) - 1)
        sizes += [0, *_shares(turn.size, len(turn.ids) - 2), 0]
    sizes_T = None if tokenizer.lossless else np.array(sizes, dtype=np.int32)
    return TokenizedDocument(np.array(ids, dtype=np.int32), np.array(loss_mask, dtype=np.bool_), source, sizes_T)


def _size(text: str) -> int:
    return len(text.encode("utf-8", "replace"))


def _shares(size: int, tokens: int) -> list[int]:
    """Share the bytes of a text out among its tokens.

    >>> _shares(10, 4)
    [2, 3, 2, 3]
    """
    return [size * (i + 1) // tokens - size * i // tokens for i in range(tokens)]


def _windows(turns: list[_Turn], tokenizer: Tokenizer, context: int) -> list[TokenizedDocument]:
    whole = _joined(turns, tokenizer)
    if len(whole.ids) <= context:
        return [whole]
    starts = _exchange_starts(turns)
    head = turns[: starts[0]] if starts else turns
    fixed = 1 + _length(head)
    windows: list[list[_Turn]] = []
    room = 0
    for exchange in [turns[first:end] for first, end in pairwise([*starts, len(turns)])] or [[]]:
        length = _length(exchange)
        if fixed + length > context:
            raise TooLongError(
                f"an exchange of {length} tokens, with {fixed} before it, does not fit a context of {context} tokens; "
                "shorten it or take a larger context"
            )
        if length > room:
            windows.append([*head])
            room = context - fixed
        windows[-1] += exchange
        room -= length
    return [_joined(window, tokenizer, content_hash(whole.ids)) for window in windows]


def _exchange_starts(turns: Sequence[_Turn]) -> list[int]:
    # An exchange begins after the system messages at the start, and wherever an answer is answered.
    head = sum(1 for _ in takewhile(lambda turn: turn.role == "system", turns))
    speaks = [turn.role == "assistant" for turn in turns]
    return [i for i in range(head, len(turns)) if i == head or (speaks[i - 1] and not speaks[i])]


def _length(turns: Iterable[_Turn]) -> int:
    return sum(len(turn.ids) for turn in turns)
