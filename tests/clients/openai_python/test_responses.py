"""The Responses API as the OpenAI SDK for Python uses it, in both lanes."""

import json

import openai
import pydantic
import pytest

SONNET, QWEN = "claude-sonnet-4-6", "qwen.qwen3-coder-480b-a35b-v1:0"
LANES = pytest.mark.parametrize("model", [SONNET, QWEN])

WEATHER = {
    "type": "function",
    "name": "get_weather",
    "description": "The weather in a city.",
    "parameters": {
        "type": "object",
        "properties": {"city": {"type": "string"}},
        "required": ["city"],
        "additionalProperties": False,
    },
    "strict": True,
}


def ask(client, model, said="Hello", **more):
    return client.responses.create(**{"model": model, "input": said, **more})


@LANES
def test_a_plain_string_is_answered(client, model):
    made = ask(client, model, "Reply with exactly: pong", instructions="You are terse.", max_output_tokens=100)
    assert made.output_text == "pong"
    assert (made.object, made.status, made.model) == ("response", "completed", model)
    assert made.id.startswith("resp_")
    assert made.usage.input_tokens > 0 and made.usage.total_tokens == made.usage.input_tokens + made.usage.output_tokens
    assert made.usage.output_tokens_details.reasoning_tokens == 0
    assert made.usage.input_tokens_details.cached_tokens == 0


@LANES
def test_items_and_roles_arrive(client, model):
    items = [
        {"role": "developer", "content": "You are terse."},
        {"role": "user", "content": [{"type": "input_text", "text": "My name is Ada."}]},
        {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "Hello Ada."}]},
        {"role": "user", "content": "Reply with exactly: Ada"},
    ]
    assert ask(client, model, items).output_text == "Ada"


@LANES
def test_the_stream_helper_collects_the_same_response(client, model):
    with client.responses.stream(model=model, input="sim:words=40") as stream:
        events = list(stream)
        final = stream.get_final_response()
    kinds = [event.type for event in events]
    assert kinds[:2] == ["response.created", "response.in_progress"] and kinds[-1] == "response.completed"
    assert [event.sequence_number for event in events if hasattr(event, "sequence_number")] == list(range(len(events)))
    deltas = [event.delta for event in events if event.type == "response.output_text.delta"]
    assert len(deltas) == 40
    assert "".join(deltas) == final.output_text
    assert final.usage.output_tokens > 10


@LANES
def test_a_tool_makes_the_round_trip(client, model):
    said = [{"role": "user", "content": 'call get_weather with {"city":"Oslo"} and call get_weather with {"city":"Zürich"}'}]
    first = ask(client, model, said, tools=[WEATHER], store=False)
    calls = [item for item in first.output if item.type == "function_call"]
    assert [json.loads(call.arguments)["city"] for call in calls] == ["Oslo", "Zürich"]
    results = [{"type": "function_call_output", "call_id": call.call_id, "output": f"{json.loads(call.arguments)['city']}: 3"} for call in calls]
    second = ask(client, model, [*said, *[item.model_dump(exclude_none=True) for item in first.output], *results], tools=[WEATHER], store=False)
    assert "Zürich: 3" in second.output_text


@LANES
def test_a_streamed_call_is_put_together(client, model):
    events = list(ask(client, model, 'call get_weather with {"city":"Zürich"}', tools=[WEATHER], stream=True))
    done = [event for event in events if event.type == "response.function_call_arguments.done"]
    assert [json.loads(event.arguments) for event in done] == [{"city": "Zürich"}]
    pieces = "".join(event.delta for event in events if event.type == "response.function_call_arguments.delta")
    assert pieces == done[0].arguments
    completed = events[-1].response
    (call,) = [item for item in completed.output if item.type == "function_call"]
    assert call.id == done[0].item_id and call.name == "get_weather"


@LANES
def test_a_freeform_tool_gets_and_gives_raw_text(client, model):
    patch = {"type": "custom", "name": "apply_patch", "description": "Applies a patch.", "format": {"type": "grammar", "syntax": "lark", "definition": "start: /.+/"}}
    said = [{"role": "user", "content": 'call apply_patch with {"input":"*** Begin Patch"}'}]
    first = ask(client, model, said, tools=[patch], store=False)
    (call,) = [item for item in first.output if item.type == "custom_tool_call"]
    assert (call.name, call.input) == ("apply_patch", "*** Begin Patch")
    result = {"type": "custom_tool_call_output", "call_id": call.call_id, "output": "Done: patched"}
    second = ask(client, model, [*said, call.model_dump(exclude_none=True), result], tools=[patch], store=False)
    assert "Done: patched" in second.output_text


