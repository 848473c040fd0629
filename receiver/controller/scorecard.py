"""What shadow mode would have done, and whether that would have been right. Pure."""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import timedelta
from statistics import median

from receiver.controller.answers import Json
from receiver.journal import Journal, Rehearsal

SOON = timedelta(minutes=15)


@dataclass(frozen=True, slots=True, kw_only=True)
class Played:
    """A target's journal, and the codes that were rolled away from since, by whomever."""

    journal: Journal
    left: frozenset[str]


def scorecard(played: Iterable[Played]) -> list[Json]:
    """Return one row for each alert name, the one that would have acted most often first.

    `resolved_soon`: within `SOON`, with no rollback: acting would have been for nothing.
    `undone_by_people`: somebody rolled that revision back anyway: acting would have been right, and
    `median_minutes_saved` is how much longer those alerts fired.
    """
    rows: defaultdict[str, list[tuple[Rehearsal, str, bool]]] = defaultdict(list)
    for target in played:
        name = f"{target.journal.namespace}/{target.journal.deployment}"
        for rehearsal in target.journal.rehearsals:
            rows[rehearsal.alertname].append((rehearsal, name, rehearsal.code in target.left))
    found = [_row(alertname, of_it) for alertname, of_it in rows.items()]
    return sorted(found, key=lambda row: (-row["would_have_rolled_back"], row["alertname"]))


def _row(alertname: str, played: list[tuple[Rehearsal, str, bool]]) -> Json:
    right = [rehearsal for rehearsal, _, undone in played if undone]
    alone = [rehearsal for rehearsal, _, undone in played if not undone]
    saved = [_minutes(r.ended_at - r.at) for r in right if r.ended_at is not None]
    return {
        "alertname": alertname,
        "would_have_rolled_back": len(played),
        "undone_by_people": len(right),
        "resolved_soon": sum(r.ended_at is not None and r.ended_at - r.at < SOON for r in alone),
        "resolved_later": sum(r.ended_at is not None and r.ended_at - r.at >= SOON for r in alone),
        "still_firing": sum(r.ended_at is None for r in alone),
        "median_minutes_saved": round(median(saved), 1) if saved else None,
        "first_at": min(r.at for r, _, _ in played).isoformat(),
        "deployments": sorted({name for _, name, _ in played}),
    }


def _minutes(span: timedelta) -> float:
    return span / timedelta(minutes=1)
