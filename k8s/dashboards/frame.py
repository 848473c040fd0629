"""What all dashboards have in common: variables, marks of releases and rollbacks, links."""

import json
from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

from grafana_foundation_sdk.builders.dashboard import (
    ConstantVariable,
    CustomVariable,
    Dashboard,
    DashboardLink,
    DatasourceVariable,
    QueryVariable,
    Row,
)
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models.dashboard import (
    DashboardCursorSync,
    DashboardLinkType,
    VariableOption,
    VariableRefresh,
    VariableSort,
)

from k8s.dashboards.panels import BLUE, RED, SOURCE, YELLOW, Panel

Rows: TypeAlias = Mapping[str, Sequence[Panel]]

TAG = "rollback-receiver"
# Where the runbooks are: one place to change, the default of a hidden variable.
RUNBOOKS = "https://example.com/rollback-receiver/docs/runbooks"

# What is selected: of anything in the cluster, of one Deployment in it, and of the receiver.
HERE = 'cluster=~"$cluster", namespace=~"$namespace"'
TARGET = f'{HERE}, deployment=~"$deployment"'
OURS = 'cluster=~"$cluster", job=~"$job"'

# Whose a pod is: recorded by `alert_rules/release.yaml` with the labels app, deployment, replicaset
# and track, for an application does not know them.
INFO = "pod:release:info"
_OWNERS = (
    "max by (cluster, namespace, replicaset, deployment) (label_replace("
    f'kube_replicaset_owner{{{HERE}, owner_kind="Deployment", owner_name=~"$deployment"}},'
    ' "deployment", "$1", "owner_name", "(.+)"))'
)


def of_target(pods: str) -> str:
    """Return PromQL: something of pods, of those of the target, with the labels of `INFO`."""
    labels = "app, deployment, replicaset, track"
    return f"{pods} * on (cluster, namespace, pod) group_left ({labels}) {INFO}{{{TARGET}}}"


def of_target_ever(pods: str) -> str:
    """Return PromQL: something of pods in the whole range, of those that are gone, too."""
    ever = f"last_over_time({INFO}{{{TARGET}}}[$__range])"
    owner = f"group by (cluster, namespace, pod, deployment) ({ever})"
    return f"{pods} * on (cluster, namespace, pod) group_left (deployment) {owner}"


def by_revision(metric: str) -> str:
    """Return PromQL: a metric of ReplicaSets, each with the Deployment that owns it."""
    return (
        f"max by (cluster, namespace, replicaset) ({metric}{{{HERE}}})"
        f" * on (cluster, namespace, replicaset) group_left (deployment) {_OWNERS}"
    )


# A release is a new ReplicaSet. What moves the observed generation may be a scaling, too; together
# with a template write of ours it is our rollback, whose metrics name no target. The window is
# fixed, for not every Grafana knows $__rate_interval in a mark; it holds two scrapes of 60 s.
_GENERATION = "kube_deployment_status_observed_generation"
_CHANGE = f"sum by (namespace, deployment) (changes({_GENERATION}{{{TARGET}}}[2m])) > 0"
_ROLLBACK = f"{_CHANGE} and on () sum(increase(rollback_receiver_template_writes_total[2m])) > 0"
_OUTCOME = "sum by (outcome) (increase(rollback_receiver_rollbacks_total[2m])) > 0"


def document(
    uid: str,
    title: str,
    says: str,
    rows: Rows,
    *,
    receiver: bool = False,
    baseline: bool = False,
) -> str:
    """Return a dashboard as JSON text, always the same for the same panels.

    `receiver`: it is about the receiver, of which there may be several, each a job. `baseline`: it
    compares with a time before, which people choose.
    """
    board = (
        Dashboard(title)
        .uid(uid)
        .description(says)
        .tags([TAG])
        .timezone("browser")
        .editable()
        .tooltip(DashboardCursorSync.CROSSHAIR)
        .time("now-3h", "now")
        .refresh("30s")
    )
    _link(board)
    _variables(board, receiver=receiver)
    if baseline:
        board.with_variable(_times("baseline", "Baseline", "1d", "1h", "1d", "7d"))
    for name, panels in rows.items():
        board.with_row(Row(name))
        for panel in panels:
            board.with_panel(panel)
    made = json.loads(json.dumps(board.build(), cls=JSONEncoder))
    for number, panel in enumerate(made["panels"], start=1):
        panel["id"] = number
    made["annotations"] = {"list": _marks()}
    return json.dumps(made, indent=2, sort_keys=True, ensure_ascii=True) + "\n"


