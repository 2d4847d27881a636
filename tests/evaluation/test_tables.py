"""Numbers read well, and the terminal table fits the terminal."""

from __future__ import annotations

import math

import pytest

from rrl.evaluation.robustness import summarize_methods, summarize_policies
from rrl.evaluation.tables import SHOWN, WIDTH, format_numbers, format_summary
from tests.evaluation.synthetic_results import METHODS, synthetic_results


@pytest.mark.parametrize(
    ("values", "texts"),
    [
        ([99999.0], ["99,999"]),
        ([-1234567.0, 1.0, math.nan], ["-1,235k", "0k", "-"]),
        ([99.0, 3.14159], ["99.0", "3.1"]),
        ([0.0], ["0.00"]),
        ([-0.001, 5.0], ["0.00", "5.00"]),
        ([math.nan], ["-"]),
        ([math.inf, 1.0], ["inf", "1.00"]),
    ],
)
def test_numbers_keep_about_three_digits(values, texts):
    assert format_numbers(values) == texts


def test_table_has_every_method_with_values_above_intervals():
    methods = summarize_methods(summarize_policies(synthetic_results()))
    lines = format_summary(methods).splitlines()
    assert len(lines) == 3 + 2 * len(methods)
    for method, values, intervals in zip(methods, lines[3::2], lines[4::2], strict=True):
        assert values.startswith(f"{method.method} (3)")
        assert f"{method.estimates['worst'].value:,.0f}" in values
        assert intervals.count("..") == len(SHOWN)


def test_single_seeds_show_a_dash_for_each_interval():
    methods = summarize_methods(summarize_policies(synthetic_results(num_seeds=1)))
    assert format_summary(methods).splitlines()[4].split() == ["-"] * len(SHOWN)


def test_table_fits_the_terminal_with_long_names_and_large_numbers():
    shape = (-123456.0, *METHODS["TRPO"][1:])
    methods = summarize_methods(summarize_policies(synthetic_results(methods={"a long name " * 20: shape})))
    lines = format_summary(methods).splitlines()
    assert max(map(len, lines)) <= WIDTH
    assert "…" in lines[3]
