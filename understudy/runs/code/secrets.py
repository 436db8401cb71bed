"""Passwords, keys and tokens, which must not reach a record that people copy and show around.

Whole files are left out where their name says what they hold (`.env`, private keys). Elsewhere what looks like a secret
is blotted out and the rest of the file kept, so that the code still runs. The formats are those that their issuers
publish; beside them count long random strings given to a name such as `api_key`, and passwords in addresses.
"""

import fnmatch
import math
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

BLOT = b"***"
LARGEST_FILE = 5_000_000  # larger files are data, and searching them would take longer than the snapshot
SECRET_FILES = (
    *(".env", ".env.*", ".netrc", ".pgpass", ".pypirc", ".htpasswd", ".git-credentials"),
    *("*.pem", "*.key", "*.p12", "*.pfx", "*.keystore", "id_rsa", "id_dsa", "id_ecdsa", "id_ed25519"),
)
HARMLESS_FILES = ("*.example", "*.sample", "*.template", "*.dist")
_SECRET_NAME, _HARMLESS_NAME = (
    re.compile("|".join(map(fnmatch.translate, names))) for names in (SECRET_FILES, HARMLESS_FILES)
)
LEAST_ENTROPY = 3.2  # bits a character; English words and identifiers of 16 letters or more lie near 3


@dataclass(frozen=True)
class Found:
    """A secret in a file: what kind, on which line (counted from 1), and the bytes to blot out."""

    kind: str
    line: int
    start: int
    end: int


# Kind, bytes without which there is none (looking for them is fast), and the pattern.
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
)
_PATTERNS = [(kind, literals, re.compile(pattern)) for kind, literals, pattern in _KINDS]
_ADDRESS = re.compile(rb"\b[a-z][a-z0-9+.-]*://[^\s/:@'\"{}<>$]*:(?P<value>[^\s/@'\"{}<>$*]{4,})@", re.IGNORECASE)
_ASSIGNED = re.compile(
    rb"(?:api_?-?key|secret|token|passw(?:or)?d|credentials?|auth)[A-Za-z_]*[\"']?\s*(?:=|:)\s*"
    rb"(?:[\"'](?P<quoted>[A-Za-z0-9+/_.=-]{16,})[\"']|(?P<bare>[A-Za-z0-9+/_=-]{20,})\s*$)",
    re.IGNORECASE | re.MULTILINE,
)
# The same for `git grep -E`, which only has to name the files that deserve a closer look.
PREFILTER = (
    r"(AKIA|ASIA)[0-9A-Z]{16}|gh[pousr]_[A-Za-z0-9]{36}|github_pat_|glpat-|hf_[A-Za-z0-9]{30}|sk-[A-Za-z0-9_-]{20}"
    r"|AIza[0-9A-Za-z_-]{35}|xox[abeoprs]-|[rs]k_live_|pypi-[A-Za-z0-9_-]{50}|npm_[A-Za-z0-9]{36}|eyJ[A-Za-z0-9_-]{10}"
    r"|PRIVATE KEY-----|://[^ /:@]*:[^ /@]{4,}@",
    r"(key|secret|token|passw(or)?d|credentials?|auth)[A-Za-z_]*[\"']?[ 	]*(=|:)[ 	]*[\"']?[A-Za-z0-9+/_.=-]{16,}",
)


def is_secret_file(path: str) -> bool:
    """Whether the file's name says that it holds secrets.

    >>> is_secret_file("config/.env"), is_secret_file(".env.example"), is_secret_file("environment.py")
    (True, False, False)
    """
    name = path.rpartition("/")[2]
    return bool(_SECRET_NAME.match(name)) and not _HARMLESS_NAME.match(name)


def find(content: bytes) -> list[Found]:
    """The secrets in a file's content, in order, none overlapping; none in what is binary or above 5 MB."""
    if len(content) > LARGEST_FILE or b"\0" in content[:8000]:
        return []
    found, end = [], 0
    for kind, start, stop in sorted(_spans(content), key=lambda span: span[1:]):
        if start >= end:
            found.append(Found(kind, content.count(b"\n", 0, start) + 1, start, stop))
            end = stop
    return found


def blotted(content: bytes, found: list[Found]) -> bytes:
    """The content with `***` in the place of each secret.

    >>> text = b'url = "postgresql://ada:' + b'hunter2!@db/runs"'
    >>> blotted(text, find(text))
    b'url = "postgresql://ada:***@db/runs"'
    """
    parts, end = [], 0
    for secret in found:
        parts += [content[end : secret.start], BLOT]
        end = secret.end
    return b"".join([*parts, content[end:]])


def masked(text: str) -> str:
    """A text with `***` in the place of each secret: for command lines, messages and configuration."""
    content = text.encode("utf-8", "surrogatepass")
    found = find(content)
    return blotted(content, found).decode("utf-8", "surrogatepass") if found else text


def _spans(content: bytes) -> Iterator[tuple[str, int, int]]:
    for kind, literals, pattern in _PATTERNS:
        if any(literal in content for literal in literals):
            yield from ((kind, *match.span()) for match in pattern.finditer(content))
    if b"://" in content:
        for match in _ADDRESS.finditer(content):
            if not match["value"].isupper():  # USER:PASSWORD is how documentation writes it
                yield "password in an address", *match.span("value")
    for match in _ASSIGNED.finditer(content):
        group = "quoted" if match["quoted"] else "bare"
        if _looks_random(match[group]):
            yield "key or password", *match.span(group)


def _looks_random(value: bytes) -> bool:
    """Letters and digits mixed beyond what names and numbers show."""
    counts = Counter(value)
    entropy = -sum(count / len(value) * math.log2(count / len(value)) for count in counts.values())
    digits = sum(48 <= byte <= 57 for byte in value)
    return entropy >= LEAST_ENTROPY and 2 <= digits < len(value) and digits >= len(value) // 10
