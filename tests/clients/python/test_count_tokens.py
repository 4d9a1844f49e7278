"""Counting tokens, which costs nothing and runs nothing."""

import asyncio

import anthropic
import pytest

SONNET, QWEN = "claude-sonnet-4-6", "qwen.qwen3-coder-480b-a35b-v1:0"
LANES = pytest.mark.parametrize("model", [SONNET, "claude-opus-4-5", QWEN])
TOOL = {
    "name": "get_weather",
    "description": "The weather in a city.",
    "input_schema": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
}


def user(content):
    return [{"role": "user", "content": content}]


@LANES
def test_more_is_counted_where_more_is_said(client, upstream, model):
    def count(**asked):
        return client.messages.count_tokens(**{"model": model, "messages": user("foo"), **asked}).input_tokens

    bare = count()
    assert 0 < bare == count(tools=[]), "no tools are no tokens"
    assert bare < count(tools=[TOOL]) and bare < count(system="You are terse.") < count(system="You are terse. " * 50)
    assert all(request.operation == "count-tokens" for request in upstream()), "counting is no inference"


@LANES
def test_many_at_once_are_all_counted(stand, connection, model):
    # As Claude Code asks when it shows what fills its context: once for every tool and section.
    tools = [[]] + [[{**TOOL, "name": f"tool_{index}"}] for index in range(24)]
    lines = stand.log_mark()

    async def counted():
        async with anthropic.AsyncAnthropic(**connection, max_retries=0) as client:
            asked = (client.beta.messages.count_tokens(model=model, messages=user("foo"), tools=each) for each in tools)
            return await asyncio.gather(*asked)

    bare, *rest = [answer.input_tokens for answer in asyncio.run(counted())]
    assert len(rest) == 24 and all(0 < bare < each for each in rest)
    assert [(line["route"], line["status"]) for line in stand.logged(lines)] == [("count_tokens", 200)] * 25
