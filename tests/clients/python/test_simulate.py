"""A newcomer's first answer: what `outcrop-proxy --simulate` prints can be pasted."""

import json
import os
import sys

HERE = os.path.dirname(sys.executable)


def test_the_printed_curl_is_answered(simulated):
    answer = json.loads(simulated("Ask something", HERE))
    assert "You said: Hello" in answer["content"][0]["text"]


def test_the_printed_python_is_answered(simulated):
    assert "You said: Hello" in simulated("The Anthropic SDK for Python", HERE)
