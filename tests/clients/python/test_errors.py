"""What goes wrong, and the classes that the SDK makes of it."""

import json
import socket
import time
import urllib.parse

import anthropic
import pytest

SONNET, QWEN = "claude-sonnet-4-6", "qwen.qwen3-coder-480b-a35b-v1:0"
LANES = pytest.mark.parametrize("model", [SONNET, "claude-opus-4-5", QWEN])


def user(content):
    return [{"role": "user", "content": content}]


def ask(client, model, said="Hello", **more):
    return client.messages.create(**{"model": model, "max_tokens": 100, "messages": user(said), **more})


def envelope(error, kind):
    """The error has the shape that the API documents."""
    assert error.body["type"] == "error"
    assert error.body["error"]["type"] == kind
    assert error.request_id == error.body["request_id"] == error.response.headers["request-id"]
    return error.body["error"]["message"]


def with_key(stand, key):
    return anthropic.Anthropic(base_url=stand.url, api_key=key, max_retries=0)


def test_an_unknown_key_is_refused(stand, upstream):
    with with_key(stand, "sk-outcrop-nobody") as client, pytest.raises(anthropic.AuthenticationError) as raised:
        ask(client, SONNET)
    envelope(raised.value, "authentication_error")
    assert raised.value.response.headers["x-should-retry"] == "false"
    assert upstream() == []


def test_a_revoked_key_is_refused(stand):
    made = stand.keys("create", "--user-id", "bob", "--name", "short-lived")
    with with_key(stand, made["key"]) as client:
        ask(client, SONNET)
        stand.keys("revoke", made["key_id"])
        deadline = time.monotonic() + 20
        with pytest.raises(anthropic.AuthenticationError) as raised:
            while time.monotonic() < deadline:
                ask(client, SONNET)
                time.sleep(0.2)
    envelope(raised.value, "authentication_error")


def test_both_ways_to_present_a_key_work(stand):
    for credentials in ({"api_key": stand.key}, {"auth_token": stand.key}):
        with anthropic.Anthropic(base_url=stand.url, max_retries=0, **credentials) as client:
            assert ask(client, SONNET).content
            both = {"x-api-key": stand.key, "authorization": f"Bearer {stand.key}"}
            assert ask(client, SONNET, extra_headers=both).content
    with anthropic.Anthropic(base_url=stand.url, auth_token="nobody", max_retries=0) as client:
        with pytest.raises(anthropic.AuthenticationError):
            ask(client, SONNET)


def test_a_name_that_bedrock_does_not_know_is_refused(client):
    with pytest.raises(anthropic.APIStatusError) as raised:
        ask(client, "no-such-model")
    assert isinstance(raised.value, (anthropic.NotFoundError, anthropic.BadRequestError))
    kinds = {400: "invalid_request_error", 404: "not_found_error"}
    envelope(raised.value, kinds[raised.value.status_code])


@pytest.mark.unjudged
@LANES
@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ({"max_tokens": -1}, "max_tokens"),
        ({"extra_body": {"max_tokens": None}}, "max_tokens"),
        ({"extra_body": {"max_tokens": "many"}}, "max_tokens"),
        ({"messages": []}, "messages"),
        ({"messages": [{"role": "robot", "content": "Hello"}]}, "messages"),
        ({"messages": [{"role": "user", "content": [{"type": "text"}]}]}, "messages.0.content"),
        ({"messages": [{"role": "user", "content": [{"type": "tool_result", "tool_use_id": "nope", "content": "x"}]}]}, "tool_use"),
    ],
)
def test_a_field_that_does_not_fit_is_named(client, model, wrong, told):
    with pytest.raises(anthropic.BadRequestError) as raised:
        ask(client, model, **wrong)
    assert told in envelope(raised.value, "invalid_request_error")


@LANES
def test_max_tokens_must_be_there(client, model):
    with pytest.raises(anthropic.BadRequestError) as raised:
        client.post("/v1/messages", cast_to=object, body={"model": model, "messages": user("Hello")})
    assert "max_tokens" in envelope(raised.value, "invalid_request_error")


