"""What is remembered of one target: the JSON of its ConfigMap, versioned and bounded.

Memory is the union of this and of our record on the Deployment: `kubectl rollout undo` rewinds
annotations, it does not rewind a ConfigMap. What cannot be read is an error, never "nothing".
"""

from receiver.journal.bounds import (
    BYTES_KEPT,
    DEAD_KEPT,
    EPISODES_KEPT,
    HANDLED_KEPT,
    INCIDENTS_KEPT,
    MEMBERS_KEPT,
    NOTICES_KEPT,
    REPLIES_KEPT,
    TOLD_KEPT,
    TROUBLED_KEPT,
    VERIFIED_KEPT,
    bounded,
)
from receiver.journal.facts import (
    ENDED,
    OPEN,
    Applied,
    Dead,
    Episode,
    Incident,
    Intent,
    Mark,
    Notice,
    Owed,
    Pause,
    Phase,
    Rehearsal,
    Reply,
    Told,
    subject_of,
)
from receiver.journal.stored import OWN, dump, load, name_of
from receiver.journal.target import REHEARSALS_KEPT, SUSPECT_FOR, VERSION, Journal

__all__ = [
    "BYTES_KEPT",
    "DEAD_KEPT",
    "ENDED",
    "EPISODES_KEPT",
    "HANDLED_KEPT",
    "INCIDENTS_KEPT",
    "MEMBERS_KEPT",
    "NOTICES_KEPT",
    "OPEN",
    "OWN",
    "REHEARSALS_KEPT",
    "REPLIES_KEPT",
    "SUSPECT_FOR",
    "TOLD_KEPT",
    "TROUBLED_KEPT",
    "VERIFIED_KEPT",
    "VERSION",
    "Applied",
    "Dead",
    "Episode",
    "Incident",
    "Intent",
    "Journal",
    "Mark",
    "Notice",
    "Owed",
    "Pause",
    "Phase",
    "Rehearsal",
    "Reply",
    "Told",
    "bounded",
    "dump",
    "load",
    "name_of",
    "subject_of",
]
