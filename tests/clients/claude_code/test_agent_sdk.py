"""The Claude Agent SDK for Python: an agent with a tool of its own."""

import asyncio

import claude_agent_sdk as sdk
import pytest

import surroundings
from surroundings import QWEN


@pytest.mark.parametrize("front", [surroundings.environment, surroundings.bedrock], ids=["messages", "bedrock"])
@pytest.mark.parametrize("model", [None, QWEN])
def test_an_agent_calls_a_custom_tool(stand, binary, tmp_path, upstream, model, front):
    weighed = []

    @sdk.tool("weigh", "Weighs a thing.", {"thing": str})
    async def weigh(arguments):
        weighed.append(arguments["thing"])
        return {"content": [{"type": "text", "text": "42 grams"}]}

    async def run():
        options = sdk.ClaudeAgentOptions(
            mcp_servers={"lab": sdk.create_sdk_mcp_server("lab", tools=[weigh])},
            allowed_tools=["mcp__lab__weigh"],
            cwd=tmp_path,
            cli_path=binary,
            env=front(stand, tmp_path, model, ENABLE_TOOL_SEARCH="false"),
        )
        said = 'call mcp__lab__weigh with {"thing":"egg"}'
        return [message async for message in sdk.query(prompt=said, options=options)]

    result = asyncio.run(run())[-1]
    assert isinstance(result, sdk.ResultMessage) and not result.is_error
    assert weighed == ["egg"]
    assert "42 grams" in result.result
    # In Bedrock mode it also tries out three models, with a token each.
    assert len([request for request in upstream() if request.body.get("max_tokens") != 1]) == 2
