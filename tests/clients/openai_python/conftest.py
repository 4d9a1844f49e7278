"""The client under test."""

import openai
import pytest


@pytest.fixture(scope="session")
def connection(stand):
    return {"base_url": stand.url + "/v1", "api_key": stand.key}


@pytest.fixture(scope="session")
def client(connection):
    # Retries would hide what the gateway answers first.
    with openai.OpenAI(**connection, max_retries=0) as made:
        yield made
