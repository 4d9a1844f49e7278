"""Claude Code in its gateway mode, and an older version of it, in both lanes."""

import pytest

import surroundings
from surroundings import QWEN

LANES = pytest.mark.parametrize("model", [None, QWEN])


@pytest.mark.parametrize("front", [surroundings.cloud_gateway])
@LANES
def test_gateway_mode_answers_and_calls_tools(claude, model):
    done = claude("run echo hi", "--allowedTools", "Bash", model=model)
    assert done.text == "The tool answered: hi"
    assert done.served == [("messages", 200)] * 2
    assert model or all("context_management" not in request.body for request in done.sent)


@LANES
def test_an_older_version_answers_and_calls_tools(older_claude, model):
    done = older_claude("run echo hi", "--allowedTools", "Bash", model=model)
    assert done.text == "The tool answered: hi"
    assert done.served == [("messages", 200)] * 2


@LANES
def test_an_older_version_compacts_after_an_overflow(older_claude, model):
    older_claude("run echo hi", "--allowedTools", "Bash", model=model)
    told = "Input is too long for requested model."
    older_claude.stand.tap.answer_next(1, 400, "ValidationException", told)
    done = older_claude("Reply with exactly: onward", "--continue", model=model)
    assert done.text == "onward"
    assert "continued from a previous conversation" in done.sent[-1].raw.decode()
