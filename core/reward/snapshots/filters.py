"""What a preference data set is asked to hold, checked field by field, and in words."""

from datetime import UTC, datetime
from typing import Any, Literal

from pydantic import BaseModel, Field, ValidationError, field_validator, model_validator

from core.annotation.aggregation import METHODS
from core.errors import Invalid

SOURCES = ("page", "api", "import", "adjudication", "machine", "simulated")
MAX_NAMES = 1_000


class Filters(BaseModel):
    """Which votes: an empty list, and None, mean all of them.

    annotators, without: names of annotators whose votes alone are taken, or are not taken.
    groups: names of groups of annotators; their members' votes alone. least_skill: competence
    by MACE (`core.annotation.skill`), 0 to 1; least_gold: share of gold checks answered as
    expected; whoever was never measured has none and is left out. since (included), until
    (not included): when the vote was cast, UTC. sources: how it came in. simulated, machine:
    "include" takes votes that no person cast; simulated ones only where no other vote on the
    pair says anything. criterion: the label is what votes say of this criterion, and not of
    the whole. prompts: pairs with a response of one of these. least_votes: on a pair, after
    all else.

    How they become labels. method: majority (every vote counts the same), skill, bradley_terry
    (`core.annotation.aggregation`). soft: the label is a probability; else the side it speaks
    for. ties: half (a tie speaks half for each), drop (tie votes, and pairs that stay even,
    are left out), both (as half; in the train split an even pair is there twice, once each way
    round, each row as half a pair (`share`), for losses that take no soft label). both_bad: ignore
    (the votes say nothing about which is better) or drop (where more than half of a pair's
    votes say so, the pair is left out). margins: strength (Llama 2's, arXiv 2307.09288, table
    27) or none. split: groups (near-duplicates of an example stay with it) or stored (as the
    examples have it, whatever the leak checks say).
    """

    model_config = {"extra": "forbid"}

    annotators: list[str] = Field(default_factory=list, max_length=MAX_NAMES)
    without: list[str] = Field(default_factory=list, max_length=MAX_NAMES)
    groups: list[str] = Field(default_factory=list, max_length=MAX_NAMES)
    least_skill: float | None = Field(default=None, ge=0, le=1)
    least_gold: float | None = Field(default=None, ge=0, le=1)
    since: datetime | None = None
    until: datetime | None = None
    sources: list[Literal["page", "api", "import", "adjudication", "machine", "simulated"]] = Field(
        default_factory=list
    )
    simulated: Literal["exclude", "include"] = "exclude"
    machine: Literal["exclude", "include"] = "exclude"
    criterion: str | None = Field(default=None, max_length=200)
    prompts: list[str] = Field(default_factory=list, max_length=MAX_NAMES)
    least_votes: int = Field(default=1, ge=1, le=100)
    method: Literal["majority", "skill", "bradley_terry"] = "majority"
    soft: bool = True
    ties: Literal["half", "drop", "both"] = "half"
    both_bad: Literal["ignore", "drop"] = "ignore"
    margins: Literal["strength", "none"] = "strength"
    split: Literal["groups", "stored"] = "groups"

    @field_validator("since", "until")
    @classmethod
    def _utc(cls, value: datetime | None) -> datetime | None:
        """A time without a zone is UTC."""
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)

    @field_validator("annotators", "without", "groups", "prompts", "sources")
    @classmethod
    def _sorted(cls, value: list[str]) -> list[str]:
        """The same set is the same filter."""
        return sorted(set(value))

    @model_validator(mode="after")
    def _fitting(self) -> "Filters":
        if self.since and self.until and self.since >= self.until:
            raise ValueError("until: it is not after since")
        if both := sorted(set(self.annotators) & set(self.without)):
            raise ValueError(f"without: “{both[0]}” is among the annotators that are taken")
        return self

    def as_json(self) -> dict[str, Any]:
        """Only what differs from the defaults: what a later version adds as a default changes
        no data set that is there."""
        return self.model_dump(mode="json", exclude_defaults=True)


def filters_of(value: Any) -> Filters:
    """Raises Invalid naming the field."""
    if isinstance(value, Filters):
        return value
    if not isinstance(value, dict):
        raise Invalid("filters: an object of settings, such as {}.")
    try:
        return Filters.model_validate(value)
    except ValidationError as problem:
        first = problem.errors()[0]
        field = str(first["loc"][0]) if first["loc"] else ""
        said = first["msg"].removeprefix("Value error, ")
        if first["type"] == "extra_forbidden":
            raise Invalid(
                f"filters: there is no “{field}”.", f"There are: {', '.join(Filters.model_fields)}."
            ) from problem
        raise Invalid(f"filters: {field + ': ' if field else ''}{said[0].lower() + said[1:]}.") from problem


# --- in words -------------------------------------------------------------------------------

METHOD_WORDS = {
    "majority": "every vote counts the same",
    "skill": "votes weighted by how well their annotators judge",
    "bradley_terry": "votes drawn towards what the ratings of the two prompts expect",
}
TIE_WORDS = {
    "half": "a tie speaks half for each response",
    "drop": "ties, and pairs that stay even, are left out",
    "both": "a tie speaks half for each; to train on, an even pair is there once each way round",
}
BAD_WORDS = {
    "ignore": "“both bad” speaks for neither response; a pair is left out when every vote says so",
    "drop": "a pair is left out when more than half of its votes say “both bad”",
}
assert set(METHOD_WORDS) == set(METHODS)


def words(filters: Filters) -> list[tuple[str, str]]:
    """(what, how), for people; only what narrows the votes, then how labels are made."""
    f = filters
    found: list[tuple[str, str]] = []
    if f.annotators:
        found.append(("Annotators", "only " + ", ".join(f.annotators)))
    if f.without:
        found.append(("Without", ", ".join(f.without)))
    if f.groups:
        found.append(("Groups", ", ".join(f.groups)))
    if f.least_skill is not None:
        found.append(("Skill", f"at least {f.least_skill:.2f}"))
    if f.least_gold is not None:
        found.append(("Gold checks", f"at least {100 * f.least_gold:.0f} % as expected"))
    if f.since or f.until:
        since = f"from {f.since:%-d %b %Y %H:%M}" if f.since else ""
        until = f"until {f.until:%-d %b %Y %H:%M}" if f.until else ""
        found.append(("Time (UTC)", f"{since} {until}".strip()))
    if f.sources:
        found.append(("Sources", ", ".join(f.sources)))
    simulated = "taken where nobody else voted" if f.simulated == "include" else "left out"
    found.append(("Simulated votes", simulated))
    found.append(("Machine judges", "those that a lead took in" if f.machine == "include" else "left out"))
    if f.criterion is not None:
        found.append(("Criterion", f"labels say which response is better in “{f.criterion}”"))
    if f.prompts:
        found.append(("Prompts", "pairs with " + " or ".join(f.prompts)))
    if f.least_votes > 1:
        found.append(("Votes on a pair", f"at least {f.least_votes}"))
    label = METHOD_WORDS[f.method] + ("" if f.soft else "; the side that leads is the label")
    found.append(("Labels", label))
    found.append(("Ties", TIE_WORDS[f.ties]))
    found.append(("Both bad", BAD_WORDS[f.both_bad]))
    if f.margins == "none":
        found.append(("Margins", "none"))
    split = (
        "by example, near-duplicates together"
        if f.split == "groups"
        else "as the examples have it, near-duplicates not moved"
    )
    found.append(("Splits", split))
    return found
