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
    "prompt.override": Action(frozenset({L, ADMIN})),
    "host.edit": Action(frozenset({E, ADMIN})),
    "run.start": Action(frozenset({E, ADMIN})),
    "run.control": Action(frozenset({E, ADMIN})),
    "snapshot.make": Action(STAFF),
    "reward.activate": Action(frozenset({E, ADMIN})),
    "reward.send_back": Action(STAFF),
    "reward.manage": Action(frozenset({E, ADMIN})),
    "reward.score": Action(STAFF, Scope.READ),
    # planning
    "plan.view": Action(STAFF, Scope.READ),
    "plan.edit": Action(frozenset({L, ADMIN})),
    # running the place
    "token.own": Action(EVERYBODY),
    "user.manage": Action(frozenset({ADMIN})),
    "audit.view": Action(frozenset({ADMIN})),
}


@dataclass(frozen=True)
class Principal:
    """Who is asking. `sign_in_id` is set for people in the browser, `token_id` for programs."""

    user_id: str
    name: str
    role: Role
    scope: Scope = Scope.FULL
    sign_in_id: str | None = None
    token_id: str | None = None


def allowed(who: Principal, action: str) -> bool:
    rule = ACTIONS[action]
    if who.role not in rule.roles:
        return False
    if who.scope == Scope.FULL or rule.scope == who.scope:
        return True
    return who.scope == Scope.ANNOTATE and action == "project.list"


def require(who: Principal, action: str) -> None:
    if not allowed(who, action):
        if who.role not in ACTIONS[action].roles:
            roles = ", ".join(sorted(ACTIONS[action].roles))
            raise Forbidden(f"“{action}” is not for the role {who.role}.", f"It is for: {roles}.")
        raise Forbidden(
            f"This token's scope ({who.scope}) does not cover “{action}”.", "Make a token with a wider scope."
        )


@dataclass(frozen=True)
class Page:
    """A page of the app: `file` under pages/, and the action that admits to it."""

    file: str
    title: str
    icon: str
    group: str
    action: str
    help: str


OWN = "own"  # the group that is shown under the name of who is signed in

PAGES: tuple[Page, ...] = (
    Page("overview.py", "Overview", ":material/home:", "", "project.view",
         "Where the loop stands in this project, and what to do next."),
    Page("annotate.py", "Annotate", ":material/compare:", "", "annotate",
         "Compare two responses side by side and vote."),
    Page("my_work.py", "My work", ":material/history_edu:", "", "annotate",
         "Your own votes: look through them, change one; your pace and your goal for the day."),
    Page("data.py", "Data", ":material/table_view:", "Project", "project.view",
         "Examples and comparisons: import, look, export."),
    Page("prompts.py", "Prompts", ":material/edit_note:", "Project", "project.view",
         "Prompt versions, with preview, frameworks, differences, and generation of responses."),
    Page("assignment.py", "Assignment", ":material/assignment_ind:", "Project", "quality.view",
         "Which pairs go to which annotators: groups, rules, pauses, and who decides disputed pairs."),
    Page("gold.py", "Gold", ":material/workspace_premium:", "Project", "quality.view",
         "Pairs whose answer you know: qualification before real pairs, checks and repeats later."),
    Page("project.py", "Settings", ":material/tune:", "Project", "project.view",
         "Guidelines, criteria and votes per pair; new projects."),
    Page("leaderboard.py", "Leaderboard", ":material/leaderboard:", "Understand", "leaderboard.view",
         "Ratings of prompts with intervals, and the win matrix."),
    Page("quality.py", "Quality", ":material/verified:", "Understand", "quality.view",
         "How far the votes can be trusted, who cast them, and what to do about it."),
    Page("judges.py", "Machine judges", ":material/gavel:", "Understand", "quality.view",
         "Language models as judges: let one judge pairs, and see how far it agrees with people."),
    Page("snapshots.py", "Preference data", ":material/dataset:", "Learn", "run.view",
         "Frozen sets of votes that reward models learn from: which votes, how they add up, leak checks."),
    Page("reward_models.py", "Reward models", ":material/model_training:", "Learn", "run.view",
         "Train reward models from votes, compare them, choose the active one."),
    Page("reward_scores.py", "Scores", ":material/monitoring:", "Learn", "run.view",
         "What the active reward model gives every response; score a file, or from a program."),
    Page("optimize.py", "Optimise", ":material/auto_fix_high:", "Learn", "run.view",
         "Search for better prompts against a reward, and send them to the annotators."),
    Page("runs.py", "Runs", ":material/sync:", "Learn", "run.view",
         "Background work: progress, logs, cancel, resume."),
    Page("hosts.py", "Hosts", ":material/dns:", "Learn", "run.view",
         "Where language models run: in process or behind an OpenAI-compatible URL."),
    Page("plan.py", "Brief", ":material/summarize:", "Plan", "plan.view",
         "Whether, how and when to invest, on one page; with PDF, HTML and tables to download."),
    Page("roi.py", "Return", ":material/payments:", "Plan", "plan.view",
         "Scenarios: what prompt optimisation costs, what it brings, and how sure that is."),
    Page("decision.py", "Decision", ":material/balance:", "Plan", "plan.view",
         "Which way to better prompts fits: factors, weights, ranking and a recommendation."),
    Page("milestones.py", "Milestones", ":material/flag:", "Plan", "plan.view",
         "Phases and milestones against live figures, with forecasts."),
    Page("team.py", "Team", ":material/groups:", "Plan", "plan.view",
         "Who is needed when, what is covered, and what it costs."),
    Page("sourcing.py", "Build or buy", ":material/storefront:", "Plan", "plan.view",
         "Build, buy or a mix: weights, three-year cost, and the reason in words."),
    Page("people.py", "People", ":material/group:", "Admin", "user.manage",
         "Users, roles and invitations."),
    Page("audit.py", "Audit log", ":material/history:", "Admin", "audit.view",
         "Who did what, and when."),
    Page("account.py", "My account", ":material/key:", OWN, "token.own",
         "API tokens, password, sign-out."),
)  # fmt: skip


def pages_for(who: Principal) -> list[Page]:
    return [page for page in PAGES if allowed(who, page.action)]
