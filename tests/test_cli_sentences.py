"""The parser's messages, in words of one sentence."""

from __future__ import annotations

import copy
from pathlib import Path

import pytest
import yaml

import train
from rrl.cli_sentences import one_sentence
from tests.conftest import PROJECT
from tests.test_cli import error_of

SENTENCES = {
    "model.class_path": ("", "`model` must name a class, got ''."),
    "model.init_args.learner.activation": ("", "`model.learner.activation` must be one of 'tanh', 'silu', got ''."),
    "checkpoint.monitor": (
        "two\nlines",
        "`checkpoint.monitor` must be a metric that this run logs, got 'two lines'.",
    ),
    "data.class_path": ("TRPO", "`data` takes another kind of class than 'TRPO'."),
    "model": (3, "`model` must be LightningModule or null, got 3."),
    "trainer": ("all", "`trainer` must hold settings by name, got all."),
    "evaluation": ([], "`evaluation` must hold settings by name, got []."),
    "evaluation.env_kwargs": ("", "`evaluation.env_kwargs` must be dict or null, got ''."),
    "attacks.attackers": (3, "`attacks.attackers` must be list, got 3."),
    "data.init_args.curriculum": (-1, "`data.curriculum` must be Curriculum or null, got -1."),
    "data.init_args.max_episode_steps": (0.5, "`data.max_episode_steps` must be int or null, got 0.5."),
    "data.init_args.env_kwargs": ("x", "`data.env_kwargs` must be dict or null, got x."),
    "data.init_args.pushes": ({}, "Pushes needs a value for `force_std`, `redraw_probability`."),
    "model.init_args.learner": (3, "`model.learner` must hold settings by name, got 3."),
    "model.init_args.policy_update": (
        {"max_kl": "wide"},
        "`model.policy_update.max_kl` must be float, got wide.",
    ),
    "trainer.callbacks": (
        [{"class_path": "EarlyStopping", "init_args": {"monitor": "eval/x"}}],
        "`trainer.callbacks.monitor` must be a metric that this run logs, got 'eval/x'.",
    ),
}


@pytest.mark.mujoco
@pytest.mark.parametrize("place", SENTENCES)
def test_what_the_parser_refuses_is_said_of_the_setting_and_its_value(place, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    value, sentence = SENTENCES[place]
    base = yaml.safe_load((PROJECT / "conf" / "trpo_invertedpendulum.yaml").read_text())
    *sections, name = place.split(".")
    group = base
    for section in sections:
        group = group.setdefault(section, {})
    group[name] = copy.deepcopy(value)
    Path("bad.yaml").write_text(yaml.safe_dump(base))
    assert train.main(["--config=bad.yaml"]) == 2
    assert error_of(capsys) == sentence
    assert [path.name for path in tmp_path.iterdir()] == ["bad.yaml"]


def test_of_several_classes_the_one_that_knows_all_names_is_meant():
    message = (
        'Parser key "model":\n'
        "  Does not validate against any of the Union subtypes\n"
        "  Errors:\n"
        "    - Problem with given class_path 'rrl.trpo.TrustRegion':\n"
        '        Parser key "max_kl":\n'
        "          Expected a <class 'float'>. Got value: wide\n"
        "    - Problem with given class_path 'rrl.a2c.A2C':\n"
        "        Option 'max_kl' is not accepted\n"
    )
    assert one_sentence(message, [], []) == "`model.max_kl` must be float, got wide."