@LANES
def test_a_conversation_goes_on_from_what_is_stored(client, model):
    first = ask(client, model, 'call get_weather with {"city":"Oslo"}', tools=[WEATHER])
    (call,) = [item for item in first.output if item.type == "function_call"]
    result = {"type": "function_call_output", "call_id": call.call_id, "output": "Oslo: 3"}
    second = ask(client, model, [result], tools=[WEATHER], previous_response_id=first.id)
    assert "Oslo: 3" in second.output_text
    assert second.previous_response_id == first.id
    third = ask(client, model, "Reply with exactly: pong", previous_response_id=second.id)
    assert third.output_text == "pong"


@LANES
def test_a_stored_response_is_found_listed_and_deleted(stand, client, model):
    made = ask(client, model, "Reply with exactly: pong")
    found = client.responses.retrieve(made.id)
    assert (found.id, found.output_text, found.status) == (made.id, "pong", "completed")
    items = client.responses.input_items.list(made.id).data
    assert [(item.type, item.role, item.content[0].text) for item in items] == [("message", "user", "Reply with exactly: pong")]
    with pytest.raises(openai.BadRequestError):
        client.responses.cancel(made.id)
    # Nobody else finds it.
    with openai.OpenAI(base_url=stand.url + "/v1", api_key=stand.create_key("eve"), max_retries=0) as stranger:
        for attempt in (lambda: stranger.responses.retrieve(made.id), lambda: stranger.responses.delete(made.id)):
            with pytest.raises(openai.NotFoundError):
                attempt()
        with pytest.raises(openai.NotFoundError):
            ask(stranger, model, "Hello", previous_response_id=made.id)
    client.responses.delete(made.id)
    with pytest.raises(openai.NotFoundError):
        client.responses.retrieve(made.id)


@LANES
def test_what_is_not_to_be_stored_is_not(client, model):
    made = ask(client, model, "Reply with exactly: pong", store=False)
    with pytest.raises(openai.NotFoundError):
        client.responses.retrieve(made.id)


class City(pydantic.BaseModel):
    name: str
    inhabitants: int


@pytest.mark.parametrize("model", [SONNET, "claude-opus-5", QWEN])
def test_parse_returns_what_the_schema_describes(client, model):
    made = client.responses.parse(model=model, input="Which city?", text_format=City)
    assert isinstance(made.output_parsed, City)


def test_reasoning_is_summarised_and_survives_a_tool_loop(client, upstream):
    asked = {"tools": [WEATHER], "store": False, "reasoning": {"effort": "low", "summary": "auto"}, "include": ["reasoning.encrypted_content"]}
    said = [{"role": "user", "content": 'call get_weather with {"city":"Oslo"}'}]
    first = ask(client, SONNET, said, **asked)
    reasoning, call = first.output[0], first.output[-1]
    assert (reasoning.type, call.type) == ("reasoning", "function_call")
    assert reasoning.encrypted_content and reasoning.summary[0].text
    result = {"type": "function_call_output", "call_id": call.call_id, "output": "Oslo: 3"}
    second = ask(client, SONNET, [*said, *[item.model_dump(exclude_none=True) for item in first.output], result], **asked)
    assert "Oslo: 3" in second.output_text
    thought = upstream()[-1].body["messages"][1]["content"][0]
    assert (thought["type"], thought["thinking"]) == ("thinking", reasoning.summary[0].text)
    assert thought["signature"]


@LANES
def test_an_answer_that_was_cut_off_is_incomplete(client, model):
    made = ask(client, model, "sim:words=300", max_output_tokens=16)
    assert made.status == "incomplete"
    assert made.incomplete_details.reason == "max_output_tokens"
    assert made.usage.output_tokens > 0


@LANES
def test_tools_that_nobody_can_run(client, model):
    search = {"type": "web_search", "external_web_access": False}
    assert ask(client, model, "Reply with exactly: pong", tools=[search, WEATHER]).output_text == "pong"
    with pytest.raises(openai.BadRequestError) as raised:
        ask(client, model, tools=[{"type": "code_interpreter", "container": {"type": "auto"}}], tool_choice="required")
    assert "code_interpreter" in raised.value.message


@LANES
def test_background_work_is_refused(client, model):
    with pytest.raises(openai.BadRequestError) as raised:
        ask(client, model, background=True)
    assert raised.value.param == "background"


@LANES
@pytest.mark.parametrize("fault", ["midstream=modelStreamErrorException@6", "reset@6", "truncate@6"])
def test_a_stream_that_fails_says_so(client, model, fault):
    failed = []
    try:
        for event in ask(client, model, f"sim:words=20 sim:{fault}", stream=True):
            failed += [event] if event.type in ("response.failed", "error") else []
            assert event.type != "response.completed"
    except openai.APIError as error:
        failed.append(error)
    assert failed
