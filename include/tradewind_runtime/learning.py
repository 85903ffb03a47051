"""From a request to a fitted model: what the steps `train` and `trial` have in common."""

from __future__ import annotations

import importlib
import logging
import traceback
from collections.abc import Callable, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from tradewind_runtime import devices, estimators, gone, metrics, splits
from tradewind_runtime.checkpoints import Checkpoints, checkpoints_path
from tradewind_runtime.context import StepContext
from tradewind_runtime.contract.errors import StepError
from tradewind_runtime.contract.refs import DatasetRef, ValueRef
from tradewind_runtime.contract.request import StepRequest
from tradewind_runtime.contract.train import TrainConfig
from tradewind_runtime.execute import open_lake
from tradewind_runtime.frameworks import Matrix, Predictor, answers, framework_of
from tradewind_runtime.training import Rows, TrainContext, classes_of, feature_names

log = logging.getLogger("tradewind")
#: Trying again may help against these; against anything else that user code raises it cannot.
_PASSING = (MemoryError, OSError, EOFError)


def given(context: StepContext, config: TrainConfig) -> TrainContext:
    """The context of the training itself: with the best parameters that are known."""
    best = context.request.inputs.get("best")
    found = dict(best.value).get("params") if isinstance(best, ValueRef) else None
    return prepare(context, config, found if isinstance(found, dict) else {})


def prepare(
    context: StepContext, config: TrainConfig, params: Mapping[str, Any], *, rows: int | None = None
) -> TrainContext:
    """The context of a training: pinned rows, parameters, and what the profile grants.

    Args:
        context: of the step.
        config: its configuration.
        params: laid over `train.params`.
        rows: learn from at most so many, chosen by the seed.
    """
    spec = config.train
    train, valid = _parts(_Key(context.request, config), rows)
    features = feature_names(
        train.schema, spec.label, features=spec.features, exclude=spec.exclude, time=config.split.time
    )
    classes = classes_of(train[spec.label], spec.task)
    if context.setting("gpus") and not devices.gpus():
        log.warning("train.resources asks for a GPU, and none is visible here: the CPU is used")
    return TrainContext(
        Rows(train, features, spec.label, classes),
        Rows(valid, features, spec.label, classes),
        params=dict(spec.params) | dict(params),
        task=spec.task,
        seed=spec.seed,
        threads=int(context.setting("threads", 1)),
        forced_device=context.setting("device"),
        checkpoints=Checkpoints(
            context.lake.documents,
            checkpoints_path(context.request.fingerprint),
            float(context.setting("checkpoint_seconds", 30)),
        ),
    )


def fit(context: StepContext, config: TrainConfig, given: TrainContext) -> Any:
    """The model that the user's function or the estimator returns.

    Raises:
        StepError: TW550 with file and line where user code fails.
    """
    name = config.train.function
    if name is None:
        estimator = config.train.estimator
        assert estimator is not None, "a function or an estimator, says the contract"
        return _guarded(lambda: estimators.fit(estimator, given), estimator, None)
    return _guarded(lambda: load_function(name, context)(given), name, context.code)


def load_function(name: str, context: StepContext) -> Callable[..., Any]:
    """`module:function` of this request's user code, never of another version's.

    Raises:
        StepError: TW530 where there is no such function, TW550 where its module does not import.
    """
    module, _, function = name.partition(":")
    found = _guarded(lambda: importlib.import_module(module), name, context.code, absent=module)
    result: Callable[..., Any] | None = getattr(found, function, None)
    if result is None or not callable(result):
        raise StepError(
            "TW530",
            f"include/models/{module.replace('.', '/')}.py has no function {function!r}",
            retryable=False,
            path="train.function",
            got=sorted(n for n, v in vars(found).items() if callable(v) and not n.startswith("_")),
        )
    return result


def scores(predictor: Predictor, rows: Rows, task: str) -> tuple[dict[str, float], tuple[str, ...]]:
    """A model's metrics on rows, and what is wrong with its predictions."""
    x, y = rows.numpy()
    prediction, wrong = answers(predictor, x)
    if prediction is None:
        return {}, wrong
    wrong = metrics.problems(task, prediction, len(y), len(rows.classes))
    return ({} if wrong else metrics.measure(task, y, prediction)), wrong


def measured(model: Any, given: TrainContext) -> tuple[dict[str, float], tuple[str, ...]]:
    """A model's metrics on the validation rows as it is now, and what is wrong with its predictions."""
    rows = Rows(given.valid.table, columns(model, given), given.label, given.classes)
    return scores(framework_of(model).wrap(model, given.threads), rows, given.task)


