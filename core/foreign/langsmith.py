"""LangSmith: examples with the runs of two experiments and the feedback on them.

A record is `{id, inputs, outputs, runs: [{id, outputs, session_id or project_id, name, feedback:
[{key, score, comment, feedback_source: {type, user_id, metadata}, feedback_group_id,
comparative_experiment_id}] or feedback_stats: {key: {n, avg, comments}}}, …]}`, as the API lists a
comparison's examples with their runs. What `evaluate_comparative` answers, row by row, is
`{example, evaluation_results: {runs: […], feedback.<key>: {key, scores: {run id: score},
comment}}}`.

A pairwise annotation queue asks "A is better, B is better, Equal" for every item of its rubric
and records a score on both runs: the higher wins, equal ones are a tie. Scores of one comparison
share a `feedback_group_id`: one that a run got beside some third run says nothing here. One item
is the choice (`preference`, `overall`, … else the first of a comparison, else the first); the
others mark criteria.

Who scored: people do it in the app. `evaluate_comparative` writes what its evaluators said with
the source "api", the comparison's id, and where there is one the evaluator's own run: those are
evaluators like the source "model", and their votes are simulated.
(docs.langchain.com/langsmith/annotation-queues; schemas.py, client.py, evaluation/_runner.py and
the types ExperimentRunQueryResponse, Run and FeedbackStats of langchain-ai/langsmith-sdk)
"""

from collections import defaultdict
from collections.abc import Iterator
from typing import Any, NamedTuple

from core.mapping import plain
from storage.inputs import RowProblem

Row = dict[str, Any]
_OVERALL = ("preference", "ranked_preference", "overall", "better", "winner", "choice")
_EXPERIMENT = ("session_name", "experiment", "session_id", "project_id", "name")
_OUTPUTS = ("output", "answer", "response", "content", "text", "result", "completion")


class Score(NamedTuple):
    """What one judge said of one run under one key. `group`: of the scores of one comparison."""

    who: str
    model: bool
    key: str
    side: str
    score: float
    comment: str
    at: Any
    group: str | None = None


def fits(row: Row) -> bool:
    if isinstance(_runs(row), list):
        return "inputs" in row or "example" in row
    return {"run_id", "key", "score"} <= set(row)


def rows(record: Row) -> Iterator[Row | str]:
    runs = _runs(record)
    if runs is None:
        raise RowProblem("it is feedback alone, without the texts: export the examples with their runs")
    if len(runs) != 2:
        raise RowProblem(f"it has {len(runs)} runs where a comparison has two")
    example = record.get("example") or record
    base = {"input": _input(example["inputs"])}
    for side, run in zip("ab", runs, strict=True):
        base[f"response_{side}"] = _text(run.get("outputs"))
        named = next((run[name] for name in _EXPERIMENT if run.get(name)), side.upper())
        base[f"prompt_{side}"] = str(named)
    base["external_id"] = str(example["id"]) if example.get("id") else None
    scores = list(_scores(record, runs))
    judges: dict[str, list[Score]] = defaultdict(list)
    for score in scores:
        judges[score.who].append(score)
    means = _means(runs)
    yield from means
    if not scores and not means:
        yield base
    for who, said in judges.items():
        yield _voted(base, who, said)


def _runs(record: Row) -> Any:
    """Beside the example, or among the results of `evaluate_comparative`."""
    return record.get("runs") or (record.get("evaluation_results") or {}).get("runs")


