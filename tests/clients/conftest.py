"""What all suites of real clients share: the gateway, the lanes, and a judge of what went upstream."""

import itertools
import os
import pathlib
import subprocess
import sys

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).parent))

import stand as stands  # noqa: E402


@pytest.fixture(scope="session")
def stand():
    try:
        made = stands.Stand()
    except stands.Missing as missing:
        if os.environ.get("CI") == "true":
            raise
        pytest.skip(str(missing))
    yield made
    code = made.stop()
    assert code == 0, f"the gateway ended with {code}:\n{made.gateway.output()}"


@pytest.fixture
def upstream(stand):
    """The requests that the gateway sends during this test."""
    mark = stand.tap.mark()
    return lambda: stand.tap.since(mark)


@pytest.fixture(autouse=True)
def judged(request, stand):
    """After every test: all it sent to Bedrock is what Bedrock takes, and no answer that it ordered is left over."""
    mark = stand.tap.mark()
    yield
    assert stand.tap.pending() == 0, "an answer that the test ordered was never asked for"
    # A request that is wrong on purpose stays wrong where the caller's bytes are passed on.
    requests = [] if request.node.get_closest_marker("unjudged") else stand.tap.since(mark)
    findings = stands.judge(requests) if requests else None
    assert not findings, findings


@pytest.fixture
def simulated(tmp_path):
    """`outcrop-proxy --simulate`, as a newcomer starts it, and a shell to paste what it prints into."""
    try:
        gateway = stands.Child([stands.program("outcrop-proxy"), "--simulate"], tmp_path, {"PORT": "0", "DRAIN_GRACE_SECONDS": "0"})
    except stands.Missing as missing:
        if os.environ.get("CI") == "true":
            raise
        pytest.skip(str(missing))
    try:
        # The last of the lines to paste.
        gateway.wait_for(r"^ +claude -p ")
        yield lambda heading, path, **env: paste(gateway.lines, heading, tmp_path, path, env)
    finally:
        assert gateway.stop() == 0, gateway.output()


def paste(lines, heading, home, path, env):
    """Runs the indented lines that are printed below a heading; what they print."""
    first = next(index for index, line in enumerate(lines) if line.startswith(heading)) + 1
    block = itertools.takewhile(lambda line: not line or line.startswith(" "), lines[first:])
    env = {"PATH": os.pathsep.join([path, os.environ["PATH"]]), "HOME": str(home), **env}
    command = ["bash", "-euc", "\n".join(block)]
    done = subprocess.run(command, env=env, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout
