"""The Messages API as the Anthropic SDK for Python uses it, in both lanes."""

import asyncio
import base64
import json
import struct
import zlib

import anthropic
import pydantic
import pytest

SONNET, OPUS, QWEN, NOVA = (
    "claude-sonnet-4-6",
    "claude-opus-4-5",
    "qwen.qwen3-coder-480b-a35b-v1:0",
    "amazon.nova-pro-v1:0",
)
LANES = pytest.mark.parametrize("model", [SONNET, OPUS, QWEN])
# Models that see; the coder model reads text only.
SEEING = pytest.mark.parametrize("model", [SONNET, OPUS, NOVA])
# By the model itself, and by a tool in either lane.
STRUCTURED = pytest.mark.parametrize("model", [SONNET, "claude-opus-5", QWEN])
OPERATIONS = {SONNET: "invoke", OPUS: "invoke", QWEN: "converse", NOVA: "converse"}

WEATHER = {
    "name": "get_weather",
    "description": "The weather in a city.",
    "input_schema": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
}


def text(message):
    return "".join(block.text for block in message.content if block.type == "text")


def user(content):
    return [{"role": "user", "content": content}]


def png():
    """A picture of one red pixel."""

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    pixel = zlib.compress(b"\x00\xff\x00\x00")
    header = struct.pack(">IIBBBBB", 1, 1, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", pixel) + chunk(b"IEND", b"")


PDF = b"""%PDF-1.4
1 0 obj<</Type/Catalog/Pages 2 0 R>>endobj
2 0 obj<</Type/Pages/Kids[3 0 R]/Count 1>>endobj
3 0 obj<</Type/Page/Parent 2 0 R/MediaBox[0 0 72 72]>>endobj
trailer<</Root 1 0 R>>
%%EOF
"""


def source(media_type, data):
    return {"type": "base64", "media_type": media_type, "data": base64.b64encode(data).decode()}


@LANES
def test_a_message_is_answered(client, upstream, model):
    message = client.messages.create(model=model, max_tokens=100, messages=user("Reply with exactly: pong"))
    assert text(message) == "pong"
    assert (message.type, message.role, message.model) == ("message", "assistant", model)
    assert (message.stop_reason, message.stop_sequence) == ("end_turn", None)
    assert message.id.startswith("msg_")
    assert message.usage.input_tokens > 0 and message.usage.output_tokens > 0
    assert message._request_id.startswith("req_")
    assert [request.operation for request in upstream()] == [OPERATIONS[model]]


@LANES
def test_system_and_earlier_turns_arrive(client, upstream, model):
    turns = [
        {"role": "user", "content": "My name is Ada."},
        {"role": "assistant", "content": [{"type": "text", "text": "Hello Ada."}]},
        {"role": "user", "content": [{"type": "text", "text": "Reply with exactly: Ada"}]},
    ]
    system = [{"type": "text", "text": "You are terse.", "cache_control": {"type": "ephemeral"}}]
    message = client.messages.create(model=model, max_tokens=100, system=system, messages=turns)
    assert text(message) == "Ada"
    (sent,) = upstream()
    assert "You are terse." in json.dumps(sent.body["system"])
    assert [turn["role"] for turn in sent.body["messages"]] == ["user", "assistant", "user"]


@LANES
def test_max_tokens_and_stop_sequences_end_the_answer(client, model):
    short = client.messages.create(model=model, max_tokens=5, messages=user("sim:words=300"))
    assert short.stop_reason == "max_tokens"
    stopped = client.messages.create(
        model=model, max_tokens=100, stop_sequences=["three"], messages=user("Reply with: one two three four")
    )
    assert (stopped.stop_reason, text(stopped).strip()) == ("stop_sequence", "one two")


@LANES
def test_the_stream_helper_collects_the_same_message(client, upstream, model):
    with client.messages.stream(model=model, max_tokens=400, messages=user("sim:words=60")) as stream:
        pieces = list(stream.text_stream)
        message = stream.get_final_message()
    assert len(pieces) == 60, "every delta leaves as it comes"
    assert "".join(pieces) == text(message)
    assert (message.stop_reason, message.model) == ("end_turn", model)
    assert message.usage.output_tokens > 10
    assert upstream()[0].operation.endswith("stream")


@LANES
def test_raw_events_come_in_the_order_of_the_protocol(client, model):
    events = list(client.messages.create(model=model, max_tokens=100, stream=True, messages=user("Reply with exactly: pong")))
    kinds = [event.type for event in events if event.type not in ("ping", "content_block_delta")]
    assert kinds == ["message_start", "content_block_start", "content_block_stop", "message_delta", "message_stop"]
    assert events[0].message.usage.input_tokens >= 0
    deltas = [event for event in events if event.type == "content_block_delta"]
    assert "".join(event.delta.text for event in deltas) == "pong"
    final = next(event for event in events if event.type == "message_delta")
    assert final.usage.output_tokens > 0 and final.delta.stop_reason == "end_turn"


@LANES
def test_characters_that_arrive_in_pieces_are_whole(client, model):
    with client.messages.stream(model=model, max_tokens=300, messages=user("Hi sim:utf8")) as stream:
        assert stream.get_final_text().endswith("Grüße 🦀 日本語 ✓")


@LANES
def test_the_async_client_streams_and_answers_at_once(connection, model):
    async def both():
        async with anthropic.AsyncAnthropic(**connection, max_retries=0) as client:

            async def streamed():
                ask = user("Reply with exactly: streamed")
                async with client.messages.stream(model=model, max_tokens=100, messages=ask) as stream:
                    return await stream.get_final_message()

            ask = user("Reply with exactly: whole")
            whole = client.messages.create(model=model, max_tokens=100, messages=ask)
            return await asyncio.gather(whole, streamed(), *(streamed() for _ in range(8)))

    assert [text(message) for message in asyncio.run(both())] == ["whole"] + ["streamed"] * 9


@LANES
@pytest.mark.parametrize("streamed", [False, True])
def test_a_tool_makes_the_round_trip(client, model, streamed):
    def ask(messages):
        arguments = {"model": model, "max_tokens": 200, "tools": [WEATHER], "messages": messages}
        if not streamed:
            return client.messages.create(**arguments)
        with client.messages.stream(**arguments) as stream:
            return stream.get_final_message()

    turns = user('call get_weather with {"city": "Zürich"}')
    first = ask(turns)
    assert first.stop_reason == "tool_use"
    call = next(block for block in first.content if block.type == "tool_use")
    assert (call.name, call.input) == ("get_weather", {"city": "Zürich"})
    turns.append({"role": "assistant", "content": first.content})
    turns += user([{"type": "tool_result", "tool_use_id": call.id, "content": "21 degrees"}])
    second = ask(turns)
    assert second.stop_reason == "end_turn"
    assert "21 degrees" in text(second)


@LANES
def test_parallel_tools_answer_together(client, model):
    said = 'call get_weather with {"city": "Oslo"} and call get_weather with {"city": "Rome"}'
    turns = user(said)
    first = client.messages.create(model=model, max_tokens=200, tools=[WEATHER], messages=turns)
    calls = [block for block in first.content if block.type == "tool_use"]
    assert [call.input["city"] for call in calls] == ["Oslo", "Rome"]
    assert len({call.id for call in calls}) == 2
    results = [{"type": "tool_result", "tool_use_id": call.id, "content": f"{call.input['city']}: 3"} for call in calls]
    turns += [{"role": "assistant", "content": first.content}, *user(results)]
    second = client.messages.create(model=model, max_tokens=200, tools=[WEATHER], messages=turns)
    assert "Rome: 3" in text(second)


@LANES
@pytest.mark.parametrize("choice", [{"type": "any"}, {"type": "tool", "name": "get_weather"}])
def test_a_tool_can_be_forced(client, model, choice):
    message = client.messages.create(
        model=model, max_tokens=200, tools=[WEATHER], tool_choice=choice, messages=user("Good morning")
    )
    assert [block.type for block in message.content] == ["tool_use"]


@LANES
def test_no_tool_is_called_where_none_may(client, model):
    message = client.messages.create(
        model=model,
        max_tokens=200,
        tools=[WEATHER],
        tool_choice={"type": "none"},
        messages=user('call get_weather with {"city": "Oslo"}'),
    )
    assert message.stop_reason == "end_turn"


@SEEING
def test_a_picture_arrives_byte_for_byte(client, upstream, model):
    content = [{"type": "image", "source": source("image/png", png())}, {"type": "text", "text": "Reply with exactly: red"}]
    message = client.messages.create(model=model, max_tokens=100, messages=user(content))
    assert text(message) == "red"
    assert base64.b64encode(png()).decode() in upstream()[0].raw.decode()


@SEEING
def test_a_pdf_arrives_byte_for_byte(client, upstream, model):
    content = [
        {"type": "document", "source": source("application/pdf", PDF), "title": "A (very) small.pdf"},
        {"type": "text", "text": "Reply with exactly: read"},
    ]
    message = client.messages.create(model=model, max_tokens=100, messages=user(content))
    assert text(message) == "read"
    assert base64.b64encode(PDF).decode() in upstream()[0].raw.decode()


@SEEING
def test_a_picture_comes_back_from_a_tool(client, upstream, model):
    tool = {"name": "look", "description": "Looks.", "input_schema": {"type": "object", "properties": {}}}
    turns = user("call look with {}")
    first = client.messages.create(model=model, max_tokens=100, tools=[tool], messages=turns)
    call = first.content[-1]
    result = [{"type": "text", "text": "seen"}, {"type": "image", "source": source("image/png", png())}]
    turns += [
        {"role": "assistant", "content": first.content},
        *user([{"type": "tool_result", "tool_use_id": call.id, "content": result}]),
    ]
    second = client.messages.create(model=model, max_tokens=100, tools=[tool], messages=turns)
    assert "seen" in text(second)
    assert base64.b64encode(png()).decode() in upstream()[-1].raw.decode()


@pytest.mark.parametrize("streamed", [False, True])
@pytest.mark.parametrize(
    ("model", "thinking"),
    [
        (SONNET, {"type": "adaptive"}),
        (SONNET, {"type": "enabled", "budget_tokens": 1024}),
        (OPUS, {"type": "enabled", "budget_tokens": 1024}),
    ],
)
def test_thinking_is_shown_signed_and_taken_back(client, model, thinking, streamed):
    def ask(messages):
        arguments = {"model": model, "max_tokens": 2000, "thinking": thinking, "messages": messages, "tools": [WEATHER]}
        if not streamed:
            return client.messages.create(**arguments)
        with client.messages.stream(**arguments) as stream:
            return stream.get_final_message()

    turns = user('call get_weather with {"city": "Oslo"}')
    first = ask(turns)
    thought = first.content[0]
    assert thought.type == "thinking" and thought.thinking and thought.signature
    call = first.content[-1]
    turns.append({"role": "assistant", "content": first.content})
    turns += user([{"type": "tool_result", "tool_use_id": call.id, "content": "cold"}])
    assert "cold" in text(ask(turns))


def test_redacted_thinking_goes_back_as_it_came(client, upstream):
    asked = {"model": SONNET, "max_tokens": 2000, "thinking": {"type": "adaptive"}}
    turns = user("Hello sim:redacted")
    first = client.messages.create(**asked, messages=turns)
    redacted = first.content[0]
    assert redacted.type == "redacted_thinking" and redacted.data
    turns += [{"role": "assistant", "content": first.content}, *user("And now?")]
    client.messages.create(**asked, messages=turns)
    assert redacted.data in upstream()[-1].raw.decode()


class City(pydantic.BaseModel):
    name: str
    inhabitants: int


@STRUCTURED
def test_an_answer_follows_a_schema(client, model):
    schema = {
        "type": "object",
        "properties": {"name": {"type": "string"}, "inhabitants": {"type": "integer"}},
        "required": ["name", "inhabitants"],
        "additionalProperties": False,
    }
    config = {"format": {"type": "json_schema", "schema": schema}}
    message = client.messages.create(model=model, max_tokens=300, output_config=config, messages=user("Which city?"))
    City.model_validate_json(text(message))


@STRUCTURED
def test_parse_returns_what_the_schema_describes(client, model):
    message = client.messages.parse(model=model, max_tokens=300, output_format=City, messages=user("Which city?"))
    assert isinstance(message.parsed_output, City)


@LANES
def test_the_tool_runner_of_the_helpers_calls_python(client, model):
    called = []

    @anthropic.beta_tool
    def get_weather(city: str) -> str:
        """The weather in a city.

        Args:
            city: Which one.
        """
        called.append(city)
        return f"snow in {city}"

    # The current generation asks for a conversation that the server keeps, and goes on without when told why not.
    ask = user('call get_weather with {"city": "Oslo"}')
    runner = client.beta.messages.tool_runner(model=model, max_tokens=200, tools=[get_weather], messages=ask)
    assert "snow in Oslo" in text(runner.until_done())
    assert called == ["Oslo"]


@LANES
def test_beta_flags_of_any_kind_are_no_hindrance(client, model):
    flags = ["context-management-2025-06-27", "interleaved-thinking-2025-05-14", "nobody-knows-this-2030-01-01"]
    message = client.beta.messages.create(
        model=model, max_tokens=100, betas=flags, messages=user("Reply with exactly: pong")
    )
    assert text(message) == "pong"