def _scores(record: Row, runs: list[Row]) -> Iterator[Score]:
    groups = [{one.get("feedback_group_id") for one in run.get("feedback") or []} for run in runs]
    shared = set.intersection(*groups)  # without a group (None) on both counts, too
    for side, run in zip("ab", runs, strict=True):
        for one in run.get("feedback") or []:
            group = one.get("feedback_group_id")
            if group is not None and group not in shared:
                continue
            source = one.get("feedback_source") or {}
            model = _by_evaluator(one, source)
            who = source.get("user_name") or source.get("user_id") or one.get("created_by")
            who = f"evaluator {one.get('key')}" if model else str(who or "LangSmith")
            score = one.get("score")
            if isinstance(score, int | float):
                comment = one.get("comment") or ""
                yield Score(who, model, str(one["key"]), side, float(score), comment, one.get("created_at"), group)  # fmt: skip
        for key, stats in (run.get("feedback_stats") or {}).items() if not run.get("feedback") else ():
            if stats.get("n") == 1 and stats.get("avg") is not None:
                said = (stats.get("comments") or [""])[0] or ""
                yield Score("LangSmith", False, key, side, float(stats["avg"]), str(said), None)
    for result in (record.get("evaluation_results") or {}).values():
        ids = {str(run.get("id")): side for side, run in zip("ab", runs, strict=True)}
        for id_, score in (result.get("scores") or {}).items() if isinstance(result, dict) else ():
            if str(id_) in ids and isinstance(score, int | float):
                comment = result.get("comment")
                said = comment.get(id_, "") if isinstance(comment, dict) else comment or ""
                yield Score(f"evaluator {result['key']}", True, result["key"], ids[str(id_)], float(score), said, None)  # fmt: skip


def _by_evaluator(one: Row, source: Row) -> bool:
    if source.get("type") in ("model", "auto_eval"):
        return True
    own_run = (source.get("metadata") or {}).get("__run")
    return source.get("type") == "api" and bool(own_run or one.get("comparative_experiment_id"))


def _means(runs: list[Row]) -> list[str]:
    several = {
        key
        for run in runs
        if not run.get("feedback")
        for key, stats in (run.get("feedback_stats") or {}).items()
        if (stats.get("n") or 0) > 1
    }
    return [f"{key}: a mean over several people, which is no vote: export the feedback" for key in sorted(several)]  # fmt: skip


def _voted(base: Row, who: str, said: list[Score]) -> Row | str:
    by_key: dict[str, dict[str, float]] = defaultdict(dict)
    for one in said:
        by_key[one.key][one.side] = one.score
    marks = {
        key: "a" if both["a"] > both["b"] else "b" if both["b"] > both["a"] else "tie"
        for key, both in by_key.items()
        if len(both) == 2
    }
    if not marks:
        return f"{who} scored one run only ({', '.join(by_key)})"
    compared = [key for key in marks if any(one.group for one in said if one.key == key)]
    named = next((key for key in marks if plain(key) in _OVERALL), None)
    key = named or next(iter([*compared, *marks]))
    choice = marks.pop(key)
    comments = dict.fromkeys(one.comment.strip() for one in said if one.comment and one.comment.strip())
    return {
        **base,
        "annotator": who,
        "choice": choice,
        "criteria": {name: "same" if mark == "tie" else mark for name, mark in marks.items()},
        "reason": "\n".join(comments),
        "created_at": max((one.at for one in said if one.at), default=None),
        **({"simulated": True} if all(one.model for one in said) else {}),
    }


def _input(inputs: Any) -> Any:
    if isinstance(inputs, dict) and len(inputs) == 1:
        (value,) = inputs.values()
        return _turns(value) if isinstance(value, list) else value
    return inputs


def _text(outputs: Any) -> str:
    """The answer in a run's outputs: its only value, one of the usual names, or the last
    message."""
    if isinstance(outputs, str):
        return outputs
    if isinstance(outputs, list) and outputs:
        return str(_turns(outputs[-1:])[0]["content"])
    if isinstance(outputs, dict):
        known = [name for name in _OUTPUTS if name in outputs]
        if len(outputs) == 1 or known:
            return _text(outputs[known[0]] if known else next(iter(outputs.values())))
        if isinstance(outputs.get("messages"), list):
            return _text(outputs["messages"])
    raise RowProblem("a run's outputs hold no single text")


def _turns(messages: list[Any]) -> list[Row]:
    """LangChain's messages ({type: human}) as chat messages ({role: user})."""
    roles = {"human": "user", "ai": "assistant", "system": "system"}
    return [
        {"role": one.get("role") or roles.get(str(one.get("type")), "user"), "content": one.get("content")}
        for one in messages
    ]
