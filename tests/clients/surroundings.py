"""The environment that users of Claude Code and of the Agent SDK are advised to set."""

import os

QWEN = "qwen.qwen3-coder-480b-a35b-v1:0"
NOVA = "amazon.nova-pro-v1:0"
# What users of models that Claude Code does not know are advised to set.
OPEN = {
    QWEN: {"CLAUDE_CODE_MAX_CONTEXT_TOKENS": "262144", "CLAUDE_CODE_MAX_OUTPUT_TOKENS": "8192"},
    NOVA: {"CLAUDE_CODE_MAX_CONTEXT_TOKENS": "300000", "CLAUDE_CODE_MAX_OUTPUT_TOKENS": "8192"},
}


def environment(stand, home, model=None, **more):
    """The environment that points Claude Code at the gateway."""
    env = {
        "PATH": os.environ["PATH"],
        "HOME": str(home),
        "ANTHROPIC_BASE_URL": stand.url,
        "ANTHROPIC_API_KEY": stand.key,
        "CLAUDE_CODE_AUTO_MODE_SERVER": "0",
        "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1",
        "CLAUDE_CODE_USE_BEDROCK": "0",
        "DISABLE_AUTOUPDATER": "1",
        "DISABLE_TELEMETRY": "1",
        "NO_PROXY": "127.0.0.1",
    }
    if model:
        env["ANTHROPIC_MODEL"] = model
    return {**env, **OPEN.get(model, {}), **more}
