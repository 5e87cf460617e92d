"""What every table of a manifest has in common."""

from pydantic import BaseModel, ConfigDict


class Part(BaseModel):
    """A table of the manifest: unknown keys are errors, values are frozen once read."""

    # a validator is made for what is read as a whole only, not for each table as well: 0.5 MB less in the daemon
    model_config = ConfigDict(extra="forbid", frozen=True, validate_default=True, defer_build=True)
