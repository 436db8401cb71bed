"""Passwords, keys and tokens, which must not reach a record that people copy and show around.

Whole files are left out where their name says what they hold (`.env`, private keys). Elsewhere what looks like a secret
is redacted and the rest of the file kept, so that the code still runs. The formats are those that their issuers
publish. Long random strings given to a name such as `api_key`, and passwords in addresses, count as well.
"""

import fnmatch
import math
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

MASK = b"***"
LARGEST_FILE = 5_000_000  # larger files are data, and searching them would take longer than the snapshot
LEAST_ENTROPY = 3.2  # bits per character; English words and identifiers of 16 letters or more lie near 3
SECRET_FILES = (
    *(".env", ".env.*", ".netrc", ".pgpass", ".pypirc", ".htpasswd", ".git-credentials"),
    *("*.pem", "*.key", "*.p12", "*.pfx", "*.keystore", "id_rsa", "id_dsa", "id_ecdsa", "id_ed25519"),
)
HARMLESS_FILES = ("*.example", "*.sample", "*.template", "*.dist")
_SECRET_NAME, _HARMLESS_NAME = (
    re.compile("|".join(map(fnmatch.translate, names))) for names in (SECRET_FILES, HARMLESS_FILES)
)

ADDRESS, ASSIGNED = "password in an address", "key or password"
# Kind, bytes of which a secret of the kind holds some (looking for them first is fast), and the pattern: the secret is
# its group, or else the whole match.
_KINDS: tuple[tuple[str, tuple[bytes, ...], bytes], ...] = (
    ("AWS key", (b"AKIA", b"ASIA"), rb"\b(?:AKIA|ASIA)[0-9A-Z]{16}\b"),
    ("GitHub token", (b"gh", b"github_pat_"), rb"\b(?:gh[pousr]_[A-Za-z0-9]{36,}|github_pat_[A-Za-z0-9_]{22,})"),
    ("GitLab token", (b"glpat-",), rb"\bglpat-[A-Za-z0-9_-]{20,}"),
    ("Hugging Face token", (b"hf_",), rb"\bhf_[A-Za-z0-9]{30,}"),
    ("API key", (b"sk-",), rb"\bsk-[A-Za-z0-9_-]{20,}"),
    ("Google key", (b"AIza",), rb"\bAIza[0-9A-Za-z_-]{35}"),
    ("Slack token", (b"xox",), rb"\bxox[abeoprs]-[A-Za-z0-9-]{10,}"),
    ("Stripe key", (b"k_live_",), rb"\b[rs]k_live_[A-Za-z0-9]{20,}"),
    ("PyPI token", (b"pypi-",), rb"\bpypi-[A-Za-z0-9_-]{50,}"),
    ("npm token", (b"npm_",), rb"\bnpm_[A-Za-z0-9]{36}"),
    ("JSON web token", (b"eyJ",), rb"\beyJ[A-Za-z0-9_-]{10,}\.eyJ[A-Za-z0-9_-]{10,}\.[A-Za-z0-9_-]{10,}"),
    (
        "private key",
        (b"PRIVATE KEY-----",),
        rb"-----BEGIN [A-Z ]*PRIVATE KEY-----[^-]*(?:-----END [A-Z ]*PRIVATE KEY-----)?",
    ),
    (ADDRESS, (b"://",), rb"(?i)\b[a-z][a-z0-9+.-]*://[^\s/:@'\"{}<>$]*:([^\s/@'\"{}<>$*]{4,})@"),
    (
        ASSIGNED,
        (b"",),
        rb"(?im)(?:api_?-?key|secret|token|passw(?:or)?d|credentials?|auth)[A-Za-z_]*[\"']?\s*(?:=|:)\s*"
        rb"(?:[\"']([A-Za-z0-9+/_.=-]{16,})[\"']|([A-Za-z0-9+/_=-]{20,})\s*$)",
    ),
)
_PATTERNS = [(kind, literals, re.compile(pattern)) for kind, literals, pattern in _KINDS]


@dataclass(frozen=True)
class Secret:
    """A secret in a file: its kind, its line (counted from 1), and where its bytes begin and end."""

    kind: str
    line: int
    start: int
    end: int


def is_secret_file(path: str) -> bool:
    """Whether the file's name says that it holds secrets.

    >>> is_secret_file("config/.env"), is_secret_file(".env.example"), is_secret_file("environment.py")
    (True, False, False)
    """
    name = path.rpartition("/")[2]
    return bool(_SECRET_NAME.match(name)) and not _HARMLESS_NAME.match(name)


def find(content: bytes) -> list[Secret]:
    """Return the secrets in a file, in order and none overlapping; none for binary files and those above 5 MB."""
    if len(content) > LARGEST_FILE or b"\0" in content[:8000]:
        return []
    spans = []
    for kind, literals, pattern in _PATTERNS:
        if not any(literal in content for literal in literals):
            continue
        for match in pattern.finditer(content):
            start, end = match.span(match.lastindex or 0)
            # USER:PASSWORD is how documentation writes an address.
            if kind == ADDRESS and content[start:end].isupper():
                continue
            if kind == ASSIGNED and not _looks_random(content[start:end]):
                continue
            spans.append((start, end, kind))
    found: list[Secret] = []
    for start, end, kind in sorted(spans, key=lambda span: span[:2]):
        if not found or start >= found[-1].end:
            found.append(Secret(kind, content.count(b"\n", 0, start) + 1, start, end))
    return found


def redacted(content: bytes, found: Sequence[Secret]) -> bytes:
    """Return the content with `***` in the place of each secret.

    >>> text = b'url = "postgresql://ada:' + b'hunter2!@db/runs"'
    >>> redacted(text, find(text))
    b'url = "postgresql://ada:***@db/runs"'
    """
    for secret in reversed(found):  # so that the places of those before it stay as they are
        content = content[: secret.start] + MASK + content[secret.end :]
    return content


def redact(path: str, content: bytes) -> tuple[bytes | None, str]:
    """Return what may be kept of a file, and what was taken out of it and why ("" where nothing was).

    >>> redact("a.py", b"x = 1"), redact(".env", b"x")
    ((b'x = 1', ''), (None, 'its name says that it holds secrets'))
    """
    if is_secret_file(path):
        return None, "its name says that it holds secrets"
    found = find(content)
    what = ", ".join(f"{secret.kind} on line {secret.line}" for secret in found)
    return redacted(content, found), f"redacted: {what}" if found else ""


def masked(value: Any) -> Any:
    """Return a text with `***` in the place of each secret, or lists and dictionaries with such texts in them."""
    if isinstance(value, dict):
        return {name: masked(inner) for name, inner in value.items()}
    if isinstance(value, list):
        return [masked(inner) for inner in value]
    if not isinstance(value, str):
        return value
    content = value.encode("utf-8", "surrogatepass")
    found = find(content)
    return redacted(content, found).decode("utf-8", "surrogatepass") if found else value


def _looks_random(value: bytes) -> bool:
    """Whether letters and digits are mixed beyond what names and numbers show."""
    counts = Counter(value)
    entropy = -sum(count / len(value) * math.log2(count / len(value)) for count in counts.values())
    digits = sum(48 <= byte <= 57 for byte in value)
    return entropy >= LEAST_ENTROPY and 2 <= digits < len(value) and digits >= len(value) // 10
