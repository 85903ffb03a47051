"""Every command that is registered can be typed."""

import pytest

from tradewind.cli import COMMANDS, _imported, wants_json


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_help_with_an_example(name: str) -> None:
    command = _imported(name)
    texts = [command.help or "", *(one.help or "" for one in getattr(command, "commands", {}).values())]
    assert any("Example:" in text for text in texts)


def test_json_is_seen_on_the_command_line() -> None:
    assert wants_json(["validate", "x", "--format", "json"])
    assert wants_json(["validate", "--format=json"])
    assert not wants_json(["validate", "json", "--format", "text"])
