"""Claude Code through the gateway: one test a mode."""

import base64
import json
import pathlib
import struct
import sys
import zlib

import pytest

QWEN = "qwen.qwen3-coder-480b-a35b-v1:0"
NOVA = "amazon.nova-pro-v1:0"
# None is Claude Code's own default, a Claude model.
LANES = pytest.mark.parametrize("model", [None, QWEN])
OPERATIONS = {None: "invoke-with-response-stream", QWEN: "converse-stream", NOVA: "converse-stream"}
THROTTLED = (429, "ThrottlingException", "Too many requests, please wait before trying again.")


def tool_names(request):
    body = request.body
    if "tools" in body:
        return [tool["name"] for tool in body["tools"]]
    return [tool["toolSpec"]["name"] for tool in body["toolConfig"]["tools"] if "toolSpec" in tool]


def png():
    """A picture of one red pixel."""

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", 1, 1, 8, 2, 0, 0, 0)
    pixel = zlib.compress(b"\x00\xff\x00\x00")
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", pixel) + chunk(b"IEND", b"")


PDF = b"""%PDF-1.4
1 0 obj<</Type/Catalog/Pages 2 0 R>>endobj
2 0 obj<</Type/Pages/Kids[3 0 R]/Count 1>>endobj
3 0 obj<</Type/Page/Parent 2 0 R/MediaBox[0 0 72 72]>>endobj
trailer<</Root 1 0 R>>
%%EOF
"""


@LANES
def test_a_prompt_is_answered(claude, model):
    done = claude("Reply with exactly: pong", model=model)
    assert done.text == "pong"
    assert done.answer["usage"]["output_tokens"] > 0
    assert [request.operation for request in done.sent] == [OPERATIONS[model]]
    assert done.served == [("messages", 200)]


@LANES
def test_a_tool_makes_the_round_trip(claude, model):
    done = claude("run echo hi from bash", "--allowedTools", "Bash", model=model)
    assert done.text == "The tool answered: hi from bash"
    assert done.answer["num_turns"] == 2
    assert [request.operation for request in done.sent] == [OPERATIONS[model]] * 2


@LANES
def test_a_failing_tool_is_reported(claude, model):
    done = claude("run echo oh dear; exit 3", "--allowedTools", "Bash", model=model)
    assert "oh dear" in done.text
    assert done.answer["num_turns"] == 2


@LANES
def test_two_tools_run_in_one_turn(claude, model):
    one, two = claude.path("one.txt", b"first"), claude.path("two.txt", b"second")
    done = claude(f"read {one} and read {two}", "--allowedTools", "Read", model=model)
    assert len(done.sent) == 2
    # In the order in which they got ready.
    returned = done.sent[-1].raw.decode()
    assert "\\tfirst" in returned and "\\tsecond" in returned


@LANES
def test_a_session_goes_on(claude, model):
    claude("run echo hi", "--allowedTools", "Bash", model=model)
    done = claude("Reply with exactly: again", "--continue", model=model)
    assert done.text == "again"
    assert "echo hi" in done.sent[-1].raw.decode(), "the earlier turns are there"


@LANES
def test_a_subagent_answers(claude, model):
    call = {"description": "say it", "prompt": "Reply with exactly: fathoms", "subagent_type": "general-purpose"}
    call["run_in_background"] = False
    done = claude(f"call Agent with {json.dumps(call)}", "--allowedTools", "Agent", model=model)
    assert "Subagent hand-back" in done.text
    assert len(done.sent) == 3
    assert done.sent[-1].raw.decode().count("fathoms") == 3, "asked for, called for, handed back"


@pytest.mark.parametrize("by", ["alias", "name"])
def test_opus_is_chosen(claude, by):
    chosen = {"alias": "opus", "name": "claude-opus-4-5"}[by]
    done = claude("run echo hi", "--allowedTools", "Bash", "--model", chosen)
    assert done.text == "The tool answered: hi"
    assert all("claude-opus" in request.model for request in done.sent)


def test_haiku_thinks_within_a_budget(claude):
    done = claude(
        "run echo hi", "--allowedTools", "Bash", model="claude-haiku-4-5", MAX_THINKING_TOKENS="4096"
    )
    assert done.text == "The tool answered: hi"
    thinking = [request.body["thinking"] for request in done.sent]
    assert [(each["type"], each["budget_tokens"]) for each in thinking] == [("enabled", 4096)] * 2
    assert any(block["type"] == "thinking" for block in done.sent[-1].body["messages"][-2]["content"])


