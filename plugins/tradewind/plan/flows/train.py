"""Training: from sources to a registered version, as far as the YAML goes."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

from tradewind.plan.model import PlanStep, model_asset, table_asset
from tradewind.plan.steps import StepBuilder
from tradewind.spec.pipeline import Pipeline
from tradewind_runtime.contract.checks import CheckConfig
from tradewind_runtime.contract.dates import dated
from tradewind_runtime.contract.pins import IngestConfig, PinConfig
from tradewind_runtime.contract.promote import EvaluateConfig, Promote, RegisterConfig
from tradewind_runtime.contract.sources import Source
from tradewind_runtime.contract.train import Train, TrainConfig
from tradewind_runtime.contract.transform import TransformConfig


def steps(builder: StepBuilder) -> Iterator[PlanStep]:
    """Tables first, then features, a model, and its version."""
    spec = builder.pipeline
    yield _pin(builder)
    for name, source in spec.sources.items():
        yield from _table(builder, name, source)
    if spec.transform or spec.train:
        yield _transform(builder)
    if spec.train:
        yield from _model(builder, spec.train)
        if spec.promote:
            yield _register(builder, spec.promote)


def _pin(builder: StepBuilder) -> PlanStep:
    spec = builder.pipeline
    config = PinConfig(
        sources=spec.sources,
        model=spec.promote.model if spec.promote else None,
        endpoint=spec.promote.model if spec.promote and spec.deploy else None,
        train=spec.train.when if spec.train else "always",
    )
    sources = {f"source:{name}": source.connection for name, source in spec.sources.items() if source.connection}
    return builder.step("pin", config, connections=sources | builder.registry, every_run=True, windowed=True)


def _table(builder: StepBuilder, name: str, source: Source) -> Iterator[PlanStep]:
    spec = builder.pipeline
    # A run's window decides what is read, or what counts as late.
    windowed = source.time is not None or (source.objects is not None and dated(source.objects.uri))
    yield builder.step(
        "ingest",
        IngestConfig(name=name, source=_read(source)),
        id=f"ingest_{name}",
        upstream=("pin",),
        pins={"end": f"sources.{name}", "created": "created"},
        # What it gives is the table as it is by now, whoever has read into it since a run with the same end.
        every_run=True,
        windowed=windowed,
        engine=source.engine,
        connections=source.connections | builder.spark_of(source.engine),
        entry=f"include/schemas/{source.kafka.schema_file}" if source.kafka and source.kafka.schema_file else None,
    )
    checks = CheckConfig(source=name, expectations=tuple(spec.checks.get(name, ())), time=source.time)
    # These are asked of every run, whether it has new rows or not.
    each = any(one.name in ("freshness", "volume") for one in checks.expectations)
    yield builder.step(
        "check",
        checks,
        id=f"check_{name}",
        engine=source.engine,
        connections=builder.spark_of(source.engine),
        upstream=(f"ingest_{name}",),
        inputs={"rows": f"ingest_{name}.rows"},
        pins={"window": "window", "created": "created", "backfill": "backfill"} if each else {},
        computes=True,
        outlets=(table_asset(spec.pipeline, name),),
    )


def _read(source: Source) -> Source:
    """What ingestion knows of a source: how long it was waited for changes no result."""
    if source.objects is None:
        return source
    return source.model_copy(update={"objects": source.objects.model_copy(update={"wait": None})})


def _transform(builder: StepBuilder) -> PlanStep:
    spec = builder.pipeline
    engine = spec.transform.engine if spec.transform else "python"
    return builder.step(
        "transform",
        TransformConfig(transform=spec.transform, split=spec.split, times=_times(spec)),
        engine=engine,
        connections=builder.spark_of(engine),
        upstream=tuple(f"check_{name}" for name in spec.sources),
        inputs={name: f"check_{name}.rows" for name in spec.sources},
        windowed=spec.split.time is not None,
        computes=True,
        entry=spec.transform.entry if spec.transform else None,
        outlets=(table_asset(spec.pipeline, "features"),),
    )


def _times(spec: Pipeline) -> dict[str, str] | None:
    """Of an incremental transform, each source's column by which its rows are of a day of the split."""
    if spec.transform is None or spec.transform.incremental is None:
        return None
    time = spec.split.time
    same = {name: time for name, source in spec.sources.items() if time and source.time == time}
    return {**same, **spec.transform.incremental.times}


def _model(builder: StepBuilder, block: Train) -> Iterator[PlanStep]:
    spec = builder.pipeline
    # Pins say whether a run trains at all: a daily run may only keep the tables fresh.
    step = partial(builder.step, when="pin", computes=True, windowed=spec.split.time is not None)
    fit = partial(
        step,
        config=TrainConfig(train=block, split=spec.split, tune=spec.tune),
        entry=block.function,
        resources=block.resources,
    )
    features = {"features": "transform.features"}
    if spec.tune:
        connections = builder.registry | builder.spark_of(spec.tune.workers)
        yield fit("tune", upstream=("transform",), inputs=features, connections=connections)
        yield fit("train", upstream=("tune",), inputs=features | {"best": "tune.best"})
    else:
        yield fit("train", upstream=("transform",), inputs=features)
    when = spec.promote.when if spec.promote else {}
    yield step(
        "evaluate",
        EvaluateConfig(train=block, split=spec.split, evaluate=spec.evaluate, when=when),
        upstream=("train",),
        inputs=features | {"model": "train.model"},
        pins={"champion": "champion"} if spec.promote else {},
    )


def _register(builder: StepBuilder, block: Promote) -> PlanStep:
    spec = builder.pipeline
    config = RegisterConfig(
        model=block.model,
        registry=block.registry,
        description=spec.description,
        owner=spec.owner,
        yaml=builder.text,
        commit=builder.commit,
    )
    return builder.step(
        "register",
        config,
        upstream=("evaluate",),
        when="evaluate",
        windowed=spec.split.time is not None,
        inputs={"features": "transform.features", "model": "train.model", "evaluation": "evaluate.evaluation"},
        pins={"sources": "sources", "tables": "tables"},
        connections=builder.registry,
        outlets=(model_asset(block.model),),
    )
