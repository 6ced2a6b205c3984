"""The page of what was tried says what the test files say, and how their last run ended."""

import json
import sys
from functools import partial
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "_ext"))
import tried  # noqa: E402

REPORT = """<testsuites><testsuite>
<testcase classname="tests.test_a" name="test_one[x]"/>
<testcase classname="tests.test_a" name="test_one[y]"><failure/></testcase>
<testcase classname="tests.test_a" name="test_two"><skipped/></testcase>
<testcase classname="tests.test_b" name="test_one"/>
</testsuite></testsuites>"""


def test_every_file_of_the_page_is_there_and_tests_something():
    page = (ROOT / "book" / "robustness.md").read_text(encoding="utf8")
    named = [name for line in page.splitlines() if line.startswith("```{tried}") for name in line.split()[1:]]
    paths = [path for name in named for path in tried.files(name)]
    assert len(paths) > 10 and len(set(paths)) == len(paths)
    for path in paths:
        about, tests = tried.sentences(path)
        assert about.endswith(".") and tests, path


def test_cases_are_counted_by_how_they_ended(tmp_path):
    (tmp_path / "unit.xml").write_text(REPORT, encoding="utf8")
    found = tried.results([tmp_path / "unit.xml"])
    assert found["test_a", "test_one"] == {"passed": 1, "failed": 1}
    assert found["test_a", "test_two"] == {"skipped": 1} and found["test_b", "test_one"] == {"passed": 1}


def test_without_a_run_here_the_kept_one_is_shown_and_named(tmp_path, monkeypatch):
    (tmp_path / "unit.xml").write_text(REPORT, encoding="utf8")
    monkeypatch.setattr(tried, "REPORTS", [tmp_path / "unit.xml"])
    monkeypatch.setattr(tried, "KEPT", tmp_path / "kept.json")
    monkeypatch.setattr(tried, "results", partial(tried.results, [tmp_path / "unit.xml"]))
    here = tried.stored()
    tried.keep("1 May 2026", "abc")
    (tmp_path / "unit.xml").unlink()
    assert tried.stored() == (here[0], "in the run of 1 May 2026, commit abc") and "machine" in here[1]
    assert tried.last(here[0]["test_a", "test_one"]) == "1 failed, 1 passed"


def test_the_kept_run_knows_most_tests_and_none_of_them_failed():
    ended = json.loads(tried.KEPT.read_text(encoding="utf8"))["results"]
    assert len(ended) > 300 and not [name for name, how in ended.items() if "failed" in how]
