"""Exports of other tools: records as those tools write them (shapes from their documentation
and code; the texts are ours), what they give, and why some give nothing."""

import json

import pytest

from core import data, foreign
from core.errors import Invalid
from core.projects import create_project
from storage.files import Table, read_table
from tests.data.test_importing import WHO
from tests.data.test_page import labels, texts, upload

TASK = {
    "id": 7,
    "data": {"prompt": "Why?", "answer1": "one", "answer2": "two", "meta": "x"},
    "annotations": [
        {
            "id": 11, "completed_by": {"id": 3, "email": "ann@example.org"}, "was_cancelled": False,
            "created_at": "2026-01-02T03:04:05.678Z", "lead_time": 12.5, "unique_id": "u-11",
            "result": [
                {"id": "r", "type": "pairwise", "from_name": "pw", "to_name": "txt-1,txt-2", "value": {"selected": "right"}},
                {"type": "rating", "from_name": "kind", "to_name": "p", "value": {"rating": 4}},
                {"type": "textarea", "from_name": "why", "to_name": "p", "value": {"text": ["short", "and clear"]}},
            ],
        },
        {"id": 12, "completed_by": 4, "was_cancelled": True, "result": []},
        {"id": 13, "completed_by": 5, "was_cancelled": False, "lead_time": None,
         "result": [{"type": "choices", "from_name": "c", "to_name": "p", "value": {"choices": ["Tie"]}}]},
        {"id": 14, "completed_by": 6, "result": []},
    ],
    "predictions": [{"result": [{"type": "pairwise", "value": {"selected": "left"}}]}],
}  # fmt: skip
MINIMAL = {
    "id": 7, "prompt": "Why?", "answer1": "one", "answer2": "two", "pw": {"selected": "left"}, "annotator": 2,
    "annotation_id": 20, "created_at": "2026-01-02T03:04:05Z", "updated_at": "2026-01-02T03:04:05Z", "lead_time": 3.0,
}  # fmt: skip
# As the converter writes it: a list for all but a single choice or a single text.
MINIMAL_LISTS = {
    "id": 8, "prompt": "Why?", "answer1": "one", "answer2": "two", "pw": [{"selected": "right"}], "kind": [{"rating": 4}],
    "why": [{"text": ["short", "and clear"]}], "annotator": "ann@example.org", "annotation_id": 21, "lead_time": 2.5,
    "created_at": "2026-01-02T03:04:05Z", "updated_at": "2026-01-02T03:04:05Z",
}  # fmt: skip
MINIMAL_CHOICE = {
    "id": 9, "prompt": "Why?", "answer1": "one", "answer2": "two", "which": "Tie", "annotator": 3, "annotation_id": 22,
    "created_at": "2026-01-02T03:04:05Z", "updated_at": "2026-01-02T03:04:05Z", "lead_time": None, "agreement": 100.0,
}  # fmt: skip
ARGILLA = {
    "id": "r1", "_server_id": "0", "vectors": {}, "metadata": {"model_a": "P", "model_b": "Q", "note": 1},
    "fields": {"instruction": "Why?", "response1": "one", "response2": "two"},
    "suggestions": {"preference": {"value": "response2", "score": 0.9, "agent": "m"}},
    "responses": {
        "preference": [{"value": "response1", "user_id": "u1"}, {"value": "tie", "user_id": "u2"}],
        "quality": [{"value": 4, "user_id": "u1"}],
        "why": [{"value": "it is kinder", "user_id": "u1"}],
        "other": [{"value": 2, "user_id": "u3"}],
    },
}  # fmt: skip
FLAT = {
    "id": "r2", "_server_id": "1", "instruction": "Why?", "response1": "one", "response2": "two",
    "rank.responses": [[{"value": "response2", "rank": 1}, {"value": "response1", "rank": 2}], ["response1", "response2"]],
    "rank.responses.users": ["u1", "u2"], "rank.responses.status": ["submitted", "draft"],
    "rank.suggestion": None, "rank.suggestion.agent": None, "rank.suggestion.score": None,
}  # fmt: skip
OLD = {
    "external_id": "r3", "fields": {"prompt": "Why?", "response-1": "one", "response-2": "two"}, "metadata": {},
    "responses": [
        {"user_id": "u1", "status": "submitted", "values": {"preference": {"value": "2"}}},
        {"user_id": "u2", "status": "discarded", "values": {}},
    ],
}  # fmt: skip
RUNS = [
    {"id": "x", "session_id": "s1", "session_name": "base", "outputs": {"output": "one"}, "feedback": [
        {"key": "helpful", "score": 1, "comment": "clear", "feedback_source": {"type": "app", "user_id": "u1"}, "created_at": "2026-01-02T00:00:00Z"},
        {"key": "preference", "score": 0, "comment": None, "feedback_source": {"type": "app", "user_id": "u1"}, "created_at": "2026-01-02T00:00:01Z"},
        {"key": "preference", "score": 1, "feedback_source": {"type": "app", "user_id": "u2"}},
    ]},
    {"id": "y", "session_id": "s2", "session_name": "new", "outputs": {"messages": [{"type": "human", "content": "Why?"}, {"type": "ai", "content": "two"}]}, "feedback": [
        {"key": "helpful", "score": 1, "feedback_source": {"type": "app", "user_id": "u1"}},
        {"key": "preference", "score": 1, "feedback_source": {"type": "app", "user_id": "u1"}},
        {"key": "preference", "score": 1, "feedback_source": {"type": "app", "user_id": "u2"}},
        {"key": "other", "score": 1, "feedback_source": {"type": "app", "user_id": "u3"}},
    ]},
]  # fmt: skip
# A run that was compared with others too: what it got there says nothing here.
GROUPED = [
    {**RUNS[0], "feedback": [
        {"key": "note", "score": 1, "feedback_group_id": None, "feedback_source": {"type": "app", "user_id": "u1"}},
        {"key": "better_answer", "score": 1, "feedback_group_id": "g1", "feedback_source": {"type": "app", "user_id": "u1"}},
        {"key": "better_answer", "score": 0, "feedback_group_id": "g2", "feedback_source": {"type": "app", "user_id": "u1"}},
    ]},
    {**RUNS[1], "feedback": [
        {"key": "note", "score": 1, "feedback_group_id": None, "feedback_source": {"type": "app", "user_id": "u1"}},
        {"key": "better_answer", "score": 0, "feedback_group_id": "g1", "feedback_source": {"type": "app", "user_id": "u1"}},
    ]},
]  # fmt: skip
SMITH_GROUPS = {"id": "e2", "inputs": {"question": "Why?"}, "outputs": None, "runs": GROUPED}
SMITH = {"id": "e1", "inputs": {"question": "Why?"}, "outputs": {"answer": "because"}, "runs": RUNS}
ARENA = {
    "question_id": "q1", "model_a": "P", "model_b": "Q", "winner": "tie (bothbad)", "judge": "arena_user_1",
    "conversation_a": [{"role": "user", "content": "Why?"}, {"role": "assistant", "content": "one"}],
    "conversation_b": [{"role": "user", "content": "Why?"}, {"role": "assistant", "content": "two"}],
    "turn": 1, "anony": True, "language": "English", "tstamp": 1767323045.5,
}  # fmt: skip
NEW_ARENA = {
    "id": "n1", "model_a": "P", "model_b": "Q", "winner": "model_b", "evaluation_session_id": "s",
    **{f"conversation_{side}": [
        {"role": "user", "content": [{"type": "text", "text": "Why?", "image": None}]},
        {"role": "assistant", "content": [{"type": "text", "text": text, "image": None}]},
    ] for side, text in (("a", "one"), ("b", "two"))},
    "timestamp": "2026-01-02T03:04:05",
}  # fmt: skip
ARENA_100K = {
    **{key: ARENA[key] for key in ("model_a", "model_b", "conversation_a", "conversation_b", "turn", "anony", "language", "tstamp")},
    "question_id": "q2", "winner": "model_a", "judge_hash": "abc", "is_code": False, "is_refusal": False,
    "conv_metadata": {"turns": 1}, "dedup_tag": {}, "category_tag": {},
}  # fmt: skip
LOG = {
    "tstamp": 1767323045.5, "type": "leftvote", "models": ["", ""], "ip": "1.2.3.4",
    "states": [
        {"conv_id": "c", "model_name": name, "offset": 1, "messages": [["S", "old"], ["U", "Why?"], ["A", text]]}
        for name, text in (("P", "one"), ("Q", "two"))
    ],
}  # fmt: skip
OPEN_LOG = {  # names were shown; an empty answer is kept as None
    "tstamp": 1767323045.5, "type": "rightvote", "models": ["<h3>Model A: P</h3>\n", "<h3>Model B: Q</h3>\n"], "ip": "1.2.3.4",
    "states": [
        {"conv_id": "d", "model_name": None, "offset": 0, "messages": [["U", "Why?"], ["A", text]]} for text in ("one", "two")
    ],
}  # fmt: skip
KAGGLE = {
    "id": "30", "model_a": "P", "model_b": "Q", "prompt": '["Why?"]', "response_a": '["one"]', "response_b": '["two"]',
    "winner_model_a": "1", "winner_model_b": "0", "winner_tie": "0",
}  # fmt: skip
OPENAI = {
    "input": {"messages": [{"role": "user", "content": "Why?"}], "tools": [], "parallel_tool_calls": True},
    "preferred_output": [{"role": "assistant", "content": "one"}],
    "non_preferred_output": [{"role": "assistant", "content": "two"}],
}
SUMMARY = {
    "info": {"id": "t3", "post": "Why?", "title": "T", "subreddit": "s"}, "split": "train", "batch": "b",
    "summaries": [{"text": "one", "policy": "P", "note": None}, {"text": "two", "policy": "Q", "note": None}],
    "choice": 1, "worker": "w1", "extra": {"confidence": 7},
}  # fmt: skip
OPENAI_PARTS = {  # `developer` and content in parts, as newer chat messages have them
    "input": {"messages": [{"role": "developer", "content": "Be kind."}, {"role": "user", "content": [{"type": "text", "text": "Why?"}]}]},
    "preferred_output": [{"role": "assistant", "content": [{"type": "text", "text": "one"}]}],
    "non_preferred_output": [{"role": "assistant", "content": "two"}],
}  # fmt: skip
# As the Hugging Face set has the news half: every field of `info`, those of Reddit null.
SUMMARY_NEWS = {
    **SUMMARY, "info": {"id": "n1", "post": None, "title": None, "subreddit": None, "site": "news", "article": "Why?"},
    "extra": {"confidence": None}, "choice": 0, "worker": "w2",
}  # fmt: skip
AXES = {
    "info": {"id": "n1", "site": "news", "title": "T", "article": "Why?"}, "split": "test", "worker": "w1", "batch": "b",
    "summary": {"text": "one", "policy": "P", "note": None, "axes": {"overall": 3, "accuracy": 5}},
}  # fmt: skip
WEBGPT = {
    "question": {"dataset": "eli5", "id": "1", "full_text": "Why?"}, "answer_0": "one", "answer_1": "two",
    "score_0": 0.0, "score_1": 0.0, "quotes_0": {"title": ["t"], "extract": ["e"]}, "quotes_1": {"title": [], "extract": []},
    "tokens_0": {"prefix": [1], "completion": [2]}, "tokens_1": {"prefix": [1], "completion": [3]},
}  # fmt: skip
# OpenAI's own file: a list of two records a line (the paper's appendix K).
WEBGPT_RAW = [
    {
        "question": {"dataset": "eli5", "id": "1", "full_text": "Why?"}, "quotes": {"title": ["t"], "extract": ["e"]},
        "answer": answer, "tokens": {"prefix": [1], "completion": [2]}, "score": score,
    }
    for answer, score in (("one", -0.5), ("two", 0.5))
]  # fmt: skip

