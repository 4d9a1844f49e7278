"""Embeddings and models as the OpenAI SDK for Python uses them."""

import math

import openai
import pytest

TITAN, COHERE = "amazon.titan-embed-text-v2:0", "cohere.embed-multilingual-v3"
MODELS = pytest.mark.parametrize("model", [TITAN, "amazon.titan-embed-text-v1", COHERE, "cohere.embed-english-v3", "cohere.embed-v4:0"])


@MODELS
def test_a_list_becomes_as_many_vectors_in_order(client, model):
    texts = ["reef", "ridge", "reef"]
    made = client.embeddings.create(model=model, input=texts)
    assert (made.object, made.model) == ("list", model)
    assert [item.index for item in made.data] == [0, 1, 2]
    first, second, third = (item.embedding for item in made.data)
    assert first == third != second
    assert made.usage.prompt_tokens > 0 and made.usage.total_tokens == made.usage.prompt_tokens


@MODELS
def test_base64_which_the_sdk_asks_for_and_floats_are_the_same_vector(client, model):
    packed = client.embeddings.create(model=model, input="reef").data[0].embedding
    plain = client.embeddings.create(model=model, input="reef", encoding_format="float").data[0].embedding
    assert len(packed) == len(plain) > 100
    assert all(math.isclose(a, b, rel_tol=1e-6, abs_tol=1e-7) for a, b in zip(packed, plain))


def test_dimensions_are_honoured_or_refused(client):
    assert len(client.embeddings.create(model=TITAN, input="reef", dimensions=512).data[0].embedding) == 512
    for model, dimensions in ((TITAN, 300), ("amazon.titan-embed-text-v1", 512), (COHERE, 512)):
        with pytest.raises(openai.BadRequestError) as raised:
            client.embeddings.create(model=model, input="reef", dimensions=dimensions)
        assert raised.value.param == "dimensions"


def test_the_kind_of_input_is_passed_on(client, upstream):
    client.embeddings.create(model=COHERE, input="reef", extra_body={"input_type": "search_query"})
    client.embeddings.create(model=COHERE, input="reef")
    assert [request.body["input_type"] for request in upstream()] == ["search_query", "search_document"]


@pytest.mark.parametrize("wrong", [[1, 2, 3], [[1, 2], [3]], "", [], ["reef", ""]])
def test_what_cannot_be_embedded_is_refused(client, upstream, wrong):
    with pytest.raises(openai.BadRequestError) as raised:
        client.embeddings.create(model=TITAN, input=wrong)
    assert raised.value.param.startswith("input")
    assert upstream() == []


def test_openais_own_models_are_not_guessed(client):
    with pytest.raises(openai.NotFoundError) as raised:
        client.embeddings.create(model="text-embedding-3-small", input="reef")
    assert raised.value.code == "model_not_found"


def test_models_are_listed_and_found(client):
    listed = {model.id: model for model in client.models.list()}
    assert {"claude-sonnet-4-6", "qwen.qwen3-coder-480b-a35b-v1:0", TITAN} <= set(listed)
    for model in listed.values():
        assert (model.object, bool(model.owned_by)) == ("model", True) and model.created > 0
    assert client.models.retrieve("gpt-oss-120b").object == "model"
    with pytest.raises(openai.NotFoundError) as raised:
        client.models.retrieve("no-such-model")
    assert raised.value.code == "model_not_found"
