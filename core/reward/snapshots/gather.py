"""A project's votes with their texts, and which of them a data set's filters leave."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from sqlmodel import Session

from core.annotation.groups import Assignment, assignment_in
from core.annotation.skill import mace
from core.errors import Invalid
from core.reward.snapshots.filters import Filters
from core.reward.text import input_text
from storage import probe_results, snapshots
from storage.groups import audience_of
from storage.snapshots import Cast

UNKNOWN = 0.5  # competence of whom nothing is known: the middle of the prior


@dataclass(frozen=True)
class Material:
    """Everything a data set of this project can be made of. `gold`: annotator id -> (checks
    answered as expected, checks). `criteria`: the project's."""

    cast: Cast
    assignment: Assignment
    gold: dict[str, tuple[int, int]]
    criteria: tuple[str, ...]

    @cached_property
    def inputs(self) -> list[str]:
        """(P,) what is read as the input of each pair, with earlier turns."""
        return [input_text(*pair) for pair in zip(self.cast.input, self.cast.earlier, strict=True)]

    @cached_property
    def skill(self) -> tuple[np.ndarray, np.ndarray]:
        """(J,) competence, (J,) votes it rests on: MACE over all votes that count and were
        cast independently, those of people (and machine judges) and simulated ones apart."""
        cast = self.cast
        competence, n = np.full(len(cast.voters), UNKNOWN), np.zeros(len(cast.voters), dtype=int)
        for kind in (False, True):
            v = (cast.simulated == kind) & ~cast.adjudication
            if not v.any():
                continue
            found = mace(
                cast.pair[v], cast.voter[v], cast.choice[v], cast.a_left[v], len(cast.pair_ids), len(cast.voters)
            )  # fmt: skip
            known = found.n > 0
            competence[known], n[known] = found.competence[known], found.n[known]
        return competence, n


def gather(session: Session, project_id: str, criteria: list[str]) -> Material:
    gold = {
        who: (tally.gold_right, tally.gold)
        for who, tally in probe_results.tallies(session, project_id).items()
        if tally.gold
    }
    cast = snapshots.read_cast(session, project_id)
    return Material(cast, assignment_in(session, project_id), gold, tuple(criteria))


def taken(material: Material, filters: Filters) -> np.ndarray:
    """(V,) the votes that pass the filters one by one (`least_votes` and what votes on a pair
    mean together come later, in `labels`). Raises Invalid for a name that there is not.

    What an adjudicator decided passes whatever it says of skill, gold and groups: they are
    named to decide."""
    cast, f = material.cast, filters
    _check_names(material, f)
    voters = cast.voters
    of_voter = np.ones(len(voters), dtype=bool)
    measured = np.ones(len(voters), dtype=bool)
    if f.annotators:
        of_voter &= np.array([voter.name in f.annotators for voter in voters], dtype=bool)
    if f.without:
        of_voter &= np.array([voter.name not in f.without for voter in voters], dtype=bool)
    if f.machine == "exclude":
        of_voter &= np.array([not voter.machine for voter in voters], dtype=bool)
    if f.groups:
        wanted = {audience_of(group.id) for group in material.assignment.groups if group.name in f.groups}
        measured &= np.array([bool(wanted & set(voter.audiences)) for voter in voters], dtype=bool)
    if f.least_skill is not None:
        competence, n = material.skill
        measured &= (n > 0) & (competence >= f.least_skill)
    if f.least_gold is not None:
        right, n = np.array([material.gold.get(voter.id, (0, 0)) for voter in voters]).reshape(-1, 2).T
        measured &= (n > 0) & (right >= f.least_gold * n - 1e-9)
    found = of_voter[cast.voter] & (measured[cast.voter] | cast.adjudication)
    if f.since is not None:
        found &= cast.at >= f.since.timestamp()
    if f.until is not None:
        found &= cast.at < f.until.timestamp()
    if f.sources:
        found &= np.isin(cast.source.astype(str), f.sources)
    if f.simulated == "exclude":
        found &= ~cast.simulated
    if f.prompts:
        here = np.array(
            [bool({a, b} & set(f.prompts)) for a, b in zip(cast.prompt_a, cast.prompt_b, strict=True)]
        )
        found &= here[cast.pair]
    return found


def _check_names(material: Material, f: Filters) -> None:
    cast = material.cast
    for field, wanted, known in (
        ("annotators", f.annotators, {voter.name for voter in cast.voters}),
        ("without", f.without, {voter.name for voter in cast.voters}),
        ("groups", f.groups, {group.name for group in material.assignment.groups}),
        ("prompts", f.prompts, {*cast.prompt_a, *cast.prompt_b}),
        ("criterion", [f.criterion] if f.criterion is not None else [], set(material.criteria)),
    ):
        if unknown := [name for name in wanted if name not in known]:
            some = ", ".join(sorted(known)[:20]) or "none"
            raise Invalid(f"{field}: there is no “{unknown[0]}” with votes here.", f"There are: {some}.")
