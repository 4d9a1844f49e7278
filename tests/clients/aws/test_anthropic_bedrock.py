"""The Anthropic SDK's own client for Bedrock, which takes the gateway for Bedrock."""

import asyncio

import anthropic
import pytest

SONNET, QWEN = "us.anthropic.claude-sonnet-4-6", "qwen.qwen3-coder-480b-a35b-v1:0"
LANES = pytest.mark.parametrize("model", [SONNET, QWEN])
WEATHER = {
    "name": "get_weather",
    "description": "The weather in a city.",
    "input_schema": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
}


def user(content):
    return [{"role": "user", "content": content}]


def text(message):
    return "".join(block.text for block in message.content if block.type == "text")


@pytest.fixture(scope="session")
def connection(stand):
    # Retries would hide what the gateway answers first.
    return {"base_url": stand.url, "api_key": stand.key, "aws_region": "us-east-1", "max_retries": 0}


@pytest.fixture(scope="session")
def client(connection):
    with anthropic.AnthropicBedrock(**connection) as made:
        yield made


@LANES
def test_a_message_is_answered(client, upstream, model):
    message = client.messages.create(model=model, max_tokens=100, messages=user("Reply with exactly: pong"))
    assert (text(message), message.stop_reason) == ("pong", "end_turn")
    assert message.usage.input_tokens > 0 and message.usage.output_tokens > 0
    (sent,) = upstream()
    assert (sent.model, sent.operation) == (model, "invoke" if model == SONNET else "converse")


@LANES
def test_a_stream_is_collected(client, model):
    with client.messages.stream(model=model, max_tokens=400, messages=user("sim:words=60")) as stream:
        pieces = list(stream.text_stream)
        message = stream.get_final_message()
    assert len(pieces) == 60 and "".join(pieces) == text(message)
    assert message.stop_reason == "end_turn" and message.usage.output_tokens > 10


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
    call = next(block for block in first.content if block.type == "tool_use")
    assert (call.name, call.input) == ("get_weather", {"city": "Zürich"})
    turns.append({"role": "assistant", "content": first.content})
    turns += user([{"type": "tool_result", "tool_use_id": call.id, "content": "21 degrees"}])
    assert "21 degrees" in text(ask(turns))


@LANES
def test_the_async_client_streams_and_answers_at_once(connection, model):
    async def ask(client, said):
        asked = {"model": model, "max_tokens": 100, "messages": user(f"Reply with exactly: {said}")}
        if said == "whole":
            return await client.messages.create(**asked)
        async with client.messages.stream(**asked) as stream:
            return await stream.get_final_message()

    async def all_of(said):
        async with anthropic.AsyncAnthropicBedrock(**connection) as client:
            return await asyncio.gather(*(ask(client, each) for each in said))

    said = ["whole", "streamed"] * 5
    assert [text(message) for message in asyncio.run(all_of(said))] == said


@LANES
def test_beta_flags_of_any_kind_are_no_hindrance(client, model):
    flags = ["interleaved-thinking-2025-05-14", "nobody-knows-this-2030-01-01"]
    message = client.beta.messages.create(
        model=model, max_tokens=100, betas=flags, messages=user("Reply with exactly: pong")
    )
    assert text(message) == "pong"


@LANES
def test_throttling_has_its_class(client, model):
    with pytest.raises(anthropic.RateLimitError):
        client.messages.create(model=model, max_tokens=100, messages=user("sim:throttle"))


@LANES
def test_a_stream_that_fails_raises(client, model):
    said = user("sim:words=20 sim:midstream=throttlingException@6")
    with client.messages.stream(model=model, max_tokens=100, messages=said) as stream:
        with pytest.raises(anthropic.APIStatusError) as raised:
            stream.get_final_message()
    assert raised.value.body["error"]["type"] == "throttlingException"


def test_an_unknown_key_is_refused(connection, upstream):
    with anthropic.AnthropicBedrock(**{**connection, "api_key": "sk-outcrop-nobody"}) as client:
        with pytest.raises(anthropic.AuthenticationError):
            client.messages.create(model=SONNET, max_tokens=5, messages=user("Hello"))
    assert upstream() == []
