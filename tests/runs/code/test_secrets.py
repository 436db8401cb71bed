from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from understudy.runs.code.secrets import is_secret_file, masked, redact

# Put together here, so that this file holds nothing that looks like a secret itself.
SECRETS = {
    "AWS key": "AK" + "IAIOSFODNN7EXAMPLE",
    "GitHub token": "gh" + "p_" + "a1B2" * 9,
    "GitLab token": "glp" + "at-" + "x9Y8" * 5,
    "Hugging Face token": "h" + "f_" + "aBcD3" * 7,
    "API key": "s" + "k-" + "proj-Ab12" * 4,
    "Google key": "AI" + "za" + "S" * 35,
    "Slack token": "xo" + "xb-123456789012-abcdef",
    "Stripe key": "sk" + "_live_" + "4eC39HqLyjWDarjtT1zd",
    "JSON web token": "ey" + "JhbGciOiJIUzI1NiJ9.ey" + "JzdWIiOiIxMjM0In0.c2lnbmF0dXJl",
    "private key": "-----BEGIN RSA PRIV" + "ATE KEY-----\nMIIEow\nIBAAKC\n-----END RSA PRIV" + "ATE KEY-----",
}

RANDOM = "q8Zr2Lx7-Vb1Nc5Ty9Wm3"


@pytest.mark.parametrize("kind", SECRETS)
def test_each_kind_is_found_and_redacted(kind: str) -> None:
    content = f"first = 1\nvalue = ('{SECRETS[kind]}')\nlast = 2\n".encode()
    assert redact("a.py", content) == (b"first = 1\nvalue = ('***')\nlast = 2\n", f"redacted: {kind} on line 2")


@pytest.mark.parametrize(
    ("line", "kept"),
    [
        (f"api_key = '{RANDOM}'", "api_key = '***'"),
        ("WANDB_API_KEY=4f9a2c7e1b8d3f6a0c5e9b2d7a1f4c8e3b6d0a9f", "WANDB_API_KEY=***"),
        (f'{{"password": "{RANDOM}"}}', '{"password": "***"}'),
        (f"db: postgresql://ada:{RANDOM}@host:5432/runs", "db: postgresql://ada:***@host:5432/runs"),
    ],
)
def test_values_given_to_telling_names(line: str, kept: str) -> None:
    assert masked(line) == kept


@pytest.mark.parametrize(
    "line",
    [
        "token = tokenizer.special_tokens_of_the_vocabulary",
        "token_bytes: npt.NDArray[np.int64] = counts_of_each_token",
        "secret = 'correct-horse-battery-staple'",
        "password = os.environ['DATABASE_PASSWORD_1']",
        "url = 'https://example.org:8080/path@v2'",
        "uri = f'postgresql://{user}:{password}@{host}/db'",
        "uri = 'postgresql://USER:PASSWORD@HOST/DATABASE'",
        "sha256 = '9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08'",
        "author = Ada Lovelace 1815",
        "tokens = 1234567890123456789012",
    ],
)
def test_ordinary_code_is_left_alone(line: str) -> None:
    assert masked(line) == line


@pytest.mark.parametrize("name", [".env", "deploy/.env.local", "server.pem", "home/.ssh/id_ed25519", ".netrc"])
def test_files_that_hold_secrets_by_name(name: str) -> None:
    assert is_secret_file(name)
    assert not is_secret_file(name + ".example")


def test_a_binary_file_is_not_searched() -> None:
    content = b"\0" + SECRETS["AWS key"].encode()
    assert redact("a.bin", content) == (content, "")


@given(st.binary(max_size=200), st.sampled_from(sorted(SECRETS)))
def test_whatever_stands_around_it(noise: bytes, kind: str) -> None:
    content = noise.replace(b"\0", b"") + b"\n" + SECRETS[kind].encode() + b"\n"
    assert SECRETS[kind].encode() not in (redact("a.py", content)[0] or b"")


def test_this_project_holds_nothing_that_looks_like_a_secret() -> None:
    """Else no run of a checkout could be exported."""
    top = Path(__file__).parents[3]
    folders = [top / name for name in ("understudy", "tests", "docs", "benchmarks")]
    files = [*top.glob("*.md"), *(path for folder in folders for path in folder.rglob("*") if path.is_file())]
    reasons = {str(path): redact(path.name, path.read_bytes())[1] for path in files}
    assert {path: reason for path, reason in reasons.items() if reason} == {}
