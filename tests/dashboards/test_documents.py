"""What Grafana needs of a dashboard, and what a person who is called at night needs of it."""

import re
from itertools import combinations
from typing import Any

import pytest
import yaml

from k8s.dashboards.__main__ import documents
from receiver.journal import OPEN, Phase
from receiver.reasons import Reason
from receiver.telemetry import METRICS, PREFIX
from tests.dashboards.boards import (
    FOLDER,
    asked_by_marks,
    asked_by_panels,
    boards,
    panels,
    variables,
)

BOARDS = boards()
SOURCE = {"type": "prometheus", "uid": "${datasource}"}
COLUMNS = 24
# `kubectl apply` keeps a copy of what it applied in an annotation, which holds so many bytes.
MOST_BYTES = 256 * 1024
# Given by Grafana itself.
BUILT_IN = {"__rate_interval", "__range", "__interval", "__field", "__all"}

RULES = FOLDER.parents[1] / "alert_rules"

each_board = pytest.mark.parametrize("board", BOARDS.values(), ids=BOARDS)


def test_the_shipped_files_are_what_the_code_makes() -> None:
    shipped = {file.name: file.read_text() for file in FOLDER.glob("*.json")}
    assert shipped == documents(), "make dashboards"


def test_the_code_makes_the_same_each_time() -> None:
    assert documents() == documents()


def test_each_file_becomes_a_config_map_that_grafana_finds_and_kubectl_can_apply() -> None:
    made = yaml.safe_load((FOLDER / "kustomization.yaml").read_text())
    assert made["generatorOptions"]["labels"]["grafana_dashboard"] == "1"
    files = [file for each in made["configMapGenerator"] for file in each["files"]]
    assert sorted(files) == sorted(BOARDS)
    for name in files:
        assert len((FOLDER / name).read_bytes()) < MOST_BYTES, name


def test_no_two_dashboards_have_one_uid_or_title() -> None:
    for what in ("uid", "title"):
        found = [board[what] for board in BOARDS.values()]
        assert len(set(found)) == len(found), what
    for name, board in BOARDS.items():
        assert name == f"{board['uid']}.json"
        assert re.fullmatch(r"[a-z0-9-]{8,40}", board["uid"])


@each_board
def test_it_has_a_schema_that_grafana_knows(board: dict[str, Any]) -> None:
    # 36 is the first in which a data source is an object (Grafana 8.3).
    assert board["schemaVersion"] >= 36
    assert "id" not in board
    assert board["time"]
    assert board["description"]


@each_board
def test_panels_have_ids_of_their_own(board: dict[str, Any]) -> None:
    ids = [panel["id"] for panel in board["panels"]]
    assert len(set(ids)) == len(ids)
    for panel in panels(board):
        letters = [target["refId"] for target in panel["targets"]]
        assert letters
        assert len(set(letters)) == len(letters)


@each_board
def test_panels_lie_in_the_grid_and_not_on_each_other(board: dict[str, Any]) -> None:
    places = [(panel["title"], panel["gridPos"]) for panel in board["panels"]]
    for title, place in places:
        assert place["w"] > 0, title
        assert place["h"] > 0, title
        assert 0 <= place["x"] <= place["x"] + place["w"] <= COLUMNS, title
    for (title, a), (other, b) in combinations(places, 2):
        apart = (
            a["x"] + a["w"] <= b["x"]
            or b["x"] + b["w"] <= a["x"]
            or a["y"] + a["h"] <= b["y"]
            or b["y"] + b["h"] <= a["y"]
        )
        assert apart, (title, other)


@each_board
def test_every_row_is_full(board: dict[str, Any]) -> None:
    widths: dict[int, int] = {}
    for panel in board["panels"]:
        place = panel["gridPos"]
        widths[place["y"]] = widths.get(place["y"], 0) + place["w"]
    assert set(widths.values()) == {COLUMNS}


@each_board
def test_every_panel_says_what_it_shows_and_in_which_unit(board: dict[str, Any]) -> None:
    titles = [panel["title"] for panel in board["panels"]]
    assert all(titles)
    for panel in panels(board):
        assert panel["description"].endswith("."), panel["title"]
        assert panel["fieldConfig"]["defaults"]["unit"], panel["title"]
        assert panel["fieldConfig"]["defaults"].get("noValue") or panel["type"] == "heatmap"


@each_board
def test_panels_of_one_dashboard_have_titles_of_their_own_within_a_row(
    board: dict[str, Any],
) -> None:
    seen: set[str] = set()
    for panel in board["panels"]:
        if panel["type"] == "row":
            seen = set()
        assert panel["title"] not in seen
        seen.add(panel["title"])


@each_board
def test_everything_is_asked_of_the_chosen_data_source(board: dict[str, Any]) -> None:
    for panel in panels(board):
        assert panel["datasource"] == SOURCE, panel["title"]
        for target in panel["targets"]:
            assert target["datasource"] == SOURCE, panel["title"]
    for mark in board["annotations"]["list"]:
        assert mark["datasource"] == SOURCE, mark["name"]
    for variable in variables(board):
        if variable["type"] == "query":
            assert variable["datasource"] == SOURCE, variable["name"]
    assert variables(board)[0] | {"name": "datasource", "type": "datasource"} == variables(board)[0]


