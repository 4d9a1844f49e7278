"""Codex works a task to its end, in both lanes."""

import json

import pytest

GPT_OSS, QWEN, SONNET = "openai.gpt-oss-120b-1:0", "qwen.qwen3-coder-480b-a35b-v1:0", "claude-sonnet-4-6"
LANES = pytest.mark.parametrize("model", [GPT_OSS, QWEN, SONNET])
OPERATIONS = {GPT_OSS: "converse-stream", QWEN: "converse-stream", SONNET: "invoke-with-response-stream"}


@LANES
def test_an_answer(codex, model):
    run = codex("Reply with exactly: pong", model)
    assert run.text == "pong"
    assert run.served == [("responses", 200)]
    assert [request.operation for request in run.sent] == [OPERATIONS[model]]


@LANES
def test_a_command_is_run_and_its_output_is_read(codex, model):
    run = codex('call exec_command with {"cmd":"echo coral | tr a-z A-Z"}', model)
    (command,) = run.items("command_execution")
    assert (command["exit_code"], command["aggregated_output"].strip()) == (0, "CORAL")
    assert "CORAL" in run.text
    assert run.served == [("responses", 200)] * 2
    # The second turn brings the call and what came of it.
    assert "CORAL" in json.dumps(run.sent[-1].body["messages"])


def test_a_thought_survives_the_loop(codex):
    run = codex('call exec_command with {"cmd":"echo reef"}', SONNET, more='model_reasoning_effort = "low"')
    assert "reef" in run.text
    turn = next(turn for turn in run.sent[-1].body["messages"] if turn["role"] == "assistant")
    assert [block["type"] for block in turn["content"]][:2] == ["thinking", "tool_use"]
    assert turn["content"][0]["signature"]


@LANES
def test_throttling_is_survived(codex, model):
    assert codex("Reply with: still here sim:throttle=2", model).text.startswith("still here")


def test_a_model_that_is_unknown_ends_it_with_a_clear_word(codex):
    run = codex("Hello", "no-such-model", fails=True)
    assert "model identifier is invalid" in json.dumps(run.events)
    assert run.served == [("responses", 404)]
