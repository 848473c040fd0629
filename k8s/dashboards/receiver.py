"""The dashboard of the receiver: what fired, what was decided and why, what came of it."""

from k8s.dashboards import frame, own, service
from k8s.dashboards.panels import BLUE, GREEN, HIGH, RED, YELLOW, Panel, bars, lines, number, states
from receiver.reasons import Reason, Severity, about

UID, TITLE = "rollback-receiver", "Rollback receiver"
SAYS = (
    "What fired, what rollback-receiver decided and why, what came of it, and whether it is well "
    "itself. Its metrics name no Deployment: who was rolled back stands in the marks, in Slack and "
    "in GET /api/v1/incidents."
)
# Told as critical: a person has to look.
_LOUD = "|".join(each.value for each in Reason if about(each).tell is Severity.CRITICAL)
LOUD = f'reason=~"{_LOUD}"'
TO_RUNBOOK = ("What ${__field.labels.reason} means", "${runbooks}/${__field.labels.reason}.md")


def _now() -> list[Panel]:
    # Each replica counts for all of them.
    owed = f"max by (sink) ({own.one('notices_owed')})"
    given_up = f"sum(increase({own.one('dead_letters_total')}[$__range]))"
    loudly = "Whatever stops automation is told as critical, too."
    return [
        number(
            "Replicas",
            "Replicas that Prometheus scrapes. One is enough to work, two survive a node.",
            f"count({own.one('build_info')})",
            unit="short",
            base=RED,
            limits=[(1, YELLOW), (2, GREEN)],
            none="0",
            runbook="ReceiverNotRedundant",
        ),
        number(
            "Mode",
            "In shadow mode it decides, writes down and tells, but rolls nothing back.",
            f"max({own.one('shadow')})",
            unit="short",
            words={0: ("acts", GREEN), 1: ("shadow", YELLOW)},
        ),
        number(
            "Kill switch",
            f"Stopped: alerts are refused, finally, until the switch is lifted. {loudly}",
            f"max({own.one('stopped')})",
            unit="short",
            words={0: ("off", GREEN), 1: ("STOPPED", RED)},
            runbook="AutomationStopped",
        ),
        number(
            "Mass-alert breaker",
            f"Open: so many targets alert at once that no release is to blame. {loudly}",
            f"max({own.one('breaker_open')})",
            unit="short",
            words={0: ("closed", GREEN), 1: ("OPEN", RED)},
            runbook="BreakerOpen",
        ),
        number(
            "Incidents open",
            "Bad revisions that are being rolled back or verified. Each ends by itself.",
            f"max({own.one('incidents_open')})",
            unit="short",
            limits=[(1, BLUE), (5, YELLOW)],
            none="nobody has counted",
            runbook="IncidentOpenTooLong",
        ),
        number(
            "Targets in work",
            "Deployments that any replica works on just now.",
            f"sum({own.one('targets_in_work')})",
            unit="short",
            base=BLUE,
        ),
        number(
            "Notices owed",
            "Messages that a sink has not taken yet. They are sent again until it does.",
            f"sum({owed})",
            unit="short",
            limits=[(1, BLUE), (20, YELLOW)],
            none="nobody has counted",
            runbook="NoticesOwedTooLong",
        ),
        number(
            "Oldest notice owed",
            "How long the oldest of them has waited. Minutes: a sink is down or its secret is bad.",
            f"max({own.one('oldest_notice_seconds')})",
            unit="s",
            limits=[(60, YELLOW), (300, RED)],
            none="nobody has counted",
            runbook="NoticesOwedTooLong",
        ),
        number(
            "Notices given up",
            "Dead letters in this range: somebody was not told. The journal keeps the newest.",
            given_up,
            unit="short",
            limits=[(1, RED)],
        ),
        number(
            "Watchdog heard",
            "Time since Alertmanager last posted the Watchdog to any replica. Long: Prometheus, "
            "Alertmanager or the way from there is broken, and no alert would reach us.",
            f"time() - max({own.one('watchdog_timestamp_seconds')} > 0)",
            unit="s",
            limits=[(180, YELLOW), (300, RED)],
            none="never",
            runbook="WatchdogSilent",
        ),
        number(
            "Watchdogs missing",
            "Watchdogs, one for each Alertmanager, that were heard once and are silent now.",
            f"max({own.one('watchdogs_silent')})",
            unit="short",
            limits=[(1, RED)],
            runbook="WatchdogSilent",
        ),
        number(
            "Last webhook",
            "Time since any replica accepted one. With a Watchdog routed here, never long.",
            f"time() - max({own.one('last_webhook_timestamp_seconds')} > 0)",
            unit="s",
            base=BLUE,
            none="never",
            runbook="WebhooksFailing",
        ),
    ]


