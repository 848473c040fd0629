"""The state of a story in words: what happened, whether it is well now, what to do."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType

from receiver.messages.story import Story
from receiver.messages.text import cut, one_line
from receiver.reasons import Reason, Severity, about


@dataclass(frozen=True, slots=True)
class Headline:
    """What one state says. The icon never stands alone; an empty `to_do` is left out."""

    icon: str
    words: str
    now: str
    to_do: str = ""


MASS_ALERT, MASS_ALERT_OVER = "mass_alert", "mass_alert_over"
FAILING, WORKS_AGAIN = "failing", "works_again"
SILENT, HEARD_AGAIN, NOT_EXPECTED = "silent", "heard_again", "not_expected"
TEST = "test"

_BY_HAND = "Look at it now, and roll back by hand if it is this release."

HEADLINES: Mapping[str, Headline] = MappingProxyType(
    {
        "settling": Headline(
            "🟡",
            "ROLLBACK PENDING",
            "Nothing is changed yet: other alerts get a moment to show themselves.",
        ),
        "applying": Headline("🟡", "ROLLBACK PENDING", "The rollback is about to be sent."),
        "following": Headline(
            "🔄",
            "ROLLING BACK",
            "The earlier revision is being rolled out.",
            "Nothing yet. The outcome follows.",
        ),
        "verifying": Headline(
            "🔄",
            "ROLLED BACK, verifying",
            "The earlier revision is rolled out. Whether it helped is not known yet.",
            "Nothing yet. The outcome follows.",
        ),
        "recovered": Headline(
            "✅",
            "RECOVERED after rollback",
            "The alert resolved after the rollback.",
            "Mend the release before it is rolled out again.",
        ),
        "unconfirmed": Headline(
            "❔",
            "ROLLED BACK, recovery unconfirmed",
            "The rollback is complete, but nothing proves that it helped.",
            "See for yourself whether it is well: a silence or a dead Prometheus hides the truth.",
        ),
        "did_not_help": Headline(
            "🚨",
            "ROLLBACK DID NOT HELP",
            "The rollback is complete, and the alert still fires.",
            "Look for another cause. Nothing more is rolled back by itself.",
        ),
        "rollout_failed": Headline(
            "🚨",
            "ROLLBACK FAILED",
            "The earlier revision did not become ready.",
            "Look at its pods now. Nothing more is done by itself.",
        ),
        "refused": Headline(
            "⛔",
            "NOT ROLLED BACK",
            "Nothing was changed, and nothing will be for this alert.",
            _BY_HAND,
        ),
        "resolved_by_itself": Headline(
            "✅",
            "RESOLVED BY ITSELF, nothing rolled back",
            "The alert resolved before anything was changed.",
        ),
        "superseded": Headline(
            "⏭️",
            "ROLLBACK SUPERSEDED",
            "Somebody else changed the Deployment; it is left to them.",
            "Make sure that this somebody is at it.",
        ),
        "gone": Headline(
            "🚨",
            "DEPLOYMENT GONE during a rollback",
            "The Deployment no longer exists.",
            "Find out who deleted it, and whether that was meant.",
        ),
        "firing": Headline("🔔", "ALERT", "The alert fires. It asks for no rollback."),
        "resolved": Headline("✅", "RESOLVED", "The alert resolved."),
        FAILING: Headline(
            "🚨",
            "ROLLBACK RECEIVER IS FAILING",
            "No rollback can be decided on or written down.",
            "Watch the releases by hand until this is mended.",
        ),
        WORKS_AGAIN: Headline(
            "✅",
            "ROLLBACK RECEIVER works again",
            "What had been stuck is decided and written down, or asked for no more.",
        ),
        SILENT: Headline(
            "🚨",
            "MONITORING IS SILENT",
            "The Watchdog alert no longer arrives: other alerts would not arrive either.",
            "Look at Prometheus, its rules and Alertmanager now.",
        ),
        HEARD_AGAIN: Headline("✅", "MONITORING is heard again", "The Watchdog alert arrives."),
        NOT_EXPECTED: Headline(
            "🔕",
            "MONITORING is expected no more",
            "Its Watchdog was silent for a week, or a person took it out: nobody waits for it now.",
            "Bring it back if it should not have gone: its alerts do not arrive.",
        ),
        MASS_ALERT: Headline(
            "🚨",
            "MASS ALERT, nothing is rolled back",
            "Many targets began to alert at once. What they asked for is refused, and stays so.",
            "Look for what they share: a database, a node, a network.",
        ),
        MASS_ALERT_OVER: Headline(
            "✅",
            "MASS ALERT is over",
            "No further target began to alert. New alerts may be acted upon again.",
        ),
        TEST: Headline(
            "🧪",
            "TEST MESSAGE",
            "This is a test of the notifications. Nothing has happened.",
            "Nothing.",
        ),
        "shadow": Headline(
            "👻",
            "WOULD ROLL BACK (shadow mode)",
            "Nothing was changed: shadow mode only says what it would do.",
            _BY_HAND,
        ),
        "release_prepared": Headline(
            "📋",
            "RELEASE BEGUN",
            "Nobody has the new version yet. Its first stage waits for the checklist before it.",
            "Tick what is open in that checklist.",
        ),
        "release_stage": Headline(
            "🚦",
            "RELEASE ON ITS WAY",
            "The new version has the share of its stage, and soaks. Alerts abort it by themselves.",
            "Nothing yet. What comes next is told.",
        ),
        "release_waiting": Headline(
            "✋",
            "RELEASE WAITS for approval",
            "Its stage has soaked. The share of the new version stays as it is until then.",
            "Approve the next stage, or reject it: somebody with that role, who did not begin it.",
        ),
        "release_promoting": Headline(
            "🔄",
            "RELEASE GOES TO EVERYBODY",
            "The stable Deployment gets the very pods that soaked.",
            "Nothing yet. The outcome follows.",
        ),
        "release_promoted": Headline(
            "👀",
            "RELEASED TO EVERYBODY, watching",
            "Everybody has the new version. Alerts still roll it back by themselves.",
            "Watch the dashboards, and go through the checklist after it.",
        ),
        "release_held": Headline(
            "⏸️",
            "RELEASE ON HOLD",
            "Nothing goes on until a person says so. Alerts abort it all the same.",
            "Find out why, then resume or abort it.",
        ),
        "release_troubled": Headline(
            "⚠️",
            "RELEASE STANDS STILL",
            "Its time does not count. The share of the new version stays as it is.",
            "See whether it is the new version, and abort it then. Else it goes on by itself"
            " once it is well.",
        ),
        "release_aborting": Headline(
            "🚨",
            "RELEASE ABORTING",
            "The new version is taken back: its canary goes to 0 pods first.",
            "See that it is told as aborted within minutes. If not, take the canary back by hand.",
        ),
        "release_aborted": Headline(
            "⛔",
            "RELEASE ABORTED",
            "Its canary has no pods. A rollback of the stable Deployment is told on its own.",
            "Mend the version before it is released again.",
        ),
        "release_not_undone": Headline(
            "🚨",
            "RELEASE NOT UNDONE",
            "Its canary has no pods, but everybody may still have the new version.",
            "See which version the stable Deployment has, and roll it back by hand.",
        ),
        "release_completed": Headline(
            "🏁",
            "RELEASE COMPLETE",
            "Everybody has the new version, and it was watched as long as the plan says.",
            "Finish the checklist after it, if lines are open.",
        ),
    }
)

# What ends well closes the alert at a pager. A superseded incident does not: somebody else changed
# the Deployment, which does not mean that it is well.
RESOLVING = frozenset(
    {
        "recovered",
        "resolved",
        "resolved_by_itself",
        "release_aborted",
        "release_completed",
        MASS_ALERT_OVER,
        WORKS_AGAIN,
        HEARD_AGAIN,
        NOT_EXPECTED,
    }
)
# A release in these states does no harm as it is: whoever sleeps may sleep on, and a page for it
# would teach people to sleep through the next one.
PATIENT = frozenset(
    {
        "release_prepared",
        "release_stage",
        "release_waiting",
        "release_promoting",
        "release_promoted",
        "release_held",
        "release_troubled",
    }
)


# What went wrong under our hands, or is wrong with us: for people, now.
FAILURES = frozenset(
    {"rollout_failed", "did_not_help", "gone", "release_not_undone", FAILING, SILENT}
)
# An update of a message notifies nobody: of these a reply in its thread tells as well.
REPLIED = (
    (RESOLVING - {"resolved"})
    | FAILURES
    | {"unconfirmed", "refused", "superseded", "release_aborting"}
    # A release takes days, and its thread tells how it went; but what is next to no time from the
    # message before it says nothing new.
    | (PATIENT - {"release_prepared", "release_promoting"})
)
# A thread that is a day old is read by nobody: what needs a person, or is the outcome of a release,
# is shown in the channel, too. Aborted follows aborting, which was.
SHOWN = FAILURES | {
    "release_waiting",
    "release_held",
    "release_troubled",
    "release_aborting",
    "release_completed",
}
# Critical as they may be, nobody has to be called for them.
_CALM = RESOLVING | PATIENT | {TEST, "shadow"}
# When it stays like that, somebody may want to know whom to call next.
_ESCALATED = FAILURES | {"unconfirmed", "refused", MASS_ALERT, "release_aborting"}

# What the state says already.
_SAID = frozenset(
    {
        Reason.ROLLED_BACK,
        Reason.NOTIFY_ONLY,
        Reason.RESOLVED,
        Reason.WATCHDOG,
        Reason.RELEASING,
        Reason.AWAITING_APPROVAL,
        Reason.RELEASE_ABORTED,
    }
)

PLACE, NAME, VALUE = 70, 40, 20


def headline(story: Story) -> Headline:
    """Return what the state of `story` says; a state of a newer version says its own name."""
    words = story.state.replace("_", " ").upper()
    news = HEADLINES.get(story.state) or Headline("🔔", words, "See the detail below.")
    count = len(story.alerts) + story.more
    if story.state == "resolved" and story.bad is not None:
        return replace(news, now="None of its alerts fires any more.")
    if count > 1 and story.state == "firing":
        return replace(news, words=f"{count} ALERTS", now="They ask for no rollback.")
    if count > 1 and story.state == "resolved":
        return replace(news, words=f"{count} ALERTS RESOLVED", now="The alerts resolved.")
    if story.tally and story.state == "refused":
        return replace(news, words=f"{count} ALERTS, {news.words}")
    return news


def calls(story: Story) -> bool:
    """Return whether somebody should be called for it, beyond being told."""
    critical = story.severity is Severity.CRITICAL and story.state not in _CALM
    return critical or story.state in FAILURES or bool(story.instead_of)


def escalates(story: Story) -> bool:
    """Return whether people may have to be called one after the other."""
    critical = story.severity is Severity.CRITICAL and story.state in _ESCALATED
    return critical or bool(story.instead_of)


def step(story: Story) -> str:
    """Return the revisions as `r42 → r41`, as far as they are known, else ""."""
    if story.bad is None:
        return ""
    if story.good is None:
        return f"r{story.bad.number}"
    return f"r{story.bad.number} → r{story.good.number}"


def place(story: Story) -> str:
    """Return namespace, Deployment and cluster, as far as they are known, else "". Untrusted."""
    name = "/".join(part for part in (story.namespace, story.deployment) if part)
    return f"{name} ({story.cluster})" if name and story.cluster else name or story.cluster


def cause(story: Story) -> str:
    """Return the first alert with its value, and how many others there are, else "". Untrusted."""
    if not story.alerts:
        return ""
    first, others = story.alerts[0], len(story.alerts) + story.more - 1
    said = (one_line(first.alertname, NAME), one_line(first.value, VALUE))
    more = f"+{others}" if others else ""
    return " ".join(part for part in (*said, more) if part)


def summary(story: Story, limit: int) -> str:
    """Return one line for a phone: outcome, where, revisions, the alert. Untrusted."""
    words, why = headline(story).words, cause(story)
    where = one_line(place(story), PLACE)
    said = " ".join(part for part in (where, step(story), f"({why})" if why else "") if part)
    return cut(f"{words}: {said}" if said else words, limit)


def sentence(story: Story) -> str:
    """Return the sentence of the reason, "" where it says nothing more than the state does.

    `rolled_back` is the reason of every incident that was acted upon, whatever came of it.
    """
    return "" if story.reason in _SAID or story.state == TEST else about(story.reason).text
