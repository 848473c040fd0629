"""The dashboards as Grafana reads them: what panels, marks and variables ask."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parents[2] / "k8s" / "dashboards"


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """What a panel, a mark or a variable asks Prometheus."""

    of: str
    expr: str
    legend: str = ""
    instant: bool = False

    def __str__(self) -> str:
        return f"{self.of}: {self.expr}"

    def filled(self, variables: Mapping[str, str]) -> str:
        """Return PromQL without variables."""
        expr = self.expr
        for name in sorted(variables, key=len, reverse=True):
            expr = expr.replace("${" + name + "}", variables[name])
            expr = expr.replace("$" + name, variables[name])
        return expr


def boards() -> dict[str, dict[str, Any]]:
    """Return every dashboard that is shipped, by the name of its file."""
    return {file.name: json.loads(file.read_text()) for file in sorted(FOLDER.glob("*.json"))}


def panels(board: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return what is drawn, without the headings of rows."""
    return [panel for panel in board["panels"] if panel["type"] != "row"]


def asked_by_panels(board: Mapping[str, Any]) -> Iterator[Question]:
    """Yield what each panel asks."""
    for panel in panels(board):
        for target in panel["targets"]:
            yield Question(
                of=f"{board['title']} / {panel['title']} {target['refId']}",
                expr=target["expr"],
                legend=target["legendFormat"],
                instant=target["instant"],
            )


def asked_by_marks(board: Mapping[str, Any]) -> Iterator[Question]:
    """Yield what the marks of releases and rollbacks ask."""
    for mark in board["annotations"]["list"]:
        of = f"{board['title']} / mark {mark['name']}"
        yield Question(of=of, expr=mark["expr"], legend=mark["titleFormat"])


def variables(board: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the variables that people choose from."""
    found: list[dict[str, Any]] = board["templating"]["list"]
    return found
