"""A pipeline under a profile, as a plan: one function a flow."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from tradewind.plan.code import UserCode, function_file
from tradewind.plan.model import Flow, Plan, PlanDag, PlanStep, Schedule, model_asset, retraining_asset, table_asset
from tradewind.plan.schedule import schedule_of
from tradewind.profile import Profile
from tradewind.spec import Pipeline
from tradewind_runtime.contract.base import Frozen
from tradewind_runtime.contract.checks import CheckConfig
from tradewind_runtime.contract.deploy import ScoreConfig
from tradewind_runtime.contract.monitor import MonitorConfig
from tradewind_runtime.contract.pins import IngestConfig, PinConfig
from tradewind_runtime.contract.promote import EvaluateConfig, RegisterConfig
from tradewind_runtime.contract.sources import Source
from tradewind_runtime.contract.train import TrainConfig
from tradewind_runtime.contract.transform import TransformConfig


def build(pipeline: Pipeline, profile: Profile, code: UserCode, *, file: str, text: str = "", commit: str = "") -> Plan:
    """The plan of one pipeline.

    Args:
        pipeline: validated.
        profile: where steps run.
        code: the user code of the same version.
        file: the YAML's path in the project.
        text: the YAML itself, which a registered model carries.
        commit: the bundle version or commit.
    """
    builder = _Builder(pipeline, profile, code, text, commit)
    return Plan(
        pipeline=pipeline.pipeline,
        profile=profile.profile,
        file=file,
        description=pipeline.description,
        owner=pipeline.owner,
        tags=tuple(pipeline.tags),
        lake=profile.lake.uri,
        lake_connection=profile.lake.connection,
        pool=profile.pool,
        environments={name: env.model_dump() for name, env in profile.environments.items()},
        kubernetes=profile.kubernetes.model_dump()
        if "kubernetes" in (profile.runner, *profile.runners.values())
        else {},
        code_archive=code.digest,
        alerts=pipeline.alerts.model_dump(mode="json", exclude_none=True) if pipeline.alerts else {},
        model=pipeline.promote.model if pipeline.promote else None,
        dags=tuple(builder.dags()),
    )


class _Builder:
    def __init__(self, pipeline: Pipeline, profile: Profile, code: UserCode, text: str, commit: str) -> None:
        self.pipeline = pipeline
        self.profile = profile
        self.code = code
        self.text = text
        self.commit = commit

    def dags(self) -> Iterator[PlanDag]:
        """Training always; the others where the YAML has their block."""
        spec = self.pipeline
        assets = (retraining_asset(spec.pipeline),) if spec.monitor and spec.monitor.then == "retrain" else ()
        yield self._dag("train", "", schedule_of(spec.schedule, assets), self._train())
        if spec.promote and spec.deploy:
            yield self._dag(
                "rollout", "__rollout", Schedule(assets=(model_asset(spec.promote.model),)), self._rollout()
            )
        if spec.monitor:
            yield self._dag("monitor", "__monitor", self._own_schedule(spec.monitor.schedule), self._monitor())
        if spec.score:
            yield self._dag("score", "__score", self._own_schedule(spec.score.schedule), self._score())

    def _dag(self, flow: Flow, suffix: str, schedule: Schedule, steps: Iterator[PlanStep]) -> PlanDag:
        params = {name: param.json_schema() for name, param in self.pipeline.params.items()} if flow == "train" else {}
        body = list(steps)
        return PlanDag(
            dag_id=f"{self.pipeline.pipeline}{suffix}",
            flow=flow,
            schedule=schedule,
            params=params,
            description=self.pipeline.description,
            steps=(*body, self._release(body)),
        )

    def _own_schedule(self, cron: str | None) -> Schedule:
        """A second DAG's cron, within the pipeline's own first and last day."""
        main = schedule_of(self.pipeline.schedule, ())
        return main.model_copy(update={"cron": cron, "assets": ()})

    # Flows -----------------------------------------------------------------------------------

    def _train(self) -> Iterator[PlanStep]:
        spec = self.pipeline
        tables = []
        pins = PinConfig(
            sources=spec.sources,
            model=spec.promote.model if spec.promote else None,
            endpoint=spec.promote.model if spec.promote and spec.deploy else None,
            train=spec.train.when if spec.train else "always",
        )
        connections = {
            f"source:{name}": source.connection for name, source in spec.sources.items() if source.connection
        }
        yield self._step("pin", "pin", pins, connections=connections | self._registry(), every_run=True, windowed=True)
        for name, source in spec.sources.items():
            asset = table_asset(spec.pipeline, name)
            yield self._step(
                f"ingest_{name}",
                "ingest",
                IngestConfig(name=name, source=source),
                upstream=("pin",),
                pins={"end": f"sources.{name}"},
                windowed=_windowed(source),
                connections={"source": source.connection} if source.connection else {},
            )
            check = CheckConfig(source=name, expectations=tuple(spec.checks.get(name, ())), time=source.time)
            yield self._step(
                f"check_{name}",
                "check",
                check,
                upstream=(f"ingest_{name}",),
                inputs={"rows": f"ingest_{name}.rows"},
                computes=True,
                outlets=(asset,),
            )
            tables.append(name)
        if spec.transform is None and spec.train is None:
            return
        yield self._transform(tables)
        if spec.train is not None:
            yield from self._training()

    def _transform(self, tables: list[str]) -> PlanStep:
        spec = self.pipeline
        config = TransformConfig(transform=spec.transform, split=spec.split)
        entry = None
        if spec.transform and spec.transform.spark:
            entry = spec.transform.spark.job
        elif spec.transform and spec.transform.python:
            entry = function_file(spec.transform.python.function)
        return self._step(
            "transform",
            "transform",
            config,
            engine=spec.transform.engine if spec.transform else "python",
            upstream=tuple(f"check_{name}" for name in tables),
            inputs={name: f"check_{name}.rows" for name in tables},
            windowed=spec.split.time is not None,
            computes=True,
            entry=entry,
            outlets=(table_asset(spec.pipeline, "features"),),
        )

    def _training(self) -> Iterator[PlanStep]:
        spec = self.pipeline
        assert spec.train is not None
        config = TrainConfig(train=spec.train, split=spec.split, tune=spec.tune)
        entry = function_file(spec.train.function) if spec.train.function else None
        timed = spec.split.time is not None
        inputs = {"features": "transform.features"}
        upstream: tuple[str, ...] = ("transform",)
        resources = spec.train.resources.model_dump(mode="json")
        if spec.tune is not None:
            yield self._step(
                "tune",
                "tune",
                config,
                upstream=upstream,
                inputs=inputs,
                when="pin",
                computes=True,
                windowed=timed,
                entry=entry,
                resources=resources,
            )
            inputs, upstream = inputs | {"best": "tune.best"}, ("tune",)
        yield self._step(
            "train",
            "train",
            config,
            upstream=upstream,
            inputs=inputs,
            when="pin",
            computes=True,
            windowed=timed,
            entry=entry,
            resources=resources,
        )
        promote = spec.promote
        gate = EvaluateConfig(
            train=spec.train, split=spec.split, evaluate=spec.evaluate, when=promote.when if promote else {}
        )
        yield self._step(
            "evaluate",
            "evaluate",
            gate,
            upstream=("train",),
            when="pin",
            computes=True,
            windowed=timed,
            inputs={"features": "transform.features", "model": "train.model"},
            pins={"champion": "champion"} if promote else {},
        )
        if promote is None:
            return
        register = RegisterConfig(
            model=promote.model,
            registry=promote.registry,
            description=spec.description,
            owner=spec.owner,
            yaml=self.text,
            commit=self.commit,
        )
        yield self._step(
            "register",
            "register",
            register,
            upstream=("evaluate",),
            when="evaluate",
            windowed=timed,
            inputs={"features": "transform.features", "model": "train.model", "evaluation": "evaluate.evaluation"},
            pins={"sources": "sources", "tables": "tables"},
            connections=self._registry(),
            outlets=(model_asset(promote.model),),
        )

    def _rollout(self) -> Iterator[PlanStep]:
        spec = self.pipeline
        assert spec.promote is not None
        assert spec.deploy is not None
        model = {"model": spec.promote.model, "registry": spec.promote.registry}
        endpoint = {"endpoint": spec.promote.model}
        yield self._step("select", "select", model | endpoint, connections=self._registry(), every_run=True)
        last = "select"
        if spec.promote.approval == "human":
            yield self._step(
                "approve",
                "approve",
                model,
                upstream=("select",),
                inputs={"version": "select.version"},
                when="select",
                every_run=True,
            )
            # Whoever approves may take days: a newer version supersedes one that has no traffic yet.
            yield self._step(
                "confirm",
                "select",
                model | endpoint,
                upstream=("approve",),
                inputs={"version": "select.version"},
                connections=self._registry(),
                every_run=True,
            )
            last = "confirm"
        for percent in spec.deploy.canary:
            config = endpoint | {"weight": percent, "deploy": spec.deploy.model_dump(mode="json")}
            yield self._step(
                f"canary_{percent}",
                "stage",
                config,
                upstream=(last,),
                when="select",
                inputs={"version": "select.version"},
                every_run=True,
            )
            last = f"canary_{percent}"
        yield self._step(
            "promote",
            "promote",
            model | endpoint,
            upstream=(last,),
            when="select",
            inputs={"version": "select.version"},
            connections=self._registry(),
            every_run=True,
        )
        yield from self._notify("promotion", ("promote",), when="select", inputs={"version": "select.version"})

    def _monitor(self) -> Iterator[PlanStep]:
        spec = self.pipeline
        assert spec.monitor is not None
        assert spec.promote is not None
        endpoint = spec.promote.model
        config = MonitorConfig(
            endpoint=endpoint,
            monitor=spec.monitor,
            label=spec.train.label if spec.train else None,
            task=spec.train.task if spec.train else "binary",
        )
        features = f"{spec.pipeline}/features"
        labels = {"labels": f"table:{features}"} if spec.monitor.entity_key and spec.train else {}
        pins = PinConfig(model=endpoint, endpoint=endpoint, tables=(features,) if labels else ())
        yield self._step("pin", "pin", pins, connections=self._registry(), every_run=True, windowed=True)
        yield self._step(
            "ingest_requests",
            "ingest_capture",
            {"endpoint": endpoint, "time": spec.monitor.time},
            upstream=("pin",),
            every_run=True,
        )
        yield self._step(
            "drift",
            "monitor",
            config,
            upstream=("ingest_requests",),
            inputs={"requests": "ingest_requests.rows"} | labels,
            pins={"generation": "generation"},
            computes=True,
            windowed=True,
        )
        drift = {"drift": "drift.drift"}
        if spec.monitor.then == "retrain":
            yield self._step(
                "request_retraining",
                "request_retraining",
                {"pipeline": spec.pipeline, "endpoint": endpoint},
                upstream=("drift",),
                when="drift",
                inputs=drift,
                windowed=True,
                every_run=True,
                outlets=(retraining_asset(spec.pipeline),),
            )
        yield from self._notify("drift", ("drift",), when="drift", inputs=drift)

    def _score(self) -> Iterator[PlanStep]:
        spec = self.pipeline
        assert spec.score is not None
        assert spec.promote is not None
        table = f"{spec.pipeline}/{spec.score.table}"
        pins = PinConfig(model=spec.promote.model, tables=(table,))
        yield self._step("pin", "pin", pins, connections=self._registry(), every_run=True, windowed=True)
        yield self._step(
            "score",
            "score",
            ScoreConfig(score=spec.score, time=spec.split.time),
            upstream=("pin",),
            pins={"champion": "champion"},
            inputs={"table": f"table:{table}"},
            windowed=True,
            computes=True,
            outlets=(table_asset(spec.pipeline, spec.score.output),),
        )

    # Parts -----------------------------------------------------------------------------------

    def _notify(
        self, event: str, upstream: tuple[str, ...], *, when: str, inputs: dict[str, str]
    ) -> Iterator[PlanStep]:
        slack = self.pipeline.alerts.slack if self.pipeline.alerts else None
        if slack is not None and event in slack.on:
            yield self._step(
                f"tell_{event}",
                "notify",
                {"channel": slack.channel, "event": event},
                upstream=upstream,
                when=when,
                inputs=inputs,
                connections={"slack": slack.connection},
                every_run=True,
            )

    def _release(self, steps: Sequence[PlanStep]) -> PlanStep:
        """The last step: after all that nothing else comes after."""
        followed = {upstream for step in steps for upstream in step.upstream}
        leaves = tuple(step.id for step in steps if step.id not in followed)
        return self._step("release", "release", {}, upstream=leaves, every_run=True)

    def _registry(self) -> dict[str, str]:
        connection = self.profile.registry.connection
        return {"registry": connection} if connection and self.pipeline.promote else {}

    def _step(
        self,
        id: str,
        kind: str,
        config: Frozen | dict[str, Any],
        *,
        connections: dict[str, str] | None = None,
        entry: str | None = None,
        resources: dict[str, Any] | None = None,
        **rest: Any,
    ) -> PlanStep:
        body = config if isinstance(config, dict) else config.model_dump(mode="json", by_alias=True, exclude_none=True)
        defaults = self.pipeline.defaults.of(kind)
        lake = {"lake": self.profile.lake.connection} if self.profile.lake.connection else {}
        # Where the registry's connection is not given, as in `tradewind run` without the stack, this is it.
        settings = self.profile.settings | {"mlflow_uri": self.profile.registry.uri}
        return PlanStep(
            id=id,
            kind=kind,
            config=body,
            connections=lake | (connections or {}),
            closure=self.code.closure(entry) if entry else None,
            runner=self.profile.runner_of(kind),
            environment=defaults.environment or "steps",
            heavy=kind in self.profile.heavy,
            settings=settings,
            retries=defaults.retries,
            retry_delay=defaults.retry_delay.total_seconds(),
            timeout=defaults.timeout.total_seconds() if defaults.timeout else None,
            resources=resources or (defaults.resources.model_dump(mode="json") if defaults.resources else {}),
            **rest,
        )


def _windowed(source: Source) -> bool:
    """Whether a run's window decides what is read, or what counts as late."""
    return source.time is not None or (source.objects is not None and "{window.date}" in source.objects.uri)
