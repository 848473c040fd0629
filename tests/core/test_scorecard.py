"""The mode of one alert about one Deployment: the careful word counts."""

import pytest

from receiver.decisions import mode_of
from receiver.rollout import MODE
from tests.builders import policy, rollout


@pytest.mark.parametrize(
    ("general", "of_alert", "of_deployment", "mode"),
    [
        ("shadow", None, None, "shadow"),
        ("act", None, None, "act"),
        ("shadow", "act", None, "act"),
        ("shadow", None, "act", "act"),
        ("act", "shadow", None, "shadow"),
        ("act", None, "shadow", "shadow"),
        ("act", "act", "shadow", "shadow"),
        ("act", "shadow", "act", "shadow"),
        ("shadow", "act", "act", "act"),
        ("act", None, "Act!", "shadow"),  # a word that is none
    ],
)
def test_what_is_said_of_the_alert_or_the_deployment_counts_and_the_careful_word_wins(
    general: str, of_alert: str | None, of_deployment: str | None, mode: str
) -> None:
    annotations = {} if of_deployment is None else {MODE: of_deployment}
    modes = () if of_alert is None else (("Errors", of_alert),)
    judged = policy(mode=general, alert_modes=modes)
    assert mode_of(rollout(annotations=annotations), "Errors", judged) == mode
