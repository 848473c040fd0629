"""What a journal can do without when it is too large: texts, the oldest detail first. Pure.

Nothing is ever decided by what goes here. Each of these steps changes nothing when done again.
"""

from collections.abc import Callable
from dataclasses import replace

from receiver.journal.facts import OTHERS, Episode, Incident, Mark, Notice
from receiver.journal.releases import Release
from receiver.journal.target import Journal

# The lines that are left of a story, of its beginning and of its end: at first, and at last.
SOME, FEW, LEAST = (20, 30), (5, 5), (1, 1)


def _without_old_release(journal: Journal) -> Journal:
    """Return it without the details of a release that has ended, which is only kept to be shown."""
    return _with_ended(journal, lambda release: _without_notes(_shorter(release, FEW)))


def _without_old_texts(journal: Journal) -> Journal:
    return replace(journal, episodes=tuple(e if e.firing else _bare(e) for e in journal.episodes))


def _with_shorter_story(journal: Journal) -> Journal:
    return _with_open(journal, lambda release: _shorter(release, SOME))


def _without_texts(journal: Journal) -> Journal:
    return replace(journal, episodes=tuple(_bare(e) for e in journal.episodes))


def _without_details(journal: Journal) -> Journal:
    return replace(journal, notices=tuple(replace(n, detail="") for n in journal.notices))


def _without_images(journal: Journal) -> Journal:
    """Return it without the images of its incidents: which revision it is, the code says."""
    return replace(journal, incidents=tuple(map(_without_images_of, journal.incidents)))


def _without_more_of_the_story(journal: Journal) -> Journal:
    return _with_open(journal, lambda release: _without_notes(_shorter(release, FEW)))


def _without_old_plan(journal: Journal) -> Journal:
    """Return it with no more of an ended release than its canary's alerts are judged by."""
    return _with_ended(journal, lambda release: _outline(_shorter(release, LEAST)))


def _without_old_whys(journal: Journal) -> Journal:
    ended = (i if i.open else replace(i, why="", detail="") for i in journal.incidents)
    return replace(journal, incidents=tuple(ended))


def _without_names(journal: Journal) -> Journal:
    return replace(journal, notices=tuple(map(_counted, journal.notices)))


# In this order they go. A release that is in progress keeps its texts longer than an ended one, and
# what alerts said of a rollback that is over goes before them.
SHORTER: tuple[Callable[[Journal], Journal], ...] = (
    _without_old_release,
    _without_old_texts,
    _with_shorter_story,
    _without_texts,
    _without_details,
    _without_images,
    _without_more_of_the_story,
    _without_old_plan,
    _without_old_whys,
    _without_names,
)


def _bare(episode: Episode) -> Episode:
    return replace(
        episode,
        summary="",
        description="",
        runbook_url="",
        dashboard_url="",
        generator_url="",
        external_url="",
        value="",
        labels=(),
    )


def _without_images_of(incident: Incident) -> Incident:
    intent = incident.intent
    return replace(
        incident,
        bad=_plain(incident.bad),
        to=None if incident.to is None else _plain(incident.to),
        intent=None if intent is None else replace(intent, to=_plain(intent.to)),
    )


def _plain(mark: Mark) -> Mark:
    return replace(mark, images=())


def _counted(notice: Notice) -> Notice:
    """Return a bundle that knows how many there were, and not what they are called."""
    if len(notice.tally) <= 1:
        return notice
    return replace(notice, tally=((OTHERS, sum(number for _, number in notice.tally)),))


# --- releases


def _with_open(journal: Journal, change: Callable[[Release], Release]) -> Journal:
    release = journal.released
    return journal if release is None else replace(journal, release=change(release))


def _with_ended(journal: Journal, change: Callable[[Release], Release]) -> Journal:
    release = journal.release
    ended = release is not None and not release.open
    return replace(journal, release=change(release)) if release and ended else journal


def _shorter(release: Release, most: tuple[int, int]) -> Release:
    """Return it with its first lines, which say how it began, and the newest.

    The newest is what is told next, and what is said once looks there for whether it was.
    """
    first, newest = most
    lines = release.happened
    if len(lines) <= first + newest:
        return release
    return replace(release, happened=(*lines[:first], *lines[-newest:]))


def _without_notes(release: Release) -> Release:
    """Return it without what people wrote beside what they did, and what was measured.

    Who approved, who has ticked what and how each health check is stays; and so does `trouble`:
    an empty one would mean that all is well.
    """
    checklist = tuple(replace(item, note="") for item in release.plan.checklist)
    return replace(
        release,
        plan=replace(release.plan, checklist=checklist),
        why="",
        approvals=tuple(replace(a, why="") for a in release.approvals),
        measures=tuple(replace(m, text="") for m in release.measures),
    )


def _outline(release: Release) -> Release:
    intent = release.intent
    stages = (replace(s, approvals=(), health_checks=()) for s in release.plan.stages)
    return replace(
        release,
        plan=replace(release.plan, stages=tuple(stages), health_checks=(), checklist=()),
        images=(),
        approvals=(),
        measures=(),
        intent=None if intent is None else replace(intent, to=_plain(intent.to)),
    )
