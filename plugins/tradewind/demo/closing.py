"""What happened, asked of the systems themselves: each line says whom it was asked of, and whether it is so."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import httpx
import pyarrow as pa
import pyarrow.compute as pc

from tradewind.demo.airflow import Airflow
from tradewind.demo.client import infer_body
from tradewind.demo.story import CHAPTERS, MONITOR, PIPELINE, ROLLOUT, SUMMER
from tradewind.demo.traffic import Traffic
from tradewind_runtime import artefacts, endpoints
from tradewind_runtime.lake import Lake
from tradewind_runtime.registries import registry


@dataclass(frozen=True)
class Line:
    """One fact, and whether it is as promised."""

    what: str
    asked: str
    answer: str
    ok: bool


@dataclass(frozen=True)
class Closing:
    """Asks everyone."""

    airflow: Airflow
    lake: Lake
    traffic: Traffic
    mlflow: str
    messages: Path

    def lines(self) -> Iterator[Line]:
        """All that the demo promises."""
        yield from self._runs()
        yield from self._tables()
        yield from self._models()
        yield from self._endpoint()
        yield from self._watch()
        yield self._told()

    def _runs(self) -> Iterator[Line]:
        for dag_id in (PIPELINE, ROLLOUT, MONITOR):
            runs = self.airflow.runs(dag_id)
            states = {state: sum(run["state"] == state for run in runs) for state in sorted({r["state"] for r in runs})}
            text = ", ".join(f"{count} {state}" for state, count in states.items()) or "none"
            # A rollout that went back is shown as it is: what failed is no failure of the demo.
            ok = bool(runs) and (set(states) == {"success"} or dag_id == ROLLOUT)
            yield Line(f"runs of {dag_id}", "Airflow", text, ok)
        errors = self.airflow.import_errors()
        yield Line("import errors", "Airflow", str(len(errors)), not errors)

    def _tables(self) -> Iterator[Line]:
        from tradewind_runtime.verify import verify_table

        for source in ("flights", "weather", "planes", "airports"):
            found = verify_table(self.lake, f"{PIPELINE}/{source}_raw")
            rows, doubles = sum(line.rows for line in found), sum(line.doubles for line in found)
            bad = sum(line.quarantined for line in found)
            text = f"{rows:,} rows, {bad} quarantined, {doubles} twice"
            yield Line(
                f"{source}: each offset or object once", "the lake", text, bool(rows) and all(one.ok for one in found)
            )
        refused = self.lake.table(f"{PIPELINE}/flights_quarantine").snapshot().to_arrow(["reason", "stage"])
        first = refused.column("reason")[0].as_py() if refused.num_rows else "none"
        yield Line(
            "broken messages are kept, with the reason",
            "the lake",
            f"{refused.num_rows}, such as: {first[:60]}",
            refused.num_rows > 0,
        )

    def _models(self) -> Iterator[Line]:
        versions = registry("mlflow").versions(self.mlflow, PIPELINE)
        champion = next((v for v in versions if "champion" in v.aliases), None)
        text = ", ".join(f"v{v.version} {v.digest[:8]} {'/'.join(v.aliases)}".strip() for v in versions)
        yield Line("versions of the model", "MLflow", text, champion is not None)
        twice = len({v.digest for v in versions}) != len(versions)
        yield Line("each model registered once", "MLflow", "no" if twice else "yes", not twice)

    def _endpoint(self) -> Iterator[Line]:
        now = endpoints.latest(self.lake.documents, PIPELINE)
        champion = registry("mlflow").champion(self.mlflow, PIPELINE)
        same = now is not None and champion is not None and now.stable == champion[0] and now.canary is None
        yield Line("the endpoint serves the champion", "the lake", f"generation {now.number}" if now else "none", same)
        if now is None:
            return
        steps = [
            f"{g.stable[:8]}" + (f"+{g.canary[:8]} at {g.weight} %" if g.canary else "")
            for g in reversed(list(endpoints.generations(self.lake.documents, PIPELINE)))
        ]
        yield Line("how it got there", "the lake", " → ".join(steps), True)
        rows = self.traffic.flights(SUMMER.window).slice(0, 50)
        answers, digest = self._ask(rows)
        wanted = self._offline(digest, rows)
        worst = max(abs(a - b) for a, b in zip(answers, wanted, strict=True))
        yield Line(
            "its answers are the model's own",
            "the endpoint",
            f"50 flights, largest difference {worst:.1e}",
            worst < 1e-9,
        )
        captured = self.lake.table(f"{PIPELINE}/flight_delays_requests").snapshot().count()
        yield Line("requests and answers captured", "the lake", f"{captured:,} rows", captured > 0)

    def _ask(self, rows: pa.Table) -> tuple[list[float], str]:
        answer = httpx.post(
            f"{self.traffic.url}/v2/models/{PIPELINE}/infer",
            json=infer_body(rows, "closing"),
            timeout=30,
            trust_env=False,
        )
        answer.raise_for_status()
        body = answer.json()
        return [float(value) for value in body["outputs"][0]["data"]], str(body["parameters"]["digest"])

    def _offline(self, digest: str, rows: pa.Table) -> list[float]:
        import numpy as np

        from tradewind_runtime.frameworks import predictor

        artefact = artefacts.load(self.lake.documents, digest)
        matrix = np.column_stack([pc.cast(rows[name], pa.float64()).to_numpy() for name in artefact.manifest.features])
        return [float(value) for value in predictor(artefact).predict(matrix)]

    def _watch(self) -> Iterator[Line]:
        drifting = 0
        for chapter in CHAPTERS[1:]:
            told = self.airflow.told(MONITOR, f"demo-{chapter.name}", "drift")
            found: list[dict[str, Any]] = list((told.get("facts") or {}).get("digests", {}).values())
            drifting += any(one.get("drifting") for one in found)
            says = "; ".join(one["says"] for one in found) or "nothing was said"
            yield Line(f"drift in {chapter.name}", "Airflow", says, bool(found))
        yield Line("windows that drift", "Airflow", str(drifting), drifting >= 2)
        retrained = [run for run in self.airflow.runs(PIPELINE) if run["run_type"] == "asset_triggered"]
        reports = [name for name in self.lake.documents.names(f"reports/{PIPELINE}") if name.endswith(".html")]
        yield Line("drift reports", "the lake", str(len(reports)), bool(reports))
        yield Line(
            "retraining started by drift",
            "Airflow",
            ", ".join(run["dag_run_id"] for run in retrained) or "none",
            bool(retrained),
        )
        for run in retrained:
            verdict = self.airflow.told(PIPELINE, run["dag_run_id"], "evaluate").get("verdict")
            if verdict is not None:
                text = "passed" if verdict["passed"] else f"refused: {'; '.join(verdict['reasons'])}"
                yield Line("the challenger at the gate", "Airflow", text, True)

    def _told(self) -> Line:
        lines = self.messages.read_text().splitlines() if self.messages.is_file() else []
        texts = [json.loads(line).get("text", "") for line in lines]
        return Line(
            "messages",
            "the Slack receiver",
            " | ".join(text.splitlines()[0] for text in texts if text) or "none",
            len(texts) >= 2,
        )


def collect(lines: Iterator[Line], on_line: Callable[[Line], None]) -> list[Line]:
    """All lines; one that cannot be asked for is a line that is not so."""
    found: list[Line] = []
    while True:
        try:
            line = next(lines)
        except StopIteration:
            return found
        except Exception as error:
            line = Line("the rest", "", f"{type(error).__name__}: {error}", ok=False)
        found.append(line)
        on_line(line)
        if line.what == "the rest":
            return found


def as_json(lines: list[Line], **more: Any) -> str:
    """The same for a machine."""
    body = {
        "ok": all(line.ok for line in lines),
        **more,
        "lines": [asdict(line) for line in lines],
    }
    return json.dumps(body, indent=1)
