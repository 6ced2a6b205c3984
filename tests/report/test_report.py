"""The report: what its JSON and page hold, that work is kept, that nothing is said where the task cannot be done."""

import json
import re
from dataclasses import asdict, replace
from html.parser import HTMLParser

import pytest
from tiny_models import tiny_folder

from th_utils import __main__ as command
from th_utils.report import run
from th_utils.report.compare import comparison, differences
from th_utils.report.measure import QUICK
from th_utils.report.page import headlines, page

NAMES = ["task", "circuit", "components", "channel", "lists"]
SMALL = replace(QUICK, lists=16, lengths=(2, 3, 5), directions=1, null=50)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A report of a tiny model, measured on request: it cannot do the task."""
    out = tmp_path_factory.mktemp("report")
    html = run.report(tiny_folder("tiny-llama"), out, SMALL, anyway=True)
    return out, json.loads((out / "report.json").read_text(encoding="utf8")), html.read_text(encoding="utf8")


def nested(found) -> list[dict]:
    """All mappings in a report."""
    inside = found.values() if isinstance(found, dict) else found if isinstance(found, list) else ()
    return [found] * isinstance(found, dict) + [one for value in inside for one in nested(value)]


def test_a_report_says_what_it_was_made_of(whole):
    _, found, _ = whole
    assert found["schema"] == 1 and found["model"]["name"] == "tiny-llama" and found["model"]["layers"] == 4
    assert found["key"]["settings"] == json.loads(json.dumps(asdict(SMALL)))
    assert re.fullmatch(r"[0-9a-f]{8}", found["key"]["fingerprint"]) and found["key"]["code"] == run.code_version()
    assert {"torch", "transformer-lens", "th-utils"} <= set(found["versions"])
    assert re.match(r"\d{4}-\d\d-\d\dT", found["made"]) and found["plan"]["gb"] > 0
    assert list(found["sections"]) == NAMES == list(run.SECTIONS)
    for section in found["sections"].values():
        assert section["n"] > 1 and section["seconds"] >= 0


def test_every_estimate_has_its_n_and_lies_in_its_interval_and_every_section_has_a_control(whole):
    _, found, _ = whole
    estimates = [one for one in nested(found["sections"]) if "low" in one]
    assert len(estimates) > 30
    for one in estimates:
        assert one["low"] - 1e-9 <= one["value"] <= one["high"] + 1e-9 and one["n"] > 1
    for name, section in found["sections"].items():
        controls = {"channel": "left_out", "lists": "chance"}
        assert any(controls.get(name, "control") in one for one in nested(section)), name


class Page(HTMLParser):
    """The elements of a page, with their attributes."""

    def __init__(self, text: str):
        super().__init__()
        self.found: list[tuple[str, dict]] = []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.found.append((tag, dict(attrs)))


def test_a_page_needs_nothing_else_and_describes_its_figures(whole):
    text = whole[2]
    assert not re.search(r"https?:|//|@import|<script|<link", re.sub(r"\s[\w:-]+=\"[^\"]*[^\"]\"", " ", text))
    elements = Page(text).found
    for tag, attributes in elements:
        for name in ("src", "href", "xlink:href"):
            assert attributes.get(name, "#").startswith("#"), (tag, attributes)
    figures = [attributes for tag, attributes in elements if tag == "svg"]
    assert len(figures) == text.count("<figure>") >= 3
    assert all(one["role"] == "img" and len(one["aria-label"]) > 60 for one in figures)
    ids = [attributes["id"] for _, attributes in elements if "id" in attributes]
    assert len(ids) == len(set(ids)), "figures on one page must not share ids"
    assert "nan" not in re.sub(r"<[^>]+>", " ", text).lower().split()
    assert "currentColor" in text and "#010203" not in text


def test_a_model_that_cannot_do_the_task_gets_a_page_that_says_so_and_stops(whole, tmp_path):
    text = run.report(tiny_folder("tiny-llama"), tmp_path, SMALL).read_text(encoding="utf8")
    found = run.read(tmp_path / "report.json")
    assert list(found["sections"]) == ["task"] and not found["sections"]["task"]["able"]
    assert "it cannot do the task" in text and "The report stops here" in text and "The circuit" not in text
    assert "This model cannot do the task" in whole[2]


def test_what_is_measured_is_kept_and_measured_anew_for_another_key(whole, tmp_path, monkeypatch):
    _, found, _ = whole
    path, calls = tmp_path / "report.json", []

    def called(name):
        return lambda model, settings, before: calls.append(name) or found["sections"][name] | {"again": True}

    counted = {name: (called(name), cost) for name, (_, cost) in run.SECTIONS.items()}
    monkeypatch.setattr(run, "SECTIONS", counted)

    def again(settings=SMALL, **changed):
        path.write_text(json.dumps(found | changed), encoding="utf8")
        calls.clear()
        run.report(tiny_folder("tiny-llama"), tmp_path, settings, anyway=True)
        return list(calls)

    assert again() == []
    assert run.read(path) == found, "nothing was measured, and nothing changed"
    assert again(sections={name: found["sections"][name] for name in NAMES[:3]}) == NAMES[3:]
    assert again(replace(SMALL, seed=1)) == NAMES
    assert again(key=found["key"] | {"code": "other"}) == NAMES


def test_what_was_done_before_an_interrupt_is_there_and_a_refusal_is_a_result(whole, tmp_path, monkeypatch):
    _, found, _ = whole

    def fails(error):
        def measure(*_):
            raise error

        return measure

    kept = {name: (lambda *_, name=name: found["sections"][name], cost) for name, (_, cost) in run.SECTIONS.items()}
    monkeypatch.setattr(run, "SECTIONS", kept | {"components": (fails(KeyboardInterrupt()), kept["components"][1])})
    with pytest.raises(KeyboardInterrupt):
        run.report(tiny_folder("tiny-llama"), tmp_path, SMALL, anyway=True)
    assert list(run.read(tmp_path / "report.json")["sections"]) == NAMES[:2]
    assert not list(tmp_path.glob("*.part")) and not list(tmp_path.glob(".*.part"))

    monkeypatch.setattr(run, "SECTIONS", kept | {"circuit": (fails(ValueError("it is <so>")), kept["circuit"][1])})
    text = run.report(tiny_folder("tiny-llama"), tmp_path / "b", SMALL, anyway=True).read_text(encoding="utf8")
    assert run.read(tmp_path / "b" / "report.json")["sections"]["circuit"]["refused"] == "it is <so>"
    assert "Not measured: it is &lt;so&gt;" in text


def test_a_report_beside_itself_shows_no_difference_and_beside_another_one_does(whole):
    _, found, _ = whole
    rows = differences(found, found)
    assert len(rows) == len(headlines(found)) > 10 and {row[-1] for row in rows} == {"equal"}
    assert f"Of {len(rows)} numbers 0 are apart" in comparison(found, found)
    better = json.loads(json.dumps(found))
    better["sections"]["task"]["accuracy"] |= {"value": 1.0, "low": 0.99, "high": 1.0}
    del better["sections"]["lists"]
    verdicts = {row[0]: row[-1] for row in differences(found, better)}
    assert verdicts.pop("IOI: right name preferred") == "apart"
    assert {v for name, v in verdicts.items() if name.startswith("list")} == {"only one"}
    assert {v for name, v in verdicts.items() if not name.startswith(("list", "steering"))} == {"equal"}
    assert page(better)


def test_the_command_says_what_is_wrong_by_name(whole, tmp_path, capsys, monkeypatch):
    out, _, _ = whole
    monkeypatch.chdir(tmp_path)
    assert command.main(["measure"]).startswith("usage: python -m th_utils report")
    assert "error: ValueError: unknown model 'no-model'" in command.main(["report", "no-model"])
    (tmp_path / "empty").mkdir()
    assert "error: ModelNotFound" in command.main(["report", str(tmp_path / "empty")])
    assert "error: FileNotFoundError" in command.main(["report", "--compare", "a.json", "b.json"])
    (tmp_path / "a.json").write_text("[]")
    assert "a.json is no report of th_utils" in command.main(["report", "--compare", "a.json", "a.json"])
    (tmp_path / "a.json").write_text('{"schema": 2, "key": {}, "sections": {}}')
    assert "has schema 2, this version reads 1" in command.main(["report", "--compare", "a.json", "a.json"])
    with pytest.raises(SystemExit) as usage:
        command.main(["report", "--fast"])
    assert usage.value.code == 2
    capsys.readouterr()
    both = [str(out / "report.json")] * 2
    assert command.main(["report", "--compare", *both, "--out", str(tmp_path / "c")]) == 0
    assert capsys.readouterr().out == f"{tmp_path / 'c' / 'comparison.html'}\n"


def test_the_command_announces_its_plan_and_writes_the_page(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(run, "QUICK", SMALL)
    assert command.main(["report", str(tiny_folder("tiny-gpt2")), "--quick", "--out", str(tmp_path)]) == 0
    told = capsys.readouterr().out
    assert re.search(r"about [\d.]+ min and [\d.]+ GB in all", told) and all(name in told for name in NAMES)
    assert told.endswith(f"{tmp_path / 'report.html'}\n") and (tmp_path / "report.html").exists()
