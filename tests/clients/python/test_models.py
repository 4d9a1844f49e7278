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
