"""What every test gets."""

import asyncio

from hypothesis import HealthCheck, settings

# looptime asks for the loop of a synchronous test; until 3.14, asking makes one, which nobody
# closes. Once somebody has said that there is none, asking is an error, which looptime expects.
asyncio.set_event_loop(None)

# Examples are derived from the test itself, so that a run repeats; a busy machine is no failure.
settings.register_profile(
    "default",
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile("default")
