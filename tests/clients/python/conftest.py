"""The client under test."""

import anthropic
import pytest


@pytest.fixture(scope="session")
def connection(stand):
    return {"base_url": stand.url, "api_key": stand.key}


@pytest.fixture(scope="session")
def client(connection):
    # Retries would hide what the gateway answers first.
    with anthropic.Anthropic(**connection, max_retries=0) as made:
        yield made
