"""Great Expectations over rows that may not fit in memory.

An expectation that looks at one row at a time is validated in chunks, and its counts are added up, which
gives what one validation of all rows would. One that needs all rows at once (an aggregate, uniqueness, an
order) gets them all, but only the columns that it names. One about the table's columns needs no rows.
"""

from __future__ import annotations

import difflib
import os
import tempfile
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

# Before the import: nothing is told to anyone, and no network is asked for.
os.environ["GX_ANALYTICS_ENABLED"] = "false"

import great_expectations as gx
import numpy as np
import pandas as pd
import pyarrow as pa
from great_expectations.core.expectation_validation_result import (
    ExpectationSuiteValidationResult,
    ExpectationValidationResult,
)
from great_expectations.core.run_identifier import RunIdentifier
from great_expectations.data_context.types.resource_identifiers import (
    ExpectationSuiteIdentifier,
    ValidationResultIdentifier,
)
from great_expectations.exceptions.exceptions import ExpectationNotFoundError
from great_expectations.expectations.expectation import (
    ColumnMapExpectation,
    ColumnPairMapExpectation,
    MulticolumnMapExpectation,
)
from great_expectations.expectations.expectation_configuration import ExpectationConfiguration
from great_expectations.expectations.registry import (
    get_expectation_impl,
    list_registered_expectation_implementations,
)
from pydantic.v1 import ValidationError as ArgumentError  # great_expectations stands on pydantic's first version

from tradewind_runtime.contract.checks import Expectation
from tradewind_runtime.contract.errors import StepError
from tradewind_runtime.datadocs import alone, leading_to
from tradewind_runtime.findings import Finding, describe

Reach = Literal["row", "all", "columns"]
#: Rows of the checked table, in chunks: all columns, or those that are named.
Scan = Callable[[Sequence[str] | None], Iterator[pa.Table]]

#: These judge rows one by one, yet by all the others.
_BY_ALL = ("_unique", "_increasing", "_decreasing", "_z_scores_", "_outliers", "_of_type", "_in_type_list")
_ROW_KINDS = (ColumnMapExpectation, ColumnPairMapExpectation, MulticolumnMapExpectation)
_SHOWN = 20


@dataclass(frozen=True, kw_only=True)
class Answer(Finding):
    """What one expectation found, with what the data docs need."""

    raw: ExpectationValidationResult


