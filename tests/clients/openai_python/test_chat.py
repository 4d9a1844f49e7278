"""Chat Completions as the OpenAI SDK for Python uses them, in both lanes."""

import asyncio
import base64
import json
import struct
import zlib

import openai
import pydantic
import pytest

SONNET, OPUS, QWEN, NOVA, GPT_OSS = (
    "claude-sonnet-4-6",
    "claude-opus-4-5",
    "qwen.qwen3-coder-480b-a35b-v1:0",
    "amazon.nova-pro-v1:0",
    "gpt-oss-120b",
)
LANES = pytest.mark.parametrize("model", [SONNET, QWEN])
# The coder model reads text only.
SEEING = pytest.mark.parametrize("model", [SONNET, NOVA])
# By the model itself, and by a tool in either lane.
STRUCTURED = pytest.mark.parametrize("model", [SONNET, "claude-opus-5", QWEN])
OPERATIONS = {SONNET: "invoke", QWEN: "converse"}

WEATHER = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "The weather in a city.",
        "parameters": {
            "type": "object",
            "properties": {"city": {"type": "string"}},
            "required": ["city"],
            "additionalProperties": False,
        },
        "strict": True,
    },
}
TWO_CALLS = 'call get_weather with {"city":"Oslo"} and call get_weather with {"city":"Zürich"}'


def user(content):
    return [{"role": "user", "content": content}]


def ask(client, model, content="Hello", **more):
    return client.chat.completions.create(**{"model": model, "messages": user(content), **more})


def png():
    """A picture of one red pixel, as a data URL."""

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    pixel = zlib.compress(b"\x00\xff\x00\x00")
    header = struct.pack(">IIBBBBB", 1, 1, 8, 2, 0, 0, 0)
    data = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", pixel) + chunk(b"IEND", b"")
    return "data:image/png;base64," + base64.b64encode(data).decode()


@LANES
def test_a_completion_is_answered(client, upstream, model):
    made = ask(client, model, "Reply with exactly: pong", max_completion_tokens=100)
    assert (made.object, made.model) == ("chat.completion", model)
    assert made.id.startswith("chatcmpl-") and made.created > 1_700_000_000
    (choice,) = made.choices
    assert (choice.index, choice.finish_reason) == (0, "stop")
    assert (choice.message.role, choice.message.content, choice.message.tool_calls) == ("assistant", "pong", None)
    usage = made.usage
    assert usage.prompt_tokens > 0 and usage.total_tokens == usage.prompt_tokens + usage.completion_tokens
    assert made._request_id.startswith("req_")
    assert [request.operation for request in upstream()] == [OPERATIONS[model]]


@LANES
def test_instructions_of_either_name_and_earlier_turns_arrive(client, upstream, model):
    for role in ("system", "developer"):
        turns = [
            {"role": role, "content": "You are terse."},
            {"role": "user", "content": "My name is Ada."},
            {"role": "assistant", "content": "Hello Ada."},
            {"role": "user", "content": [{"type": "text", "text": "Reply with exactly: Ada"}]},
        ]
        made = client.chat.completions.create(model=model, messages=turns)
        assert made.choices[0].message.content == "Ada"
        sent = upstream()[-1]
        assert "You are terse." in json.dumps(sent.body["system"])
        assert [turn["role"] for turn in sent.body["messages"]] == ["user", "assistant", "user"]


@LANES
def test_limits_and_stops_end_the_answer(client, model):
    for limit in ({"max_tokens": 5}, {"max_completion_tokens": 5}):
        assert ask(client, model, "sim:words=300", **limit).choices[0].finish_reason == "length"
    for stop in ("three", ["three", "never"]):
        choice = ask(client, model, "Reply with: one two three four", stop=stop).choices[0]
        assert (choice.finish_reason, choice.message.content.strip()) == ("stop", "one two")


