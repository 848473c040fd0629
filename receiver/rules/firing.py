"""When an alert fires, and when it does not: checks of expressions and their order. Pure.

The traps behind them: Prometheus' rules/alerting.go and promql/engine.go.
"""

import operator
from collections.abc import Iterator
from datetime import timedelta

from receiver import alerts as al
from receiver import promql as pq
from receiver.promql import comparisons
from receiver.rules.findings import Said
from receiver.rules.trigger import Trigger, absence, series, span

SHORTEST = timedelta(minutes=1)
_TRACK = al.TargetLabels().track


def unreadable(trigger: Trigger) -> Iterator[Said]:
    """Find an expression that cannot be read."""
    if trigger.rule.tree is None:
        yield ("expr",), "the expression cannot be read: promtool check rules says why"


def no_for(trigger: Trigger) -> Iterator[Said]:
    """Find no `for`, or hardly any: one bad moment rolls back."""
    held = span(trigger.rule.held)
    if not held:
        yield ("for",), "has no `for`: a single bad evaluation rolls back"
    elif held < SHORTEST:
        yield ("for",), f"`for: {trigger.rule.held}` is hardly more than one scrape: at least 1m"


def no_keep_firing_for(trigger: Trigger) -> Iterator[Said]:
    """Find no `keep_firing_for`: it flaps."""
    if not span(trigger.rule.keeps):
        yield (
            ("keep_firing_for",),
            (
                "has no `keep_firing_for`: it resolves with the first gap in the data, "
                "and each time it fires again is another episode"
            ),
        )


def no_comparison(trigger: Trigger) -> Iterator[Said]:
    """Find an expression that compares nothing, or only with `bool`."""
    if trigger.rule.tree is None:
        return
    nodes = tuple(pq.walk(trigger.tree))
    compares = any(isinstance(n, pq.Binary) and n.filters for n in nodes)
    if not compares and not any(map(absence, nodes)):
        yield ("expr",), "filters nothing: it fires as long as the series is there"


def fires_on_absence(trigger: Trigger) -> Iterator[Said]:
    """Find a rollback because data are missing."""
    if any(map(absence, pq.walk(trigger.tree))):
        yield (
            ("expr",),
            (
                "asks for a rollback because data are missing: a broken scrape rolls back; "
                "make it an alert of its own, with `rollback: never`"
            ),
        )


def absence_untold(trigger: Trigger) -> Iterator[Said]:
    """Find no absent() beside it: nobody hears that it cannot fire."""
    mine = series(trigger.tree, trigger.known.records)
    if mine and not mine & trigger.known.guarded and not any(map(absence, trigger.nodes)):
        names = ", ".join(sorted(mine)[:3])
        yield (
            ("expr",),
            (
                f"no alert says that its data are gone (absent() of {names}): "
                "without them it never fires, and what fired resolves"
            ),
        )


def nan_unguarded(trigger: Trigger) -> Iterator[Said]:
    """Find a division by what may be 0."""
    for node in _quotients(trigger):
        if _maybe_zero(node.right, trigger.known.records):
            yield (
                ("expr",),
                (
                    "divides by what may be 0: 0/0 is NaN, which fires nothing and resolves what "
                    "fired, and x/0 always fires; divide by `(... > 0)`"
                ),
            )
            return


_PASSES = {
    "==": operator.eq,
    "!=": operator.ne,
    "<=": operator.le,
    ">=": operator.ge,
    "<": operator.lt,
    ">": operator.gt,
}


def _maybe_zero(divisor: pq.Node, records: pq.Records) -> bool:
    """Return whether nothing keeps 0 out of a divisor: no filter, here or in its record."""
    if isinstance(divisor, pq.Selector) and divisor.name in records:
        rest = {name: tree for name, tree in records.items() if name != divisor.name}
        return _maybe_zero(records[divisor.name], rest)
    if isinstance(divisor, pq.Call) and divisor.name == "clamp_min":
        least = divisor.arguments[-1] if divisor.arguments else None
        return not (isinstance(least, pq.Number) and least.value > 0)
    if not isinstance(divisor, pq.Binary) or divisor.operator == "or":
        return True
    if divisor.filters and isinstance(divisor.right, pq.Number):
        return bool(_PASSES[divisor.operator](0, divisor.right.value))
    return not (divisor.filters or divisor.operator == "and")


def numerator_missing(trigger: Trigger) -> Iterator[Said]:
    """Find a ratio without data as long as there was no error."""
    records = trigger.known.records
    for node in _quotients(trigger):
        over, under = _chosen(node.left, records), _chosen(node.right, records)
        extra = [label for name, label in over if (name, label) not in under]
        if extra and not _has_or(node.left, records):
            yield (
                ("expr",),
                (
                    f"its numerator has no series before the first with such a {extra[0]}: until "
                    "then there are no data; write `(errors or 0 * requests)`"
                ),
            )
            return


