"""The report is one page that holds everything, escapes everything and asks for nothing from outside."""

from __future__ import annotations

import re
from dataclasses import replace
from html.parser import HTMLParser

import pytest

from rrl.evaluation.report.page import PolicyOrigin, Provenance
from rrl.evaluation.report.summary import MEASURES
from rrl.evaluation.report.write import write_report
from tests.evaluation.synthetic_results import METHODS, synthetic_results

PROVENANCE = Provenance(
    command="python evaluate.py --config <config> & more",
    seed=7,
    policies=(PolicyOrigin("TRPO", "runs/trpo-hopper-s0/checkpoints/last.ckpt", 0, 1_234_567, "run<0>"),),
    notes=("Three restarts of <100,000> steps.",),
)


class Page(HTMLParser):
    """Collects what the tests look for."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[str] = []
        self.addresses: list[str] = []
        self.words: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.addresses += [value for name, value in attrs if name in {"src", "href", "action", "data", "srcset"}]
        if tag not in {"meta", "img", "br"}:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open and self.open[-1] != "style":
            self.words.append(data)

    @property
    def text(self) -> str:
        """All visible words with single spaces."""
        return " ".join(" ".join(self.words).split())


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    rows = synthetic_results()
    return rows, write_report(rows, tmp_path_factory.mktemp("report") / "new", provenance=PROVENANCE)


def test_page_is_well_formed_and_holds_every_method_number_and_source(report):
    rows, files = report
    page = Page(files.html.read_text(encoding="utf-8"))
    assert page.open == []
    for text in (
        *METHODS,
        *(measure.meaning for measure in MEASURES.values()),
        *{row.policy for row in rows},
        "1,234,567",
        "Hopper-v5",
        "fraction",
        "python evaluate.py --config <config> & more",
        "Three restarts of <100,000> steps.",
        "run<0>",
    ):
        assert text in page.text
    assert f"{files.summary.methods.worst.iloc[0]:,.0f}" in page.text


def test_page_needs_nothing_but_itself(report):
    text = report[1].html.read_text(encoding="utf-8")
    page = Page(text)
    assert not {"script", "link", "iframe", "object", "embed"} & set(page.tags)
    assert page.tags.count("img") == 6
    inside = [address for address in page.addresses if address.startswith("#")]
    assert {f'id="{address[1:]}"' for address in inside} <= set(re.findall(r'id="\w+"', text))
    assert all(address.startswith(("data:image/svg+xml;base64,", "#")) for address in page.addresses)
    assert not re.search(r"@import|url\(|https?://", text)


def test_verdict_comes_first_then_summary_figures_definitions_and_sources(report):
    words = Page(report[1].html.read_text(encoding="utf-8")).text
    headings = ["In the unchanged world", "Summary", "Figures", "Sweep by sweep", "What the numbers mean", "Where the"]
    places = [words.index(heading) for heading in headings]
    assert places == sorted(places)


def test_names_cannot_break_out_of_the_page(tmp_path):
    evil = '<script>alert("1")</script>'
    rows = [
        replace(row, method=evil, policy=f"{evil}{row.train_seed}", sweep=f"{row.sweep} <i>", cell=f"{row.cell} <i>")
        for row in synthetic_results(num_seeds=1, methods={"TRPO": METHODS["TRPO"]})
        if row.sweep in {"nominal", "mass x friction", "random"}
    ]
    files = write_report(rows, tmp_path, provenance=Provenance(evil, 0, notes=(evil,)))
    page = Page(files.html.read_text(encoding="utf-8"))
    assert not {"script", "i"} & set(page.tags)
    assert evil in page.text


def test_single_seed_shows_no_interval_and_no_winner(tmp_path):
    rows = [row for row in synthetic_results(num_seeds=1) if row.sweep in {"nominal", "mass"}]
    files = write_report(rows, tmp_path, provenance=PROVENANCE)
    text = Page(files.html.read_text(encoding="utf-8")).text
    assert "certainty unknown" in text
    assert "any difference may be chance" in text
    assert not re.search(r"\d\.\.\d", text)


def test_method_is_compared_with_the_baseline_that_is_asked_for(tmp_path):
    rows = [row for row in synthetic_results() if row.sweep == "nominal"]
    files = write_report(rows, tmp_path, provenance=PROVENANCE, baseline="RARL")
    assert "Compared with RARL" in files.html.read_text(encoding="utf-8")


def test_the_summary_is_in_the_order_of_the_means_over_the_cells(report):
    _, files = report
    text = files.html.read_text(encoding="utf-8")
    table = text[text.index('<section id="summary">') : text.index("Compared with")]
    means = files.summary.methods["mean"].sort_values(ascending=False)
    places = [table.index(f"</span>{method}") for method in means.index]
    assert places == sorted(places)


def test_a_range_is_that_of_a_method_only_if_all_of_its_policies_have_it():
    def origins(*pairs: tuple[str, dict]):
        return [PolicyOrigin(method, f"{place}", place, physics=ranges) for place, (method, ranges) in enumerate(pairs)]

    one, other = {"mass": (0.7, 1.3)}, {"mass": (0.5, 1.5)}
    policies = origins(("A", one), ("A", one), ("B", one), ("B", other), ("C", {}))
    assert Provenance("", 0, tuple(policies)).training_ranges() == {"A": one}
