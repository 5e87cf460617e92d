"""Whether a rollout is to be widened, left or halted, from what its devices report. Pure."""

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated, Final, Literal

from pydantic import Field

from appliance.core.errors import ConfigError
from appliance.core.part import Part
from appliance.updates.formats import MILLION, Moment, Sha256, Word
from appliance.workbench.publishing.rollouts import Running, next_share, percent

MOST_TRYING: Final = 0.1
"""Of the devices that began: while more than these are not through, nothing is said about the rollout."""

MOST_AGE: Final = 3600.0
"""Seconds; of what older reports do not tell nobody knows, so that nothing is widened by them."""

MOST_AHEAD: Final = 300.0
"""Seconds; reports from later than that would never grow old."""

Count = Annotated[int, Field(ge=0)]


class Counts(Part):
    """What devices report of one release of a rollout.

    Attributes:
        committed: They run it.
        rolled_back: They have given it up, except where the fleet told them to.
        trying: They are not through.
        silent: They began, and were not heard of for longer than a trial takes. They count as failed.
        codes: Why, of those that rolled back: how many by code.
    """

    committed: Count = 0
    rolled_back: Count = 0
    trying: Count = 0
    silent: Count = 0
    codes: dict[Word, Count] = Field(default_factory=dict, max_length=64)

    @property
    def failed(self) -> int:
        """How many did not come through."""
        return self.rolled_back + self.silent

    @property
    def done(self) -> int:
        """How many have come to an end."""
        return self.committed + self.failed

    @property
    def failed_ppm(self) -> int:
        """How many failed of a million that came to an end."""
        return self.failed * MILLION // self.done if self.done else 0


class Reports(Part):
    """The devices' reports of one rollout, added up by whoever collects them.

    Attributes:
        schema_version: Of this format; `schema` in the file.
        rollout: Its id.
        taken: When they were added up.
        releases: By the SHA-256 of the release's manifest.
    """

    schema_version: Literal[1] = Field(alias="schema")
    rollout: Word
    taken: Moment
    releases: Annotated[dict[Sha256, Counts], Field(max_length=16)]


@dataclass(frozen=True, slots=True)
class Decision:
    """What is to be done with a rollout.

    Attributes:
        action: ``hold``: nothing.
        why: For people.
        share_ppm: The share afterwards, millionths.
    """

    action: Literal["hold", "promote", "halt"]
    why: str
    share_ppm: int


def judge(running: Running, reports: Reports, now: datetime) -> Decision:
    """Decide. The same reports of the same rollout at the same time give the same answer.

    Args:
        running: The rollout, with its plan.
        reports: Of its devices.
        now: UTC.

    Raises:
        ConfigError: The reports are of another rollout.
    """
    rollout, plan = running.rollout, running.plan
    if reports.rollout != rollout.id:
        raise ConfigError(f"these are reports of rollout {reports.rollout}, and the one under way is {rollout.id}")
    share = rollout.share_ppm
    if rollout.state != "active":
        return Decision("hold", f"it is {rollout.state}", share)
    for sha256, counts in reports.releases.items():
        if counts.failed >= plan.least_failed and counts.failed_ppm > plan.most_failed_ppm:
            codes = ", ".join(f"{code} {count}" for code, count in sorted(counts.codes.items())) or "no code"
            why = f"{counts.failed} of {counts.done} devices failed with release {sha256[:12]} ({codes})"
            return Decision("halt", f"{why}; accepted: {percent(plan.most_failed_ppm)}", share)
    if why := _why_not_yet(running, reports, now):
        return Decision("hold", why, share)
    following = next_share(running)
    if following is None:
        return Decision("hold", "it is for all devices", share)
    done = sum(counts.done for counts in reports.releases.values())
    return Decision("promote", f"{done} devices are through at {percent(share)}, and it is healthy", following)


def _why_not_yet(running: Running, reports: Reports, now: datetime) -> str:
    plan = running.plan
    since = datetime.fromisoformat(plan.since).astimezone(UTC)
    if why := _why_not_of_now(reports, since, now):
        return why
    if (left := plan.soak_seconds - (now - since).total_seconds()) > 0:
        return f"it stays at {percent(running.rollout.share_ppm)} for another {left / 3600:.1f} h"
    done = sum(counts.done for counts in reports.releases.values())
    if done < plan.least_reports:
        return f"only {done} of {plan.least_reports} devices have reported an end"
    trying = sum(counts.trying for counts in reports.releases.values())
    if trying > MOST_TRYING * (done + trying):
        return f"{trying} devices are not through"
    return ""


def _why_not_of_now(reports: Reports, since: datetime, now: datetime) -> str:
    taken = datetime.fromisoformat(reports.taken).astimezone(UTC)
    if taken < since:
        return f"the reports are of {reports.taken}, before the last change at {since:%Y-%m-%dT%H:%M:%SZ}"
    age = (now - taken).total_seconds()
    if age > MOST_AGE:
        return f"the reports are {age / 3600:.1f} h old; is whatever collects them running?"
    if age < -MOST_AHEAD:
        return f"the reports are of {reports.taken}, which is still to come; are both clocks right?"
    return ""
