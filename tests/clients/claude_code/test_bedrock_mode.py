"""Claude Code in its Bedrock mode: it believes that it speaks to AWS, with an Outcrop key."""

import pytest

import stand as stands
import surroundings
from surroundings import QWEN

OPUS, HAIKU = "us.anthropic.claude-opus-5-5", "us.anthropic.claude-haiku-4-5-20251001-v1:0"
# None is Claude Code's own default, a Claude model.
LANES = pytest.mark.parametrize("model", [None, QWEN])
OPERATIONS = {None: "invoke-with-response-stream", QWEN: "converse-stream"}


@pytest.fixture
def front():
    return surroundings.bedrock


def turns(done):
    """What was sent for the conversation. When it starts, Claude Code also tries out three models with a token each."""
    posted = (request for request in done.sent if request.method == "POST")
    return [request for request in posted if request.body.get("max_tokens") != 1]


def failed(done):
    return [line["error"] for line in done.logged if "error" in line]


@LANES
def test_a_prompt_is_answered(claude, model):
    done = claude("Reply with exactly: pong", model=model)
    assert done.text == "pong"
    (sent,) = turns(done)
    assert (sent.model, sent.operation) == (model or OPUS, OPERATIONS[model])
    assert {status for _, status in done.served} == {200}


@LANES
def test_a_tool_makes_the_round_trip(claude, model):
    done = claude("run echo hi from bash", "--allowedTools", "Bash", model=model)
    assert done.text == "The tool answered: hi from bash"
    assert done.answer["num_turns"] == 2
    assert [request.operation for request in turns(done)] == [OPERATIONS[model]] * 2
    assert failed(done) == []


def test_a_profile_of_the_account_is_called_by_its_arn(claude):
    done = claude("run echo hi", "--allowedTools", "Bash", model=stands.PROFILE)
    assert done.text == "The tool answered: hi"
    # Told which model that is, Claude Code asks as that model wants it.
    assert [(request.model, request.operation) for request in turns(done)] == [
        (stands.PROFILE, "invoke-with-response-stream")
    ] * 2
    assert failed(done) == []


def test_a_body_for_claude_is_claude_codes_own(claude):
    done = claude("Reply with exactly: pong")
    (sent,) = turns(done)
    assert sent.body["anthropic_version"] == "bedrock-2023-05-31"
    assert "tool-search-tool-2025-10-19" in sent.body["anthropic_beta"]
    assert sent.body["max_tokens"] == 128_000 and sent.body["thinking"]["display"] == "omitted"
    headers = str(sent.headers)
    assert claude.stand.key not in headers and "claude-code" not in headers, "what the caller's headers said stays here"


def test_haiku_thinks_and_its_thoughts_go_back(claude):
    done = claude("run echo hi", "--allowedTools", "Bash", model=HAIKU)
    assert done.text == "The tool answered: hi"
    assert all(request.body["thinking"]["type"] == "enabled" for request in turns(done))
    assert any(block["type"] == "thinking" for block in turns(done)[-1].body["messages"][-2]["content"])


@LANES
def test_a_session_goes_on(claude, model):
    claude("run echo hi", "--allowedTools", "Bash", model=model)
    done = claude("Reply with exactly: again", "--continue", model=model)
    assert done.text == "again"
    assert "echo hi" in turns(done)[-1].raw.decode(), "the earlier turns are there"


@LANES
def test_throttling_that_ends_is_not_seen(claude, model):
    done = claude("Reply with exactly: pong sim:throttle=2", model=model)
    assert done.text.startswith("pong")
    assert len(turns(done)) == 3
    assert "rate_limit_error" not in failed(done)


@LANES
def test_throttling_that_lasts_is_waited_for(claude, model):
    done = claude("Reply with exactly: pong sim:throttle=4", model=model)
    assert done.text.startswith("pong")
    assert len(turns(done)) == 5
    assert ("bedrock", 429) in done.served


@LANES
@pytest.mark.parametrize("exception", ["throttlingException", "modelStreamErrorException", "internalServerException"])
def test_a_stream_that_fails_is_asked_for_again(claude, model, exception):
    done = claude(f"Reply with exactly: pong sim:midstream={exception}@1", model=model)
    assert done.text.startswith("pong")
    unary = OPERATIONS[model].split("-")[0]
    assert [request.operation for request in turns(done)] == [OPERATIONS[model], unary]


@LANES
def test_usage_is_booked_under_the_key(claude, model):
    made = claude.stand.keys("create", "--user-id", "grace", "--name", "bedrock-mode")
    token = {"AWS_BEARER_TOKEN_BEDROCK": made["key"]}
    done = claude("run echo hi", "--allowedTools", "Bash", model=model, **token)
    booked = claude.stand.usage(made["key_id"], requests=len(done.sent))
    assert booked["requests"] == len(done.sent) and booked["errors"] == 0
    assert booked["unpriced_requests"] == 0 and int(booked["cost_pico_usd"]) > 0
    told = done.answer["usage"]
    lines = [line for line in done.logged if "output_tokens" in line]
    assert booked["output_tokens"] == sum(line["output_tokens"] for line in lines) >= told["output_tokens"] > 0
    read = booked["input_tokens"] + booked["cache_read_tokens"] + booked["cache_write_5m_tokens"]
    names = ("input_tokens", "cache_read_input_tokens", "cache_creation_input_tokens")
    assert read >= sum(told[name] for name in names) > 0


def test_a_key_opens_only_its_models(claude):
    made = claude.stand.keys("create", "--user-id", "grace", "--name", "qwen-only", "--allow-model", "*qwen*")
    token = {"AWS_BEARER_TOKEN_BEDROCK": made["key"]}
    assert claude("Reply with exactly: pong", model=QWEN, **token).text == "pong"
    # Claude Code repeats a 403 for minutes, as if credentials could be refreshed.
    done = claude("Reply with exactly: pong", fails=True, CLAUDE_CODE_MAX_RETRIES="0", **token)
    assert "may not use the model" in done.text and done.sent == []


def test_a_wrong_key_is_told_at_once(claude):
    done = claude("Reply with exactly: pong", fails=True, AWS_BEARER_TOKEN_BEDROCK="sk-outcrop-nobody")
    assert "Invalid API key" in done.text
    assert {status for _, status in done.served} == {401} and done.sent == []
    assert len(done.served) <= 5, "the list, three trials, one question"


def test_the_key_may_come_in_a_header_of_its_own(claude):
    # Without AWS's authentication no models are tried out either.
    done = claude(
        "Reply with exactly: pong",
        AWS_BEARER_TOKEN_BEDROCK="",
        CLAUDE_CODE_SKIP_BEDROCK_AUTH="1",
        ANTHROPIC_CUSTOM_HEADERS=f"x-api-key: {claude.stand.key}",
    )
    assert done.text == "pong"
    assert [request.operation for request in done.sent] == ["invoke-with-response-stream"]


@LANES
def test_the_context_is_counted(claude, model):
    done = claude("/context", model=model)
    assert "Context Usage" in done.text and "System tools" in done.text


@LANES
def test_an_overflow_is_followed_by_compaction(claude, model):
    claude("run echo hi", "--allowedTools", "Bash", model=model)
    told = "Input is too long for requested model."
    claude.stand.tap.answer_next(1, 400, "ValidationException", told, only="stream")
    done = claude("Reply with exactly: onward", "--continue", model=model)
    assert done.text == "onward"
    assert ("bedrock", 400) in done.served
    assert "continued from a previous conversation" in turns(done)[-1].raw.decode()