@LANES
def test_a_stream_brings_the_same_answer_piece_by_piece(client, upstream, model):
    chunks = list(ask(client, model, "sim:words=60", stream=True, stream_options={"include_usage": True}))
    assert {(chunk.id, chunk.model, chunk.object) for chunk in chunks} == {(chunks[0].id, model, "chat.completion.chunk")}
    assert chunks[0].choices[0].delta.role == "assistant"
    pieces = [chunk.choices[0].delta.content for chunk in chunks if chunk.choices and chunk.choices[0].delta.content]
    assert len(pieces) == 60, "every delta leaves as it comes"
    reasons = [chunk.choices[0].finish_reason for chunk in chunks if chunk.choices and chunk.choices[0].finish_reason]
    assert reasons == ["stop"]
    assert [chunk.choices for chunk in chunks if chunk.usage] == [[]], "usage comes in the last chunk, which has no choice"
    assert chunks[-1].usage.completion_tokens > 10
    assert upstream()[0].operation.endswith("stream")
    whole = ask(client, model, "sim:words=60")
    assert "".join(pieces) == whole.choices[0].message.content


@LANES
def test_usage_is_streamed_only_when_it_is_asked_for(client, model):
    chunks = list(ask(client, model, "Reply with exactly: pong", stream=True))
    assert all(chunk.usage is None and chunk.choices for chunk in chunks)


@LANES
def test_the_stream_helper_collects_the_completion(client, model):
    with client.chat.completions.stream(model=model, messages=user(TWO_CALLS), tools=[WEATHER]) as stream:
        kinds = {event.type for event in stream}
        made = stream.get_final_completion()
    assert {"chunk", "tool_calls.function.arguments.delta", "tool_calls.function.arguments.done"} <= kinds
    calls = made.choices[0].message.tool_calls
    assert [call.function.parsed_arguments["city"] for call in calls] == ["Oslo", "Zürich"]


@LANES
def test_tools_make_the_round_trip_two_at_once(client, model):
    first = ask(client, model, TWO_CALLS, tools=[WEATHER])
    (choice,) = first.choices
    assert choice.finish_reason == "tool_calls"
    calls = choice.message.tool_calls
    assert [json.loads(call.function.arguments) for call in calls] == [{"city": "Oslo"}, {"city": "Zürich"}]
    assert len({call.id for call in calls}) == 2
    results = [{"role": "tool", "tool_call_id": call.id, "content": f"{json.loads(call.function.arguments)['city']}: 3"} for call in calls]
    turns = [*user(TWO_CALLS), choice.message.model_dump(exclude_none=True), *results]
    second = client.chat.completions.create(model=model, messages=turns, tools=[WEATHER])
    assert "Zürich: 3" in second.choices[0].message.content
    assert second.choices[0].finish_reason == "stop"


@LANES
def test_streamed_calls_are_told_by_their_index(client, model):
    chunks = list(ask(client, model, TWO_CALLS, tools=[WEATHER], stream=True))
    parts = [part for chunk in chunks if chunk.choices for part in chunk.choices[0].delta.tool_calls or []]
    named = [part for part in parts if part.id]
    assert [(part.index, part.function.name) for part in named] == [(0, "get_weather"), (1, "get_weather")]
    for index, city in enumerate(["Oslo", "Zürich"]):
        arguments = "".join(part.function.arguments or "" for part in parts if part.index == index)
        assert json.loads(arguments) == {"city": city}
    assert chunks[-1].choices[0].finish_reason == "tool_calls"


@LANES
def test_a_tool_can_be_forced_and_forbidden(client, upstream, model):
    named = {"type": "function", "function": {"name": "get_weather"}}
    for choice in ("required", named):
        made = ask(client, model, "Hello", tools=[WEATHER], tool_choice=choice, parallel_tool_calls=False)
        assert [call.function.name for call in made.choices[0].message.tool_calls] == ["get_weather"]
    forbidden = ask(client, model, 'call get_weather with {"city":"Oslo"}', tools=[WEATHER], tool_choice="none")
    assert not forbidden.choices[0].message.tool_calls
    assert len(upstream()) == 3


@SEEING
def test_a_picture_is_taken(client, model):
    parts = [{"type": "image_url", "image_url": {"url": png(), "detail": "low"}}, {"type": "text", "text": "Reply with exactly: red"}]
    assert ask(client, model, parts).choices[0].message.content == "red"