def _quotients(trigger: Trigger) -> Iterator[pq.Binary]:
    for node in trigger.nodes:
        quotient = isinstance(node, pq.Binary) and node.operator == "/"
        if quotient and isinstance(node, pq.Binary) and not pq.is_scalar(node.right):
            yield node


def _chosen(node: pq.Node, records: pq.Records) -> frozenset[tuple[str, str]]:
    selectors = [n for n in pq.whole(node, records) if isinstance(n, pq.Selector)]
    return frozenset((s.name, m.label) for s in selectors for m in s.matchers)


def _has_or(node: pq.Node, records: pq.Records) -> bool:
    return any(isinstance(n, pq.Binary) and n.operator == "or" for n in pq.whole(node, records))


def no_traffic_floor(trigger: Trigger) -> Iterator[Said]:
    """Find a share or a quantile, of however few requests."""
    records = trigger.known.records
    if not any(_share(node) for node in trigger.nodes):
        return
    floors = [
        part
        for part in pq.conjuncts(trigger.tree)
        if isinstance(part, pq.Binary)
        and part.operator in pq.COMPARES
        and not any(_share(node) for node in pq.whole(part, records))
    ]
    if not floors:
        yield (
            ("expr",),
            "has no floor of traffic: one bad request of two is 50%; add `and requests > N`",
        )


def _share(node: pq.Node) -> bool:
    """Return whether it may be a share or a quantile of next to nothing."""
    if isinstance(node, pq.Binary):
        return node.operator == "/" and not pq.is_scalar(node.right) and not _much(node.right)
    return isinstance(node, pq.Call) and node.name in ("histogram_quantile", "quantile")


def _much(divisor: pq.Node) -> bool:
    """Return whether a divisor is filtered for more than nothing: that is a floor, too."""
    if not isinstance(divisor, pq.Binary) or divisor.operator not in (">", ">="):
        return False
    return isinstance(divisor.right, pq.Number) and divisor.right.value > 0


def stable_not_compared(trigger: Trigger) -> Iterator[Said]:
    """Find a canary that is not compared with the stable track."""
    tracks = {
        m.value
        for n in trigger.nodes
        if isinstance(n, pq.Selector)
        for m in n.matchers
        if m.label in _TRACK and m.operator == "="
    }
    if tracks == {"canary"}:
        yield (
            ("expr",),
            (
                "looks at the canary alone: when all of the service is bad, the canary is not "
                "to blame; compare it with the stable track"
            ),
        )


def window_short(trigger: Trigger) -> Iterator[Said]:
    """Find a range of less than a minute."""
    for node in trigger.nodes:
        if isinstance(node, pq.Window) and timedelta(0) < span(node.span) < SHORTEST:
            text = f"[{node.span}] holds too few scrapes: take four times the scrape interval"
            yield ("expr",), text
            return


def cannot_be_verified(trigger: Trigger) -> Iterator[Said]:
    """Find an alert of which nobody can tell whether a rollback for it helped."""
    if trigger.rule.tree is not None and comparisons(trigger.rule.expr) is None:
        yield (
            ("expr",),
            (
                "false and no data look alike (no comparison at the top, `bool`, `vector` or "
                "`absent`): a rollback for it can only end as unconfirmed"
            ),
        )


# --- where it stands


def before_its_record(trigger: Trigger) -> Iterator[Said]:
    """Find an alert that stands before the recording rule it reads."""
    read = pq.names(trigger.tree)
    group = [r for r in trigger.known.rules if r.group == trigger.rule.group]
    late = [r for r in group if not r.alerts and r.name in read and r.index > trigger.rule.index]
    for rule in late[:1]:
        text = f"reads {rule.name}, which is recorded further down in its group"
        yield ("expr",), f"{text}: it sees the value of the evaluation before"


def in_another_group(trigger: Trigger) -> Iterator[Said]:
    """Find an alert that reads a recording rule of another group."""
    read = pq.names(trigger.tree)
    same = {r.name for r in trigger.known.rules if r.group == trigger.rule.group}
    for rule in trigger.known.rules:
        if not rule.alerts and rule.name in read - same:
            text = f"reads {rule.name} of the group {rule.group_name}: groups run side by side"
            yield ("expr",), f"{text}, and its value is late by up to an interval; put them in one"
            return


def limited(trigger: Trigger) -> Iterator[Said]:
    """Find a group with `limit`: one alert too many drops all."""
    if trigger.rule.limit > 0:
        text = f"its group has `limit: {trigger.rule.limit}`: with one alert more than that all"
        yield (), f"{text} are dropped, and then resolve"