# tool, record, (annotator, choice) of what is taken, words of why the rest is not
CASES = [
    ("label-studio", TASK, [("ann@example.org", "b"), ("user 5", "tie")], ["12: it was skipped", "14: it has neither"]),
    ("label-studio", MINIMAL, [("user 2", "a")], []),
    ("label-studio", MINIMAL_LISTS, [("ann@example.org", "b")], []),
    ("label-studio", MINIMAL_CHOICE, [("user 3", "tie")], []),
    ("argilla", ARGILLA, [("u1", "a"), ("u2", "tie")], ["u3 (other) compare nothing"]),
    ("argilla", FLAT, [("u1", "b")], ["u2 is draft"]),
    ("argilla", OLD, [("u1", "b")], ["u2 is discarded"]),
    ("langsmith", SMITH, [("u1", "b"), ("u2", "tie")], ["u3 scored one run only"]),
    ("langsmith", SMITH_GROUPS, [("u1", "a")], []),
    ("chatbot-arena", ARENA, [("arena_user_1", "both_bad")], []),
    ("chatbot-arena", NEW_ARENA, [("s", "b")], []),
    ("chatbot-arena", ARENA_100K, [("abc", "a")], []),
    ("chatbot-arena", OPEN_LOG, [("arena user", "b")], []),
    ("chatbot-arena", LOG, [("arena user", "a")], []),
    ("chatbot-arena", KAGGLE, [("arena users", "a")], []),
    ("openai", OPENAI, [("OpenAI preferences", "a")], []),
    ("openai", SUMMARY, [("w1", "b")], []),
    ("openai", OPENAI_PARTS, [("OpenAI preferences", "a")], []),
    ("openai", SUMMARY_NEWS, [("w2", "a")], []),
    ("openai", WEBGPT, [("WebGPT labelers", "tie")], []),
    ("openai", WEBGPT_RAW, [("WebGPT labelers", "b")], []),
]  # fmt: skip


