"""Replies to one prompt, printed."""

import pytest

from understudy import cli
from understudy.acting.engine import generate_plain
from understudy.acting.sampling import SamplingConfig
from understudy.data.chat_template import render_prompt
from understudy.data.conversations import Message
from understudy.data.tokenizers import ByteTokenizer

BYTES = ByteTokenizer()
GREEDY = SamplingConfig(temperature=0.0, max_tokens=8)


def run_cli(capsys, *arguments: str) -> tuple[int, str, str]:
    code = cli.main(arguments)
    out, err = capsys.readouterr()
    return code, out, err


def test_samples(capsys, checkpoint, model):
    drawn = ("sample", checkpoint, "--prompt", "hi", "--max-tokens", "8", "--temperature", "1.5")
    seeded = run_cli(capsys, *drawn, "--count", "5", "--sampling-seed", "1")
    assert seeded[0] == 0
    assert len([line for line in seeded[1].splitlines() if not set(line) <= {"─"}]) == 5
    assert run_cli(capsys, *drawn, "--count", "5", "--sampling-seed", "1") == seeded
    assert run_cli(capsys, *drawn, "--count", "5", "--sampling-seed", "2") != seeded
    (greedy,) = generate_plain(model, BYTES, [render_prompt([Message("user", "hi")], BYTES)], GREEDY)
    assert run_cli(capsys, *drawn[:-1], "0") == (0, greedy.text + "\n", "")


def test_samples_of_a_text_model_go_on_with_the_text(capsys, save, model):
    folder = save(model, kind="text")
    greedy = ("sample", folder, "--max-tokens", "8", "--temperature", "0")
    code, out, _ = run_cli(capsys, *greedy, "--prompt", "once upon")
    assert code == 0
    ids = [BYTES.special["<|bos|>"], *b"once upon"]
    assert out == generate_plain(model, BYTES, [ids], GREEDY)[0].text + "\n"
    assert run_cli(capsys, *greedy)[0] == 0


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--prompt", "x" * 300), "a prompt of 304 tokens leaves no room in the model's context of 200; shorten it\n"),
        (("--count", "0"), "--count 0 is out of range; expected 1 or more\n"),
        (("--top-p", "3"), "--top-p 3.0 is out of range; expected 1e-09 to 1\n"),
        (("--sampling-seed", "-4"), "--sampling-seed -4 is out of range"),
    ],
)
def test_samples_that_cannot_be(capsys, checkpoint, options, words):
    code, out, err = run_cli(capsys, "sample", checkpoint, *options)
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert err.startswith(words)
