"""What a project knows that bears on the choice of a method."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from sqlmodel import Session

from core.access import Principal, require
from core.annotation.judgements import which_votes
from core.kept import Kept
from core.llm.embedded import EMBEDDED
from core.planning import evidence as common
from core.planning.decision.history import History, history_of, manual_line
from core.planning.decision.model import Decision
from core.planning.evidence import Evidence, Measured
from core.projects import find_project
from core.stats import wilson
from storage import decisions as facts
from storage.database import Database
from storage.decisions import Meeting, Searches
from storage.evidence import is_large, votes_state
from storage.judgements import Which
from storage.tables import Host, Project, Prompt

# What each kind of host gives (`core.llm.protocol.Host.access`).
ACCESS: Mapping[str, tuple[str, ...]] = {
    "local": ("text", "label_logprobs", "gradients"),
    "openai": ("text",),
}
ACCESS_WORDS = {"text": "text", "label_logprobs": "label log-probabilities", "gradients": "gradients"}


@dataclass(frozen=True)
class HostAccess:
    """`used`: of the newest responses, how many it gave."""

    name: str
    kind: str
    used: int

    @property
    def access(self) -> tuple[str, ...]:
        return ACCESS.get(self.kind, ("text",))

    @property
    def words(self) -> str:
        return ", ".join(ACCESS_WORDS[name] for name in self.access)


@dataclass
class DecisionEvidence:
    """`preferences`: pairs that votes decided; of these `simulated` by simulated votes
    alone. `found`: found prompts against written ones by people's votes, pooled;
    `transfer`: the same by the host that answered. What is not there is None."""

    common: Evidence
    preferences: int
    simulated: int
    labelled: int
    agreement: Measured | None
    reward_model: str
    reward_accuracy: Measured | None
    searches: list[Searches]
    found: Measured | None
    transfer: list[tuple[str, Measured]]
    hosts: list[HostAccess]
    host: HostAccess
    latency_ms: Measured | None
    current: Measured | None  # success of the champion in production
    history: History
    missing: dict[str, str] = field(default_factory=dict)

    @property
    def by_whom(self) -> str:
        if not self.simulated:
            return ""
        if self.simulated >= self.preferences:
            return " (all simulated)"
        return f" ({self.simulated:,} by simulated votes only)"

    @property
    def simulated_only(self) -> bool:
        return self.preferences > 0 and self.simulated >= self.preferences

    @property
    def reported(self) -> int:
        return sum(row.reported for row in self.searches)

    @property
    def better(self) -> int:
        return sum(row.better for row in self.searches)


_kept: Kept[DecisionEvidence] = Kept(32)  # projects, each with settings of the test and a host


def collect(db: Database, who: Principal, project_id: str, body: Decision) -> DecisionEvidence:
    """Everything at once, aggregated in the database. It is computed anew only when
    something it reads has changed (on a large project a moment later, in a thread): a
    million votes take seconds, and a page asks at every click. What comes back is shared:
    read it only."""
    require(who, "plan.view")
    with db.read() as session:
        find_project(session, project_id)
        votes = votes_state(session, project_id)
        state = (datetime.now(UTC).date(), votes, facts.fingerprint(session, project_id))

    def make() -> DecisionEvidence:
        shared = common.gather(db, who, project_id)
        with db.read() as session:
            project = find_project(session, project_id)
            which, _, _ = which_votes(session, project_id)
            return _collect(session, project, which, shared, body)

    key = (str(db.url), project_id, body.plateau.model_dump_json(), body.needs.host)
    return _kept.get(key, state, make, meanwhile=is_large(votes))


def _collect(
    session: Session, project: Project, which: Which, shared: Evidence, body: Decision
) -> DecisionEvidence:
    missing: dict[str, str] = {}
    line, lineage = manual_line(shared.prompts)
    ids = [prompt.id for prompt in line]
    labels = facts.label_scores(session, project.id, ids)
    met = facts.meetings(session, which)
    history = history_of(line, lineage, met, labels, body.plateau)
    preferences = sum(row.decided for row in met)
    simulated = sum(row.decided_simulated for row in met)
    rows = facts.hosts(session)
    answered = facts.answered(session, project.id)
    # Runs note a host by its name; what was imported may have an id.
    names = {EMBEDDED: EMBEDDED, **{key: row.name for row in rows for key in (row.id, row.name)}}
    used: dict[str, int] = {}
    for item in answered:
        name = names.get(item.host_id or "", "")
        used[name] = used.get(name, 0) + item.responses
    hosts = _hosts(rows, used)
    host = _chosen(hosts, body.needs.host)
    times = next((a for a in answered if names.get(a.host_id or "") == host.name), None) or (
        answered[0] if answered and not body.needs.host else None
    )
    model = facts.reward_model(session, project.reward_model_id)
    accuracy = _accuracy(model.metrics, model.simulated_share) if model else None
    met_found = found_against_written(met, shared.prompts)
    champion = shared.champion
    found = _pooled(met_found) if met_found else None
    if not preferences:
        missing["preferences"] = "Nobody has decided a pair yet: label pairs on the page Annotate."
    elif simulated >= preferences:
        missing["preferences"] = "All preferences are simulated: people must vote before anything is spent."
    if shared.agreement is None:
        missing["agreement"] = "No pair has two votes, so nobody knows whether people agree: ask for two."
    if accuracy is None:
        missing["reward_accuracy"] = "No reward model is active: train one and see what it gets right."
    searches = facts.searches(session, project.id)
    if not any(row.reported for row in searches):
        missing["searches"] = "No search has reported a gain on the test split."
    if found is None:
        missing["found"] = "No found prompt has been put blind before the annotators."
    if champion is None or champion.id not in shared.success:
        missing["current"] = "No signals from production say how good the champion is today."
    if len([1 for item in met_found if item.n]) < 2:
        missing["transfer"] = "No found prompt has been judged on a second host."
    return DecisionEvidence(
        common=shared,
        preferences=preferences,
        simulated=simulated,
        labelled=facts.labelled_examples(session, project.id),
        agreement=shared.agreement,
        reward_model=model.name if model else "",
        reward_accuracy=accuracy,
        searches=searches,
        found=found,
        transfer=[(names.get(item.host_id or "", "not recorded"), _one(item)) for item in met_found],
        hosts=hosts,
        host=host,
        latency_ms=_latency(times),
        current=shared.success.get(champion.id) if champion else None,
        history=history,
        missing=missing,
    )


@dataclass(frozen=True)
class FoundOn:
    """Votes on prompts that searches found against written ones, by the host that answered
    for the found one (None: not recorded). `even`: ties and "both bad"."""

    host_id: str | None
    wins: int
    even: int
    losses: int
    simulated: int

    @property
    def n(self) -> int:
        return self.wins + self.even + self.losses


def found_against_written(met: list[Meeting], prompts: Mapping[str, Prompt]) -> list[FoundOn]:
    """By host, most votes first."""
    found = {key for key, prompt in prompts.items() if prompt.run_id}
    sums: dict[str | None, list[int]] = {}
    for row in met:
        if (row.a in found) == (row.b in found):
            continue
        mine_is_a = row.a in found
        wins, losses = (row.wins_a, row.wins_b) if mine_is_a else (row.wins_b, row.wins_a)
        total = sums.setdefault(row.host_a if mine_is_a else row.host_b, [0, 0, 0, 0])
        for i, value in enumerate((wins, row.n - wins - losses, losses, row.simulated)):
            total[i] += value
    rows = [FoundOn(host, *counts) for host, counts in sums.items()]
    return sorted(rows, key=lambda row: (-row.n, row.host_id or ""))


def _hosts(rows: list[Host], used: Mapping[str, int]) -> list[HostAccess]:
    """Most used first; the embedded one is always there."""
    found = [HostAccess(EMBEDDED, "local", used.get(EMBEDDED, 0))]
    found += [HostAccess(row.name, row.kind, used.get(row.name, 0)) for row in rows]
    return sorted(found, key=lambda host: -host.used)


def _chosen(hosts: list[HostAccess], wanted: str) -> HostAccess:
    return next((host for host in hosts if host.name == wanted), hosts[0])


def _accuracy(metrics: Mapping[str, Any], simulated_share: float) -> Measured | None:
    value, n = metrics.get("accuracy"), metrics.get("n_test")
    if not isinstance(value, int | float) or not isinstance(n, int) or not n:
        return None
    low, high = metrics.get("accuracy_low"), metrics.get("accuracy_high")
    if low is None or high is None:
        low, high = wilson(value * n, n)
    text = f"held-out pairs, {n:,}"
    if simulated_share:
        text += f", {'judged by' if metrics.get('uploaded') else 'trained on'} {100 * simulated_share:.0f} % simulated votes"
    return Measured(float(value), float(low), float(high), n, text, round(simulated_share * n))


def _one(item: FoundOn) -> Measured:
    half = item.wins + item.even / 2
    low, high = wilson(half, item.n)
    text = f"{item.wins:,} wins, {item.even:,} even, {item.losses:,} losses"
    return Measured(half / item.n, low, high, item.n, text, item.simulated)


def _pooled(rows: list[FoundOn]) -> Measured:
    return _one(
        FoundOn(
            None, sum(r.wins for r in rows), sum(r.even for r in rows), sum(r.losses for r in rows),
            sum(r.simulated for r in rows),
        )
    )  # fmt: skip


def _latency(times: facts.Answered | None) -> Measured | None:
    if times is None or not times.timed or times.median_ms is None:
        return None
    low, high = float(times.low_ms or times.median_ms), float(times.high_ms or times.median_ms)
    text = f"median of the newest {times.timed:,} responses"
    return Measured(float(times.median_ms), low, high, times.timed, text)
