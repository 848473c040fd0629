"""Why: one closed list of reasons.

Each is a metric label, a log field, an API answer, the text of a message and a test id.

`about(reason)` gives the sentence for people, the severity at which it is told, and what it means
for a rollback that a person asks for.
"""

from dataclasses import dataclass
from enum import StrEnum


class Severity(StrEnum):
    """How loudly something is told. The routes of the configuration name sinks for each."""

    CRITICAL = "critical"
    WARNING = "warning"
    INFO = "info"


class Manual(StrEnum):
    """What a rule of the decision table means for a rollback that a person asks for."""

    ENFORCED = "enforced"
    NEEDS_FORCE = "needs_force"
    IGNORED = "ignored"
    NOT_APPLICABLE = "not_applicable"


class Reason(StrEnum):
    """Every outcome of a decision, in the order of the decision table."""

    RESOLVED = "resolved"
    WATCHDOG = "watchdog"
    NOTIFY_ONLY = "notify_only"
    NO_TARGET = "no_target"
    INVALID_TARGET = "invalid_target"
    OTHER_CLUSTER = "other_cluster"
    KIND_NOT_SUPPORTED = "kind_not_supported"
    NAMESPACE_NOT_ALLOWED = "namespace_not_allowed"
    TOKEN_NOT_ALLOWED = "token_not_allowed"  # noqa: S105 - a reason, no password
    TARGET_NOT_FOUND = "target_not_found"
    NOT_OPTED_IN = "not_opted_in"
    ALERT_NOT_ALLOWED = "alert_not_allowed"
    STALE = "stale"
    ALREADY_HANDLED = "already_handled"
    BAD_REVISION_RETURNED = "bad_revision_returned"
    REVISION_NOT_CURRENT = "revision_not_current"
    NOT_THIS_TRACK = "not_this_track"
    STOPPED = "stopped"
    PAUSED = "paused"
    PROTECTED = "protected"
    FROZEN = "frozen"
    HUMAN_IN_CHARGE = "human_in_charge"
    DELETING = "deleting"
    DEPLOYMENT_PAUSED = "deployment_paused"
    GITOPS_OWNED = "gitops_owned"
    NOT_OBSERVED = "not_observed"
    STATE_UNREADABLE = "state_unreadable"
    FATE_UNKNOWN = "fate_unknown"
    FORBIDDEN = "forbidden"
    REJECTED = "rejected"
    COOLDOWN = "cooldown"
    ROLLBACK_DID_NOT_HELP = "rollback_did_not_help"
    NOT_A_NEW_RELEASE = "not_a_new_release"
    OUTSIDE_WINDOW = "outside_window"
    PREDATES_RELEASE = "predates_release"
    INHERITED_ALERT = "inherited_alert"
    SHARED_CAUSE = "shared_cause"
    NO_GOOD_REVISION = "no_good_revision"
    BUDGET_SPENT = "budget_spent"
    BREAKER_OPEN = "breaker_open"
    SAME_TEMPLATE = "same_template"
    UNKNOWN_REVISION = "unknown_revision"
    CURRENT_CHANGED = "current_changed"
    SHADOW = "shadow"
    ROLLED_BACK = "rolled_back"
    RELEASE_ABORTED = "release_aborted"
    RELEASING = "releasing"
    AWAITING_APPROVAL = "awaiting_approval"
    CANARY_NOT_READY = "canary_not_ready"
    PROMOTION_FAILED = "promotion_failed"
    RELEASE_DRIFTED = "release_drifted"
    RELEASE_UNHEALTHY = "release_unhealthy"
    RELEASE_BLIND = "release_blind"
    RELEASE_HELD = "release_held"
    RELEASE_REJECTED = "release_rejected"
    NO_PLAN = "no_plan"
    NO_CANARY = "no_canary"
    NO_RELEASE = "no_release"
    NO_SUCH_CHECK = "no_such_check"
    NOT_RUNNING = "not_running"
    RELEASE_IN_PROGRESS = "release_in_progress"
    RELEASE_WAS_ABORTED = "release_was_aborted"
    TARGET_ALERTING = "target_alerting"
    NOT_WAITING = "not_waiting"
    NOT_HELD = "not_held"
    NOT_AN_APPROVER = "not_an_approver"
    ANOTHER_PERSON = "another_person"


@dataclass(frozen=True, slots=True, kw_only=True)
class About:
    """What one reason means to people."""

    text: str
    tell: Severity | None = None
    manual: Manual = Manual.NOT_APPLICABLE


_WARNING, _CRITICAL, _INFO = Severity.WARNING, Severity.CRITICAL, Severity.INFO
_ENFORCED, _FORCE, _IGNORED = Manual.ENFORCED, Manual.NEEDS_FORCE, Manual.IGNORED

