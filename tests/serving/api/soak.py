"""Clients that come and go, cancel, dawdle and send junk; whatever they do, every answer has its shape.

`python tests/serving/api/soak.py URL ROUNDS` lets 64 of them loose on a server, each for so many requests.
"""

import asyncio
import json
import random
import sys
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Any

import httpx

CLIENTS = 64
JSON = {"Content-Type": "application/json"}
# Few enough that all their prefixes are kept after a while: memory must be flat from then on.
SAID = ["hi", "how are you", "tell me more " * 3, "why", "what is it " * 6]
BROKEN = [
    b"",
    b"{",
    b"[]",
    b'{"model": "\xff"}',
    b"[" * 50_000,
    b'{"a":' * 5000,
    b"\x00" * 1000,
    b"1e999",
    b'"\\ud800"',
]
JUNK = [
    b"\x16\x03\x01\x02\x00\n\n",
    b"GET / HTTP/1.1\r\n\r\n",
    b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: -1\r\n\r\n",
]


class Client:
    """One of the clients: each of its methods is one thing to do."""

    def __init__(self, http: httpx.AsyncClient, model: str, number: int) -> None:
        self.http, self.model, self.draw = http, model, random.Random(number)
        self.kept: dict[str, int] = {}
        """Conversations that the server said it keeps, with how many messages."""

    def chat(self, **more: Any) -> dict[str, Any]:
        """A request for a reply."""
        messages = [{"role": "user", "content": self.draw.choice(SAID)}]
        return {"model": self.model, "messages": messages, "max_tokens": 24, "seed": self.draw.randrange(4)} | more

    async def post(self, expected: int, **content: Any) -> Any:
        """The body of a response whose status is as expected."""
        response = await self.http.post("/v1/chat/completions", **content)
        body = response.json()
        assert response.status_code == expected, response.text
        if expected != 200:
            assert set(body) == {"error"}, body
            assert set(body["error"]) == {"message", "type", "param", "code"}, body
        return body

    async def whole(self) -> None:
        """Wait for whole replies."""
        count = self.draw.choice([1, 1, 3])
        body = await self.post(200, json=self.chat(n=count))
        assert len(body["choices"]) == count

    async def stream(self) -> None:
        """Read a stream to its end, slowly at times."""
        pause, lines = self.draw.choice([0, 0, 0.02]), list[str]()
        async with self.http.stream("POST", "/v1/chat/completions", json=self.chat(stream=True)) as response:
            async for line in response.aiter_lines():
                await asyncio.sleep(pause)
                lines += [line] if line else []
        assert lines[-1] == "data: [DONE]", lines[-1]

    async def leave(self) -> None:
        """Leave in the middle of a stream."""
        async with self.http.stream("POST", "/v1/chat/completions", json=self.chat(stream=True)) as response:
            async for _ in response.aiter_lines():
                if self.draw.random() < 0.3:
                    return

    async def give_up(self) -> None:
        """Leave before a whole reply is there."""
        try:
            await asyncio.wait_for(self.post(200, json=self.chat()), self.draw.choice([0.001, 0.01, 0.05]))
        except TimeoutError:
            pass

    async def mistake(self) -> None:
        """Send what is no request."""
        await self.post(400, content=self.draw.choice(BROKEN), headers=JSON)

    async def unknown(self) -> None:
        """Ask for what is not there."""
        await self.post(400, json=self.chat(**self.draw.choice([{"tools": [1]}, {"nothing": 1}, {"n": -1}])))
        await self.post(404, json=self.chat(model="nobody"))
        assert (await self.http.get("/v1/chat/completions")).status_code == 405

    async def huge(self) -> None:
        """Send too much."""
        if self.draw.random() < 0.2:
            await self.post(413, content=b" " * (5 << 20), headers=JSON)

    async def junk(self) -> None:
        """Send what is no HTTP."""
        reader, writer = await asyncio.open_connection(self.http.base_url.host, self.http.base_url.port)
        writer.write(self.draw.choice(JUNK))
        head, _, body = (await reader.read()).partition(b"\r\n\r\n")
        writer.close()
        assert head.startswith(b"HTTP/1.1 400"), head
        assert set(json.loads(body)["error"]) == {"message", "type", "param", "code"}

    async def stall(self) -> None:
        """Begin a request, and leave."""
        _, writer = await asyncio.open_connection(self.http.base_url.host, self.http.base_url.port)
        writer.write(b"POST /v1/completions HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\n{")
        await asyncio.sleep(0.05)
        writer.close()

    async def keep(self) -> None:
        """Keep a conversation, and forget an older one."""
        response = await self.http.post("/api/conversations", json={"title": "soak"})
        assert response.status_code == 201, response.text
        name = response.json()["id"]
        self.kept[name] = 0
        for _ in range(2):
            body = {"role": "user", "content": self.draw.choice(SAID)}
            response = await self.http.post(f"/api/conversations/{name}/messages", json=body)
            assert response.status_code == 201, response.text
            self.kept[name] += 1
        if len(self.kept) > 2:
            oldest = next(iter(self.kept))
            del self.kept[oldest]
            assert (await self.http.delete(f"/api/conversations/{oldest}")).status_code == 204


def things_to_do(client: Client) -> list[Callable[[], Awaitable[None]]]:
    """What a client does, the usual more often."""
    usual = [client.whole, client.stream] * 3
    return [
        *usual,
        client.leave,
        client.give_up,
        client.mistake,
        client.unknown,
        client.huge,
        client.junk,
        client.stall,
        client.keep,
    ]


async def soak(url: str, rounds: int, first: int = 0) -> tuple[Counter[str], dict[str, int]]:
    """Let the clients loose; return how often each thing was done, and the conversations that must be there."""
    done: Counter[str] = Counter()
    kept: dict[str, int] = {}

    async def one(number: int) -> None:
        async with httpx.AsyncClient(base_url=url, timeout=300) as http:
            model = (await http.get("/v1/models")).json()["data"][0]["id"]
            client = Client(http, model, first + number)
            for _ in range(rounds):
                act = client.draw.choice(things_to_do(client))
                await act()
                done[act.__name__] += 1
            kept.update(client.kept)

    async with asyncio.TaskGroup() as group:
        for number in range(CLIENTS):
            group.create_task(one(number))
    return done, kept


if __name__ == "__main__":
    print(dict(asyncio.run(soak(sys.argv[1], int(sys.argv[2])))[0]))
