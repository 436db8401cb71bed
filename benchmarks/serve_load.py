"""Clients of a server: they ask for completions that stream, and note when tokens come."""

import asyncio
import json
import random
import time
from collections.abc import Sequence
from dataclasses import dataclass
from string import ascii_lowercase

import numpy as np


@dataclass(frozen=True)
class Ask:
    """What a client asks for: a prompt, a letter a token, and how many tokens are to follow it."""

    prompt: str
    tokens: int


@dataclass(frozen=True)
class Answer:
    """What came back: seconds to the first token, to the last one, and when it was asked for."""

    began: float
    first: float
    last: float
    tokens: int
    text: str


def letters(random_: random.Random, count: int) -> str:
    """Return a text of so many tokens."""
    return "".join(random_.choices(ascii_lowercase, k=count))


def mixed(client: int, count: int) -> list[Ask]:
    """Return a client's requests, short and long ones, the same each time."""
    random_ = random.Random(client)
    return [
        Ask(letters(random_, round(16 * 16 ** random_.random())), round(16 * 8 ** random_.random()))
        for _ in range(count)
    ]


async def complete(port: int, model: str, ask: Ask) -> Answer:
    """Ask for a completion. Raises RuntimeError where the answer is none."""
    body = json.dumps(
        {
            "model": model, "prompt": ask.prompt, "max_tokens": ask.tokens, "temperature": 0, "stream": True,
            "stream_options": {"include_usage": True},
        }
    ).encode()  # fmt: skip
    head = (
        f"POST /v1/completions HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nContent-Type: application/json\r\n"
        f"Content-Length: {len(body)}\r\nConnection: close\r\n\r\n"
    )
    began = time.perf_counter()
    reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=1 << 20)
    writer.write(head.encode() + body)
    moments, text, tokens = [], [], 0
    whole = []
    while line := await reader.readline():
        whole.append(line)
        if not line.startswith(b"data: {"):
            continue
        chunk = json.loads(line[6:])
        if usage := chunk.get("usage"):
            tokens = usage["completion_tokens"]
        if chunk.get("choices") and chunk["choices"][0].get("text"):
            moments.append(time.perf_counter() - began)
            text.append(chunk["choices"][0]["text"])
    writer.close()
    if not moments:
        raise RuntimeError(b"".join(whole).decode(errors="replace")[-300:])
    return Answer(began, moments[0], moments[-1], tokens or len(moments), "".join(text))


async def _client(port: int, model: str, asks: Sequence[Ask]) -> list[Answer]:
    return [await complete(port, model, ask) for ask in asks]


@dataclass(frozen=True)
class Figures:
    """What many clients together found: tokens per second, and milliseconds to the first token."""

    speed: float
    p50: float
    p99: float


def figures(answers: Sequence[Answer]) -> Figures:
    """Return the figures of these answers."""
    seconds = max(answer.began + answer.last for answer in answers) - min(answer.began for answer in answers)
    p50, p99 = np.percentile([1000 * answer.first for answer in answers], (50, 99))
    return Figures(sum(answer.tokens for answer in answers) / seconds, float(p50), float(p99))


def load(port: int, model: str, clients: int, each: int, first: int = 0) -> list[Answer]:
    """Have so many clients ask at once, each for one completion after another."""

    async def run() -> list[list[Answer]]:
        return await asyncio.gather(*(_client(port, model, mixed(first + client, each)) for client in range(clients)))

    return [answer for answers in asyncio.run(run()) for answer in answers]


def beside_long(port: int, model: str, clients: int, seconds: float, long: int) -> list[Answer]:
    """Return what clients of short prompts get for some seconds, while one more sends prompts of `long` tokens, if any.

    The short ones come now and then.
    """
    random_, answers = random.Random(long), list[Answer]()
    end = time.perf_counter() + seconds

    async def short() -> None:
        while time.perf_counter() < end:
            await asyncio.sleep(random_.random() / 2)
            answers.append(await complete(port, model, Ask(letters(random_, 16), 16)))

    async def other() -> None:
        while long and time.perf_counter() < end:
            await complete(port, model, Ask(letters(random_, long), 1))
            await asyncio.sleep(random_.random() / 4)

    async def run() -> None:
        await asyncio.gather(other(), *(short() for _ in range(clients)))

    asyncio.run(run())
    return answers


def chat(port: int, model: str, turns: int, asked: int = 40, said: int = 40) -> list[Answer]:
    """Return the replies of a conversation in which each turn's prompt is all that was said before, and more."""
    random_, text, answers = random.Random(time.time_ns()), "", []
    for _ in range(turns):
        text += letters(random_, asked)
        answers.append(asyncio.run(complete(port, model, Ask(text, said))))
        text += answers[-1].text
    return answers
