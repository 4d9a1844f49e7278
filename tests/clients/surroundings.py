"""The environments that users of Claude Code and of the Agent SDK are advised to set."""

import os

QWEN = "qwen.qwen3-coder-480b-a35b-v1:0"
NOVA = "amazon.nova-pro-v1:0"
# What users of models that Claude Code does not know are advised to set.
OPEN = {
    QWEN: {"CLAUDE_CODE_MAX_CONTEXT_TOKENS": "262144", "CLAUDE_CODE_MAX_OUTPUT_TOKENS": "8192"},
    NOVA: {"CLAUDE_CODE_MAX_CONTEXT_TOKENS": "300000", "CLAUDE_CODE_MAX_OUTPUT_TOKENS": "8192"},
}


def environment(stand, home, model=None, **more):
    """Points Claude Code at the gateway's Messages API."""
    front = {
        "ANTHROPIC_BASE_URL": stand.url,
        "ANTHROPIC_API_KEY": stand.key,
        "CLAUDE_CODE_AUTO_MODE_SERVER": "0",
        "CLAUDE_CODE_USE_BEDROCK": "0",
    }
    return {**_everywhere(home, model), **front, **more}


def bedrock(stand, home, model=None, **more):
    """Points Claude Code in its Bedrock mode at the gateway's Bedrock operations."""
    front = {
        "ANTHROPIC_BEDROCK_BASE_URL": stand.url,
        "AWS_BEARER_TOKEN_BEDROCK": stand.key,
        "AWS_REGION": "us-east-1",
        "CLAUDE_CODE_USE_BEDROCK": "1",
    }
    return {**_everywhere(home, model), **front, **more}


def cloud_gateway(stand, home, model=None, **more):
    """Points Claude Code at the gateway's Messages API, and keeps it to what every cloud takes."""
    front = {
        "ANTHROPIC_BASE_URL": stand.url,
        "ANTHROPIC_AUTH_TOKEN": stand.key,
        "CLAUDE_CODE_USE_GATEWAY": "1",
    }
    return {**_everywhere(home, model), **front, **more}


def _everywhere(home, model):
    env = {
        "PATH": os.environ["PATH"],
        "HOME": str(home),
        "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1",
        "DISABLE_AUTOUPDATER": "1",
        "DISABLE_TELEMETRY": "1",
        "NO_PROXY": "127.0.0.1",
    }
    if model:
        env["ANTHROPIC_MODEL"] = model
    return {**env, **OPEN.get(model, {})}
