"""Great Expectations over rows that may not fit in memory.

An expectation that looks at one row at a time is validated in chunks, and its counts are added up, which
gives what one validation of all rows would. One that needs all rows at once (an aggregate, uniqueness, an
order) gets them all, but only the columns that it names. One about the table's columns needs no rows.
"""

from __future__ import annotations

import difflib
import os
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from decimal import Decimal
from functools import cached_property
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal, TypeAlias

# Before the import: nothing is told to anyone, and no network is asked for.
os.environ["GX_ANALYTICS_ENABLED"] = "false"

import great_expectations as gx
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
from great_expectations.execution_engine import pandas_execution_engine
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

# great_expectations stands on pydantic's first version
from pydantic.v1 import BaseModel
from pydantic.v1 import ValidationError as ArgumentError

from tradewind_runtime import asking
from tradewind_runtime.answers import Answer, added, answer, raise_its_error
from tradewind_runtime.asking import Asked
from tradewind_runtime.contract.checks import Expectation
from tradewind_runtime.contract.errors import StepError
from tradewind_runtime.datadocs import alone, leading_to

Reach = Literal["row", "all", "columns"]
_REACHES: tuple[Reach, ...] = ("columns", "all", "row")
#: Rows of the checked table, in chunks: all columns, or those that are named.
Scan = Callable[[Sequence[str] | None], Iterator[pa.Table]]
#: What expectations found in parts of the rows, by their places in the suite.
Found: TypeAlias = dict[int, list[ExpectationValidationResult]]

# A fingerprint of each chunk takes a sixth of the time, and goes nowhere.
pandas_execution_engine.hash_pandas_dataframe = lambda _: ""


class _Numbers(BaseModel):
    """What a bound is left as: Great Expectations makes doubles of all numbers."""

    bound: int | Decimal


def _let_numbers_be() -> None:
    exact = _Numbers.__fields__["bound"].sub_fields or ()
    for name in list_registered_expectation_implementations():
        fields = get_expectation_impl(name).__fields__
        for bound in ("min_value", "max_value", "sum_total"):
            kinds = fields[bound].sub_fields if bound in fields else None
            if kinds and float in {one.outer_type_ for one in kinds}:
                kinds.extend(exact)


_let_numbers_be()

#: These judge rows one by one, yet by all the others.
_BY_ALL = ("_unique", "_increasing", "_decreasing", "_z_scores_", "_outliers", "_of_type", "_in_type_list")
_ROW_KINDS = (ColumnMapExpectation, ColumnPairMapExpectation, MulticolumnMapExpectation)


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

    def __reduce__(self) -> tuple[Any, ...]:
        """It goes to another process as what it was made of."""
        return Suite, (self.source, self.expectations, self.schema)

    def reaching(self, reach: Reach) -> list[int]:
        """The places of those that look so far."""
        return [number for number, one in enumerate(self.expectations) if _reach(one) == reach]

    def validate(
        self, scan: Scan, judged: Mapping[int, Sequence[ExpectationValidationResult]] = MappingProxyType({})
    ) -> list[Answer]:
        """What each expectation finds, in their order.

        Args:
            scan: gives the rows.
            judged: what was found already, by whoever could do it elsewhere.
        """
        found: Found = {number: list(results) for number, results in judged.items()}
        columns, all_rows, single = (
            [number for number in self.reaching(reach) if number not in judged] for reach in _REACHES
        )
        if columns:
            self.ask(columns, self.schema.empty_table().to_pandas(), found)
        if all_rows:
            self.of_all(all_rows, pa.concat_tables(scan(self._needed(all_rows))), found)
        if single:
            self.in_chunks(single, scan, found)
        return [answer(self.expectations[number], found[number]) for number in range(len(self.expectations))]

    def in_chunks(self, numbers: Sequence[int], scan: Scan, found: Found, first: int = 0) -> None:
        """Ask those that judge a row by itself, a chunk at a time.

        Args:
            numbers: their places.
            scan: gives the rows.
            found: what they find is added there.
            first: the number of the first row.
        """
        together = asking.by_columns(self._places(numbers), self.schema)
        for chunk in scan(self._needed(numbers)):
            for some, columns in together:
                self.ask(some, asking.frame(chunk, columns, first), found)
            for number in numbers:
                found[number] = [added(self.expectations[number], found[number])]
            first += chunk.num_rows

    def of_all(self, numbers: Sequence[int], rows: pa.Table, found: Found) -> None:
        """Ask those that are about all rows; these cannot be used any more."""
        for some, frame in asking.of_all(self._places(numbers), rows):
            self.ask(some, frame, found)

    def _needed(self, numbers: Iterable[int]) -> list[str] | None:
        return asking.needed((self.expectations[number] for number in numbers), self.schema)

    def _places(self, numbers: Iterable[int]) -> Asked:
        return ((number, self.expectations[number]) for number in numbers)

    def ask(self, numbers: Sequence[int], frame: pd.DataFrame, found: Found) -> None:
        """Ask some of them of a frame; what they find is added to what was found."""
        batch = self._batches.get_batch({"dataframe": frame})
        for some in asking.rounds(self._places(numbers)):
            suite = gx.ExpectationSuite(name=self.source)
            for number in some:
                suite.add_expectation_configuration(_configuration(self.expectations[number], number, self.schema))
            result = batch.validate(
                suite, result_format={"result_format": "COMPLETE", "return_unexpected_index_query": False}
            )
            # Results come back by the id in `meta`: great_expectations puts them in an order of its own.
            for one in result.results:
                number = one.expectation_config.meta["number"]
                raise_its_error(self.expectations[number], one)
                found.setdefault(number, []).append(one)

    def by_figures(self, number: int, figures: Mapping[str, Any]) -> ExpectationValidationResult:
        """What an expectation finds by figures that somebody else has, named as Great Expectations' metrics are."""
        found = self._made(number)._validate(dict(figures))  # noqa: SLF001 - what each expectation overrides
        return self.result(number, found["result"], success=found["success"])

    def result(self, number: int, result: Mapping[str, Any], *, success: bool) -> ExpectationValidationResult:
        """What somebody else has found, as Great Expectations would say it."""
        return ExpectationValidationResult(
            success=success, expectation_config=self._made(number).configuration, result=dict(result)
        )

    def _made(self, number: int) -> Any:
        return _configuration(self.expectations[number], number, self.schema).to_domain_obj()

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
    kwargs = asking.arguments(expectation, schema)
    return ExpectationConfiguration(type=expectation.name, kwargs=kwargs, meta={"number": number})


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
