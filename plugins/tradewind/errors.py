"""Every error of the control plane: its shape, and what the codes of a YAML mean."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

from tradewind_runtime.contract.errors import Problem, StepError, TradewindError

__all__ = ["CODES", "PipelineError", "Problem", "StepError", "TradewindError", "docs_of", "nearest"]

#: Code → what it means. `docs/reference/errors.md` is generated from it.
CODES: dict[str, str] = {
    "TW100": "The file cannot be read: missing, too large, or not UTF-8.",
    "TW101": "The text is not YAML.",
    "TW102": "A key stands twice in one mapping.",
    "TW103": "A part of YAML that pipelines do without: tags, too many aliases, deep nesting, keys that are not text.",
    "TW104": "A file holds one mapping, and this one is empty, a list or a text.",
    "TW105": "A pipeline's name is used by another file. The file that sorts first keeps it.",
    "TW106": "A model, and so its endpoint, belongs to another pipeline.",
    "TW110": "An unknown key.",
    "TW111": "A key is missing.",
    "TW112": "A value of the wrong type.",
    "TW113": "A value that is not allowed here.",
    "TW120": "Checks of a source that is not there.",
    "TW121": "More than one source and no transform to make one table of them.",
    "TW122": "A block needs another one.",
    "TW123": "A metric that the task does not have.",
    "TW124": "A threshold whose min is above its max.",
    "TW125": "A range of the search space whose low end is not below its high end.",
    "TW126": "A sweep that goes the wrong way for its metric.",
    "TW127": "An estimator for another task.",
    "TW128": "A column that the source does not have, or that may not be used here.",
    "TW129": "A table's or param's name that is taken.",
    "TW130": "A param that is not declared.",
    "TW131": "A word in braces that stands for nothing here.",
    "TW132": "A param without a default in a pipeline that starts by itself.",
    "TW133": "Trials that are to be stopped early, and an estimator without steps.",
    "TW134": "An estimator that cannot learn on several workers, or not by that framework.",
    "TW140": "The file of a function or job does not exist.",
    "TW141": "The file does not define the function.",
    "TW142": "The file of user code is not Python.",
    "TW145": "An expectation that Great Expectations does not have.",
    "TW146": "A schedule that is not a cron expression.",
    "TW147": "A schedule that ends before it starts.",
    "TW148": "A pipeline that waits for itself.",
    "TW149": "A pipeline that waits for what none makes.",
    "TW150": "A secret in the text.",
    "TW151": "A pipeline that starts by what arrives, where it cannot be watched.",
    "TW160": "An environment that the profile does not have.",
    "TW161": "A budget in money, and no price.",
    "TW162": "Resources that the profile does not have: a kind of GPU, MIG, spot nodes.",
    "TW163": "Resources that the profile does not allow: an image, a Secret, a volume, another node, `pod_override`.",
    "TW164": "A `pod_override` after which the pod is not the step's any more, or not restricted.",
}


class PipelineError(Exception):
    """What a compiled file raises for a YAML that is wrong, so that Airflow shows its problems."""


def docs_of(code: str) -> str:
    """The page of a code, below docs/."""
    return f"reference/errors.md#{code.lower()}"


def nearest(word: object, known: Iterable[str]) -> str | None:
    """The known word that was probably meant."""
    found = difflib.get_close_matches(str(word), sorted(known), n=1, cutoff=0.6)
    return found[0] if found else None
