"""Fetching published weights from the Hub, of a revision that never changes."""

import os
import socket
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlsplit
from urllib.request import getproxies

from understudy.errors import HubError, suggestion

FILES = ("config.json", "vocab.json", "merges.txt", "model.safetensors")  # the large one last: all else is there first
ELSEWHERE = "name a folder that holds the files, such as one copied from another machine"


class Published(NamedTuple):
    """Where weights lie on the Hub."""

    repository: str
    revision: str


PUBLISHED = {
    "gpt1": Published("openai-community/openai-gpt", "1e0d4f3028acbffb47fe933cea64619c5ec1a002"),
    "gpt2": Published("openai-community/gpt2", "607a30d783dfa663caf39e06633721c8d4cfcd7e"),
    "gpt2-medium": Published("openai-community/gpt2-medium", "6dcaa7a952f72f9298047fd5137cd6e4f05f41da"),
    "gpt2-large": Published("openai-community/gpt2-large", "32b71b12589c2f8d625668d2335a01cac3249519"),
    "gpt2-xl": Published("openai-community/gpt2-xl", "15ea56dee5df4983c59b2538573817e1667135e2"),
}


def published(reference: str) -> Published | None:
    """Return the weights of that short name or that Hub id; None for anything else.

    Raises:
        HubError: it is the id of a model whose weights are not known here.
    """
    for name, weights in PUBLISHED.items():
        if reference in (name, weights.repository):
            return weights
    if reference.startswith("openai-community/") and not Path(reference).exists():
        known = [weights.repository for weights in PUBLISHED.values()]
        raise HubError(f"{reference} is not known here{suggestion(reference, known)}; known are {', '.join(known)}")
    return None


def fetch(weights: Published) -> Path:
    """Return the folder with the files of these weights, fetched once and then found in the Hub's cache.

    Raises:
        HubError: the Hub cannot be reached and the files are not in the cache, or it does not have them.
    """
    paths = [_file(weights, name) for name in FILES]
    return paths[0].parent


def _file(weights: Published, name: str) -> Path:
    from huggingface_hub import constants, hf_hub_download, try_to_load_from_cache
    from huggingface_hub.errors import EntryNotFoundError, HfHubHTTPError, LocalEntryNotFoundError

    found = try_to_load_from_cache(weights.repository, name, revision=weights.revision)
    if isinstance(found, str):
        return Path(found)
    what = f"{weights.repository} (revision {weights.revision[:8]})"
    unreachable = f"{what} is not in the Hub's cache here, and the Hub cannot be reached; {ELSEWHERE}"
    endpoint = os.environ.get("HF_ENDPOINT") or constants.ENDPOINT
    if constants.HF_HUB_OFFLINE or not _answers(endpoint):
        raise HubError(unreachable)
    try:
        return Path(hf_hub_download(weights.repository, name, revision=weights.revision, endpoint=endpoint))
    except LocalEntryNotFoundError as error:  # raised for any answer of the Hub but a file
        if isinstance(error.__cause__, HfHubHTTPError):
            reason, *_ = str(error.__cause__).strip().split("\n")
            raise HubError(f"the Hub refused {name} of {what}: {reason}; {ELSEWHERE}") from error
        raise HubError(unreachable) from error
    except EntryNotFoundError as error:
        raise HubError(f"the Hub has no {name} of {what}; {ELSEWHERE}") from error
    except Exception as error:  # the libraries below have errors of their own for connections that break
        reason, *_ = str(error).strip().split("\n")
        raise HubError(f"{name} of {what} did not arrive: {reason}; try again, or {ELSEWHERE}") from error


def _answers(endpoint: str) -> bool:
    """Return whether the Hub can be reached at all: its library would try for half a minute. A proxy may reach it."""
    address = urlsplit(endpoint)
    if address.scheme in getproxies():
        return True
    try:
        socket.create_connection((address.hostname, address.port or address.scheme), timeout=10).close()
        return True
    except OSError:
        return False
