"""The films of a report are of the world where the methods do worst, and lie within the page."""

from __future__ import annotations

from dataclasses import replace

import pytest

from rrl.evaluation.report.films import Films, Scene, worst_cell
from rrl.evaluation.report.page import Provenance
from rrl.evaluation.report.write import write_report
from tests.evaluation.synthetic_results import synthetic_results


def row(method, cell, value):
    return replace(synthetic_results(num_seeds=1)[0], method=method, cell=cell, return_mean=value)


def test_the_worst_cell_is_that_of_the_lowest_mean_over_the_methods():
    rows = [row("A", "calm", 9.0), row("B", "calm", 9.0), row("A", "wind", 1.0), row("B", "wind", 8.0)]
    rows += [row("A", "ice", 4.0), row("B", "ice", 4.0), row("A", "attack", 0.0), row("B", "attack", 0.0)]
    assert worst_cell(rows, {"calm", "wind", "ice"}) == "ice"


def test_cells_without_rows_are_refused():
    with pytest.raises(ValueError, match="must hold a row of one of the cells"):
        worst_cell([row("A", "calm", 9.0)], {"wind"})


def test_the_page_shows_the_films_with_captions_and_escapes_them(tmp_path):
    rows = [row for row in synthetic_results() if row.sweep == "nominal"]
    scenes = (Scene("TRPO", "Fails <soon>.", b"one"), Scene("RARL", "Lasts.", b"two"))
    files = write_report(rows, tmp_path, provenance=Provenance("", 0), films=Films("mass & 2", scenes))
    text = files.html.read_text(encoding="utf-8")
    section = text[text.index('<section id="films">') : text.index('<section id="summary">')]
    assert section.count("data:image/webp;base64,") == 2
    assert "data:image/webp;base64,b25l" in section
    assert "Fails &lt;soon&gt;." in section
    assert "“mass &amp; 2”" in section
    assert 'href="#films"' in text


def test_without_films_the_page_has_no_place_for_them(tmp_path):
    rows = [row for row in synthetic_results() if row.sweep == "nominal"]
    assert "#films" not in write_report(rows, tmp_path, provenance=Provenance("", 0)).html.read_text(encoding="utf-8")