@pytest.mark.parametrize(("tool", "record", "taken", "why"), CASES)
def test_a_tools_records_are_recognised_and_taken(db, tool, record, taken, why):
    project = create_project(db, WHO, name="p", votes_per_pair=3)
    report = data.import_foreign(db, WHO, project.id, [record], "auto")
    assert [index for index, _ in report.skipped] == [0] * len(why)
    for words, (_, reason) in zip(why, report.skipped, strict=True):
        assert words in reason
    rows = data.export(db, WHO, project.id, "comparisons", include_simulated=True)
    got = [(row["annotator"], row["choice"] if row["response_a"] == "one" else {"a": "b", "b": "a"}.get(row["choice"], row["choice"])) for row in rows]  # fmt: skip
    assert sorted(got) == sorted(taken)
    assert {frozenset((row["response_a"], row["response_b"])) for row in rows} == {frozenset(("one", "two"))}
    assert not any(row["simulated"] for row in rows)
    table = read_table("export.json", json.dumps([record]).encode())
    assert foreign.recognised(table).name == tool
    table = read_table("export.jsonl", json.dumps(record).encode())
    assert foreign.recognised(table).name == tool
    again = data.import_foreign(db, WHO, project.id, [record], tool)
    assert (again.imported, again.duplicates) == (0, len(taken))


