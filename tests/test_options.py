"""Options of the smaller commands: complaints are one sentence."""

from __future__ import annotations

import re

import pytest

import evaluate
from rrl.main import main
from rrl.options import OptionParser


@pytest.fixture
def parser():
    made = OptionParser(prog="rrl some")
    made.add_argument("--checkpoint", required=True)
    made.add_argument("--episodes", type=int, default=3)
    return made


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["--chekpoint", "x"], "There is no option --chekpoint; did you mean '--checkpoint'? See --help."),
        ([], "The following arguments are required: --checkpoint. See --help."),
        (["--checkpoint", "x", "y"], "Unrecognized arguments: y. See --help."),
        (["--checkpoint=x", "--episodes", "two"], "Argument --episodes: invalid int value: 'two'. See --help."),
    ],
)
def test_a_complaint_is_one_sentence_with_the_near_option(parser, args, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        parser.parse_args(args)


def test_what_is_right_is_parsed(parser):
    assert vars(parser.parse_args(["--checkpoint=x", "--episodes", "2"])) == {"checkpoint": "x", "episodes": 2}


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["export", "a.ckpt", "b.onnx", "--fast"], "There is no option --fast. See --help."),
        (["zoo", "--lst"], "There is no option --lst. See --help."),
        (["deliver", "--quick"], "There is no option --quick. See --help."),
        (
            ["tune", "conf/quickstart.yaml", "--spac", "x"],
            "There is no option --spac; did you mean '--space'? See --help.",
        ),
        (
            ["train", "--config", "conf/quikstart.yaml"],
            "No such file or directory; did you mean 'conf/quickstart.yaml'?",
        ),
        (["study", "conf/studies/smok.yaml"], "No such file or directory; did you mean 'conf/studies/smoke.yaml'?"),
        (["tune", "conf/quikstart.yaml", "--space", "x"], "did you mean 'conf/quickstart.yaml'?"),
        (["tune", "conf/quickstart.yaml", "--space", "conf/spaces/trop.yaml"], "did you mean 'conf/spaces/trpo.yaml'?"),
    ],
)
def test_every_command_names_what_is_near_from_any_folder(tmp_path, monkeypatch, capsys, args, message):
    monkeypatch.chdir(tmp_path)
    assert main(args) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1


def test_a_missing_file_is_answered_with_the_one_beside_it(tmp_path, monkeypatch, capsys):
    (tmp_path / "runs" / "robust").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    assert main(["evaluate", "--checkpoint", "runs/robst/last.ckpt"]) == 2
    assert "There is no checkpoint at runs/robst/last.ckpt; did you mean 'runs/robust'?" in capsys.readouterr().err


def test_an_evaluation_of_nothing_names_both_ways_to_say_what(capsys):
    assert evaluate.main([]) == 2
    assert capsys.readouterr().err == (
        "evaluate.py: error: Either --checkpoint or --config must say what to evaluate. See --help.\n"
    )
