"""The AWS SDK for Python with an Outcrop key, set up as the README says: by environment variables alone."""

import boto3
import pytest
from botocore.config import Config

import tls

REGION = "us-east-1"


@pytest.fixture(scope="session")
def secure(stand, tmp_path_factory):
    """The gateway's https address, and the file that makes clients trust it."""
    context, trusted = tls.certified(tmp_path_factory.mktemp("tls"))
    terminator = tls.Terminator(stand.url, context)
    yield terminator.url, trusted
    terminator.stop()


@pytest.fixture
def connect(stand, secure, monkeypatch, tmp_path):
    """Makes a client of a service, with the key that is given or the stand's own."""
    url, trusted = secure
    monkeypatch.setenv("AWS_CA_BUNDLE", str(trusted))
    monkeypatch.setenv("AWS_ENDPOINT_URL_BEDROCK", url)
    monkeypatch.setenv("AWS_ENDPOINT_URL_BEDROCK_RUNTIME", url)
    monkeypatch.setenv("AWS_REGION", REGION)
    # Nothing of the machine's own set-up.
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")

    def made(service, key=stand.key, retries=0):
        if key is None:
            monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIANOBODY0000000000")
            monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "nobody")
            monkeypatch.delenv("AWS_BEARER_TOKEN_BEDROCK", raising=False)
        else:
            monkeypatch.setenv("AWS_BEARER_TOKEN_BEDROCK", key)
        # Retries would hide what the gateway answers first.
        config = Config(retries={"total_max_attempts": 1 + retries})
        return boto3.Session(region_name=REGION).client(service, config=config)

    return made


@pytest.fixture
def runtime(connect):
    return connect("bedrock-runtime")
