"""Servers to race: ours, transformers' and llama.cpp's on the same weights, each in processes of its own.

The model has the shape of the small GPT-2, random weights and a token per byte, and says letters only. So a text has
the same tokens for everyone, also a reply that comes back in the next prompt.
"""

import http.client
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from string import ascii_lowercase

import torch
from gpt1_peers import gguf_file

from understudy.data.tokenizers import SPECIALS, BPETokenizer
from understudy.data.tokenizers.bytes_bpe import byte_characters
from understudy.models.language_model import LanguageModel
from understudy.models.pretrained.folder import export
from understudy.models.spec import CoreConfig

VOCABULARY = 50_257
PATIENCE = 180
"""Seconds within which a server must answer its first request."""


def build() -> tuple[LanguageModel, BPETokenizer]:
    """Return the model and its tokenizer, the same each time."""
    tokenizer = BPETokenizer(
        [*byte_characters(), *(f"<{number}>" for number in range(VOCABULARY - 256 - len(SPECIALS)))], []
    )
    torch.manual_seed(0)
    model = LanguageModel(CoreConfig(block="gpt2", size="gpt1", context=1024).resolved(), VOCABULARY).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(2) if parameter.dim() > 1 else parameter.add_(0.05 * torch.randn_like(parameter))
        model.embedding.weight[[ord(letter) for letter in ascii_lowercase]] *= 10
    return model, tokenizer


def write(folder: Path) -> None:
    """Write the model as transformers and we read it, and as llama.cpp does."""
    model, tokenizer = build()
    export(model, tokenizer, folder / "model")
    gguf_file(model, folder / "model.gguf", "float32", tokenizer)


def commands(folder: Path, port: int) -> dict[str, list[str]]:
    """Return how each server is started, with its usual settings but for the memory of one."""
    python, threads, model = sys.executable, str(torch.get_num_threads()), str(folder / "model")
    ours = [python, "-m", "understudy", "serve", model, "--port", str(port), "--dtype", "float32"]
    transformers = str(Path(python).parent / "transformers")
    found = {
        "ours": ours,
        "ours, one at a time": [*ours, "--slots", "1"],
        "transformers serve": [
            transformers, "serve", model, "--continuous-batching", "--device", "cpu", "--dtype", "float32",
            # By default it takes 60% of all memory, which is more than a machine in use can give.
            "--cb-max-memory-percent", "0.25", "--port", str(port),
        ],
        "llama.cpp (Python)": [
            python, "-m", "llama_cpp.server", "--model", f"{model}.gguf", "--n_ctx", "1024", "--n_threads", threads,
            "--port", str(port), "--interrupt_requests", "False",
        ],
    }  # fmt: skip
    # Its own server, with a slot per client, where the machine has one
    if binary := shutil.which("llama-server"):
        found["llama.cpp"] = [
            binary, "--model", f"{model}.gguf", "--parallel", "32", "--ctx-size", str(32 * 1024), "--threads", threads,
            "--port", str(port), "--cont-batching",
        ]  # fmt: skip
    return found


@contextmanager
def serving(command: list[str], port: int, folder: Path, environment: Mapping[str, str]) -> Iterator[None]:
    """Start a server, wait until it answers, end it afterwards. Raises ChildProcessError where it does not start."""
    quiet = subprocess.DEVNULL
    environment = os.environ | {"HF_HUB_OFFLINE": "1"} | environment
    # In a folder of its own, as ours keeps conversations where it runs
    server = subprocess.Popen(command, stdin=quiet, stdout=quiet, stderr=quiet, env=environment, cwd=folder)
    try:
        began = time.monotonic()
        while not _answers(port):
            if server.poll() is not None or time.monotonic() - began > PATIENCE:
                raise ChildProcessError(f"it did not start (code {server.poll()})")
            time.sleep(0.2)
        yield
    finally:
        server.terminate()
        with suppress(subprocess.TimeoutExpired):
            server.wait(10)
        server.kill()
        server.wait()


def free_port() -> int:
    """Return a port that nobody listens at."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        return int(listening.getsockname()[1])


def _answers(port: int) -> bool:
    try:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
        connection.request("GET", "/v1/models")
        # Whatever it says: where no model was ever fetched from the Hub, the list of transformers serve is an error.
        connection.getresponse()
    except OSError:
        return False
    return True
