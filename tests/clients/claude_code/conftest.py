"""Claude Code without a terminal, in a home directory of its own."""

import json
import os
import subprocess

import pytest

import stand as stands
import surroundings

SECONDS = 120


class Outcome:
    """What one run printed, and what it made the gateway send to Bedrock."""

    def __init__(self, answer, sent, logged):
        self.answer, self.sent, self.logged = answer, sent, logged

    @property
    def text(self):
        return self.answer["result"]

    @property
    def served(self):
        """Route and status of each request, as the gateway logged them."""
        return [(line["route"], line["status"]) for line in self.logged]


class ClaudeCode:
    def __init__(self, stand, binary, home, front):
        self.stand, self.binary, self.home, self.front = stand, binary, home, front

    def path(self, name, content):
        """A file in the working directory."""
        path = self.home / name
        path.write_bytes(content)
        return path

    def __call__(self, prompt, *arguments, model=None, stdin="", fails=False, **env):
        mark, lines = self.stand.tap.mark(), self.stand.log_mark()
        done = subprocess.run(
            [self.binary, "-p", prompt, "--output-format", "json", *arguments],
            cwd=self.home,
            env=self.front(self.stand, self.home, model, **env),
            input=stdin,
            capture_output=True,
            text=True,
            timeout=SECONDS,
        )
        assert done.returncode == (1 if fails else 0), done.stdout + done.stderr
        answer = json.loads(done.stdout)
        assert answer["is_error"] is fails, answer
        return Outcome(answer, self.stand.tap.since(mark), self.stand.logged(lines))


def named_by(variable):
    path = os.environ.get(variable)
    if not path:
        if os.environ.get("CI") == "true":
            raise stands.Missing(f"{variable} names no binary of Claude Code")
        pytest.skip(f"{variable} names no binary of Claude Code")
    return path


@pytest.fixture(scope="session")
def binary():
    return named_by("OUTCROP_CLAUDE_CODE")


@pytest.fixture(scope="session")
def older_binary():
    return named_by("OUTCROP_CLAUDE_CODE_OLDER")


@pytest.fixture
def front():
    """How Claude Code is pointed at the gateway; modules have their own."""
    return surroundings.environment


@pytest.fixture
def claude(stand, binary, tmp_path, front):
    return ClaudeCode(stand, binary, tmp_path, front)


@pytest.fixture
def older_claude(stand, older_binary, tmp_path, front):
    return ClaudeCode(stand, older_binary, tmp_path, front)