def same(fitted: Predictor, saved: Predictor, x: Matrix) -> None:
    """Hold a saved model against the one that was fitted: a format of single precision answers a little otherwise.

    Raises:
        StepError: TW561 where it answers otherwise by more than that.
    """
    (ours, _), (theirs, _) = answers(fitted, x), answers(saved, x)
    if ours is None or theirs is None:
        return  # the scores say so
    least = 1e-4 * max(1.0, float(np.nanmax(np.abs(ours), initial=0.0)))
    if ours.shape == theirs.shape and np.allclose(ours, theirs, rtol=1e-3, atol=least, equal_nan=True):
        return
    apart = float(np.nanmax(np.abs(ours - theirs))) if ours.shape == theirs.shape else None
    raise StepError(
        "TW561",
        "the saved model does not answer as the one that was fitted",
        retryable=False,
        got=f"answers of shape {list(theirs.shape)}, not {list(ours.shape)}" if apart is None else f"{apart:.3g} apart",
        expected="the same answers, to three digits",
        fix="scale the features inside the model, and take no chance or state when it answers",
        docs="guides/training.md",
    )


def columns(model: Any, given: TrainContext) -> tuple[str, ...]:
    """The columns that a model learnt from, in its order.

    Raises:
        StepError: TW556 where it learnt from others than there are.
    """
    own = framework_of(model).features(model)
    if own is None or all(_is_number(name) for name in own):
        return given.features
    if new := sorted(set(own) - set(given.train.table.column_names)):
        raise StepError(
            "TW556",
            "the model learnt from columns that the table does not have",
            retryable=False,
            got=new,
            fix="derive them in the transform, so that the server has them too",
        )
    return own


class _Key:
    """What decides the rows of a training, so that a warm worker reads them once."""

    def __init__(self, request: StepRequest, config: TrainConfig) -> None:
        self.request, self.config = request, config
        features = request.inputs.get("features")
        assert isinstance(features, DatasetRef), "the plan gives `features`"
        self.features = features
        self._parts = (request.lake, features, request.window, config.split.model_dump_json(), config.train.seed)

    def __hash__(self) -> int:
        return hash(self._parts)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Key) and self._parts == other._parts


@lru_cache(maxsize=1)
def _parts(key: _Key, limit: int | None) -> tuple[pa.Table, pa.Table]:
    lake = open_lake(key.request)
    gone.require(lake.documents, key.features)
    snapshot = lake.table(key.features.table).snapshot(key.features.version)
    window = key.request.window
    train = splits.rows(snapshot, key.config.split, window, "train")
    valid = splits.rows(snapshot, key.config.split, window, "valid")
    if limit is not None and train.num_rows > limit:
        chosen = np.random.default_rng(key.config.train.seed).choice(train.num_rows, limit, replace=False)
        train = train.take(pa.array(np.sort(chosen)))
    return train, valid


def _guarded(action: Callable[[], Any], name: str, code: Path | None, absent: str | None = None) -> Any:
    """User code's own exception, as an error that names its file and line."""
    try:
        return action()
    except StepError:
        raise
    except ModuleNotFoundError as error:
        if absent is None or error.name not in (absent, absent.partition(".")[0]):
            raise _failed(error, name, code) from error
        raise StepError(
            "TW530",
            f"there is no module {absent!r} in include/models",
            retryable=False,
            path="train.function",
            fix=f"add include/models/{absent.replace('.', '/')}.py",
        ) from error
    except Exception as error:  # user code may raise anything
        raise _failed(error, name, code) from error


def _failed(error: Exception, name: str, code: Path | None) -> StepError:
    log.error("%s", "".join(traceback.format_exception(error)).rstrip())
    file, line = None, None
    frames = traceback.extract_tb(error.__traceback__)
    if isinstance(error, SyntaxError) and error.filename:
        file, line = error.filename, error.lineno
    elif own := [frame for frame in frames if code and Path(frame.filename).is_relative_to(code)]:
        file, line = own[-1].filename, own[-1].lineno
    if file and code and Path(file).is_relative_to(code):
        file = Path(file).relative_to(code).as_posix()
    return StepError(
        "TW550",
        f"{name} failed: {type(error).__name__}: {error}",
        file=file,
        line=line,
        retryable=isinstance(error, _PASSING),
        fix="see the traceback in the log",
    )


def _is_number(name: str) -> bool:
    return name.removeprefix("f").isdigit()
