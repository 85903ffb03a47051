"""`train`: the model itself, as an artefact that carries all a server, a monitor and a gate need to know."""

from __future__ import annotations

import json
from datetime import UTC
from pathlib import Path
from typing import Any

from tradewind_runtime import artefacts, distributed, learning
from tradewind_runtime.context import StepContext
from tradewind_runtime.contract.base import canonical, digest
from tradewind_runtime.contract.errors import StepError
from tradewind_runtime.contract.refs import Window
from tradewind_runtime.contract.request import StepOutcome
from tradewind_runtime.contract.split import Split
from tradewind_runtime.contract.train import TrainConfig
from tradewind_runtime.frameworks import framework_of
from tradewind_runtime.training import Rows, TrainContext

#: Validation rows that a network is traced by, and on which a saved model is held against the one that was fitted.
SOME = 1000


def run(context: StepContext) -> StepOutcome:
    """Learn with the best parameters that are known, save, and score what was saved on the validation rows."""
    config = context.request.configured(TrainConfig)
    given = learning.given(context, config)
    context.log.info("training on %d rows with %s", len(given.train), given.params)
    model = distributed.fit(context, config, given)
    framework, features = framework_of(model), learning.columns(model, given)
    valid = Rows(given.valid.table, features, given.label, given.classes)
    some = Rows(valid.table.slice(0, SOME), features, given.label, given.classes).numpy()[0]
    framework.save(model, context.scratch, some)
    files = {path.name: path.read_bytes() for path in context.scratch.iterdir()}
    predictor = framework.load(files, given.threads)  # what is scored is what will be served
    learning.same(framework.wrap(model, given.threads), predictor, some)
    metrics, wrong = learning.scores(predictor, valid, config.train.task)
    if wrong:
        raise StepError(
            "TW557",
            "the model's answers cannot be served",
            retryable=False,
            got="; ".join(wrong),
            expected="probabilities, or values of a regression",
            fix="look at the objective and the data",
        )
    _describe(context.scratch, config, given, features)
    ref = artefacts.save(
        context.lake.documents,
        context.scratch,
        {
            "framework": framework.NAME,
            "task": config.train.task,
            "features": features,
            "label": given.label,
            "classes": given.classes,
            "trained_until": trained_until(config.split, context.request.window),
            "trained_split": trained_split(config.split, given.train.table),
        },
    )
    for name, value in metrics.items():
        context.log.info("valid %s: %.5g", name, value)
    return StepOutcome(
        outputs={"model": ref},
        metrics={f"valid_{name}": value for name, value in metrics.items()}
        | {f"last_{name}": value for name, value in given.reported.items()}
        | {"rows_train": len(given.train), "rows_valid": len(given.valid)},
        facts={
            "digest": ref.digest,
            "framework": framework.NAME,
            "device": given.device,
            "params": given.params,
            "features": list(features),
        },
        links={"artefact": f"models/{ref.digest}"},
    )


def trained_until(split: Split, window: Window | None) -> str | None:
    """The time from which on no row was learnt from, validation included; None for a random split."""
    bounds = split.bounds(window) if window else None
    return bounds["valid"].end.astimezone(UTC).isoformat() if bounds else None


def trained_split(split: Split, table: Any) -> str | None:
    """Of a random split, what decides the side of a row: two models of one value share their test rows."""
    if split.time is not None:
        return None
    columns = [[f.name, str(f.type)] for f in sorted(table.schema, key=lambda f: f.name) if not f.name.startswith("_")]
    return digest(split.model_dump(mode="json"), columns)


def _describe(folder: Path, config: TrainConfig, given: TrainContext, features: tuple[str, ...]) -> None:
    """Files beside the model; none holds a time, so that the same training gives the same digest."""
    from tradewind_runtime.drift import profile, reference

    spec, schema = config.train, given.train.table.schema
    rows = given.train.table.select(list(features)).slice(0, 5).to_pylist()
    example = [{name: None if value != value else value for name, value in row.items()} for row in rows]  # noqa: PLR0124
    documents: dict[str, Any] = {
        "input_example.json": example,
        "signature.json": {
            "inputs": [{"name": name, "type": str(schema.field(name).type)} for name in features],
            "output": {"name": "predict", "task": spec.task, "classes": list(given.classes)},
        },
        "training.json": {
            "function": spec.function,
            "estimator": spec.estimator,
            "params": given.params,
            "seed": given.seed,
            "label": given.label,
            "rows_train": len(given.train),
            "rows_valid": len(given.valid),
        },
    }
    for name, body in documents.items():
        (folder / name).write_bytes(canonical(json.loads(json.dumps(body, default=_plain))))
    text = profile(given.train.table, list(features)).model_dump_json(indent=1)
    (folder / "profile.json").write_text(text)
    (folder / "reference.arrow").write_bytes(reference(given.train.table, list(features)))


def _plain(value: Any) -> Any:
    """NumPy's numbers and Arrow's decimals, in JSON."""
    return value.item() if hasattr(value, "item") else float(value) if hasattr(value, "as_tuple") else str(value)
