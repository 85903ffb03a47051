"""`split:`: which rows are for training, validation and test. By time wherever there is time."""

from __future__ import annotations

from pydantic import Field, model_validator

from tradewind_runtime.contract.base import Duration, Frozen, Name
from tradewind_runtime.contract.refs import Window


class RandomSplit(Frozen):
    """By a hash of the row's content: the same rows on each run."""

    valid: float = Field(0.2, gt=0, lt=1, description="Share of the rows for validation.")
    test: float = Field(0.2, gt=0, lt=1, description="Share of the rows for the test.")
    seed: int = Field(0, description="Another number, another choice of rows.")


class Split(Frozen):
    """Spans back from the window's end, or a random share where rows have no time."""

    time: Name | None = Field(None, description="Column of event time, by which to split.")
    train: Duration | None = Field(None, description="Span of the training rows, before those for validation.")
    valid: Duration | None = Field(None, description="Span of the validation rows, before those of the test.")
    test: Duration | None = Field(None, description="Span of the test rows: the last of the window.")
    random: RandomSplit | None = Field(None, description="By chance, where rows have no time.")

    @model_validator(mode="after")
    def _one_way(self) -> Split:
        spans = (self.train, self.valid, self.test)
        if self.time is None:
            if any(spans):
                msg = "train, valid and test need time: the column by which to split"
                raise ValueError(msg)
        elif self.random is not None or not all(spans):
            msg = "a split by time has time, train, valid and test, and no random"
            raise ValueError(msg)
        return self

    def bounds(self, window: Window) -> dict[str, Window] | None:
        """The windows of `train`, `valid` and `test`; None for a random split."""
        if self.time is None or not (self.train and self.valid and self.test):
            return None
        test = window.end - self.test
        valid = test - self.valid
        return {
            "train": Window(start=valid - self.train, end=valid),
            "valid": Window(start=valid, end=test),
            "test": Window(start=test, end=window.end),
        }
