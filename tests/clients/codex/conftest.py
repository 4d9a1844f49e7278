"""Codex without a terminal, in a home directory of its own."""

import json
import os
import subprocess

import pytest

import stand as stands

SECONDS = 120

CONFIG = """
model = "{model}"
model_provider = "outcrop"
{more}
[model_providers.outcrop]
name = "Outcrop"
base_url = "{url}/v1"
env_key = "OUTCROP_KEY"
wire_api = "responses"
"""


class Outcome:
    """What one run told, and what it made the gateway send to Bedrock."""

    def __init__(self, events, sent, logged):
        self.events, self.sent, self.logged = events, sent, logged

    def items(self, kind):
        done = [event["item"] for event in self.events if event["type"] == "item.completed"]
        return [item for item in done if item["type"] == kind]

    @property
    def text(self):
        return self.items("agent_message")[-1]["text"]

    @property
    def served(self):
        """Route and status of each request, as the gateway logged them."""
        return [(line["route"], line["status"]) for line in self.logged]


class Codex:
    def __init__(self, stand, binary, home):
        self.stand, self.binary, self.home = stand, binary, home

    def __call__(self, prompt, model, *arguments, fails=False, more=""):
        (self.home / "config.toml").write_text(CONFIG.format(model=model, url=self.stand.url, more=more))
        mark, lines = self.stand.tap.mark(), self.stand.log_mark()
        # The sandbox of its commands needs kernel features that a build machine may lack; the command is harmless.
        free = ["--skip-git-repo-check", "--dangerously-bypass-approvals-and-sandbox", "--json"]
        done = subprocess.run(
            [self.binary, "exec", *free, *arguments, prompt],
            cwd=self.home,
            env={"PATH": os.environ["PATH"], "HOME": str(self.home), "CODEX_HOME": str(self.home), "OUTCROP_KEY": self.stand.key, "NO_PROXY": "127.0.0.1"},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=SECONDS,
        )
        assert (done.returncode != 0) is fails, done.stdout + done.stderr
        events = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
        return Outcome(events, self.stand.tap.since(mark), self.stand.logged(lines))


@pytest.fixture(scope="session")
def binary():
    path = os.environ.get("OUTCROP_CODEX")
    if not path:
        if os.environ.get("CI") == "true":
            raise stands.Missing("OUTCROP_CODEX names no binary of Codex")
        pytest.skip("OUTCROP_CODEX names no binary of Codex")
    return path


@pytest.fixture
def codex(stand, binary, tmp_path):
    return Codex(stand, binary, tmp_path)
