"""The server does what its OpenAPI description says, whatever schemathesis thinks of sending."""

import json
import subprocess
import sys
from pathlib import Path

import httpx
import pytest


@pytest.mark.slow
def test_schemathesis_finds_nothing(address: str, tmp_path: Path) -> None:
    pytest.importorskip("schemathesis")
    program = "from schemathesis.cli import schemathesis; schemathesis()"
    options = ["run", f"{address}/openapi.json", "--max-examples", "25", "--seed", "1", "--no-color"]
    done = subprocess.run([sys.executable, "-c", program, *options], capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 0, done.stdout[-8000:] + done.stderr[-2000:]


def test_every_route_tells_of_its_errors(address: str) -> None:
    described = json.loads(httpx.get(f"{address}/openapi.json").text)
    assert {"/v1/chat/completions", "/v1/completions", "/v1/models", "/health", "/metrics"} <= set(described["paths"])
    for path in described["paths"].values():
        for operation in path.values():
            for errors in ("4XX", "5XX"):
                schema = operation["responses"][errors]["content"]["application/json"]["schema"]
                assert set(schema["properties"]["error"]["required"]) == {"message", "type", "param", "code"}
            assert "422" not in operation["responses"]
