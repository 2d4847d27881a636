"""The shipped files are found from any folder."""

from __future__ import annotations

from pathlib import Path

from rrl.shipped import CONF, with_shipped
from rrl.train_command import main


def test_a_shipped_configuration_is_found_by_its_name_in_the_checkout(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    wanted = str(CONF / "quickstart.yaml")
    assert with_shipped(["--config", "conf/quickstart.yaml"]) == ["--config", wanted]
    assert with_shipped(["--config=conf/quickstart.yaml"]) == [f"--config={wanted}"]


def test_a_file_of_the_working_folder_comes_first(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "conf").mkdir()
    (tmp_path / "conf" / "quickstart.yaml").write_text("")
    for path in ("conf/quickstart.yaml", "mine.yaml", "conf/../../x.yaml", "conf/missing.yaml"):
        assert with_shipped(["--config", path]) == ["--config", path]


def test_every_shipped_configuration_is_listed_with_how_long_it_takes(capsys):
    assert main(["--list"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == len(list(Path(CONF).glob("*.yaml"))) - 1
    assert any(line.startswith("conf/trpo_hopper.yaml ") and "two minutes" in line for line in lines)
