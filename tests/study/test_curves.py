"""Learning curves show every method, also where two have done the same."""

import pandas as pd

from rrl.evaluation.report.figures_style import method_styles
from rrl.study.curves import COLUMNS, plot_curves


def test_a_curve_that_lies_on_another_is_dashed_so_that_both_are_seen():
    values = {"a": (1.0, 2.0), "b": (1.0, 2.0), "c": (1.0, 3.0), "d": (1.0, 2.0)}
    rows = [("task", name, 0, "m", step, value) for name, pair in values.items() for step, value in enumerate(pair)]
    figure = plot_curves(pd.DataFrame(rows, columns=COLUMNS), "m", method_styles(list(values)))
    assert [line.get_linestyle() for line in figure.axes[0].lines] == ["-", "--", "-", ":"]
