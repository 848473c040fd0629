"""The staged plan: a version goes to a canary, to a share of the traffic, and then to everybody.

`advance` says what comes next, from what was remembered and what is seen now; `begin` and the
answers to people are next to it. Everything here is a pure function over frozen values: writing it
down and acting on it is the controller's. Words as in Argo Rollouts and Flagger.
"""

from receiver.release.logbook import log, news
from receiver.release.people import abort, approve, hold, promote, resume, tick
from receiver.release.shares import (
    FULL,
    Obj,
    differences,
    note_of,
    pods,
    promoted,
    share_of,
    templates,
    wanted,
)
from receiver.release.start import Start, begin, why_not
from receiver.release.steps import Act, Move, Sight, aborted, advance, drift, learned

__all__ = [
    "FULL",
    "Act",
    "Move",
    "Obj",
    "Sight",
    "Start",
    "abort",
    "aborted",
    "advance",
    "approve",
    "begin",
    "differences",
    "drift",
    "hold",
    "learned",
    "log",
    "news",
    "note_of",
    "pods",
    "promote",
    "promoted",
    "resume",
    "share_of",
    "templates",
    "tick",
    "wanted",
    "why_not",
]
