import pytest

from rrl.evaluation.cells.sweeps import Axis


@pytest.mark.parametrize(
    ("rule", "values"),
    [
        ({"values": [1, 0.5]}, [1.0, 0.5]),
        ({"low": 0.1, "high": 3.0, "count": 10}, [0.1, 0.4222222222, 0.7444444444, 1.0666666667, 1.3888888889]),
        ({"low": 0.1, "high": 3.0, "count": 10, "endpoint": False}, [0.1, 0.39, 0.68, 0.97, 1.26]),
        ({"low": 0.0, "high": 1.0, "step": 0.25}, [0.0, 0.25, 0.5, 0.75, 1.0]),
        ({"low": 0.0, "high": 1.0, "step": 0.25, "endpoint": False}, [0.0, 0.25, 0.5, 0.75]),
        ({"low": 0.0, "high": 0.3, "step": 0.1}, [0.0, 0.1, 0.2, 0.3]),
        ({"low": 0.0, "high": 1.0, "step": 0.4}, [0.0, 0.4, 0.8]),
    ],
)
def test_rules_give_the_values_that_they_say(rule, values):
    assert Axis(parameter="mass", **rule).points[:5] == values


def test_end_of_ten_values_is_in_or_out():
    axis = {"parameter": "mass", "low": 0.1, "high": 3.0, "count": 10}
    assert Axis(**axis).points[-1] == 3.0
    assert Axis(**axis, endpoint=False).points[-1] == 2.71


def test_published_absolute_values_become_ratios():
    axis = {"parameter": "mass_only of torso", "values": [3.53, 7.06], "divide_by": 3.53}
    assert Axis(**axis).points == [1.0, 2.0]


@pytest.mark.parametrize(
    ("axis", "message"),
    [
        ({"values": [1.0]}, "an axis needs a `parameter`"),
        ({"parameter": "weight", "values": [1.0]}, "There is no parameter 'weight'"),
        ({"parameter": "mass"}, "needs one of `values`, `count` and `step`, got \\[\\]"),
        ({"parameter": "mass", "values": [1.0], "count": 3}, "needs one of"),
        ({"parameter": "mass", "values": [1.0], "low": 3}, "may hold .*got \\['low'\\]"),
        ({"parameter": "mass", "values": []}, "needs finite values, got \\[\\]"),
        ({"parameter": "mass", "values": [float("nan")]}, "needs finite values, got \\[nan\\]"),
        ({"parameter": "mass", "values": ["heavy"]}, "needs a list of numbers as `values`, got \\['heavy'\\]"),
        ({"parameter": "mass", "values": 3.0}, "needs a list of numbers as `values`, got 3.0"),
        ({"parameter": "mass", "low": 2, "high": 1, "count": 3}, "needs low <= high, got 2.0 and 1.0"),
        ({"parameter": "mass", "low": 0, "high": 1, "count": 0}, "`count` .* must be a positive whole number, got 0"),
        ({"parameter": "mass", "low": 0, "high": 1, "count": 2.5}, "`count` .* must be a positive whole number"),
        ({"parameter": "mass", "low": 0, "high": 1, "step": 0}, "needs a positive step, got 0"),
        ({"parameter": "mass", "low": "x", "high": 1, "count": 3}, "`low` .* must be a number, got 'x'"),
        ({"parameter": "mass", "value": [1.0]}, "may hold .*got \\['value'\\]; did you mean 'values'?"),
        ({"parameter": "mass", "values": [1.0], "divide_by": 0}, "`divide_by` .* must not be 0"),
    ],
)
def test_malformed_axes_raise_one_sentence(axis, message):
    with pytest.raises(ValueError, match=message):
        Axis.read(axis)
