"""What steps left for people (data docs, drift reports), shown to who may see the pipeline's DAG."""

from __future__ import annotations

import mimetypes
import posixpath
from functools import lru_cache

from airflow.api_fastapi.core_api.security import requires_access_dag
from fastapi import Depends, FastAPI, HTTPException
from fastapi.responses import Response

from tradewind.operators.connections import connection_text
from tradewind.profile import load_profile
from tradewind_runtime.connections import Connection, store_options
from tradewind_runtime.documents import Documents

#: Only what is made to be looked at; never tables, models, requests or captures.
SHOWN = ("docs", "reports")

# A page made of users' data runs in an origin of its own, with no way to Airflow's cookies.
_HEADERS = {
    "Content-Security-Policy": "sandbox allow-scripts allow-popups; "
    "default-src 'self' 'unsafe-inline' 'unsafe-eval' data: blob:",
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "private, max-age=60",
}

app = FastAPI(title="Tradewind", docs_url=None, redoc_url=None, openapi_url=None)


@app.get("/lake/{dag_id}/{path:path}", dependencies=[Depends(requires_access_dag("GET"))])
def show(dag_id: str, path: str) -> Response:
    """One file of the pipeline's data docs or reports."""
    clean = posixpath.normpath(path)
    folder, _, rest = clean.partition("/")
    if folder not in SHOWN or not rest.startswith(f"{pipeline_of(dag_id)}/"):
        raise HTTPException(404, "nothing to show here")
    content = _documents().get(clean)
    if content is None:
        raise HTTPException(404, "it is not in the lake (any more)")
    kind = mimetypes.guess_type(clean)[0] or "application/octet-stream"
    return Response(content, media_type=kind, headers=_HEADERS)


def pipeline_of(dag_id: str) -> str:
    """The pipeline that a DAG belongs to: `flights__monitor` → `flights`."""
    return dag_id.partition("__")[0]


@lru_cache(maxsize=1)
def _documents() -> Documents:
    lake = load_profile().lake
    if lake.connection is None:
        return Documents(lake.uri)
    return Documents(lake.uri, store_options(Connection.parse(lake.connection, connection_text(lake.connection))))
