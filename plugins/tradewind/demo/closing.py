"""What happened, asked of the systems themselves: each line says whom it was asked of, and whether it is so."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import httpx
import pyarrow as pa
import pyarrow.compute as pc

from tradewind.demo.airflow import Airflow
from tradewind.demo.client import infer_body
from tradewind.demo.data import Given
from tradewind.demo.lines import Line
from tradewind.demo.rollouts import Rollout, rollouts, spelt
from tradewind.demo.story import CHAPTERS, MONITOR, PIPELINE, ROLLOUT, SUMMER
from tradewind.demo.traffic import Traffic
from tradewind_runtime import artefacts, endpoints
from tradewind_runtime.lake import Lake
from tradewind_runtime.registries import registry

STAGES = (10, 50, 100)  # of the canary, as the pipeline's YAML says


@dataclass(frozen=True)
class Closing:
    """Asks everyone."""

    airflow: Airflow
    lake: Lake
    traffic: Traffic
    mlflow: str
    slack: str
    given: Callable[[], Mapping[str, Given]]

    def lines(self) -> Iterator[Line]:
        """All that the demo promises."""
        yield from self._runs()
        yield from self._given()
        yield from self._tables()
        yield from self._models()
        yield from self._endpoint()
        yield from self._watch()
        yield from self._retraining()
        yield self._told()

    def _runs(self) -> Iterator[Line]:
        # A rollout that went back is shown as it is; a run that failed otherwise is a failure.
        went_back = {one.by for one in self._rollouts() if one.back}
        for dag_id in (PIPELINE, ROLLOUT, MONITOR):
            runs = {str(run["dag_run_id"]): str(run["state"]) for run in self.airflow.runs(dag_id)}
            text = ", ".join(f"{count} {state}" for state, count in sorted(Counter(runs.values()).items())) or "none"
            ok = all(state == "success" or f"{dag_id}/{run_id}" in went_back for run_id, state in runs.items())
            yield Line(f"runs of {dag_id}", "Airflow", text, bool(runs) and ok, runs)
        errors = self.airflow.import_errors()
        yield Line("import errors", "Airflow", str(len(errors)), not errors)

    def _given(self) -> Iterator[Line]:
        from tradewind_runtime.verify import verify_table

        for source, given in self.given().items():
            found = verify_table(self.lake, f"{PIPELINE}/{source}_raw")
            rows, doubles = sum(line.rows for line in found), sum(line.doubles for line in found)
            bad = sum(line.quarantined for line in found)
            yield Line(
                f"{source}: nothing lost",
                "the producer, the lake",
                f"given {given.rows:,} and {given.broken} broken; found {rows:,} and {bad} quarantined",
                rows > 0 and (rows, bad) == (given.rows, given.broken),
            )
            wrong = [one.source for one in found if not one.ok]
            text = f"{doubles} twice" + (f"; see {', '.join(wrong)}" if wrong else "")
            yield Line(f"{source}: each offset or row once", "the lake", text, bool(found) and not wrong)

    def _tables(self) -> Iterator[Line]:
        counts = {name: self.lake.table(name).snapshot().count() for name in sorted(self.lake.tables())}
        text = f"{len(counts)}, {sum(counts.values()):,} rows in all"
        yield Line("tables", "the lake", text, bool(counts), counts)
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
        yield Line(
            "versions of the model", "MLflow", text, champion is not None, {v.version: v.digest for v in versions}
        )
        twice = len({v.digest for v in versions}) != len(versions)
        yield Line("each model registered once", "MLflow", "no" if twice else "yes", not twice)

    def _endpoint(self) -> Iterator[Line]:
        now = endpoints.latest(self.lake.documents, PIPELINE)
        champion = registry("mlflow").champion(self.mlflow, PIPELINE)
        same = now is not None and champion is not None and now.stable == champion[0] and now.canary is None
        yield Line("the endpoint serves the champion", "the lake", f"generation {now.number}" if now else "none", same)
        if now is None:
            return
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
        reports = [name for name in self.lake.documents.names(f"reports/{PIPELINE}") if name.endswith(".html")]
        yield Line("drift reports", "the lake", str(len(reports)), bool(reports), {"reports": len(reports)})

    def _retraining(self) -> Iterator[Line]:
        woken = [run["dag_run_id"] for run in self.airflow.runs(PIPELINE) if run["run_type"] == "asset_triggered"]
        # One that found the requests taken has skipped everything.
        retrained = [run_id for run_id in woken if self.airflow.told(PIPELINE, run_id, "pin")]
        yield Line("retraining started by drift", "Airflow", ", ".join(retrained) or "none", bool(retrained))
        passed: list[str] = []
        for run_id in retrained:
            told = self.airflow.told(PIPELINE, run_id, "evaluate")
            verdict = told.get("verdict") or {}
            if verdict.get("passed"):
                passed.append(str(told["facts"]["digest"]))
            yield Line("the challenger at the gate", "Airflow", _judged(verdict), bool(verdict))
        yield self._path(passed)

    def _path(self, passed: Collection[str]) -> Line:
        """Whoever passed the gate became the champion stage by stage, or went back on the way."""
        found = sorted(endpoints.generations(self.lake.documents, PIPELINE), key=lambda one: one.number)
        went = [one for one in self._rollouts() if one.went_by(STAGES)]
        ok = all(any(one.digest == digest for one in went) for digest in passed)
        steps = {str(one.number): spelt(one) for one in found}
        return Line("how it got there", "the lake", " → ".join(steps.values()) or "nowhere", bool(found) and ok, steps)

    def _rollouts(self) -> list[Rollout]:
        """Of the DAG; what a person did by hand is no promise of the demo."""
        found = rollouts(endpoints.generations(self.lake.documents, PIPELINE))
        return [one for one in found if one.by.startswith(f"{ROLLOUT}/")]

    def _told(self) -> Line:
        """Each new champion was told of, and drift; a message that was sent again after a kill counts once."""
        answer = httpx.get(f"{self.slack}/messages", timeout=30, trust_env=False).raise_for_status().json()
        events = {(kind, key) for kind, key in map(_event, answer)}
        kinds = Counter(kind for kind, _ in events)
        champions = sum(one.finished for one in self._rollouts())
        ok = kinds["promotion"] >= max(champions, 1) and kinds["drift"] >= 1
        texts = {str(message["ts"]): str(message.get("text", "")).partition("\n")[0] for message in answer}
        return Line("messages", "the Slack receiver", " | ".join(texts.values()) or "none", ok, texts)


def _judged(verdict: Mapping[str, Any]) -> str:
    if not verdict:
        return "nothing was judged"
    return "passed" if verdict["passed"] else f"refused: {'; '.join(verdict['reasons'])}"


def _event(message: Mapping[str, Any]) -> tuple[str, str]:
    """What kind of event a message tells of, and which one."""
    told = message.get("metadata") or {}
    key = (told.get("event_payload") or {}).get("key", message["ts"])
    return str(told.get("event_type", "")).removeprefix("tradewind_"), str(key)
