"""`tradewind deploy status`: what endpoints should serve, and what their replicas say."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from tests.tradewind.cli.conftest import Typed, lay_out

from tradewind_runtime.documents import Documents
from tradewind_runtime.endpoints import ArmStatus, ReplicaStatus, moves, status_path

OLD, NEW = "a" * 64, "b" * 64


@pytest.fixture
def served(tmp_path: Path) -> Path:
    """Two endpoints; one has a canary, and a replica that serves the generation before."""
    (tmp_path / "profiles").mkdir()
    (tmp_path / "profiles/local.yaml").write_text("profile: local\n")
    documents = Documents((tmp_path / ".tradewind/lake").as_uri())
    moves.promote(documents, "cancer", OLD, expected=0, by="ann", reason="first")
    moves.promote(documents, "flights", OLD, expected=0, by="ann", reason="first")
    moves.promote(documents, "flights", NEW, expected=1, weight=10, by="rollout", reason="stage 10")
    status = ReplicaStatus(
        endpoint="flights", replica="r1", generation=1, written=datetime.now(UTC) - timedelta(seconds=90),
        arms={OLD: ArmStatus(requests=3, rows=7), NEW: ArmStatus(requests=1, rows=2)}, problems=("model is tampered",),
    )  # fmt: skip
    documents.put(status_path("flights", "r1"), status.model_dump_json().encode())
    return tmp_path


def test_endpoints_and_replicas_as_text(served: Path, typed: Typed) -> None:
    done = typed(served, "deploy", "status")
    assert done.exit_code == 0
    cancer, flights, replica = done.stdout.splitlines()
    assert cancer == f"cancer: generation 1, stable {OLD[:12]}: first (ann)"
    assert flights == f"flights: generation 2, stable {OLD[:12]}, canary {NEW[:12]} at 10 %: stage 10 (rollout)"
    assert replica.startswith("  r1: generation 1, 9 rows answered, seen 9")
    assert replica.endswith(" s ago; model is tampered")


def test_one_endpoint_as_json(served: Path, typed: Typed) -> None:
    done = typed(served, "deploy", "status", "flights", "--format", "json")
    body = json.loads(done.stdout)
    assert (done.exit_code, body["ok"]) == (0, True)
    [found] = body["endpoints"]
    assert (found["endpoint"], found["generation"]["number"], found["generation"]["weight"]) == ("flights", 2, 10)
    assert [(one["replica"], one["generation"], one["arms"][OLD]["rows"]) for one in found["replicas"]] == [
        ("r1", 1, 7)
    ]


def test_nothing_is_served(served: Path, typed: Typed) -> None:
    assert typed(served, "deploy", "status", "trains").stdout == "trains: nothing has been rolled out\n"
    body = json.loads(typed(served, "deploy", "status", "trains", "--format", "json").stdout)
    assert body["endpoints"] == [{"endpoint": "trains", "generation": None, "replicas": []}]


def test_there_is_no_endpoint_yet(tmp_path: Path, typed: Typed) -> None:
    project = lay_out(tmp_path / "new")
    assert "There is no endpoint yet" in typed(project, "deploy", "status").stdout
    assert json.loads(typed(project, "deploy", "status", "--format", "json").stdout) == {"ok": True, "endpoints": []}
