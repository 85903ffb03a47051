"""All that one YAML may say."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from tradewind.spec.alerts import Alerts
from tradewind.spec.defaults import Defaults
from tradewind.spec.params import ParamBlock
from tradewind.spec.schedule import ScheduleBlock
from tradewind_runtime.contract.base import Frozen, Name, Slug
from tradewind_runtime.contract.checks import Expectation
from tradewind_runtime.contract.deploy import Deploy, Score
from tradewind_runtime.contract.maintenance import Maintenance
from tradewind_runtime.contract.monitor import Monitor
from tradewind_runtime.contract.promote import Evaluate, Promote
from tradewind_runtime.contract.sources import Source
from tradewind_runtime.contract.split import RandomSplit, Split
from tradewind_runtime.contract.train import Train
from tradewind_runtime.contract.transform import Transform
from tradewind_runtime.contract.tune import Tune


class Pipeline(Frozen):
    """One machine-learning pipeline. Only version, pipeline and sources must be given."""

    version: Literal[1] = Field(description="Of this vocabulary.")
    pipeline: Slug = Field(description="Its name, and its DAGs': small letters, digits and hyphens.")
    description: str = Field("", description="What it is for; shown in Airflow and in the registry.")
    owner: str = Field("", description="The team that answers for it.")
    tags: tuple[str, ...] = Field((), description="Tags of its DAGs.")
    schedule: ScheduleBlock | None = Field(None, description="When it starts by itself; by hand only if not given.")
    params: dict[Name, ParamBlock] = Field(
        default_factory=dict, description="What a person may set for a run; used as {params.NAME}."
    )
    sources: dict[Name, Source] = Field(
        min_length=1, description="Where rows come from; each becomes a table of its name."
    )
    checks: dict[Name, tuple[Expectation, ...]] = Field(
        default_factory=dict, description="By source: freshness, volume, schema, and Great Expectations suites."
    )
    transform: Transform | None = Field(
        None, description="From checked tables to `features`; may be left out where there is one source."
    )
    split: Split = Field(
        Split(random=RandomSplit()), description="Rows for training, validation and test; by chance if not given."
    )
    tune: Tune | None = Field(None, description="A search for the best training parameters.")
    train: Train | None = Field(None, description="How a model is made; without it, tables only.")
    evaluate: Evaluate = Field(Evaluate(), description="What is measured on the test rows.")
    promote: Promote | None = Field(None, description="The gate, and the registered model.")
    deploy: Deploy | None = Field(None, description="The endpoint, and how a new version takes over.")
    score: Score | None = Field(None, description="Batch scoring by the champion.")
    monitor: Monitor | None = Field(None, description="Watch what is served for drift.")
    maintenance: Maintenance | None = Field(None, description="Small files and old versions of its tables.")
    alerts: Alerts = Field(Alerts(), description="Who is told.")
    defaults: Defaults = Field(Defaults(), description="Retries, time limits and resources of steps.")
