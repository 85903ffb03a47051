"""Data docs and reports of a lake on S3, in front of Airflow's own login."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from airflow.api_fastapi.app import create_auth_manager
from airflow.api_fastapi.auth.managers.simple.user import SimpleAuthManagerUser
from airflow.models.dag import DagModel
from airflow.models.revoked_token import RevokedToken
from starlette.testclient import TestClient
from tests.servers import buckets

from tradewind.dev.servers.s3 import S3
from tradewind.ui import app as pages
from tradewind_runtime.connections import Connection, store_options
from tradewind_runtime.documents import Documents

pytestmark = pytest.mark.server
LAKE = "s3://pages/a lake"
PROFILE = f"profile: local\nlake: {{uri: '{LAKE}', connection: s3_lake}}\n"
PAGE = b"<html>drift</html>"


@pytest.fixture
def client(s3_server: S3, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[TestClient]:
    """A client of the app, in an API server whose environment holds the lake's connection."""
    text = s3_server.connections()["s3_default"]
    buckets.make(s3_server, "pages")
    documents = Documents(LAKE, store_options(Connection.parse("s3_lake", text)))
    for path in ("reports/flights/r1/index.html", "docs/trains/r1/index.html", "models/flights/index.html"):
        documents.put(path, PAGE)
    (tmp_path / "profiles").mkdir()
    (tmp_path / "profiles/local.yaml").write_text(PROFILE)
    monkeypatch.setenv("TRADEWIND_PROJECT", str(tmp_path))
    monkeypatch.delenv("TRADEWIND_PROFILE", raising=False)
    monkeypatch.setenv("AIRFLOW_CONN_S3_LAKE", text)
    # What Airflow would look up in its database, which these tests have none of: teams, and who has logged out.
    monkeypatch.setattr(DagModel, "get_team_name", lambda _dag_id: None)
    monkeypatch.setattr(RevokedToken, "is_revoked", lambda _token: False)
    create_auth_manager()
    pages._documents.cache_clear()
    with TestClient(pages.app) as asking:
        yield asking
    pages._documents.cache_clear()


def login(role: str | None) -> dict[str, Any]:
    """The headers of somebody with a role."""
    token = create_auth_manager().generate_jwt(SimpleAuthManagerUser(username="ann", role=role))
    return {"Authorization": f"Bearer {token}"}


@pytest.mark.parametrize("dag_id", ["flights", "flights__monitor"])
def test_a_page_is_shown_in_an_origin_of_its_own(client: TestClient, dag_id: str) -> None:
    answer = client.get(f"/lake/{dag_id}/reports/flights/r1/index.html", headers=login("viewer"))
    assert (answer.status_code, answer.content) == (200, PAGE)
    assert answer.headers["content-type"].startswith("text/html")
    policy = answer.headers["content-security-policy"]
    assert policy.startswith("sandbox ")
    assert "allow-same-origin" not in policy
    assert "private" in answer.headers["cache-control"]


@pytest.mark.parametrize(("headers", "code"), [({}, 401), ({"Authorization": "Bearer made-up"}, 403)])
def test_nothing_is_shown_without_a_login(client: TestClient, headers: dict[str, str], code: int) -> None:
    answer = client.get("/lake/flights/reports/flights/r1/index.html", headers=headers)
    assert answer.status_code == code
    assert PAGE not in answer.content


def test_nothing_is_shown_to_who_may_not_see_the_dag(client: TestClient) -> None:
    assert client.get("/lake/flights/reports/flights/r1/index.html", headers=login(None)).status_code == 403


@pytest.mark.parametrize(
    "path",
    [
        "docs/trains/r1/index.html",  # of a DAG that was not asked about
        "docs/flights/../trains/r1/index.html",
        "models/flights/index.html",  # in the lake, and not made to be looked at
        "reports/flights/../../models/flights/index.html",
        "reports/flights/r2/index.html",  # not in the lake
    ],
)
def test_no_other_part_of_the_lake_is_shown(client: TestClient, path: str) -> None:
    quoted = path.replace("..", "%2E%2E")  # as a client that does not tidy addresses sends it
    assert client.get(f"/lake/flights/{quoted}", headers=login("admin")).status_code == 404
