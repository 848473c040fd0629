"""The decision table: one rule after another, the first that applies wins. Pure.

`decide` answers for one episode of one alert, `decide_again` for an incident that has settled,
`decide_manual` for a person. Each reads frozen values and returns a `Decision` with its Reason;
writing it down and acting on it is the controller's.
"""

from receiver.decisions.again import Verdict, decide_again
from receiver.decisions.bindings import binding
from receiver.decisions.cases import FINAL, Case, Decision, Look, Mode, Policy
from receiver.decisions.destinations import excluded, goal, quarantined, why_none
from receiver.decisions.manual import Ask, decide_manual, forceable
from receiver.decisions.table import TABLE, decide, mode_of, spent

__all__ = [
    "FINAL",
    "TABLE",
    "Ask",
    "Case",
    "Decision",
    "Look",
    "Mode",
    "Policy",
    "Verdict",
    "binding",
    "decide",
    "decide_again",
    "decide_manual",
    "excluded",
    "forceable",
    "goal",
    "mode_of",
    "quarantined",
    "spent",
    "why_none",
]
