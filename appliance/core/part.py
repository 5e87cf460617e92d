"""What every table of a manifest has in common."""

from pydantic import BaseModel, ConfigDict


class Part(BaseModel):
    """A table of the manifest: unknown keys are errors, values are frozen once read."""

    model_config = ConfigDict(extra="forbid", frozen=True, validate_default=True)