@each_board
def test_every_variable_that_is_used_is_defined_and_the_other_way_round(
    board: dict[str, Any],
) -> None:
    names = [variable["name"] for variable in variables(board)]
    assert {"datasource", "cluster", "namespace", "deployment", "runbooks"} <= set(names)
    used = set(re.findall(r"\$\{?([a-z_]\w*)", str({**board, "description": ""})))
    assert used - BUILT_IN == set(names)
    for index, variable in enumerate(variables(board)):
        # A variable may only depend on those before it.
        before = set(re.findall(r"\$(\w+)", str(variable["query"])))
        assert before <= set(names[:index]), variable["name"]


@each_board
def test_every_selector_is_narrowed_to_what_was_chosen(board: dict[str, Any]) -> None:
    for question in asked_by_panels(board):
        selectors = re.findall(r"\{([^{}]*)\}", question.expr)
        assert selectors, question
        for selector in selectors:
            assert 'cluster=~"$cluster"' in selector, question


@each_board
def test_it_marks_releases_and_rollbacks_and_leads_to_the_others_and_to_the_runbooks(
    board: dict[str, Any],
) -> None:
    marks = [mark["name"] for mark in board["annotations"]["list"] if mark["enable"]]
    assert marks == ["Release", "Rollback", "Outcome"]
    for mark in board["annotations"]["list"]:
        assert mark["titleFormat"]
    others, runbooks = board["links"]
    assert (others["type"], others["keepTime"], others["includeVars"]) == ("dashboards", True, True)
    assert set(others["tags"]) <= set(board["tags"])
    assert (runbooks["type"], runbooks["url"]) == ("link", "${runbooks}")


@each_board
def test_what_is_asked_of_the_receiver_is_a_metric_of_it_with_its_labels(
    board: dict[str, Any],
) -> None:
    known: dict[str, set[str]] = {}
    for name, kind, labels, _ in METRICS:
        suffixes = ("_bucket", "_sum", "_count") if kind == "histogram" else ("",)
        known |= {f"{PREFIX}{name}{suffix}": {*labels, "cluster", "job"} for suffix in suffixes}
    selector = re.compile(rf"({PREFIX}\w+)(?:\{{([^}}]*)\}})?")
    for question in (*asked_by_panels(board), *asked_by_marks(board)):
        for metric, matchers in selector.findall(question.expr):
            assert metric in known, question
            assert set(re.findall(r"(\w+)[=!]", matchers)) <= known[metric], question


def test_the_panel_of_what_a_person_must_look_at_names_reasons_that_there_are() -> None:
    [expr] = [
        question.expr
        for question in asked_by_panels(BOARDS["rollback-receiver.json"])
        if "must look at" in question.of
    ]
    [named] = re.findall(r'reason=~"([^"]*)"', expr)
    assert {"rolled_back", "stopped", "breaker_open"} & set(named.split("|"))
    assert set(named.split("|")) <= {each.value for each in Reason}


def _alerts() -> list[dict[str, Any]]:
    """Return the alerts that are shipped."""
    documents = [yaml.safe_load(file.read_text()) for file in sorted(RULES.glob("re*.yaml"))]
    groups = [group for document in documents for group in document["spec"]["groups"]]
    return [rule for group in groups for rule in group["rules"]]


def test_every_runbook_is_one_of_an_alert_or_of_what_is_clicked_on() -> None:
    named = {rule["alert"] for rule in _alerts() if "alert" in rule}
    [base] = {rule["annotations"]["runbook_url"].rpartition("/")[0] for rule in _with_runbooks()}
    for board in BOARDS.values():
        [variable] = [each for each in variables(board) if each["name"] == "runbooks"]
        assert variable["query"] == base
        links = [link["url"] for panel in panels(board) for link in panel.get("links", ())]
        assert links or "Who" in str(board)
        for url in links:
            assert url.removeprefix("${runbooks}/").removesuffix(".md") in named


def _with_runbooks() -> list[dict[str, Any]]:
    return [rule for rule in _alerts() if "runbook_url" in rule.get("annotations", {})]


def test_no_runbook_of_a_reason_is_mistaken_for_one_of_an_outcome() -> None:
    outcomes = {phase.value for phase in set(Phase) - OPEN}
    assert not outcomes & {reason.value for reason in Reason}


def test_every_alert_leads_to_a_dashboard_that_is_shipped() -> None:
    uids = {board["uid"] for board in BOARDS.values()}
    led = [rule["annotations"].get("dashboard_url", "") for rule in _alerts() if "alert" in rule]
    assert any(led)
    for url in filter(None, led):
        uid, _, chosen = url.rpartition("/")[2].partition("?")
        assert uid in uids, url
        assert set(re.findall(r"var-(\w+)=", chosen)) <= {"namespace", "deployment", "cluster"}


def test_whatever_an_alert_of_the_plan_judges_is_on_a_dashboard() -> None:
    shown = " ".join(q.expr for board in BOARDS.values() for q in asked_by_panels(board))
    judged = re.findall(
        r"(?<![\w:])([a-z]\w+(?:_total|_bucket|_in_use|_max))(?![\w:])",
        str([r["expr"] for r in _alerts()]),
    )
    assert len(set(judged)) > 8
    for metric in judged:
        assert re.search(rf"\b{metric}\b", shown), metric
