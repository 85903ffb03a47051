"""What a model learnt from, out of its verified artefact: the profile, and a sample with the model's own answers."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from tradewind_runtime.artefacts import Artefact
from tradewind_runtime.contract.errors import StepError
from tradewind_runtime.drift.profile import Profile, profile
from tradewind_runtime.drift.requests import PREDICTION
from tradewind_runtime.frameworks import predictor
from tradewind_runtime.training import matrix

PROFILE, REFERENCE = "profile.json", "reference.arrow"


@dataclass(frozen=True)
class Learnt:
    """Where there is a sample, the model's answers to it are one more column of both."""

    digest: str
    profile: Profile
    reference: pa.Table | None
    classes: tuple[str | int | float | bool, ...] = ()

    @classmethod
    def of(cls, artefact: Artefact) -> Learnt:
        """Read and, for the answers, predict.

        Raises:
            StepError: TW580 where the artefact was saved without a profile.
        """
        text = artefact.files.get(PROFILE)
        if text is None:
            raise StepError(
                "TW580", f"artefact {artefact.digest[:12]} holds no {PROFILE}: its drift cannot be judged",
                retryable=False, got=sorted(artefact.files), fix="train it again",
            )  # fmt: skip
        known, classes = Profile.model_validate_json(text), artefact.manifest.classes
        content = artefact.files.get(REFERENCE)
        if content is None:
            return cls(artefact.digest, known, None, classes)
        sample = pa.ipc.open_file(pa.BufferReader(content)).read_all()
        answers = predictor(artefact).predict(matrix(sample, artefact.manifest.features))
        column = answer_column(pa.array(answers.tolist()))
        sample = sample.append_column(PREDICTION, column)
        features = (*known.features, *profile(sample, [PREDICTION]).features)
        return cls(artefact.digest, known.model_copy(update={"features": features}), sample, classes)


def answer_column(answers: pa.Array) -> pa.Array:
    """Answers as one column: as they are, or the most probable class's place where there is one for each."""
    if not (pa.types.is_list(answers.type) or pa.types.is_large_list(answers.type)):
        return answers.cast(pa.float64())
    best = [None if row is None else f"class {int(np.argmax(row))}" for row in answers.to_pylist()]
    return pa.array(best, pa.string())