def test_a_file_is_taken(client, upstream):
    data = "data:application/pdf;base64," + base64.b64encode(b"%PDF-1.4\n%%EOF\n").decode()
    parts = [{"type": "file", "file": {"filename": "John's report.pdf", "file_data": data}}, {"type": "text", "text": "Reply with exactly: read"}]
    assert ask(client, SONNET, parts).choices[0].message.content == "read"
    assert upstream()[0].body["messages"][0]["content"][0]["type"] == "document"


class City(pydantic.BaseModel):
    name: str
    inhabitants: int


@STRUCTURED
def test_parse_returns_what_the_schema_describes(client, model):
    made = client.chat.completions.parse(model=model, messages=user("Which city?"), response_format=City)
    assert isinstance(made.choices[0].message.parsed, City)
    assert made.choices[0].finish_reason == "stop"


@LANES
def test_a_json_object_is_json(client, model):
    made = ask(client, model, "Reply with a city as JSON.", response_format={"type": "json_object"})
    assert isinstance(made.choices[0].message.content, str)


def test_reasoning_is_shown_and_signed_thoughts_survive_a_tool_loop(client, upstream):
    asked = {"model": SONNET, "tools": [WEATHER], "reasoning_effort": "low", "max_completion_tokens": 4000}
    said = user('call get_weather with {"city":"Oslo"}')
    first = client.chat.completions.create(messages=said, **asked)
    message = first.choices[0].message
    assert message.reasoning_content
    assert first.choices[0].finish_reason == "tool_calls"
    (call,) = message.tool_calls
    # What clients send back of a message: all of it.
    turns = [*said, message.model_dump(exclude_none=True), {"role": "tool", "tool_call_id": call.id, "content": "Oslo: 3"}]
    second = client.chat.completions.create(messages=turns, **asked)
    assert "Oslo: 3" in second.choices[0].message.content
    thought = upstream()[-1].body["messages"][1]["content"][0]
    assert (thought["type"], thought["thinking"]) == ("thinking", message.reasoning_content)
    assert thought["signature"]


def test_streamed_reasoning_comes_before_the_text(client):
    chunks = list(ask(client, SONNET, "Reply with exactly: pong", stream=True, reasoning_effort="low", max_completion_tokens=4000))
    deltas = [chunk.choices[0].delta for chunk in chunks if chunk.choices]
    thoughts = [index for index, delta in enumerate(deltas) if getattr(delta, "reasoning_content", None)]
    texts = [index for index, delta in enumerate(deltas) if delta.content]
    assert thoughts and texts and max(thoughts) < min(texts)


def test_an_open_model_reasons_too(client):
    made = ask(client, GPT_OSS, "Reply with exactly: pong", reasoning_effort="high", max_completion_tokens=4000)
    assert made.choices[0].message.content == "pong"
    assert made.choices[0].message.reasoning_content


@LANES
def test_a_message_that_was_cached_says_so(client, model):
    parts = [{"type": "text", "text": "reef " * 3000, "cache_control": {"type": "ephemeral"}}, {"type": "text", "text": "Hello"}]
    usages = [ask(client, model, parts).usage for _ in range(2)]
    for usage in usages:
        assert usage.prompt_tokens >= 3000
        assert (usage.prompt_tokens_details.cached_tokens or 0) <= usage.prompt_tokens
    if model == SONNET:
        assert usages[1].prompt_tokens_details.cached_tokens > 1000


@LANES
def test_many_at_once(connection, model):
    async def all_of_them():
        async with openai.AsyncOpenAI(**connection, max_retries=0) as client:
            asked = [
                client.chat.completions.create(model=model, messages=user(f"Reply with exactly: n{number}"))
                for number in range(32)
            ]
            return [made.choices[0].message.content for made in await asyncio.gather(*asked)]

    assert asyncio.run(all_of_them()) == [f"n{number}" for number in range(32)]


@LANES
def test_parameters_that_clients_always_send_do_no_harm(client, model):
    made = ask(
        client,
        model,
        "Reply with exactly: pong",
        n=1,
        temperature=1.7,
        presence_penalty=0,
        frequency_penalty=0,
        logit_bias={},
        seed=7,
        store=False,
        user="ada",
        metadata={"team": "reef"},
        service_tier="auto",
        logprobs=False,
        verbosity="low",
        prompt_cache_key="k",
        safety_identifier="s",
    )
    assert made.choices[0].message.content == "pong"
