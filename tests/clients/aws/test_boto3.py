"""Bedrock's own operations as boto3 uses them, in both lanes."""

import json

import botocore.exceptions
import pytest

SONNET, QWEN = "us.anthropic.claude-sonnet-4-6", "qwen.qwen3-coder-480b-a35b-v1:0"
LANES = pytest.mark.parametrize("model", [SONNET, QWEN])
WEATHER = {
    "toolSpec": {
        "name": "get_weather",
        "description": "The weather in a city.",
        "inputSchema": {"json": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}},
    }
}


def user(text):
    return [{"role": "user", "content": [{"text": text}]}]


def claude(text, **more):
    """A body of InvokeModel for Claude."""
    messages = [{"role": "user", "content": text}]
    return json.dumps({"anthropic_version": "bedrock-2023-05-31", "max_tokens": 200, "messages": messages, **more})


def refused(raised):
    """Code, status and message of an error."""
    answer = raised.value.response
    return answer["Error"]["Code"], answer["ResponseMetadata"]["HTTPStatusCode"], answer["Error"]["Message"]


@LANES
def test_converse_answers(runtime, upstream, model):
    answer = runtime.converse(modelId=model, messages=user("Reply with exactly: pong"), inferenceConfig={"maxTokens": 100})
    assert answer["output"]["message"]["content"] == [{"text": "pong"}]
    assert answer["stopReason"] == "end_turn"
    assert answer["usage"]["inputTokens"] > 0 and answer["usage"]["outputTokens"] > 0
    assert answer["ResponseMetadata"]["RequestId"]
    (sent,) = upstream()
    assert (sent.model, sent.operation) == (model, "converse")


@LANES
def test_converse_stream_answers_event_by_event(runtime, upstream, model):
    asked = {"modelId": model, "messages": user("sim:words=60"), "inferenceConfig": {"maxTokens": 400}}
    events = list(runtime.converse_stream(**asked)["stream"])
    kinds = [next(iter(event)) for event in events]
    assert kinds[0] == "messageStart" and kinds[-2:] == ["messageStop", "metadata"]
    assert kinds.count("contentBlockDelta") == 60
    assert events[-1]["metadata"]["usage"]["outputTokens"] > 10
    assert upstream()[0].operation == "converse-stream"


@LANES
@pytest.mark.parametrize("streamed", [False, True])
def test_a_tool_makes_the_round_trip(runtime, model, streamed):
    turns = user('call get_weather with {"city":"Zürich"}')
    asked = {"modelId": model, "toolConfig": {"tools": [WEATHER]}, "inferenceConfig": {"maxTokens": 200}}
    if streamed:
        message = collected(runtime.converse_stream(messages=turns, **asked)["stream"])
    else:
        message = runtime.converse(messages=turns, **asked)["output"]["message"]
    call = message["content"][-1]["toolUse"]
    assert (call["name"], call["input"]) == ("get_weather", {"city": "Zürich"})
    result = {"toolResult": {"toolUseId": call["toolUseId"], "content": [{"text": "21 degrees"}]}}
    turns += [message, {"role": "user", "content": [result]}]
    answer = runtime.converse(messages=turns, **asked)
    assert "21 degrees" in answer["output"]["message"]["content"][-1]["text"]


def collected(stream):
    """The message of a stream."""
    blocks = {}
    for event in stream:
        if start := event.get("contentBlockStart"):
            blocks[start["contentBlockIndex"]] = {"toolUse": {**start["start"]["toolUse"], "input": ""}}
        elif delta := event.get("contentBlockDelta"):
            block = blocks.setdefault(delta["contentBlockIndex"], {"text": ""})
            if "text" in delta["delta"]:
                block["text"] += delta["delta"]["text"]
            else:
                block["toolUse"]["input"] += delta["delta"]["toolUse"]["input"]
    for block in blocks.values():
        if "toolUse" in block:
            block["toolUse"]["input"] = json.loads(block["toolUse"]["input"])
    return {"role": "assistant", "content": [blocks[index] for index in sorted(blocks)]}


@LANES
def test_invoke_model_answers(runtime, upstream, model):
    answer = runtime.invoke_model(modelId=model, body=claude("Reply with exactly: pong"))
    message = json.loads(answer["body"].read())
    assert message["content"] == [{"type": "text", "text": "pong"}]
    assert (message["type"], message["stop_reason"]) == ("message", "end_turn")
    (sent,) = upstream()
    assert sent.model == model
    assert model == QWEN or sent.raw.decode() == claude("Reply with exactly: pong"), "byte for byte"


@LANES
def test_invoke_model_with_response_stream_answers_event_by_event(runtime, model):
    answer = runtime.invoke_model_with_response_stream(modelId=model, body=claude("Reply with exactly: pong"))
    events = [json.loads(event["chunk"]["bytes"]) for event in answer["body"]]
    kinds = [event["type"] for event in events if event["type"] != "content_block_delta"]
    assert kinds == ["message_start", "content_block_start", "content_block_stop", "message_delta", "message_stop"]
    assert "".join(event["delta"]["text"] for event in events if event["type"] == "content_block_delta") == "pong"


def test_a_model_of_another_format_is_invoked_in_its_own(runtime, upstream):
    body = json.dumps({"inputText": "Hello", "dimensions": 256})
    answer = json.loads(runtime.invoke_model(modelId="amazon.titan-embed-text-v2:0", body=body)["body"].read())
    assert len(answer["embedding"]) == 256
    assert upstream()[0].raw.decode() == body


