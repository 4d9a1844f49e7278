"""Claude Code without a terminal, in a home directory of its own."""

import json
import os
import subprocess

import pytest

import stand as stands
from surroundings import environment

SECONDS = 120


class Outcome:
    """What one run printed, and what it made the gateway send to Bedrock."""

    def __init__(self, answer, sent, served):
        self.answer, self.sent, self.served = answer, sent, served

    @property
    def text(self):
        return self.answer["result"]


class ClaudeCode:
    def __init__(self, stand, binary, home):
        self.stand, self.binary, self.home = stand, binary, home

    def path(self, name, content):
        """A file in the working directory."""
        path = self.home / name
        path.write_bytes(content)
        return path

    def __call__(self, prompt, *arguments, model=None, stdin="", fails=False, **env):
        mark, lines = self.stand.tap.mark(), len(self.stand.gateway.lines)
        done = subprocess.run(
            [self.binary, "-p", prompt, "--output-format", "json", *arguments],
            cwd=self.home,
            env=environment(self.stand, self.home, model, **env),
            input=stdin,
            capture_output=True,
            text=True,
            timeout=SECONDS,
        )
        assert done.returncode == (1 if fails else 0), done.stdout + done.stderr
        answer = json.loads(done.stdout)
        assert answer["is_error"] is fails, answer
        return Outcome(answer, self.stand.tap.since(mark), self._served(lines))

    def _served(self, lines):
        """The gateway's own log of the requests: route and status, in order."""
        logged = [json.loads(line) for line in self.stand.gateway.lines[lines:] if line.startswith("{")]
        return [(line["route"], line["status"]) for line in logged if line["message"] == "request"]


@pytest.fixture(scope="session")
def binary():
    path = os.environ.get("OUTCROP_CLAUDE_CODE")
    if not path:
        if os.environ.get("CI") == "true":
            raise stands.Missing("OUTCROP_CLAUDE_CODE names no binary of Claude Code")
        pytest.skip("OUTCROP_CLAUDE_CODE names no binary of Claude Code")
    return path


@pytest.fixture
def claude(stand, binary, tmp_path):
    return ClaudeCode(stand, binary, tmp_path)
