"""Who may do what: one table of actions, read by pages, API routes and actions alike.

An action names the roles it admits and the scope a token needs for it. Roles do not
inherit from each other: what is not listed is refused.
"""

from dataclasses import dataclass
from enum import StrEnum

from core.errors import Forbidden


class Role(StrEnum):
    ANNOTATOR = "annotator"
    ENGINEER = "engineer"
    LEAD = "lead"
    ADMIN = "admin"


class Scope(StrEnum):
    """What a token is good for. `full` is whatever its owner may do."""

    READ = "read"
    ANNOTATE = "annotate"
    FULL = "full"


A, E, L, ADMIN = Role.ANNOTATOR, Role.ENGINEER, Role.LEAD, Role.ADMIN
EVERYBODY = frozenset(Role)
STAFF = frozenset({E, L, ADMIN})


@dataclass(frozen=True)
class Action:
    roles: frozenset[Role]
    scope: Scope = Scope.FULL


ACTIONS: dict[str, Action] = {
    # labelling
    "project.list": Action(EVERYBODY, Scope.READ),
    "annotate": Action(EVERYBODY, Scope.ANNOTATE),
    # seeing
    "project.view": Action(STAFF, Scope.READ),
    "leaderboard.view": Action(STAFF, Scope.READ),
    "quality.view": Action(STAFF, Scope.READ),
    "run.view": Action(STAFF, Scope.READ),
    "data.export": Action(STAFF, Scope.READ),
    # making
    "project.create": Action(STAFF),
    "project.edit": Action(STAFF),
    "project.delete": Action(frozenset({L, ADMIN})),
    "annotator.manage": Action(frozenset({L, ADMIN})),
    "webhook.manage": Action(frozenset({L, ADMIN})),
    "data.import": Action(STAFF),
    "prompt.edit": Action(STAFF),
    "prompt.promote": Action(frozenset({L, E, ADMIN})),
    "host.edit": Action(frozenset({E, ADMIN})),
    "run.start": Action(frozenset({E, ADMIN})),
    "run.control": Action(frozenset({E, ADMIN})),
    "snapshot.make": Action(STAFF),
    "reward.activate": Action(frozenset({E, ADMIN})),
    "reward.send_back": Action(STAFF),