def test_tokens_are_counted(runtime, upstream):
    for asked in ({"converse": {"messages": user("Hello there")}}, {"invokeModel": {"body": claude("Hello there")}}):
        assert runtime.count_tokens(modelId=SONNET, input=asked)["inputTokens"] > 0
    assert [sent.operation for sent in upstream()] == ["count-tokens"] * 2


@LANES
@pytest.mark.unjudged
def test_a_field_that_does_not_fit_is_refused(runtime, model):
    with pytest.raises(runtime.exceptions.ValidationException) as raised:
        runtime.converse(modelId=model, messages=user(""))
    assert refused(raised)[:2] == ("ValidationException", 400)


def test_a_name_that_bedrock_does_not_know_is_refused(runtime):
    with pytest.raises(runtime.exceptions.ValidationException, match="model identifier is invalid"):
        runtime.converse(modelId="nobody.nothing-v1:0", messages=user("Hello"))


@LANES
def test_throttling_has_its_class(runtime, model):
    with pytest.raises(runtime.exceptions.ThrottlingException) as raised:
        runtime.converse(modelId=model, messages=user("sim:throttle"))
    assert refused(raised)[1] == 429


@LANES
def test_throttling_that_ends_is_not_seen(runtime, upstream, model):
    runtime.converse(modelId=model, messages=user("sim:throttle=2"))
    assert len(upstream()) == 3


@LANES
@pytest.mark.parametrize("fault", ["throttlingException", "modelStreamErrorException", "internalServerException"])
def test_a_stream_that_fails_ends_with_the_exception(runtime, model, fault):
    stream = runtime.converse_stream(modelId=model, messages=user(f"sim:words=20 sim:midstream={fault}@6"))["stream"]
    with pytest.raises(botocore.exceptions.EventStreamError) as raised:
        list(stream)
    assert raised.value.response["Error"]["Code"] == fault


def test_a_key_opens_only_its_models(stand, connect, upstream):
    key = stand.keys("create", "--user-id", "bob", "--name", "qwen-only", "--allow-model", "*qwen*")["key"]
    runtime = connect("bedrock-runtime", key)
    runtime.converse(modelId=QWEN, messages=user("Hello"))
    for ask in (runtime.converse, runtime.converse_stream):
        with pytest.raises(runtime.exceptions.AccessDeniedException) as raised:
            ask(modelId=SONNET, messages=user("Hello"))
        assert refused(raised)[1] == 403
    assert [sent.model for sent in upstream()] == [QWEN]
    listed = connect("bedrock", key).list_inference_profiles()["inferenceProfileSummaries"]
    assert all("qwen" in profile["inferenceProfileId"] for profile in listed)


# Signed requests come with credentials of AWS, which say nothing about a key of ours.
@pytest.mark.parametrize(("key", "status"), [("sk-outcrop-nobody", 401), (None, 403)], ids=["wrong", "signed"])
def test_who_has_no_key_is_told_so(connect, upstream, key, status):
    runtime, control = connect("bedrock-runtime", key), connect("bedrock", key)
    for ask in (
        lambda: runtime.converse(modelId=SONNET, messages=user("Hello")),
        lambda: runtime.invoke_model_with_response_stream(modelId=SONNET, body=claude("Hello")),
        control.list_inference_profiles,
    ):
        with pytest.raises(botocore.exceptions.ClientError) as raised:
            ask()
        assert refused(raised)[:2] == ("UnrecognizedClientException", status)
    assert upstream() == []


def test_a_wrong_key_is_not_tried_again(stand, connect):
    lines = stand.log_mark()
    runtime = connect("bedrock-runtime", "sk-outcrop-nobody", retries=3)
    with pytest.raises(botocore.exceptions.ClientError):
        runtime.converse(modelId=SONNET, messages=user("Hello"))
    assert len(stand.logged(lines)) == 1


def test_profiles_are_listed_page_by_page_and_found_by_name(connect):
    control = connect("bedrock")
    pages = control.get_paginator("list_inference_profiles").paginate(
        typeEquals="SYSTEM_DEFINED", PaginationConfig={"PageSize": 10}
    )
    listed = [page["inferenceProfileSummaries"] for page in pages]
    assert len(listed) > 1 and all(len(page) == 10 for page in listed[:-1])
    ids = [profile["inferenceProfileId"] for page in listed for profile in page]
    assert SONNET in ids and len(set(ids)) == len(ids)
    arn = f"arn:aws:bedrock:us-east-1:123456789012:inference-profile/{SONNET}"
    for name in (SONNET, arn):
        found = control.get_inference_profile(inferenceProfileIdentifier=name)
        assert (found["inferenceProfileId"], found["status"]) == (SONNET, "ACTIVE")
    with pytest.raises(control.exceptions.ResourceNotFoundException):
        control.get_inference_profile(inferenceProfileIdentifier="us.nobody")


@LANES
def test_usage_is_booked_under_the_key(stand, connect, model):
    made = stand.keys("create", "--user-id", "bob", "--name", "boto3")
    runtime = connect("bedrock-runtime", made["key"])
    whole = runtime.converse(modelId=model, messages=user("Hello"))["usage"]
    *_, last = runtime.converse_stream(modelId=model, messages=user("Hello"))["stream"]
    booked = stand.usage(made["key_id"], requests=2)
    for name, told in (("input_tokens", "inputTokens"), ("output_tokens", "outputTokens")):
        assert booked[name] == whole[told] + last["metadata"]["usage"][told]
