"""Rules that ask for rollbacks: made of the conditions of a plan, and judged. Pure.

`conditions` reads what a plan says, `build` makes a PrometheusRule of it; `files` reads rules and
routes of any kind, `firing`, `naming` and `routing` look at them, `lint` says what was found.
"""

from receiver.rules.build import build
from receiver.rules.conditions import parse
from receiver.rules.lint import CHECKS, lint

__all__ = ["CHECKS", "build", "lint", "parse"]