def _fired() -> list[Panel]:
    cut_off = f"{own.one('truncated_alerts_total')}[$__rate_interval]"
    webhooks = '{integration="webhook", cluster=~"$cluster"}[$__rate_interval]'
    posted = f"60 * sum(rate(alertmanager_notifications_total{webhooks}))"
    failed = f"60 * sum(rate(alertmanager_notifications_failed_total{webhooks}))"
    return [
        states(
            "Alerts that ask for a rollback",
            "Firing alerts with a `rollback` label, as Prometheus sees them, of what is selected.",
            "max by (alertname, namespace, deployment)"
            f' (ALERTS{{alertstate="firing", rollback!="", rollback!="never", {frame.TARGET}}})',
            "{{alertname}} {{namespace}}/{{deployment}}",
            words={1: ("firing", RED)},
            none="none fired",
        ),
        lines(
            "Alerts received",
            "Alerts in accepted webhooks, repeats included, and those that Alertmanager's "
            "max_alerts cut off: they never come.",
            [
                (own.a_minute("alerts_received_total", by="status"), "{{status}}"),
                (f"60 * sum(rate({cut_off}))", "cut off"),
            ],
            unit="cpm",
            stacked=True,
            none="none came",
            width=6,
        ),
        lines(
            "Alertmanager's webhooks",
            "What Alertmanager posts to webhooks of any receiver, and what it gave up. It tries "
            "again after the group interval; until then we know nothing of it.",
            [(posted, "posted"), (failed, "failed")],
            unit="cpm",
            width=6,
        ),
    ]


def _decided() -> list[Panel]:
    return [
        lines(
            "Decisions, by reason",
            "One for each alert and each wish of a person, by why it was decided so.",
            [(own.a_minute("decisions_total", by="reason"), "{{reason}}")],
            unit="cpm",
            stacked=True,
            none="nothing was decided",
        ),
        bars(
            "Decisions in this range",
            "The same, counted. A click on a bar leads to the runbook of the reason.",
            [(f"sort_desc({own.in_range('decisions_total', by='reason')})", "{{reason}}")],
            unit="short",
            decimals=0,
            link=TO_RUNBOOK,
            none="nothing was decided",
            width=6,
        ),
        bars(
            "Decisions a person must look at",
            "Those told as critical: what was rolled back, and what was not although it was asked "
            "for. A click on a bar leads to the runbook of the reason.",
            [
                (
                    f"sort_desc({own.in_range('decisions_total', LOUD, by='reason')})",
                    "{{reason}}",
                )
            ],
            unit="short",
            decimals=0,
            base=RED,
            link=TO_RUNBOOK,
            none="none in this range",
            width=6,
        ),
    ]