def test_the_long_window_is_asked_for(claude):
    done = claude("run echo hi", "--allowedTools", "Bash", model="claude-sonnet-4-6[1m]")
    assert done.text == "The tool answered: hi"
    assert all(request.model.endswith("claude-sonnet-4-6") for request in done.sent)
    assert all("context-1m-2025-08-07" in request.body["anthropic_beta"] for request in done.sent)


@LANES
def test_an_answer_follows_a_schema(claude, model):
    schema = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
    done = claude('call StructuredOutput with {"city":"Oslo"}', "--json-schema", json.dumps(schema), model=model)
    assert done.answer["structured_output"] == {"city": "Oslo"}


@LANES
def test_an_mcp_tool_makes_the_round_trip(claude, model):
    server = {"command": sys.executable, "args": [str(pathlib.Path(__file__).with_name("weigh_server.py"))]}
    config = claude.path("mcp.json", json.dumps({"mcpServers": {"lab": server}}).encode())
    done = claude(
        'call mcp__lab__weigh with {"thing":"egg"}',
        *("--mcp-config", str(config), "--strict-mcp-config", "--allowedTools", "mcp__lab__weigh"),
        model=model,
        ENABLE_TOOL_SEARCH="false",
    )
    assert "egg: 42 grams" in done.text
    assert "mcp__lab__weigh" in tool_names(done.sent[0])


@pytest.mark.parametrize("model", [None, NOVA])
def test_a_picture_is_read(claude, model):
    picture = claude.path("red.png", png())
    done = claude(f"read {picture}", "--allowedTools", "Read", model=model)
    assert done.answer["num_turns"] == 2
    assert base64.b64encode(png()).decode()[:16] in done.sent[-1].raw.decode()


@pytest.mark.parametrize("model", [None, NOVA])
def test_a_pdf_is_read(claude, model):
    document = claude.path("paper.pdf", PDF)
    done = claude(f"read {document}", "--allowedTools", "Read", model=model)
    assert "PDF file read" in done.text
    assert base64.b64encode(PDF).decode() in done.sent[-1].raw.decode()


def test_a_model_that_cannot_see_is_told_what_stood_there(claude):
    picture = claude.path("red.png", png())
    done = claude(f"read {picture}", "--allowedTools", "Read", model=QWEN)
    assert "cannot see" in done.text


@LANES
def test_tools_are_found_by_search(claude, model):
    done = claude('call ToolSearch with {"query":"select:WebFetch"}', model=model)
    before, after = (tool_names(request) for request in done.sent)
    assert "WebFetch" not in before and "WebFetch" in after
    placeholder = "DeferredToolPlaceholder"
    assert model is None or placeholder not in before + after, "only Claude defers tools itself"


@LANES
def test_all_tools_come_along_without_search(claude, model):
    done = claude("run echo hi", "--allowedTools", "Bash", model=model, ENABLE_TOOL_SEARCH="false")
    assert done.text == "The tool answered: hi"
    assert {"WebFetch", "WebSearch", "NotebookEdit"} <= set(tool_names(done.sent[0]))


@LANES
def test_the_context_is_counted(claude, model):
    done = claude("/context", model=model)
    assert "Context Usage" in done.text and "System tools" in done.text
    assert "messages" not in dict(done.served), "counting is no inference"
    assert all(request.operation == "count-tokens" for request in done.sent)


@LANES
def test_it_works_without_experimental_betas(claude, model):
    done = claude(
        "run echo hi", "--allowedTools", "Bash", model=model, CLAUDE_CODE_DISABLE_EXPERIMENTAL_BETAS="1"
    )
    assert done.text == "The tool answered: hi"
    assert all("context_management" not in request.body for request in done.sent)
    assert "WebFetch" in tool_names(done.sent[0]), "no tool is deferred"


@LANES
def test_models_are_discovered(claude, model):
    done = claude("Reply with exactly: pong", model=model, CLAUDE_CODE_ENABLE_GATEWAY_MODEL_DISCOVERY="1")
    assert done.text == "pong"
    assert sorted(done.served) == [("messages", 200), ("models", 200)]


@LANES
def test_a_bearer_token_does_as_well(claude, model):
    token = claude.stand.key
    done = claude("Reply with exactly: pong", model=model, ANTHROPIC_API_KEY="", ANTHROPIC_AUTH_TOKEN=token)
    assert done.text == "pong"