class Suite:
    """The expectations on one source. To make it is to check that they can be asked.

    Args:
        source: its name, for the data docs.
        expectations: as the YAML has them.
        schema: of the rows.

    Raises:
        StepError: TW541, with every expectation that is unknown, wrongly written or about a missing column.
    """

    def __init__(self, source: str, expectations: Sequence[Expectation], schema: pa.Schema) -> None:
        self.source, self.expectations, self.schema = source, tuple(expectations), schema
        wrong = [problem for expectation in expectations for problem in _problems(expectation, schema)]
        if wrong:
            message, suggestion = wrong[0]
            raise StepError(
                "TW541",
                message,
                retryable=False,
                path=f"checks.{source}",
                suggestion=suggestion,
                got="; ".join(other for other, _ in wrong[1:]) or None,
                expected=f"columns: {', '.join(schema.names)}",
                fix=f"mend checks.{source} and run the task again",
            )

    @cached_property
    def _gx(self) -> Any:
        context: Any = gx.get_context(mode="ephemeral")
        context.variables.progress_bars = {"globally": False}
        return context

    @cached_property
    def _batches(self) -> Any:
        asset = self._gx.data_sources.add_pandas("lake").add_dataframe_asset(self.source)
        return asset.add_batch_definition_whole_dataframe("new rows")

    def validate(self, scan: Scan) -> list[Answer]:
        """What each expectation finds, in their order."""
        found: dict[int, list[ExpectationValidationResult]] = {}
        by_reach: dict[Reach, list[int]] = {"row": [], "all": [], "columns": []}
        for number, expectation in enumerate(self.expectations):
            by_reach[_reach(expectation)].append(number)
        if numbers := by_reach["columns"]:
            self._ask(numbers, self.schema.empty_table().to_pandas(), found)
        if numbers := by_reach["all"]:
            frame = pa.concat_tables(scan(self._needed(numbers))).to_pandas(split_blocks=True, self_destruct=True)
            self._ask(numbers, frame, found)
        if numbers := by_reach["row"]:
            offset = 0
            for chunk in scan(None):
                frame = chunk.to_pandas()
                frame.index = pd.RangeIndex(offset, offset + len(frame))
                self._ask(numbers, frame, found)
                offset += len(frame)
        return [_finding(self.expectations[number], found[number]) for number in range(len(self.expectations))]

    def _needed(self, numbers: Iterable[int]) -> list[str] | None:
        asked = [self.expectations[number] for number in numbers]
        if any("row_condition" in expectation.arguments for expectation in asked):
            return None  # a condition may name any column
        return sorted({name for one in asked for name in one.columns}) or self.schema.names[:1]

    def _ask(
        self, numbers: Sequence[int], frame: pd.DataFrame, found: dict[int, list[ExpectationValidationResult]]
    ) -> None:
        batch = self._batches.get_batch({"dataframe": frame})
        for some in self._rounds(numbers):
            suite = gx.ExpectationSuite(name=self.source)
            for number in some:
                suite.add_expectation_configuration(_configuration(self.expectations[number], number, self.schema))
            result = batch.validate(
                suite, result_format={"result_format": "COMPLETE", "return_unexpected_index_query": False}
            )
            # Results come back by the id in `meta`: great_expectations puts them in an order of its own.
            for one in result.results:
                number = one.expectation_config.meta["number"]
                _raise_its_error(self.expectations[number], one)
                found.setdefault(number, []).append(one)

    def _rounds(self, numbers: Iterable[int]) -> list[list[int]]:
        """A suite of great_expectations holds one of a kind for a column: the next of it has a suite of its own."""
        rounds: list[list[int]] = []
        seen: Counter[tuple[str, ...]] = Counter()
        for number in numbers:
            one = self.expectations[number]
            kind = (one.name, *one.columns)
            if seen[kind] == len(rounds):
                rounds.append([])
            rounds[seen[kind]].append(number)
            seen[kind] += 1
        return rounds

    def docs(self, findings: Sequence[Answer], run: str) -> Iterator[tuple[str, bytes]]:
        """The data docs: a small static site, as paths and contents."""
        passed = sum(finding.success for finding in findings)
        result = ExpectationSuiteValidationResult(
            success=passed == len(findings),
            results=[finding.raw for finding in findings],
            suite_name=self.source,
            statistics={
                "evaluated_expectations": len(findings),
                "successful_expectations": passed,
                "unsuccessful_expectations": len(findings) - passed,
                "success_percent": 100.0 * passed / max(1, len(findings)),
            },
            meta={
                "great_expectations_version": gx.__version__,
                "run_id": RunIdentifier(run_name=run),
                "active_batch_definition": {
                    "datasource_name": "lake",
                    "data_connector_name": "fluent",
                    "data_asset_name": self.source,
                    "batch_identifiers": {},
                },
            },
        )
        suite = self._gx.suites.add(gx.ExpectationSuite(name=self.source))
        for number, expectation in enumerate(self.expectations):
            suite.add_expectation_configuration(_configuration(expectation, number, self.schema))
        suite.save()
        key = ValidationResultIdentifier(ExpectationSuiteIdentifier(self.source), RunIdentifier(run_name=run), run)
        self._gx.validation_results_store.set(key, result)
        with tempfile.TemporaryDirectory(prefix="tradewind-docs-") as folder:
            for name in list(self._gx.get_site_names()):
                self._gx.delete_data_docs_site(name)
            self._gx.add_data_docs_site(
                self.source,
                {
                    "class_name": "SiteBuilder",
                    "show_how_to_buttons": False,
                    "site_index_builder": {"class_name": "DefaultSiteIndexBuilder"},
                    "store_backend": {"class_name": "TupleFilesystemStoreBackend", "base_directory": folder},
                },
            )
            self._gx.build_data_docs()
            for page in sorted(Path(folder).rglob("*.html")):
                name = page.relative_to(folder).as_posix()
                if name.startswith("validations/"):
                    yield "index.html", leading_to(name)
                if name != "index.html":
                    yield name, alone(page.read_bytes())


def _configuration(expectation: Expectation, number: int, schema: pa.Schema) -> ExpectationConfiguration:
    kwargs = {name: _moment(expectation, value, schema) for name, value in expectation.arguments.items()}
    return ExpectationConfiguration(type=expectation.name, kwargs=kwargs, meta={"number": number})