def taken_from(*records, tool="auto"):
    table = Table("JSON", "row", rows=list(records), numbers=list(range(1, len(records) + 1)))
    return foreign.converted(foreign.recognised(table) if tool == "auto" else foreign.TOOLS[tool], table)


def test_what_comes_along_is_kept():
    first = taken_from(TASK).rows[0]
    assert first["duration_ms"] == 12_500 and first["criteria"] == {"kind": 4} and first["left"] == "a"
    assert first["reason"] == "short\nand clear" and first["created_at"].startswith("2026-01-02")
    first = taken_from(ARGILLA).rows[0]
    assert (first["prompt_a"], first["criteria"], first["reason"]) == ("P", {"quality": 4}, "it is kinder")
    first = taken_from(SMITH).rows[0]
    assert (first["prompt_a"], first["prompt_b"]) == ("base", "new")
    assert (first["criteria"], first["reason"]) == ({"helpful": "same"}, "clear")
    assert first["created_at"] == "2026-01-02T00:00:01Z"


def test_what_comes_along_in_flat_records_is_kept():
    (row,) = taken_from(MINIMAL_LISTS).rows
    assert (row["criteria"], row["reason"], row["duration_ms"]) == ({"kind": 4}, "short\nand clear", 2_500)
    assert "pw" not in row and "agreement" not in taken_from(MINIMAL_CHOICE).rows[0]
    # A CSV has the same lists as JSON, and numbers as text.
    flat = {
        name: json.dumps(cell) if isinstance(cell, list) else str(cell)
        for name, cell in MINIMAL_LISTS.items()
    }
    (csv,) = taken_from(flat).rows
    assert {key: csv[key] for key in ("choice", "left", "reason", "duration_ms", "criteria")} == {
        key: row[key] for key in ("choice", "left", "reason", "duration_ms", "criteria")
    }
    # Nobody has annotated it yet.
    (row,) = taken_from(
        {**MINIMAL_LISTS, "pw": None, "annotation_id": None, "annotator": None, "lead_time": None}
    ).rows
    assert "choice" not in row and row["answer1"] == "one"
    made = taken_from({**MINIMAL_CHOICE, "which": "blue"})
    assert made.rows == [] and "no pairwise selection" in made.broken[0][1]


