"""What goes wrong, and the classes that the OpenAI SDK makes of it."""

import time

import openai
import pytest

SONNET, QWEN = "claude-sonnet-4-6", "qwen.qwen3-coder-480b-a35b-v1:0"
LANES = pytest.mark.parametrize("model", [SONNET, QWEN])


def user(content):
    return [{"role": "user", "content": content}]


def chat(client, model, said="Hello", **more):
    return client.chat.completions.create(**{"model": model, "messages": user(said), **more})


def responses(client, model, said="Hello", **more):
    return client.responses.create(**{"model": model, "input": said, **more})


ENDPOINTS = pytest.mark.parametrize("ask", [chat, responses])


def with_key(stand, key):
    return openai.OpenAI(base_url=stand.url + "/v1", api_key=key, max_retries=0)


@ENDPOINTS
def test_an_unknown_key_is_refused(stand, upstream, ask):
    with with_key(stand, "sk-nobody") as client, pytest.raises(openai.AuthenticationError) as raised:
        ask(client, SONNET)
    error = raised.value
    assert (error.code, error.type, error.param) == ("invalid_api_key", "invalid_request_error", None)
    assert error.request_id == error.response.headers["x-request-id"]
    assert upstream() == []


@ENDPOINTS
def test_an_unknown_model_is_not_found(client, ask):
    with pytest.raises(openai.NotFoundError) as raised:
        ask(client, "no-such-model")
    assert raised.value.code == "model_not_found"


@ENDPOINTS
def test_a_model_that_the_key_may_not_use_is_refused(stand, ask):
    made = stand.keys("create", "--user-id", "carl", "--name", "few", "--allow-model", "qwen.*")
    with with_key(stand, made["key"]) as client:
        ask(client, QWEN)
        with pytest.raises(openai.PermissionDeniedError) as raised:
            ask(client, SONNET)
    assert raised.value.code == "model_not_allowed"


@ENDPOINTS
@LANES
def test_upstream_throttling_is_a_rate_limit(client, model, ask):
    with pytest.raises(openai.RateLimitError) as raised:
        ask(client, model, "sim:throttle")
    assert raised.value.code == "rate_limit_exceeded"
    assert int(raised.value.response.headers["retry-after"]) >= 1


@ENDPOINTS
@LANES
def test_the_sdks_own_retry_gets_there(stand, model, ask):
    with openai.OpenAI(base_url=stand.url + "/v1", api_key=stand.key, max_retries=3) as client:
        ask(client, model, "sim:throttle=3")


@ENDPOINTS
@LANES
def test_an_upstream_that_is_down_is_a_server_error(client, model, ask):
    with pytest.raises(openai.InternalServerError) as raised:
        ask(client, model, "sim:unavailable")
    assert raised.value.status_code == 503


@ENDPOINTS
def test_limits_of_the_key_are_told_in_headers_and_refused(stand, ask):
    made = stand.keys("create", "--user-id", "dora", "--name", "slow", "--rate-limit", "2")
    with with_key(stand, made["key"]) as client:
        ask(client, QWEN)
        ask(client, QWEN)
        with pytest.raises(openai.RateLimitError) as raised:
            ask(client, QWEN)
    error = raised.value
    assert (error.code, error.type) == ("rate_limit_exceeded", "requests")
    headers = error.response.headers
    assert (headers["x-ratelimit-limit-requests"], headers["x-ratelimit-remaining-requests"]) == ("2", "0")
    assert headers["x-ratelimit-reset-requests"].endswith("s") and int(headers["retry-after"]) >= 1


@ENDPOINTS
def test_a_spent_budget_is_a_quota_and_not_tried_again(stand, ask):
    made = stand.keys("create", "--user-id", "eve", "--name", "poor", "--budget", "0.000001")
    with with_key(stand, made["key"]) as client, pytest.raises(openai.RateLimitError) as raised:
        ask(client, SONNET)
    assert (raised.value.code, raised.value.type) == ("insufficient_quota", "insufficient_quota")
    assert raised.value.response.headers["x-should-retry"] == "false"


@pytest.mark.unjudged
@LANES
@pytest.mark.parametrize(
    ("wrong", "param"),
    [
        ({"n": 2}, "n"),
        ({"logprobs": True}, "logprobs"),
        ({"messages": []}, "messages"),
        ({"messages": [{"role": "robot", "content": "Hello"}]}, "messages"),
        ({"max_completion_tokens": -1}, "max_completion_tokens"),
        ({"extra_body": {"max_tokens": "many"}}, "max_tokens"),
        ({"modalities": ["text", "audio"], "audio": {"voice": "alloy", "format": "wav"}}, ""),
        ({"extra_body": {"web_search_options": {}}}, "web_search_options"),
        ({"messages": [{"role": "tool", "tool_call_id": "nope", "content": "x"}]}, "messages"),
        ({"messages": [{"role": "user", "content": [{"type": "file", "file": {"file_id": "file-1"}}]}]}, "messages"),
    ],
)
def test_a_field_that_does_not_fit_is_named(client, model, wrong, param):
    with pytest.raises(openai.BadRequestError) as raised:
        chat(client, model, **wrong)
    assert raised.value.type == "invalid_request_error"
    assert raised.value.param.startswith(param), raised.value


@ENDPOINTS
@LANES
def test_a_prompt_that_does_not_fit_has_its_code(stand, client, model, ask):
    stand.tap.answer_next(1, 400, "ValidationException", "Input is too long for requested model.")
    with pytest.raises(openai.BadRequestError) as raised:
        ask(client, model)
    assert raised.value.code == "context_length_exceeded"


@LANES
@pytest.mark.parametrize("fault", ["midstream=modelStreamErrorException@6", "reset@6", "truncate@6"])
def test_a_stream_that_fails_in_the_middle_throws(client, model, fault):
    with pytest.raises(openai.APIError):
        list(chat(client, model, f"sim:words=20 sim:{fault}", stream=True))


@LANES
def test_silence_does_not_disturb_the_sdk(client, model):
    chunks = list(chat(client, model, "sim:words=3 sim:slow=300ms", stream=True))
    assert chunks[-1].choices[0].finish_reason == "stop"


def test_every_call_is_booked_once(stand):
    made = stand.keys("create", "--user-id", "fay", "--name", "counted")
    with with_key(stand, made["key"]) as client:
        usages = [chat(client, model).usage for model in (SONNET, QWEN)]
        answered = responses(client, SONNET).usage
        vectors = client.embeddings.create(model="cohere.embed-multilingual-v3", input=["a", "b"]).usage
    booked = stand.usage(made["key_id"], 4)
    assert booked["requests"] == 4
    assert booked["input_tokens"] == sum(usage.prompt_tokens for usage in usages) + answered.input_tokens + vectors.prompt_tokens
    assert booked["output_tokens"] == sum(usage.completion_tokens for usage in usages) + answered.output_tokens


@LANES
def test_a_caller_that_leaves_is_forgotten(stand, client, model):
    stream = chat(client, model, "sim:words=2000 sim:slow=20ms", stream=True)
    next(iter(stream))
    stream.close()
    deadline = time.monotonic() + 20
    while stand.in_flight() > 0:
        assert time.monotonic() < deadline
        time.sleep(0.05)
