"""The server does what its OpenAPI description says, whatever schemathesis thinks of sending."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from serving.api.conftest import served, serving
from understudy.serving.app import Options, build_app
from understudy.serving.conversations import ConversationStore

# Made-up requests ask made-up models for made-up tokens, and break rules between fields, which a schema cannot tell.
HOOKS = """
import schemathesis

def known(prompt):
    if isinstance(prompt, list):
        return [known(one) for one in prompt]
    return prompt % 256 if isinstance(prompt, (int, float)) and 256 <= prompt <= 2**31 else prompt

def is_count(value, most):
    # In JSON 2.0 is an integer too.
    return type(value) in (int, float) and 0 <= value <= most

@schemathesis.hook
def map_body(context, body):
    if not isinstance(body, dict):
        return body
    body = dict(body)
    for field, name in {"messages": "chatty", "prompt": "writer"}.items():
        if field in body and isinstance(body.get("model"), str) and len(body["model"]) <= 500:
            body["model"] = name
    if isinstance(body.get("prompt"), list):
        body["prompt"] = known(body["prompt"])
    if is_count(body.get("n"), 128):
        body["n"] = min(body["n"], 3)
    if is_count(body.get("top_logprobs"), 20) and body.get("logprobs") in (None, False):
        body["logprobs"] = True
    if isinstance(body.get("stream_options"), dict) and body.get("stream") in (None, False):
        body["stream"] = True
    if is_count(body.get("max_completion_tokens"), 10**9) and is_count(body.get("max_tokens"), 10**9):
        del body["max_tokens"]
    for field in {"max_tokens", "max_completion_tokens"} & set(body):
        if is_count(body[field], 10**9):
            body[field] = min(body[field], 5)
    return body
"""


@pytest.fixture(scope="module")
def roomy(save: Any, sharp_model: Any, store: ConversationStore) -> Iterator[str]:
    """A server of models that no made-up conversation is too long for."""
    models = served({"chatty": save(sharp_model("modern", 1000)), "writer": save(sharp_model("gpt2", 1000), "text")})
    with serving(build_app(models, store, Options())) as where:
        yield where
    for each in models.values():
        each.scheduler.close(drain=False)


@pytest.mark.slow
def test_schemathesis_finds_nothing(roomy: str, tmp_path: Path) -> None:
    pytest.importorskip("schemathesis")
    (tmp_path / "hooks.py").write_text(HOOKS)
    program = "from schemathesis.cli import schemathesis; schemathesis()"
    limits = ["--max-examples", "15", "--request-timeout", "300"]
    options = ["run", f"{roomy}/openapi.json", *limits, "--seed", "1", "--no-color"]
    done = subprocess.run(
        [sys.executable, "-c", program, *options],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env=os.environ | {"SCHEMATHESIS_HOOKS": "hooks"},
    )
    assert done.returncode == 0, done.stdout[-8000:] + done.stderr[-2000:]
    assert "Missing test data" not in done.stdout


def test_every_route_tells_of_its_errors(address: str) -> None:
    described = json.loads(httpx.get(f"{address}/openapi.json").text)
    assert {"/v1/chat/completions", "/v1/completions", "/v1/models", "/health", "/metrics"} <= set(described["paths"])
    for path in described["paths"].values():
        for operation in path.values():
            for errors in ("4XX", "5XX"):
                schema = operation["responses"][errors]["content"]["application/json"]["schema"]
                assert set(schema["properties"]["error"]["required"]) == {"message", "type", "param", "code"}
            assert "422" not in operation["responses"]