def test_names_of_a_log_are_without_the_pages_markup():
    (row,) = taken_from(OPEN_LOG).rows
    assert (row["prompt_a"], row["prompt_b"]) == ("P", "Q")
    (row,) = taken_from({**OPEN_LOG, "models": ["", ""]}).rows
    assert row["prompt_a"] == "unknown model"


def test_rows_of_evaluate_comparative_hold_their_runs_among_the_results():
    runs = [{key: run[key] for key in ("id", "session_id", "outputs")} for run in RUNS]
    line = {
        "example": {"id": "e3", "inputs": {"question": "Why?"}},
        "evaluation_results": {
            "runs": runs,
            "feedback.preference": {
                "key": "preference",
                "scores": {"x": 0, "y": 1},
                "comment": {"y": "kinder"},
            },
        },
    }
    (row,) = taken_from(line).rows
    assert (row["choice"], row["simulated"], row["reason"], row["external_id"]) == ("b", True, "kinder", "e3")
    assert (row["response_a"], row["response_b"], row["prompt_a"]) == ("one", "two", "s1")


# What `evaluate_comparative` writes (source "api", the comparison, its evaluator's run), read back
# from the API beside what a person said of the same two runs in a pairwise queue.
COMPARISON = {"comparative_experiment_id": "c1", "feedback_group_id": "g1", "created_at": "2026-01-02T00:00:00Z"}
API_RUNS = [
    {
        "id": run, "project_id": f"{name}-1", "name": "target", "reference_example_id": "e4", "status": "SUCCESS",
        "inputs": {"question": "Why?"}, "outputs": {"answer": text}, "feedback": [
            {"key": "ranked_preference", "score": won, "value": None, "comment": "longer", **COMPARISON,
             "feedback_source": {"type": "api", "user_id": "owner-of-the-key", "metadata": {"__run": {"run_id": "z"}}}},
            {"key": "length", "score": won, **COMPARISON, "feedback_source": {"type": "api", "metadata": {}}},
            {"key": "better", "score": 1 - won, **COMPARISON, "feedback_group_id": "g2",
             "feedback_source": {"type": "app", "user_id": "u1", "metadata": {}}},
        ],
    }
    for run, name, text, won in (("x", "base", "one", 1), ("y", "new", "two", 0))
]  # fmt: skip


