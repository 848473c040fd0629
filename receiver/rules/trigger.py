"""An alerting rule among all others: what can be said of it by what it reads. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from functools import cached_property

from receiver import alerts as al
from receiver import promql as pq
from receiver.rules.files import Rule


@dataclass(frozen=True)
class Known:
    """All rules that are looked at together."""

    rules: Sequence[Rule]

    @cached_property
    def records(self) -> Mapping[str, pq.Node]:
        """Return the recording rules by name."""
        return {r.name: r.tree for r in self.rules if not r.alerts and r.tree is not None}

    @cached_property
    def guarded(self) -> frozenset[str]:
        """Return the names of the series whose absence is told."""
        found: set[str] = set()
        for rule in self.rules:
            for node in pq.walk(rule.tree) if rule.alerts and rule.tree is not None else ():
                if absence(node):
                    found |= series(node, self.records)
        return frozenset(found)


@dataclass(frozen=True)
class Trigger:
    """One alerting rule among all the others."""

    rule: Rule
    known: Known

    @property
    def tree(self) -> pq.Node:
        """Return its expression; one that cannot be read is a finding of its own."""
        return self.rule.tree or pq.Text(begin=0, end=0, text="")

    @cached_property
    def labels(self) -> pq.Labels | None:
        """Return the names of the labels of its alerts, None where they are those of a scrape."""
        found = pq.labels_of(self.tree, self.known.records)
        return found | set(self.rule.labels) if found is not None else None

    @property
    def recorded_elsewhere(self) -> bool:
        """Return whether it reads a recording rule that is not known here: names with a colon."""
        return any(":" in name for name in pq.names(self.tree) - set(self.known.records))

    @cached_property
    def nodes(self) -> tuple[pq.Node, ...]:
        """Return its expression part by part, also those of the records that it reads."""
        return tuple(pq.whole(self.tree, self.known.records))


def absence(node: pq.Node) -> bool:
    """Return whether it has an element where there are no series."""
    return isinstance(node, pq.Call) and node.name in ("absent", "absent_over_time")


def series(node: pq.Node, records: pq.Records) -> frozenset[str]:
    """Return the names of what it reads, also below the records that it reads."""
    found = pq.whole(node, records)
    return frozenset(n.name for n in found if isinstance(n, pq.Selector) and n.name)


def span(text: str) -> timedelta:
    """Read a duration; what is none, or not there, is 0."""
    try:
        return al.duration(text)
    except ValueError:
        return timedelta(0)
