"""A newcomer's first session: what `outcrop-proxy --simulate` prints can be pasted."""

import os


def test_the_printed_lines_start_claude_code(simulated, binary):
    # What would leave the machine is switched off; the rest is as printed.
    quiet = {"CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1", "DISABLE_TELEMETRY": "1", "DISABLE_AUTOUPDATER": "1"}
    assert "The tool answered: hi" in simulated("Claude Code", os.path.dirname(binary), **quiet)
