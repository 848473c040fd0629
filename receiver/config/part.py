"""A part of the configuration, and a setting in it."""

from typing import Any

from pydantic import BaseModel, ConfigDict, Field


class Part(BaseModel):
    """A part of the configuration: frozen, without a key that is not declared here."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)


def setting(default: Any, meaning: str) -> Any:
    """Return a setting with a default."""
    return Field(default=default, description=meaning)
