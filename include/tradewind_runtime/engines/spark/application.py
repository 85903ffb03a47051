"""The Spark of a step: how people find it in Spark's own pages, and see from Airflow how it does."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager

from pyspark.sql import SparkSession, is_remote

from tradewind_runtime.context import StepContext
from tradewind_runtime.engines.spark import events, progress
from tradewind_runtime.engines.spark.session import session

LINK = "Spark"


@contextmanager
def of(context: StepContext) -> Iterator[SparkSession]:
    """A Spark for the time of a step, which tells of its jobs' progress.

    Raises:
        StepError: TW546 where it does not start, gets no executor, or its settings are not such.
    """
    request, settings = context.request, context.setting("spark") or {}
    logging.getLogger("py4j").setLevel(logging.WARNING)  # it tells of each of its connections
    name = f"{request.pipeline}.{request.id} {request.run_id}"
    with session(settings, context.scratch, context.lake, name=name) as spark:
        note(context, spark)
        with progress.told_by(spark) if is_remote() else progress.told(spark.sparkContext):
            yield spark


def note(context: StepContext, spark: SparkSession) -> None:
    """Which application it is: in the log, and where its events are kept in the result, with a link to its page.

    Raises:
        StepError: TW546 where the history server's address is none.
    """
    id = str(spark.conf.get("spark.app.id"))
    if (log := events.kept(spark)) is None:
        context.log.info("Spark application %s", id)
        return
    history = events.history(context.setting("spark") or {})
    page = f"{history}/history/{id}/jobs/" if history else None
    context.log.info("Spark application %s: %s", id, page or log)
    # A step may start several, one after the other.
    context.notes.facts.setdefault("spark", []).append({"application": id, "event_log": log})
    if page:
        context.notes.links[LINK] = page
