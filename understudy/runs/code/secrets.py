"""Passwords, keys and tokens, which must not reach a record that people copy and show around.

Whole files are left out where their name says what they hold (`.env`, private keys). Elsewhere what looks like a secret
is redacted and the rest of the file kept, so that the code still runs. secrets.toml has the formats that their
issuers publish. Long random strings given to a name such as `api_key`, and passwords in addresses, count as well.
"""

import fnmatch
import math
import re
import tomllib
from collections import Counter
from pathlib import Path
from typing import Any

MASK = b"***"
LARGEST_FILE = 5_000_000  # larger files are data, and searching them would take longer than the snapshot
LEAST_ENTROPY = 3.2  # bits per character; English words and identifiers of 16 letters or more lie near 3
ADDRESS, ASSIGNED = "password in an address", "key or password"
_TABLE: dict[str, Any] = tomllib.loads(Path(__file__).with_name("secrets.toml").read_text("utf-8"))
_SECRET_NAME, _HARMLESS_NAME = (
    re.compile("|".join(map(fnmatch.translate, _TABLE[names]))) for names in ("files", "harmless_files")
)
_KINDS = [
    (kind, [mark.encode() for mark in entry["marks"]], re.compile(entry["pattern"].encode()))
    for kind, entry in _TABLE["kinds"].items()
]


def is_secret_file(path: str) -> bool:
    """Whether the file's name says that it holds secrets.

    >>> is_secret_file("config/.env"), is_secret_file(".env.example"), is_secret_file("environment.py")
    (True, False, False)
    """
    name = path.rpartition("/")[2]
    return bool(_SECRET_NAME.match(name)) and not _HARMLESS_NAME.match(name)


def redact(path: str, content: bytes) -> tuple[bytes | None, str]:
    """Return what may be kept of a file, and what was taken out of it and why ("" where nothing was).

    >>> redact("a.py", b"x = 1"), redact(".env", b"x")
    ((b'x = 1', ''), (None, 'its name says that it holds secrets'))
    """
    if is_secret_file(path):
        return None, "its name says that it holds secrets"
    kept, found = _redacted(content)
    return kept, f"redacted: {', '.join(found)}" if found else ""


def masked(value: Any) -> Any:
    """Return a text with `***` in the place of each secret, or lists and dictionaries with such texts in them."""
    if isinstance(value, dict):
        return {name: masked(inner) for name, inner in value.items()}
    if isinstance(value, list):
        return [masked(inner) for inner in value]
    if not isinstance(value, str):
        return value
    return _redacted(value.encode("utf-8", "surrogatepass"))[0].decode("utf-8", "surrogatepass")


def _redacted(content: bytes) -> tuple[bytes, list[str]]:
    """Return the content with `***` in the place of each secret, and what they are: kind and line (counted from 1).

    Binary files and those above 5 MB are not searched.
    """
    if len(content) > LARGEST_FILE or b"\0" in content[:8000]:
        return content, []
    spans = []
    for kind, marks, pattern in _KINDS:
        for match in pattern.finditer(content) if any(mark in content for mark in marks) else ():
            start, end = match.span(match.lastindex or 0)
            # USER:PASSWORD is how documentation writes an address.
            example = kind == ADDRESS and content[start:end].isupper()
            if not example and (kind != ASSIGNED or _looks_random(content[start:end])):
                spans.append((start, end, kind))
    kept, found, at = b"", list[str](), 0
    for start, end, kind in sorted(spans, key=lambda span: span[:2]):
        # Of secrets that overlap, the first counts.
        if start >= at:
            kept += content[at:start] + MASK
            line = content.count(b"\n", 0, start) + 1
            found.append(f"{kind} on line {line}")
            at = end
    return kept + content[at:], found


def _looks_random(value: bytes) -> bool:
    """Whether letters and digits are mixed beyond what names and numbers show."""
    counts = Counter(value)
    entropy = -sum(count / len(value) * math.log2(count / len(value)) for count in counts.values())
    digits = sum(48 <= byte <= 57 for byte in value)
    return entropy >= LEAST_ENTROPY and 2 <= digits < len(value) and digits >= len(value) // 10