@LANES
@pytest.mark.parametrize(
    ("directive", "status", "kind"),
    [
        ("sim:throttle", 429, "rate_limit_error"),
        ("sim:unavailable", 503, "overloaded_error"),
        ("sim:error=403", 403, "permission_error"),
    ],
)
def test_upstream_refusals_keep_their_class(client, model, directive, status, kind):
    with pytest.raises(anthropic.APIStatusError) as raised:
        ask(client, model, directive)
    assert raised.value.status_code == status
    message = envelope(raised.value, kind)
    assert "arn:aws" not in message and "123456789012" not in message
    if status in (429, 503):
        assert float(raised.value.response.headers["retry-after"]) >= 1


@LANES
def test_throttling_that_ends_is_not_seen(client, stand, upstream, model):
    stand.tap.answer_next(2, 429, "ThrottlingException", "Too many requests, please wait before trying again.")
    assert ask(client, model, "Reply with exactly: pong").content[0].text == "pong"
    assert len(upstream()) == 3
    assert len({request.raw for request in upstream()}) == 1, "a retry sends the same bytes"


@LANES
@pytest.mark.parametrize("exception", ["throttlingException", "modelStreamErrorException", "internalServerException"])
def test_a_failure_in_mid_stream_is_raised(client, model, exception):
    received = []
    with pytest.raises(anthropic.APIStatusError) as raised:
        said = user(f"sim:words=20 sim:midstream={exception}@6")
        with client.messages.stream(model=model, max_tokens=100, messages=said) as stream:
            received += stream.text_stream
    assert received, "what came before the failure was passed on"
    assert raised.value.body["type"] == "error"
    assert raised.value.body["error"]["message"]


@LANES
@pytest.mark.parametrize("fault", ["reset@6", "truncate@6"])
def test_a_stream_that_breaks_off_is_not_taken_for_complete(client, model, fault):
    with pytest.raises(anthropic.APIStatusError) as raised:
        said = user(f"sim:words=20 sim:{fault}")
        with client.messages.stream(model=model, max_tokens=100, messages=said) as stream:
            stream.get_final_message()
    assert raised.value.body["type"] == "error"


@LANES
def test_a_caller_that_leaves_is_forgotten(stand, client, model):
    said = user("sim:words=2000 sim:slow=20ms")
    with client.messages.stream(model=model, max_tokens=4000, messages=said) as stream:
        for _ in zip(range(3), stream.text_stream):
            pass
    assert ask(client, model, "Reply with exactly: pong").content[0].text == "pong"
    # All that is open comes to its end long before the stream would have.
    deadline = time.monotonic() + 15
    while stand.in_flight() > 0:
        assert time.monotonic() < deadline, stand.get("/metrics")
        time.sleep(0.1)


def raw(stand, head, body):
    """A request that no SDK would send."""
    address = urllib.parse.urlsplit(stand.url)
    with socket.create_connection((address.hostname, address.port), timeout=30) as connection:
        head = f"{head} HTTP/1.1\r\nhost: gateway\r\nx-api-key: {stand.key}\r\nconnection: close\r\n"
        connection.sendall(f"{head}content-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n".encode() + body)
        reply = b"".join(iter(lambda: connection.recv(65536), b""))
    head, _, body = reply.partition(b"\r\n\r\n")
    return int(head.split()[1]), json.loads(body)


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"{", 400),
        (b'{"model":"claude-sonnet-4-6","max_tokens":5,"messages":[{"role":"user","content":"\xff"}]}', 400),
        (b'{"model":"claude-sonnet-4-6","max_tokens":5,"messages":' + b"[" * 10_000 + b"]" * 10_000 + b"}", 400),
    ],
)
def test_bodies_that_are_no_request_are_told_so(stand, body, status):
    code, answer = raw(stand, "POST /v1/messages", body)
    assert (code, answer["type"], answer["error"]["type"]) == (status, "error", "invalid_request_error")
    assert answer["request_id"].startswith("req_")


def test_a_body_that_is_too_large_is_refused(client):
    with pytest.raises(anthropic.APIStatusError) as raised:
        ask(client, SONNET, "x" * 40_000_000)
    assert raised.value.status_code == 413
    envelope(raised.value, "request_too_large")


def test_routes_that_are_none_answer_in_the_dialect(stand):
    for head, status in (("POST /v1/nothing", 404), ("GET /v1/messages", 405)):
        code, answer = raw(stand, head, b"")
        assert code == status and "message" in answer["error"]
