"""Who works on prompt optimisation, and whom each phase needs."""

from typing import Annotated, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, model_validator

from core.planning.documents import Body
from core.planning.phases import PHASE, PHASES

ROLES = ("AI/ML engineer", "Prompt engineer", "Data scientist", "DevOps engineer", "Domain expert")
LEVELS = {1: "heard of it", 2: "can help", 3: "works alone", 4: "guides others", 5: "known for it"}

# Assumptions to start from: what somebody costs a year at full time, everything included.
YEARLY_COST = {
    "AI/ML engineer": 110_000.0,
    "Prompt engineer": 90_000.0,
    "Data scientist": 95_000.0,
    "DevOps engineer": 95_000.0,
    "Domain expert": 80_000.0,
}
OTHER_YEARLY_COST = 90_000.0

# Assumptions to start from: full-time equivalents by role, in the order of ROLES.
_ROLE_NEEDS = {
    "exploration": (0.3, 0.5, 0.5, 0.1, 0.5),
    "development": (0.8, 0.5, 0.5, 0.4, 1.0),
    "optimisation": (0.8, 0.6, 0.6, 0.2, 0.6),
    "deployment": (0.4, 0.2, 0.2, 0.6, 0.2),
    "improvement": (0.2, 0.2, 0.2, 0.1, 0.3),
}
_SKILL_NEEDS: dict[str, dict[str, tuple[int, float]]] = {  # skill -> (level, FTE)
    "exploration": {"Prompt writing": (3, 0.5), "Statistics": (3, 0.4), "Subject knowledge": (4, 0.5)},
    "development": {
        "Reward modelling": (3, 0.5), "Statistics": (3, 0.3), "Operations": (3, 0.3), "Subject knowledge": (3, 0.8),
    },
    "optimisation": {
        "Search and RL": (3, 0.5), "Reward modelling": (3, 0.3), "Statistics": (3, 0.4), "Subject knowledge": (4, 0.5),
    },
    "deployment": {"Operations": (4, 0.5), "Statistics": (3, 0.2)},
    "improvement": {"Prompt writing": (3, 0.2), "Statistics": (3, 0.1), "Subject knowledge": (3, 0.3)},
}  # fmt: skip
# What somebody of a role is taken to know, in the typical team and in a suggested addition.
TYPICAL_SKILLS: dict[str, dict[str, int]] = {
    "AI/ML engineer": {"Reward modelling": 4, "Search and RL": 4, "Statistics": 2},
    "Prompt engineer": {"Prompt writing": 4, "Search and RL": 2},
    "Data scientist": {"Statistics": 4, "Reward modelling": 3},
    "DevOps engineer": {"Operations": 4},
    "Domain expert": {"Subject knowledge": 5, "Prompt writing": 2},
}

Name = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=80)]
Share = Annotated[float, Field(ge=0, le=1)]
Equivalents = Annotated[float, Field(ge=0, le=1000)]
Level = Annotated[int, Field(ge=1, le=5)]
Money = Annotated[float, Field(ge=0, le=1e9)]
PhaseKey = Literal["exploration", "development", "optimisation", "deployment", "improvement"]


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)


class Member(_Part):
    """A person, or a position still to be filled. `availability` and `shares` are parts of
    full time; `shares` says how much of it each phase gets. `cost` is at full time."""

    name: Name
    role: Name = ROLES[0]
    skills: dict[Name, Level] = Field(default_factory=dict)
    availability: Annotated[float, Field(ge=0, le=1.5)] = 1.0
    cost: Money = 0.0
    per: Literal["hour", "month", "year"] = "year"
    shares: dict[PhaseKey, Share] = Field(default_factory=dict)

    def yearly_cost(self, hours_per_month: float) -> float:
        """At full time. An hourly cost counts worked hours (`Units.hours_per_month`)."""
        return self.cost * {"hour": 12 * hours_per_month, "month": 12.0, "year": 1.0}[self.per]


class SkillNeed(_Part):
    """So many full-time equivalents of people who have the skill at this level or above."""

    level: Level = 3
    fte: Equivalents = 0.0


class Need(_Part):
    """What a phase needs while it lasts."""

    roles: dict[Name, Equivalents] = Field(default_factory=dict)
    skills: dict[Name, SkillNeed] = Field(default_factory=dict)


def usual_needs() -> dict[PhaseKey, Need]:
    return {
        phase.key: Need(  # type: ignore[misc]
            roles=dict(zip(ROLES, _ROLE_NEEDS[phase.key], strict=True)),
            skills={skill: SkillNeed(level=level, fte=fte) for skill, (level, fte) in _SKILL_NEEDS[phase.key].items()},
        )
        for phase in PHASES
    }  # fmt: skip


class Team(Body):
    """Members may be none yet. `new_cost`: what somebody new of a role costs a year, for
    suggestions. `goes_on`: the last phase lasts until the end of any horizon."""

    KIND: ClassVar[str] = "team"
    TITLE: ClassVar[str] = "Team"

    members: Annotated[list[Member], Field(max_length=200)] = Field(default_factory=list)
    needs: dict[PhaseKey, Need] = Field(default_factory=usual_needs)
    new_cost: dict[Name, Money] = Field(default_factory=lambda: dict(YEARLY_COST))
    goes_on: bool = True

    @model_validator(mode="after")
    def _names_once(self) -> "Team":
        seen: set[str] = set()
        for member in self.members:
            if member.name.casefold() in seen:
                raise ValueError(f"members: there are two called {member.name}; give each a name of its own")
            seen.add(member.name.casefold())
        return self

    def need(self, phase: str) -> Need:
        return self.needs.get(phase) or Need()  # type: ignore[call-overload]

    def roles(self) -> list[str]:
        """Every role that is needed or there, the usual ones first."""
        named = {role for need in self.needs.values() for role, fte in need.roles.items() if fte > 0}
        named |= {member.role for member in self.members}
        return [role for role in ROLES if role in named] + sorted(named - set(ROLES))

    def skills(self) -> list[str]:
        """Every skill that is needed, in the order of the phases, then what else there is."""
        found = dict.fromkeys(skill for phase in PHASES for skill in self.need(phase.key).skills)
        return list(found | dict.fromkeys(skill for member in self.members for skill in member.skills))


def typical_team() -> Team:
    """One person for each role, with the shares that the usual needs ask for."""
    members = []
    for place, role in enumerate(ROLES):
        shares = {key: min(1.0, needs[place]) for key, needs in _ROLE_NEEDS.items()}
        members.append(
            Member(
                name=role,
                role=role,
                skills=TYPICAL_SKILLS[role],
                availability=max(shares.values()),
                cost=YEARLY_COST[role],
                shares=shares,  # type: ignore[arg-type]
            )
        )
    return Team(members=members)


def phase_title(key: str) -> str:
    return PHASE[key].title if key in PHASE else key
