"""What the coverage says, in sentences."""

from core.planning.team.coverage import Coverage, Overload, RoleCover, SinglePoint, SkillCover, when
from core.planning.team.model import phase_title
from core.planning.team.windows import weeks_between


def spoken(name: str) -> str:
    """A role or skill within a sentence: `Data scientist` -> `data scientist`, `AI/ML …` stays."""
    return name[:1].lower() + name[1:] if name[1:] == name[1:].lower() else name


def people(fte: float, role: str) -> str:
    """`0.6 of a data scientist`, `1.5 data scientists`, in full-time equivalents."""
    said, role = f"{fte:.2f}".rstrip("0").rstrip("."), spoken(role)
    if said == "1":
        return f"1 {role}"
    if fte > 1:
        return f"{said} {role}s"
    return f"{said} of {'an' if role[:1].lower() in 'aeiou' else 'a'} {role}"


def percent(share: float) -> str:
    return f"{100 * share:.0f} %"


def joined(names: list[str]) -> str:
    return names[0] if len(names) == 1 else ", ".join(names[:-1]) + " and " + names[-1]


def role_gap(row: RoleCover, found: Coverage) -> str:
    return f"{phase_title(row.phase)} lacks {people(row.gap, row.role)}, {when(row.phase, found.windows)}."


def skill_gap(row: SkillCover, found: Coverage) -> str:
    said = f"{row.gap:.2f}".rstrip("0").rstrip(".")
    return (
        f"{phase_title(row.phase)} lacks {said} full-time of “{row.skill}” at level {row.level} or above, "
        f"{when(row.phase, found.windows)}."
    )


def overload(row: Overload, found: Coverage) -> str:
    titles = [phase_title(phase) for phase in row.phases]
    cause = f"in {titles[0]}" if len(titles) == 1 else f"while {joined(titles)} overlap"
    weeks = weeks_between(row.start, row.end, found.windows)
    return (
        f"{row.member} is booked for {percent(row.load)} of full time and has {percent(row.availability)}, "
        f"{cause}, {weeks}."
    )


def single_point(row: SinglePoint) -> str:
    return (
        f"Only {row.member} covers “{row.skill}” in {joined([phase_title(phase) for phase in row.phases])}."
    )


def sentences(found: Coverage) -> list[str]:
    """Gaps by role, then by skill, then overload: what a lead has to act on."""
    return [
        *(role_gap(row, found) for row in found.role_gaps),
        *(skill_gap(row, found) for row in found.skill_gaps),
        *(overload(row, found) for row in found.overloads),
    ]
