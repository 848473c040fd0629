"""Whether a rollback helped: what our episodes and Prometheus say, put together. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta

from receiver.alerts import text
from receiver.controller.ports import Condition, Finding
from receiver.journal import Episode, Incident, Journal, Phase

# Alerts that are asked about: of more, nothing is proven. And as much text as Slack shows.
NAMES, TEXT, EACH = 20, 300, 150


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """How an incident ends. `detail` is bounded, and holds untrusted parts."""

    phase: Phase
    detail: str


def asked_for(journal: Journal, incident: Incident) -> tuple[Episode, ...]:
    """Return the episodes that have to be over for it to have helped.

    A person may roll back long after an alert: what had resolved before is not what it was for.
    """
    asked = journal.episodes_of(incident.uid, incident.bad.code)
    if not incident.actor:
        return asked
    return tuple(e for e in asked if e.ends_at is None or e.ends_at >= incident.opened_at)


def names_of(asked: tuple[Episode, ...]) -> tuple[str, ...]:
    """Return the alerts to ask Prometheus about: those that asked for the rollback, once each."""
    return tuple(sorted({e.alertname for e in asked}))[:NAMES]


def well(asked: tuple[Episode, ...], findings: Mapping[str, Finding] | None) -> Outcome | None:
    """Return the good end: all alerts resolved, and all their expressions false with data present.

    `findings` by alert; None: there is no Prometheus to ask, so the alerts alone count. None is
    returned while anything is missing: `resolved` is no proof, it comes as well when Prometheus
    dies or the series end.
    """
    if not asked:
        return Outcome(phase=Phase.RECOVERED, detail="no alert had asked for it")
    if any(e.firing for e in asked):
        return None
    said = _resolved(asked)
    if findings is None:
        return Outcome(phase=Phase.RECOVERED, detail=said)
    if not _proven(asked, findings):
        return None
    return _outcome(Phase.RECOVERED, f"{said}, and their expressions are false", findings)


def unwell(
    asked: tuple[Episode, ...], findings: Mapping[str, Finding] | None, within: timedelta
) -> Outcome:
    """Return the end when the time for the good one is over: it fires still, or nobody can tell."""
    firing = sorted({e.alertname for e in asked if e.firing})
    names = text(", ".join(firing), EACH)
    after = f"{within.total_seconds():.0f} s after the rollout was complete"
    if findings is None:
        # Alertmanager sends no resolved for what is silenced: only Prometheus could tell.
        said = f"still firing {after} (a silence would look the same): {names}"
        return _outcome(Phase.DID_NOT_HELP, said, {})
    true = {n: f for n, f in findings.items() if f.condition is Condition.TRUE}
    if true:
        return _outcome(Phase.DID_NOT_HELP, f"still true {after}", true)
    if firing and _proven(asked, findings):
        said = f"no resolved came for {names} (a silence holds it back), but it is false"
        return _outcome(Phase.UNCONFIRMED, said, findings)
    unproven = {n: f for n, f in findings.items() if f.condition is not Condition.FALSE}
    if firing:
        return _outcome(Phase.DID_NOT_HELP, f"still firing {after}: {names}", unproven)
    said = f"{_resolved(asked)}, which {after} nothing proves"
    return _outcome(Phase.UNCONFIRMED, said, unproven)


def _resolved(asked: tuple[Episode, ...]) -> str:
    return f"{len(asked)} alert{'s' * (len(asked) != 1)} resolved"


def _proven(asked: tuple[Episode, ...], findings: Mapping[str, Finding]) -> bool:
    return all(
        e.alertname in findings and findings[e.alertname].condition is Condition.FALSE
        for e in asked
    )


def _outcome(phase: Phase, said: str, evidence: Mapping[str, Finding]) -> Outcome:
    """Return an outcome with what Prometheus said, as far as there is room."""
    for name, finding in evidence.items():
        said += f"; Prometheus on {text(name, 60)}: {finding.condition}: {finding.text}"
    return Outcome(phase=phase, detail=text(said, TEXT))
