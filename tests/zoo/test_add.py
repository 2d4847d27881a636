"""Adding to the zoo takes the median policy, and what it writes acts as its checkpoint."""

from __future__ import annotations

import json

import numpy as np
import pytest

from rrl.checkpoints import RunState, load_policy
from rrl.checkpoints.policy_only import write_policy
from rrl.zoo import add as module
from tests.fitting import fit, rollouts, trpo

HEADER = "method,policy,train_seed,training_steps,nominal,mean,worst,cvar10,failures,attack,worst_cell,strongest_attack"
NUMBERS = "9.0,{mean},1.0,2.0,50.0,3.04,mass 0.5,strongest 5 N"


@pytest.fixture
def zoo(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "POLICIES", tmp_path / "zoo")
    return tmp_path / "zoo"


@pytest.fixture
def report(tmp_path):
    """A report of three policies of one method, of which the second is the median."""
    rows = []
    for seed, mean in enumerate((1.0, 5.0, 30.0)):
        data = rollouts(seed=seed, random_actions=0.25)
        fit(trpo(data, seed=seed), data, callbacks=(RunState(),)).save_checkpoint(tmp_path / f"{seed}.ckpt")
        rows.append(f"TRPO,{seed}.ckpt,{seed},64,{NUMBERS.format(mean=mean)}")
    (tmp_path / "report").mkdir()
    (tmp_path / "report" / "policies.csv").write_text("\n".join([HEADER, *rows, ""]))
    return tmp_path / "report"


def arguments(report, method="TRPO"):
    more = ["--report", str(report), "--root", str(report.parent), "--command", "rrl train --config a.yaml"]
    return ["toy/trpo", "--method", method, *more]


def test_the_median_policy_is_written_with_its_card_and_acts_as_its_checkpoint(zoo, report, capsys):
    assert module.main(arguments(report)) == 0
    observations = np.random.default_rng(0).normal(size=(5, 2))
    found, source = load_policy(zoo / "toy" / "trpo.ckpt"), load_policy(report.parent / "1.ckpt")
    np.testing.assert_array_equal(found.act(observations), source.act(observations))
    card = json.loads((zoo / "toy" / "trpo.json").read_text())
    assert (card["seed"], card["seeds"], card["mean"], card["attack"]) == (1, 3, 5.0, 3.0)
    assert card["command"] == "rrl train --config a.yaml --seed_everything 1"
    assert card["worlds"] == "random_actions 0.25"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"method": "TRPQ"}, "has no method 'TRPQ'; did you mean 'TRPO'?"),
        ({"largest": 1000}, "more than the 1,000 that one may."),
        ({"missing": "1.ckpt"}, "There is no checkpoint at "),
    ],
)
def test_what_cannot_be_added_is_one_sentence_and_leaves_nothing(zoo, report, capsys, monkeypatch, change, message):
    monkeypatch.setattr(module, "LARGEST", change.get("largest", module.LARGEST))
    if "missing" in change:
        (report.parent / change["missing"]).unlink()
    assert module.main(arguments(report, change.get("method", "TRPO"))) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
    assert not list(zoo.rglob("*.*"))


def test_a_file_that_acts_otherwise_is_refused(zoo, report, capsys, monkeypatch):
    monkeypatch.setattr(module, "write_policy", lambda source, target: write_policy(report.parent / "0.ckpt", target))
    assert module.main(arguments(report)) == 2
    assert "does not act as that of" in capsys.readouterr().err
    assert not list(zoo.rglob("*.*"))