_ABOUT: dict[Reason, About] = {
    Reason.RESOLVED: About(text="The alert resolved; its episode is closed."),
    Reason.WATCHDOG: About(text="The heartbeat of the monitoring arrived."),
    Reason.NOTIFY_ONLY: About(text="The alert asks for no rollback; it is passed on by severity."),
    Reason.NO_TARGET: About(
        text="The alert names no Deployment, ReplicaSet or pod.", tell=_WARNING, manual=_ENFORCED
    ),
    Reason.INVALID_TARGET: About(
        text="A label that should name the target holds no valid Kubernetes name.",
        tell=_WARNING,
        manual=_ENFORCED,
    ),
    Reason.OTHER_CLUSTER: About(
        text="The alert is about another cluster.", tell=_WARNING, manual=_ENFORCED
    ),
    Reason.KIND_NOT_SUPPORTED: About(
        text="Only Deployments are rolled back.", tell=_WARNING, manual=_ENFORCED
    ),
    Reason.NAMESPACE_NOT_ALLOWED: About(
        text="The namespace is not among `kubernetes.namespaces`.", tell=_WARNING, manual=_ENFORCED
    ),
    Reason.TOKEN_NOT_ALLOWED: About(
        text="The sender's token is not valid for this namespace.", tell=_WARNING, manual=_ENFORCED
    ),
    Reason.TARGET_NOT_FOUND: About(
        text="There is no such Deployment.", tell=_WARNING, manual=_ENFORCED
    ),
    Reason.NOT_OPTED_IN: About(
        text='The Deployment lacks the label rollback-receiver/enabled: "true".',
        tell=_WARNING,
        manual=_ENFORCED,
    ),
    Reason.ALERT_NOT_ALLOWED: About(
        text="The Deployment's rollback-receiver/alerts annotation does not list this alert.",
        tell=_WARNING,
    ),
    Reason.STALE: About(text="A late delivery of an episode that is already closed."),
    Reason.ALREADY_HANDLED: About(
        text="This bad revision is already being dealt with, or has been.", manual=_IGNORED
    ),
    Reason.BAD_REVISION_RETURNED: About(
        text="A revision that was rolled away from is current again, and the alert fires.",
        tell=_CRITICAL,
        manual=_IGNORED,
    ),
    Reason.REVISION_NOT_CURRENT: About(
        text="The alert is about a revision that is not current.", tell=_WARNING
    ),
    Reason.NOT_THIS_TRACK: About(
        text="The alert is about another track than this Deployment's.", tell=_WARNING
    ),
    Reason.STOPPED: About(
        text="The switch is set, missing or unreadable: automation is stopped.",
        tell=_CRITICAL,
        manual=_IGNORED,
    ),
    Reason.PAUSED: About(
        text="Automation of this Deployment is paused.", tell=_CRITICAL, manual=_IGNORED
    ),
    Reason.PROTECTED: About(
        text="The Deployment is marked rollback-receiver/protected: never roll back by itself.",
        tell=_CRITICAL,
        manual=_FORCE,
    ),
    Reason.FROZEN: About(
        text="A freeze window holds: nothing is changed by itself.",
        tell=_CRITICAL,
        manual=_IGNORED,
    ),
    Reason.HUMAN_IN_CHARGE: About(
        text="Somebody changed the Deployment while a rollback of it was under way.",
        tell=_CRITICAL,
        manual=_IGNORED,
    ),
    Reason.DELETING: About(
        text="The Deployment is being deleted.", tell=_CRITICAL, manual=_ENFORCED
    ),
    Reason.DEPLOYMENT_PAUSED: About(
        text="The Deployment is paused (spec.paused): kubectl would refuse to undo it, too.",
        tell=_CRITICAL,
        manual=_ENFORCED,
    ),
    Reason.GITOPS_OWNED: About(
        text="A GitOps controller owns the Deployment and would revert an undo.",
        tell=_CRITICAL,
        manual=_FORCE,
    ),
    Reason.NOT_OBSERVED: About(
        text="The Deployment controller has not observed the current template yet.",
        tell=_CRITICAL,
        manual=_ENFORCED,
    ),
    Reason.STATE_UNREADABLE: About(
        text="What is remembered about this Deployment cannot be read; nothing is done.",
        tell=_CRITICAL,
        manual=_ENFORCED,
    ),
    Reason.FATE_UNKNOWN: About(
        text="It cannot be known whether an earlier patch was applied; nothing is done.",
        tell=_CRITICAL,
        manual=_ENFORCED,
    ),
    Reason.FORBIDDEN: About(
        text="The Kubernetes API denies a right that is needed.", tell=_CRITICAL, manual=_ENFORCED
    ),
    Reason.REJECTED: About(
        text="The Kubernetes API refuses the change.", tell=_CRITICAL, manual=_ENFORCED
    ),
    Reason.COOLDOWN: About(
        text="A rollback of this Deployment is under way or has just ended.", manual=_ENFORCED
    ),
    Reason.ROLLBACK_DID_NOT_HELP: About(
        text="The alert fires although the rollback is complete.",
        tell=_CRITICAL,
        manual=_IGNORED,
    ),
    Reason.NOT_A_NEW_RELEASE: About(
        text="The current revision had been left and was brought back: it is no new release.",
        tell=_WARNING,
        manual=_IGNORED,
    ),
    Reason.OUTSIDE_WINDOW: About(
        text="The current release is older than `policy.window`: it is hardly the cause.",
        tell=_WARNING,
        manual=_IGNORED,
    ),
    Reason.PREDATES_RELEASE: About(
        text="The trouble began before the current release.", tell=_WARNING, manual=_IGNORED
    ),
    Reason.INHERITED_ALERT: About(
        text="The trouble began before the current release, and this release does not end it.",
        tell=_CRITICAL,
        manual=_IGNORED,
    ),
    Reason.SHARED_CAUSE: About(
        text="The predecessor alerts too, since this rollout began: a shared cause is likely.",
        tell=_CRITICAL,
        manual=_IGNORED,
    ),
    Reason.NO_GOOD_REVISION: About(
        text="There is no revision to go back to that is not bad, suspect or the same code.",
        tell=_CRITICAL,
        manual=_ENFORCED,
    ),
    Reason.BUDGET_SPENT: About(
        text="As many rollbacks as `policy.budgets` allows were done already.",
        tell=_CRITICAL,
        manual=_IGNORED,
    ),
    Reason.BREAKER_OPEN: About(
        text="Too many targets began to alert at once: one page names them, no release is blamed.",
        manual=_IGNORED,
    ),
    Reason.SAME_TEMPLATE: About(
        text="The named revision's template is the current one.", manual=_ENFORCED
    ),
    Reason.UNKNOWN_REVISION: About(
        text="The named revision is not in the Deployment's history.", manual=_ENFORCED
    ),
    Reason.CURRENT_CHANGED: About(
        text="Another revision is current than the one the rollback was meant for.",
        manual=_ENFORCED,
    ),
    Reason.SHADOW: About(
        text="Mode is shadow: this is what would have been rolled back.", tell=_INFO
    ),
    Reason.ROLLED_BACK: About(text="The bad revision is rolled back.", tell=_CRITICAL),
    Reason.RELEASE_ABORTED: About(
        text="The staged release is aborted: its canary goes to 0.",
        tell=_CRITICAL,
        manual=_IGNORED,
    ),
    Reason.RELEASING: About(text="A staged release goes on by its plan.", tell=_INFO),
    Reason.AWAITING_APPROVAL: About(
        text="The stage has soaked; the next one waits for an approval.", tell=_WARNING
    ),
    Reason.CANARY_NOT_READY: About(
        text="The canary's pods did not become ready in time.", tell=_CRITICAL
    ),
    Reason.PROMOTION_FAILED: About(
        text="The stable Deployment did not become ready with the new version.", tell=_CRITICAL
    ),
    Reason.RELEASE_DRIFTED: About(
        text="Somebody changed a Deployment of the release: nothing is promoted.", tell=_WARNING
    ),
    Reason.RELEASE_UNHEALTHY: About(
        text="A health check of the release fails: its soak stands still.", tell=_WARNING
    ),
    Reason.RELEASE_BLIND: About(
        text="Nobody can tell how the release is doing: its soak stands still.", tell=_WARNING
    ),
    Reason.RELEASE_HELD: About(text="The release is paused.", tell=_WARNING),
    Reason.RELEASE_REJECTED: About(text="A person ended the release.", tell=_WARNING),
    Reason.NO_PLAN: About(text="`release.plans` has no plan of that name."),
    Reason.NO_CANARY: About(
        text="There is no Deployment of that name with -canary and the label track: canary."
    ),
    Reason.NO_RELEASE: About(text="No staged release of this Deployment is in progress."),
    Reason.NO_SUCH_CHECK: About(text="The checklists of the release have no such line."),
    Reason.NOT_RUNNING: About(text="The Deployment runs no pods: there is nothing to compare."),
    Reason.RELEASE_IN_PROGRESS: About(text="A staged release of this Deployment is in progress."),
    Reason.RELEASE_WAS_ABORTED: About(text="A release of this very template was aborted."),
    Reason.TARGET_ALERTING: About(text="An alert about this Deployment asks for a rollback."),
    Reason.NOT_WAITING: About(text="The release does not wait for that now."),
    Reason.NOT_HELD: About(text="The release is not held."),
    Reason.NOT_AN_APPROVER: About(text="This needs a role of `release.roles` that you lack."),
    Reason.ANOTHER_PERSON: About(
        text="This needs a person who neither began the release nor approved this stage."
    ),
}


# What is told once for all that it concerns, and not for each alert or target.
TOLD_TOGETHER = frozenset({Reason.BREAKER_OPEN, Reason.RELEASE_ABORTED})


def about(reason: Reason) -> About:
    """Return the sentence, the severity told at, and the manual meaning of `reason`."""
    return _ABOUT[reason]


def sentence(reason: Reason, detail: str = "") -> str:
    """Return the sentence of a reason, and in brackets what is special about this time."""
    return about(reason).text + (f" ({detail})" if detail else "")


_ORDER = (Severity.INFO, Severity.WARNING, Severity.CRITICAL)


def louder(one: Severity, other: Severity) -> Severity:
    """Return the louder of two severities."""
    return max(one, other, key=_ORDER.index)
