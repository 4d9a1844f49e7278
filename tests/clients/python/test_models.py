"""The list of models."""

import anthropic
import pytest

QWEN = "qwen.qwen3-coder-480b-a35b-v1:0"


def test_the_list_names_models_of_both_lanes(client):
    models = list(client.models.list(limit=1000))
    by_id = {model.id: model for model in models}
    assert "claude-sonnet-4-6" in by_id
    assert by_id["claude-sonnet-4-6"].display_name == "Claude Sonnet 4.6"
    assert by_id["claude-sonnet-4-6"].type == "model"
    assert any(model.id.startswith("qwen") for model in models)
    assert len(by_id) == len(models), "no id comes twice"
    days = [model.created_at for model in models]
    assert days == sorted(days, reverse=True), "the newest come first"


def test_an_entry_is_what_the_sdk_declares(client):
    for model in client.models.list(limit=1000):
        type(model).model_validate(model.model_dump(mode="json"))
    claude = client.models.retrieve("claude-opus-4-6").model_dump(mode="json")["capabilities"]
    assert claude["thinking"]["types"]["adaptive"]["supported"] and not claude["batch"]["supported"]
    assert claude["effort"]["max"]["supported"] and not claude["effort"]["xhigh"]["supported"]


def test_models_of_another_lifecycle_are_none(client):
    assert list(client.models.list(extra_query={"lifecycle[]": "retired"})) == []
    assert list(client.models.list(extra_query={"lifecycle[]": "active"}, limit=3).data)


def test_the_openai_sdk_reads_the_list_too(stand):
    openai = pytest.importorskip("openai", reason="only with the current generation")
    client = openai.OpenAI(base_url=f"{stand.url}/v1", api_key=stand.key)
    models = {model.id: model for model in client.models.list()}
    assert models["claude-sonnet-4-6"].owned_by == "anthropic" and models[QWEN].object == "model"
    assert client.models.retrieve(QWEN).id == QWEN
    with pytest.raises(openai.NotFoundError):
        client.models.retrieve("no-such-model")


def test_pages_add_up_to_the_whole_list(client):
    whole = [model.id for model in client.models.list(limit=1000)]
    pages = list(client.models.list(limit=7).iter_pages())
    assert len(pages) == -(-len(whole) // 7)
    assert [model.id for page in pages for model in page.data] == whole
    before = client.models.list(before_id=whole[10], limit=3)
    assert [model.id for model in before.data] == whole[7:10]


@pytest.mark.parametrize("name", ["claude-sonnet-4-6", QWEN, "us.anthropic.claude-opus-4-5-20251101-v1:0"])
def test_a_model_is_found_by_each_of_its_names(client, name):
    assert client.models.retrieve(name).id == name


def test_an_unknown_model_is_not_found(client):
    with pytest.raises(anthropic.NotFoundError) as raised:
        client.models.retrieve("no-such-model")
    assert raised.value.body["error"]["type"] == "not_found_error"


def test_a_limit_out_of_range_is_refused(client):
    with pytest.raises(anthropic.BadRequestError, match="limit"):
        client.models.list(limit=0)
