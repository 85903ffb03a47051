"""The static list of expectations is the installed library's."""

from great_expectations.expectations import core
from great_expectations.expectations.expectation import Expectation

from tradewind.spec.expectations import EXPECTATIONS

#: They need a second data source, which a suite in a YAML does not have.
LEFT_OUT = {"expect_query_results_to_match_comparison", "expect_table_row_count_to_equal_other_table"}
#: Not for a suite in a YAML to set.
INNER = {"batch_id", "library_metadata", *Expectation.__fields__}


def test_the_list_is_the_librarys() -> None:
    found = [value for value in vars(core).values() if isinstance(value, type) and issubclass(value, Expectation)]
    library = {
        one.expectation_type: {
            name: bool(field.required) for name, field in one.__fields__.items() if name not in INNER
        }
        for one in found
        if one.expectation_type.startswith("expect_")
    }
    assert {name: arguments for name, arguments in library.items() if name not in LEFT_OUT} == EXPECTATIONS
