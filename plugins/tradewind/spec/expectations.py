"""The core expectations of Great Expectations 1.24 and their arguments.

A static list, since importing the library takes seconds; a test compares it with the installed
library. Expectations that need a second data source are left out.
"""

from __future__ import annotations

#: Optional arguments that come together, by the word that stands for them below.
_TOGETHER = {
    "ROWS": "condition_parser row_condition",
    "MOSTLY": "condition_parser mostly row_condition",
    "RECORDS": "condition_parser ignore_row_if mostly row_condition",
    "BOUNDS": "max_value min_value strict_max strict_min",
}

#: One a line: arguments that it cannot do without | those that it can.
_TABLE = """
expect_column_distinct_values_to_be_in_set: column value_set | ROWS
expect_column_distinct_values_to_contain_set: column value_set | ROWS
expect_column_distinct_values_to_equal_set: column value_set | ROWS
expect_column_kl_divergence_to_be_less_than: column | ROWS bucketize_data internal_weight_holdout max_value \
    min_value partition_object tail_weight_holdout threshold
expect_column_max_to_be_between: column | ROWS BOUNDS
expect_column_mean_to_be_between: column | ROWS BOUNDS
expect_column_median_to_be_between: column | ROWS BOUNDS
expect_column_min_to_be_between: column | ROWS BOUNDS
expect_column_most_common_value_to_be_in_set: column value_set | ROWS ties_okay
expect_column_pair_values_a_to_be_greater_than_b: column_A column_B | RECORDS or_equal
expect_column_pair_values_to_be_equal: column_A column_B | RECORDS
expect_column_pair_values_to_be_in_set: column_A column_B value_pairs_set | RECORDS
expect_column_proportion_of_non_null_values_to_be_between: column | ROWS BOUNDS
expect_column_proportion_of_unique_values_to_be_between: column | ROWS BOUNDS
expect_column_quantile_values_to_be_between: column quantile_ranges | ROWS allow_relative_error
expect_column_stdev_to_be_between: column | ROWS BOUNDS
expect_column_sum_to_be_between: column | ROWS BOUNDS
expect_column_to_exist: column | column_index
expect_column_type_to_be: column type_
expect_column_unique_value_count_to_be_between: column | ROWS BOUNDS
expect_column_value_lengths_to_be_between: column | MOSTLY BOUNDS
expect_column_value_lengths_to_equal: column value | MOSTLY
expect_column_value_z_scores_to_be_less_than: column double_sided threshold | MOSTLY
expect_column_values_to_be_between: column | MOSTLY BOUNDS
expect_column_values_to_be_dateutil_parseable: column | MOSTLY
expect_column_values_to_be_decreasing: column | MOSTLY strictly
expect_column_values_to_be_in_set: column value_set | MOSTLY
expect_column_values_to_be_in_type_list: column | MOSTLY type_list
expect_column_values_to_be_increasing: column | MOSTLY strictly
expect_column_values_to_be_json_parseable: column | MOSTLY
expect_column_values_to_be_null: column | MOSTLY
expect_column_values_to_be_of_type: column type_ | MOSTLY
expect_column_values_to_be_unique: column | MOSTLY
expect_column_values_to_match_json_schema: column json_schema | MOSTLY
expect_column_values_to_match_like_pattern: column like_pattern | MOSTLY escape
expect_column_values_to_match_like_pattern_list: column like_pattern_list | MOSTLY escape match_on
expect_column_values_to_match_regex: column | MOSTLY regex
expect_column_values_to_match_regex_list: column regex_list | MOSTLY match_on
expect_column_values_to_match_strftime_format: column strftime_format | MOSTLY
expect_column_values_to_not_be_in_set: column value_set | MOSTLY
expect_column_values_to_not_be_null: column | MOSTLY
expect_column_values_to_not_be_outliers: column | MOSTLY method multiplier
expect_column_values_to_not_match_like_pattern: column like_pattern | MOSTLY escape
expect_column_values_to_not_match_like_pattern_list: column like_pattern_list | MOSTLY escape
expect_column_values_to_not_match_regex: column regex | MOSTLY
expect_column_values_to_not_match_regex_list: column regex_list | MOSTLY
expect_compound_columns_to_be_unique: column_list | RECORDS
expect_multicolumn_sum_to_equal: column_list sum_total | RECORDS
expect_multicolumn_values_to_be_equal: column_list | RECORDS
expect_select_column_values_to_be_unique_within_record: column_list | RECORDS
expect_table_column_count_to_be_between: | max_value min_value
expect_table_column_count_to_equal: value
expect_table_columns_to_match_ordered_list: | column_list
expect_table_columns_to_match_set: | column_set exact_match
expect_table_row_count_to_be_between: | ROWS BOUNDS
expect_table_row_count_to_equal: value | ROWS
"""


def _arguments(text: str) -> dict[str, bool]:
    required, _, optional = text.partition("|")
    free = " ".join(_TOGETHER.get(word, word) for word in optional.split()).split()
    return dict.fromkeys(required.split(), True) | dict.fromkeys(sorted(free), False)


#: Name → its arguments; True for those that it cannot do without.
EXPECTATIONS: dict[str, dict[str, bool]] = {
    name: _arguments(arguments) for name, _, arguments in (line.partition(":") for line in _TABLE.split("\n")[1:-1])
}