def _link(board: Dashboard) -> None:
    board.link(
        DashboardLink("Dashboards")
        .type(DashboardLinkType.DASHBOARDS)
        .tags([TAG])
        .keep_time(keep_time=True)
        .include_vars(include_vars=True)
        .as_dropdown(as_dropdown=False)
    )
    board.link(
        DashboardLink("Runbooks")
        .type(DashboardLinkType.LINK)
        .icon("doc")
        .tooltip("What each alert and each reason means, and what to do")
        .url("${runbooks}")
        .target_blank(target_blank=True)
    )


def _variables(board: Dashboard, *, receiver: bool) -> None:
    board.with_variable(DatasourceVariable("datasource").label("Prometheus").type("prometheus"))
    board.with_variable(_chosen("cluster", "Cluster", _GENERATION))
    if receiver:
        job = _chosen("job", "Receiver", 'rollback_receiver_build_info{cluster=~"$cluster"}')
        board.with_variable(job)
    within = f'{_GENERATION}{{cluster=~"$cluster"}}'
    board.with_variable(_chosen("namespace", "Namespace", within))
    within = f'{_GENERATION}{{cluster=~"$cluster", namespace=~"$namespace"}}'
    board.with_variable(_chosen("deployment", "Deployment", within))
    board.with_variable(ConstantVariable("runbooks").label("Runbooks").value(RUNBOOKS))


def _chosen(name: str, label: str, metric: str) -> QueryVariable:
    """Return a variable: any number of the values that a label of a metric has, all at first.

    `All` is `.*` so that it holds without such a label, too: one cluster has no `cluster`.
    """
    return (
        QueryVariable(name)
        .label(label)
        .datasource(SOURCE)
        .query({"query": f"label_values({metric}, {name})", "refId": name, "qryType": 1})
        .refresh(VariableRefresh.ON_TIME_RANGE_CHANGED)
        .sort(VariableSort.ALPHABETICAL_ASC)
        .multi(multi=True)
        .include_all(include_all=True)
        .all_value(".*")
        .current(VariableOption(selected=True, text="All", value="$__all"))
    )


def _times(name: str, label: str, first: str, *values: str) -> CustomVariable:
    """Return a variable: one of some spans of time."""
    chosen = VariableOption(selected=True, text=first, value=first)
    return CustomVariable(name).label(label).values(",".join(values)).current(chosen)


def _marks() -> list[dict[str, Any]]:
    """Return the annotations. The library's have no title, tags or step, so these are plain."""
    of_target = "namespace,deployment"
    return [
        _mark("Release", BLUE, f"1000 * ({by_revision('kube_replicaset_created')})", of_target)
        | {
            "titleFormat": "New revision {{replicaset}} of {{namespace}}/{{deployment}}",
            "useValueForTime": True,
        },
        _mark("Rollback", RED, _ROLLBACK, of_target)
        | {"titleFormat": "{{namespace}}/{{deployment}} changed as the receiver rolled back"},
        _mark("Outcome", YELLOW, _OUTCOME, "outcome")
        | {"titleFormat": "An incident ended: {{outcome}}"},
        _mark("Any change", "purple", _CHANGE, of_target)
        | {"titleFormat": "{{namespace}}/{{deployment}} changed or scaled", "enable": False},
    ]


def _mark(name: str, color: str, expr: str, tags: str) -> dict[str, Any]:
    return {
        "name": name,
        "datasource": SOURCE.to_json(),
        "enable": True,
        "hide": False,
        "iconColor": color,
        "expr": expr,
        "step": "30s",
        "tagKeys": tags,
    }