def test_what_evaluate_comparative_wrote_is_an_evaluators_and_what_a_queue_did_a_persons():
    record = {"id": "e4", "inputs": {"question": "Why?"}, "outputs": None, "runs": API_RUNS}
    rows = taken_from(record).rows
    said = {row["annotator"]: (row["choice"], row.get("simulated", False)) for row in rows}
    assert said == {
        "evaluator ranked_preference": ("a", True),
        "evaluator length": ("a", True),
        "u1": ("b", False),
    }
    assert {(row["prompt_a"], row["prompt_b"]) for row in rows} == {("base-1", "new-1")}


def test_one_persons_score_is_read_from_a_runs_statistics():
    runs = [
        {key: run[key] for key in ("id", "name", "outputs")}
        | {"feedback_stats": {"better": {"n": 1, "avg": avg, "comments": [said], "sources": [{}]}}}
        for run, avg, said in zip(API_RUNS, (0, 1), (None, "kinder"), strict=True)
    ]
    (row,) = taken_from({"id": "e5", "inputs": {"question": "Why?"}, "runs": runs}).rows
    assert (row["choice"], row["reason"]) == ("b", "kinder")


def test_columns_that_to_name_names_are_the_responses():
    task = json.loads(json.dumps(TASK))
    task["data"] = {"q": "Why?", "new": "one", "old": "two"}
    task["annotations"] = task["annotations"][:1]
    task["annotations"][0]["result"][0]["to_name"] = ["old", "new"]
    (row,) = taken_from(task).rows
    assert (row["response_a"], row["response_b"], row["choice"]) == ("two", "one", "right")


def test_models_judgements_are_simulated_votes_and_suggestions_are_none():
    runs = [{key: run[key] for key in ("id", "session_name", "outputs")} for run in RUNS]
    judged = {"inputs": {"q": "Why?"}, "runs": runs, "evaluation_results": {
        "feedback.preference": {"key": "preference", "scores": {"x": 1, "y": 0}, "comment": "kinder"}}}  # fmt: skip
    (row,) = taken_from(judged).rows
    assert row["simulated"] and (row["annotator"], row["choice"]) == ("evaluator preference", "a")
    (row,) = taken_from({**ARGILLA, "responses": {}}).rows
    assert "annotator" not in row
    (row,) = taken_from({**TASK, "annotations": []}).rows
    assert "choice" not in row