def _undone() -> list[Panel]:
    steps = [
        (own.quantile(share, "rollback_duration_seconds", by="step", window="$__range"), share)
        for share in (0.5, 0.95)
    ]
    return [
        bars(
            "Incidents ended in this range",
            "By how they ended. Only `recovered` is proven; a click leads to what the others mean.",
            [(f"sort_desc({own.in_range('rollbacks_total', by='outcome')})", "{{outcome}}")],
            unit="short",
            decimals=0,
            link=(
                "What ${__field.labels.outcome} means",
                "${runbooks}/${__field.labels.outcome}.md",
            ),
            none="none in this range",
            width=6,
        ),
        lines(
            "Incidents ended",
            "Those that did not recover need a person: they were told as critical.",
            [(own.a_minute("rollbacks_total", by="outcome"), "{{outcome}}")],
            unit="cpm",
            stacked=True,
            none="none in this range",
            width=6,
        ),
        number(
            "Alert to patch, p95",
            "From the start of an alert to the patch that undoes its release, in this range: "
            "Alertmanager's grouping, ours settling, deciding and patching.",
            own.quantile(0.95, "alert_to_patch_seconds", window="$__range"),
            unit="s",
            limits=[(60, YELLOW), (300, RED)],
            none="none in this range",
            width=3,
            height=HIGH,
        ),
        number(
            "Patch to recovery, p95",
            "From the patch to the end as recovered, in this range: rollout, then verification.",
            own.quantile(0.95, "patch_to_recovery_seconds", window="$__range"),
            unit="s",
            limits=[(600, YELLOW), (1800, RED)],
            none="none in this range",
            width=3,
            height=HIGH,
        ),
        bars(
            "Steps of a rollback, in this range",
            "How long half of them, and 95 %, took at most. `decide` is the answer to a webhook, "
            "`patch` the write, `rollout` until Kubernetes is done, `verify` until it is proven.",
            [(expr, f"{{{{step}}}} p{share * 100:.0f}") for expr, share in steps],
            unit="s",
            limits=[(300, YELLOW)],
            none="none in this range",
            width=6,
        ),
        lines(
            "Alert to patch to recovery",
            "Median and p95 of both spans, as they happened.",
            [
                (
                    own.quantile(share, metric, window="$__rate_interval"),
                    f"{name} p{share * 100:.0f}",
                )
                for metric, name in (
                    ("alert_to_patch_seconds", "alert to patch"),
                    ("patch_to_recovery_seconds", "patch to recovery"),
                )
                for share in (0.5, 0.95)
            ],
            unit="s",
            none="none in this range",
        ),
        lines(
            "Template writes, targets in work",
            "Pod templates swapped back (one for each incident, ever), targets being worked on, "
            "and targets taken over from a replica that fell silent.",
            [
                (f"sum(increase({own.one('template_writes_total')}[$__rate_interval]))", "writes"),
                (f"sum({own.one('targets_in_work')})", "targets in work"),
                (f"sum(increase({own.one('claims_taken_total')}[$__rate_interval]))", "taken over"),
            ],
            unit="short",
        ),
    ]


def _released() -> list[Panel]:
    # Each replica counts for all of them.
    there = f"max by (step) ({own.one('releases_open')})"
    longest = f"max by (step) ({own.one('oldest_release_step_seconds')})"
    ended = f"sum by (outcome) (increase({own.one('releases_total')}[$__range]))"
    return [
        lines(
            "Staged releases, by step",
            "Those in progress: which wait for a person (`preparing` for the checklist, `waiting` "
            "for an approval), and which for time or for Kubernetes.",
            [(there, "{{step}}")],
            unit="short",
            stacked=True,
            none="nobody has counted",
            width=6,
        ),
        bars(
            "Longest in its step",
            "For how long the one that got there first is there. A soak only counts healthy time, "
            "so it may be longer than the plan says.",
            [(f"sort_desc({longest})", "{{step}}")],
            unit="s",
            none="nobody has counted",
            width=6,
        ),
        number(
            "Held",
            "Releases that stand still until a person lets them go on: paused, or something was "
            "changed that is not theirs to change.",
            f"max({own.one('releases_held')})",
            unit="short",
            limits=[(1, YELLOW)],
            none="nobody has counted",
            width=6,
            height=HIGH,
            runbook="ReleaseHeld",
        ),
        bars(
            "Ended in this range",
            "By how: `completed` is on all pods and was watched, `aborted` has been taken back.",
            [(ended, "{{outcome}}")],
            unit="short",
            decimals=0,
            none="none in this range",
            width=6,
        ),
    ]


def dashboard() -> str:
    """Return the dashboard as JSON text."""
    rows = {
        "Now": _now(),
        "What fired": _fired(),
        "What was decided, and why": _decided(),
        "Rollbacks": _undone(),
        "Staged releases": _released(),
        "Who was told": service.told(),
        "Kubernetes": service.kubernetes(),
        "The service": service.replicas(),
    }
    return frame.document(UID, TITLE, SAYS, rows, receiver=True)
