"""`tradewind lake verify`: its exit code says whether anything is there twice."""

import json

from tests.tradewind_runtime.tables import ingested
from typer.testing import CliRunner

from tradewind.cli.lake import app
from tradewind_runtime.lake import Lake


def test_the_command_fails_where_something_is_twice(tmp_path, monkeypatch):
    monkeypatch.setenv("TRADEWIND_PROJECT", str(tmp_path))
    (tmp_path / "profiles").mkdir()
    (tmp_path / "profiles" / "local.yaml").write_text("profile: local\n")
    lake = Lake((tmp_path / ".tradewind" / "lake").as_uri())
    ingested(lake, "t-0", [0, 1], committed=2)
    good = CliRunner().invoke(app, ["verify", "--format", "json"])
    assert (good.exit_code, json.loads(good.stdout)["ok"]) == (0, True)
    ingested(lake, "t-0", [1], committed=3, before=2)
    bad = CliRunner().invoke(app, ["verify", "p/t_raw", "--format", "json"])
    assert (bad.exit_code, json.loads(bad.stdout)["sources"][0]["doubles"]) == (1, 1)