@pytest.mark.parametrize(
    ("tool", "record", "why"),
    [
        ("chatbot-arena", {**ARENA, "conversation_a": [*ARENA["conversation_a"], *ARENA["conversation_a"]],
                           "conversation_b": [*ARENA["conversation_b"], *ARENA["conversation_b"]]}, "part before the last"),
        ("chatbot-arena", {name: ARENA[name] for name in ("model_a", "model_b", "winner", "judge")}, "without their texts"),
        ("chatbot-arena", {**LOG, "type": "upvote"}, "no vote (upvote)"),
        ("chatbot-arena", {**ARENA, "winner": "?"}, "winner: '?' is none"),
        ("langsmith", {**SMITH, "runs": RUNS[:1]}, "1 runs where a comparison has two"),
        ("langsmith", {"run_id": "x", "key": "k", "score": 1}, "feedback alone"),
        ("langsmith", {"inputs": "Why?", "runs": [{**run, "feedback": None, "feedback_stats": {"k": {"n": 3, "avg": 0.5}}} for run in RUNS]}, "a mean over several"),
        ("openai", {**OPENAI, "preferred_output": [{"role": "assistant", "tool_calls": []}]}, "not one message of text"),
        ("openai", {**OPENAI, "preferred_output": OPENAI["preferred_output"] * 2}, "not one message of text"),
        ("openai", {**OPENAI, "input": {"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "x"}}]}]}}, "a part that is no text"),
        ("openai", {"0": WEBGPT_RAW[0], "1": {**WEBGPT_RAW[1], "question": {"full_text": "How?"}}}, "to different ones"),
        ("openai", AXES, "it rates one summary (overall, accuracy)"),
        ("openai", {**SUMMARY, "choice": 2}, "neither of two"),
        ("openai", {**SUMMARY, "info": None}, "not as OpenAI writes"),
        ("argilla", {"a": 1}, "not a record of Argilla's"),
    ],
)  # fmt: skip
def test_why_a_record_is_not_taken(tool, record, why):
    made = taken_from(record, tool=tool)
    assert made.rows == [] and why in made.broken[0][1], made


def test_ordinary_files_are_not_taken_for_a_tools():
    for name, content in (
        ("x.csv", b"input,response_a,response_b,prompt_a,prompt_b,annotator,choice\na,b,c,P,Q,x,a\n"),
        ("x.csv", b"question,model_a,model_b,winner,answer_a,answer_b\na,P,Q,model_a,c,d\n"),
        ("x.jsonl", b'{"prompt": "a", "chosen": "b", "rejected": "c"}\n'),
    ):
        assert foreign.recognised(read_table(name, content)) is None


def test_the_page_recognises_maps_previews_and_reports(db, admin, project, open_page):
    at = upload(
        open_page(admin, "data.py", project),
        "export.json",
        json.dumps([TASK, {**TASK, "id": 8, "data": {}}]).encode(),
    )
    assert "Label Studio export, 2 records, 4 comparisons" in texts(at)
    chosen = {box.label: box.value for box in at.selectbox}
    assert chosen["Response A (needed)"] == "answer1" and chosen["Annotator"] == "annotator"
    values = {metric.label: metric.value for metric in at.metric}
    # Two votes of the first task; the second has no texts, and each has two annotations without a choice.
    assert values == {"Rows that would be taken": "2", "Duplicates": "0", "Not taken": "6"}
    next(button for button in at.button if button.label == "Import 2 rows").click().run()
    assert not at.exception and data.counts(db, admin, project.id).votes == 2
    assert any("it was skipped" in reason for reason in at.dataframe[0].value["reason"])


def test_the_page_can_read_the_file_as_it_stands(db, admin, project, open_page):
    at = upload(open_page(admin, "data.py", project), "battles.json", json.dumps([ARENA]).encode())
    assert "Chatbot Arena export, 1 record, 1 comparison" in texts(at)
    next(toggle for toggle in at.toggle if toggle.label.startswith("Read it as")).set_value(False).run()
    assert not at.exception and "1 rows, 11 columns" in texts(at)
    assert "Import 1 row" not in labels(at.button)
    next(toggle for toggle in at.toggle if toggle.label.startswith("Read it as")).set_value(True).run()
    assert not at.exception and "Import 1 row" in labels(at.button)


def test_over_the_api(api, admin, project):
    client = api(admin)
    url = f"/projects/{project.id}/comparisons"
    said = client.post(f"{url}?tool=auto", json=[TASK, 5]).json()
    assert (said["imported"], [one["row"] for one in said["skipped"]]) == (2, [0, 0, 1])
    assert client.post(f"{url}?tool=potato", json=[]).status_code == 422
    assert client.post(f"{url}?tool=auto", json=[{"a": 1}]).status_code == 422


def test_a_tool_that_is_not_known(db, admin, project):
    with pytest.raises(Invalid, match="tool"):
        data.import_foreign(db, admin, project.id, [], "potato")
