"""A chat at a real terminal, by keys."""

import fcntl
import os
import pty
import re
import select
import signal
import subprocess
import sys
import termios
import time

from understudy.data.conversations import read_conversations
from understudy.data.files import Report


class Terminal:
    """A program on a pseudo-terminal."""

    def __init__(self, *command: str):
        self.fd, other = pty.openpty()
        termios.tcsetwinsize(self.fd, (40, 120))
        environment = {**os.environ, "TERM": "xterm", "PROMPT_TOOLKIT_NO_CPR": "1"}
        self.process = subprocess.Popen(
            command, stdin=other, stdout=other, stderr=other, env=environment, start_new_session=True,
            preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),  # so that Ctrl-C reaches it
        )  # fmt: skip
        os.close(other)
        self.shown = ""

    def type(self, keys: str | bytes) -> None:
        self.shown = ""
        os.write(self.fd, keys if isinstance(keys, bytes) else keys.encode())

    def wait_for(self, pattern: str, seconds: float = 600) -> str:
        """What is shown since the last keys, once it matches; escape sequences are left out."""
        end = time.monotonic() + seconds
        while not re.search(pattern, self.text, re.DOTALL):
            assert time.monotonic() < end, f"no {pattern!r} in {self.text!r}"
            if select.select([self.fd], [], [], 0.2)[0]:
                try:
                    self.shown += os.read(self.fd, 65536).decode(errors="replace")
                except OSError:  # the program has ended
                    assert re.search(pattern, self.text, re.DOTALL), f"no {pattern!r} in {self.text!r}"
        return self.text

    @property
    def text(self) -> str:
        return re.sub(r"\x1b(\[[0-9;?]*[a-zA-Z]|[=>])", "", self.shown)

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGKILL)
        self.process.wait()
        os.close(self.fd)


def test_a_session_at_a_terminal(sharp_model, save, tmp_path, monkeypatch):
    endless = save(sharp_model("lstm", context=10**6, says=()), name="endless")  # never ends a reply by itself
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    command = (sys.executable, "-m", "understudy", "chat", endless, "--max-tokens", "100000", "--temperature", "0")
    terminal = Terminal(*command)
    try:
        assert "Talking with endless" in terminal.wait_for("Ctrl-D to leave.*you:")
        terminal.type("hello there\r")
        terminal.wait_for("bot: .{20}")
        assert terminal.process.poll() is None
        terminal.type("\x03")  # Ctrl-C stops the reply, not the chat
        terminal.wait_for(" ….*you:")
        terminal.type("/why\r")
        terminal.wait_for("probability.*'[a-z ]' +[0-9.]+%.*you:")
        terminal.type("/temprature 1\r")
        terminal.wait_for(r"did you mean /temperature\?.*you:")
        terminal.type(b"\xff\xfe\r")
        terminal.wait_for("bot: .{20}")
        terminal.type("\x03")
        terminal.wait_for(" ….*you:")
        terminal.type("/save talk.jsonl\r")
        terminal.wait_for(r"Saved to talk\.jsonl\..*you:")
        terminal.type("not sent\x03")
        terminal.wait_for("you: *not sent.*you:")
        terminal.type("\x04")
        terminal.wait_for("in a browser: understudy serve .*endless")
        assert terminal.process.wait(timeout=600) == 0
    finally:
        terminal.close()
    (talk,) = read_conversations([tmp_path / "talk.jsonl"], Report())
    assert [message.role for message in talk.messages] == ["user", "assistant"] * 2
    history = (tmp_path / "state" / "understudy" / "chat-history").read_text()
    assert "+hello there\n" in history
    assert "+/why\n" in history
    assert not (tmp_path / "home").exists()