def _moment(expectation: Expectation, value: Any, schema: pa.Schema) -> Any:
    """A bound of a column of times, as a time in the column's zone: a text cannot be compared with it."""
    columns = [name for name in expectation.columns if name in schema.names]
    kind = schema.field(columns[0]).type if columns else pa.null()
    if not pa.types.is_timestamp(kind) or not isinstance(value, str):
        return value
    try:
        moment = pd.Timestamp(value)
    except ValueError:
        return value
    if kind.tz is None:
        return (moment.tz_convert("UTC").tz_localize(None) if moment.tz else moment).to_pydatetime()
    return (moment if moment.tz else moment.tz_localize("UTC")).to_pydatetime()


def _problems(expectation: Expectation, schema: pa.Schema) -> Iterator[tuple[str, str | None]]:
    """What is wrong with it, each with the nearest valid name."""
    try:
        get_expectation_impl(expectation.name)
    except ExpectationNotFoundError:
        known = [name for name in list_registered_expectation_implementations() if name.startswith("expect_")]
        yield f"there is no expectation {expectation.name!r}", _nearest(expectation.name, known)
        return
    try:
        _configuration(expectation, 0, schema).to_domain_obj()
    except ArgumentError as error:
        for one in error.errors():
            where = ".".join(str(part) for part in one["loc"] if part != "__root__")
            yield f"{expectation.name}: {where + ': ' if where else ''}{one['msg']}", None
        return
    if expectation.name != "expect_column_to_exist":
        for name in expectation.columns:
            if name not in schema.names:
                yield f"{expectation.name}: there is no column {name!r}", _nearest(name, schema.names)


def _nearest(name: str, names: Sequence[str]) -> str | None:
    return next(iter(difflib.get_close_matches(name, names, n=1)), None)


def _reach(expectation: Expectation) -> Reach:
    name = expectation.name
    if name == "expect_column_to_exist" or name.startswith("expect_table_column"):
        return "columns"
    by_row = issubclass(get_expectation_impl(name), _ROW_KINDS)
    return "row" if by_row and not any(part in name for part in _BY_ALL) else "all"


def _raise_its_error(expectation: Expectation, result: ExpectationValidationResult) -> None:
    """An expectation that could not be computed is a wrong expectation, not a failing row."""
    info: Mapping[str, Any] = result.exception_info or {}
    errors = [info] if "raised_exception" in info else list(info.values())
    for error in errors:
        if error.get("raised_exception"):
            message = str(error.get("exception_message") or "it raised an exception").strip().splitlines()[-1]
            raise StepError(
                "TW541",
                f"{describe(expectation)} cannot be computed: {message}",
                retryable=False,
                fix="does the column have the type that it expects?",
            )


def _finding(expectation: Expectation, results: Sequence[ExpectationValidationResult]) -> Answer:
    """Add up what an expectation found in each chunk."""
    first, parts = results[0], [one.result for one in results]
    if "unexpected_count" not in parts[0]:
        observed = parts[0].get("observed_value", "as expected" if first.success else "not as expected")
        return Answer(expectation=expectation, success=bool(first.success), observed=f"observed {observed}", raw=first)
    elements, missing, unexpected = (
        sum(int(part.get(name) or 0) for part in parts)
        for name in ("element_count", "missing_count", "unexpected_count")
    )
    valid = elements - missing
    failing = np.concatenate([np.asarray(part.get("unexpected_index_list") or [], np.int64) for part in parts])
    if len(results) > 1:
        first.success = valid == 0 or (valid - unexpected) / valid >= float(expectation.arguments.get("mostly", 1.0))
    shown = [value for part in parts for value in part.get("partial_unexpected_list") or ()][:_SHOWN]
    share = 100 * unexpected / valid if valid else 0.0
    # What the data docs need, without the lists of all values and rows.
    first.result = {
        "element_count": elements,
        "missing_count": missing,
        "unexpected_count": unexpected,
        "missing_percent": 100 * missing / elements if elements else 0.0,
        "unexpected_percent": share,
        "unexpected_percent_nonmissing": share,
        "unexpected_percent_total": 100 * unexpected / elements if elements else 0.0,
        "partial_unexpected_list": shown,
    }
    return Answer(
        expectation=expectation,
        success=bool(first.success),
        observed=f"{unexpected} of {valid} values fail ({share:.3g} %)",
        failing=np.unique(failing),
        rows=elements,
        failing_rows=unexpected,
        share=unexpected / valid if valid else 0.0,
        raw=first,
    )