def test_a_wrong_key_is_told_at_once(claude):
    done = claude("Reply with exactly: pong", fails=True, ANTHROPIC_API_KEY="sk-outcrop-nobody")
    assert done.served == [("messages", 401)], "it does not try again"


@LANES
def test_throttling_that_ends_is_not_seen(claude, model):
    claude.stand.tap.answer_next(2, *THROTTLED)
    done = claude("Reply with exactly: pong", model=model)
    assert done.text == "pong"
    assert len(done.sent) == 3
    assert done.served == [("messages", 200)]


@LANES
def test_throttling_that_lasts_is_waited_for(claude, model):
    claude.stand.tap.answer_next(4, *THROTTLED)
    done = claude("Reply with exactly: pong", model=model)
    assert done.text == "pong"
    assert done.served == [("messages", 429), ("messages", 200)]


@LANES
def test_a_stream_that_fails_is_asked_for_again(claude, model):
    done = claude("Reply with exactly: pong sim:midstream=internalServerException@1", model=model)
    assert done.text.startswith("pong")
    assert [request.operation for request in done.sent] == [OPERATIONS[model], OPERATIONS[model].split("-")[0]]


@pytest.mark.parametrize(
    ("model", "told"),
    [
        (None, "prompt is too long: 1208310 tokens > 1000000 maximum"),
        (None, "Input is too long for requested model."),
        (QWEN, "The model returned the following errors: Input is too long for requested model."),
    ],
)
def test_an_overflow_is_followed_by_compaction(claude, model, told):
    claude("run echo hi", "--allowedTools", "Bash", model=model)
    claude.stand.tap.answer_next(1, 400, "ValidationException", told)
    done = claude("Reply with exactly: onward", "--continue", model=model)
    assert done.text == "onward"
    assert done.served[0] == ("messages", 400)
    assert "continued from a previous conversation" in done.sent[-1].raw.decode()


def test_a_real_overflow_is_compacted_away(claude):
    text = "lorem ipsum dolor sit amet " * 22_000
    claude("Keep this.", model="claude-haiku-4-5", stdin=text)
    done = claude("And this.", "--continue", model="claude-haiku-4-5", stdin=text)
    assert done.served[0] == ("messages", 400), "two such texts are more than the window"
    assert "continued from a previous conversation" in done.sent[-1].raw.decode()


@LANES
def test_auto_mode_asks_its_classifier_through_the_gateway(claude, model):
    # Nothing listens on port 9, so the command itself fails wherever this runs.
    done = claude("run curl -s http://127.0.0.1:9/", "--permission-mode", "auto", model=model)
    assert "Exit code 7" in done.text, "it was allowed, and ran"
    assert [request.operation for request in done.sent] == [OPERATIONS[model], "invoke", OPERATIONS[model]]
    classifier = done.sent[1]
    assert "claude-sonnet-5" in classifier.model
    assert classifier.body["stop_sequences"] == ["</severity>"]


def test_prompts_can_be_cached_for_an_hour(claude):
    done = claude("run echo hi", "--allowedTools", "Bash", ENABLE_PROMPT_CACHING_1H="1")
    assert done.text == "The tool answered: hi"
    assert all('"ttl":"1h"' in request.raw.decode() for request in done.sent)
    assert done.answer["usage"]["cache_read_input_tokens"] > 0, "the second turn reads what the first wrote"


@LANES
@pytest.mark.parametrize(
    "setting",
    [
        {"ANTHROPIC_BETAS": "nobody-knows-this-2030-01-01"},
        {"CLAUDE_CODE_ENABLE_FINE_GRAINED_TOOL_STREAMING": "1"},
        {"CLAUDE_CODE_DISABLE_THINKING": "1"},
        {"CLAUDE_CODE_EFFORT_LEVEL": "max"},
        {"DISABLE_PROMPT_CACHING": "1"},
    ],
    ids=lambda setting: next(iter(setting)),
)
def test_a_setting_is_no_hindrance(claude, model, setting):
    done = claude("run echo hi", "--allowedTools", "Bash", model=model, **setting)
    assert done.text == "The tool answered: hi"


@LANES
def test_redacted_thinking_goes_back(claude, model):
    done = claude("sim:redacted run echo hi", "--allowedTools", "Bash", model=model)
    assert done.text == "The tool answered: hi"
    returned = '"type":"redacted_thinking"' in done.sent[-1].raw.decode()
    assert returned is (model is None), "only Claude redacts"


@LANES
def test_a_refusal_is_told(claude, model):
    done = claude("sim:stop=refusal Reply with exactly: x", model=model)
    assert "safety classifier" in done.text
