"""OpenAI's comparisons: preference fine-tuning files, and the logs it published.

- Preference fine-tuning (Together and Fireworks take the same): `{input: {messages},
  preferred_output: [message], non_preferred_output: [message]}`.
- Summarize from feedback (Stiennon et al. 2020, arXiv 2009.01325): `{info: {post or article},
  summaries: [{text, policy}, …], choice: 0 or 1, worker}`.
- WebGPT comparisons (Nakano et al. 2021, arXiv 2112.09332): `{question: {full_text}, answer_0,
  answer_1, score_0, score_1}`; equal scores are a tie.
"""

from collections.abc import Iterator
from typing import Any

from storage.inputs import RowProblem
from storage.preferences import UNKNOWN_PROMPT

Row = dict[str, Any]


def fits(row: Row) -> bool:
    return (
        {"preferred_output", "non_preferred_output"} <= set(row)
        or {"summaries", "choice"} <= set(row)
        or {"answer_0", "answer_1", "score_0", "score_1"} <= set(row)
    )


def rows(line: Row) -> Iterator[Row | str]:
    if "summaries" in line:
        yield _summaries(line)
    elif "answer_0" in line:
        yield _webgpt(line)
    else:
        yield _preference(line)


def _preference(line: Row) -> Row:
    given = line["input"]
    asked = given.get("messages") if isinstance(given, dict) else given
    if not asked:
        raise RowProblem("input: it has no messages")
    if isinstance(asked, list) and len(asked) == 1 and isinstance(asked[0].get("content"), str):
        asked = asked[0]["content"]
    sides = {}
    for side, name in (("a", "preferred_output"), ("b", "non_preferred_output")):
        (message,) = line[name] if len(line[name]) == 1 else (None,)
        content = message.get("content") if message else None
        if not isinstance(content, str):
            raise RowProblem(f"{name}: it is not one message of text")
        sides[f"response_{side}"] = content
    return {
        "input": asked,
        **sides,
        "prompt_a": UNKNOWN_PROMPT,
        "prompt_b": UNKNOWN_PROMPT,
        "annotator": "OpenAI preferences",
        "choice": "a",
    }


def _summaries(line: Row) -> Row:
    info, summaries = line["info"], line["summaries"]
    if len(summaries) != 2 or line["choice"] not in (0, 1):
        raise RowProblem("choice: it is neither of two summaries")
    post = info.get("post") or info.get("article")
    title = info.get("title")
    return {
        "input": {"title": title, "post": post} if title else post,
        "response_a": summaries[0]["text"],
        "response_b": summaries[1]["text"],
        "prompt_a": summaries[0].get("policy") or UNKNOWN_PROMPT,
        "prompt_b": summaries[1].get("policy") or UNKNOWN_PROMPT,
        "annotator": str(line.get("worker") or "OpenAI worker"),
        "choice": "ab"[line["choice"]],
        "external_id": str(info.get("id") or "") or None,
    }


def _webgpt(line: Row) -> Row:
    question, first, second = line["question"], line["score_0"], line["score_1"]
    text = question["full_text"] if isinstance(question, dict) else question
    return {
        "input": text,
        "response_a": line["answer_0"],
        "response_b": line["answer_1"],
        "prompt_a": UNKNOWN_PROMPT,
        "prompt_b": UNKNOWN_PROMPT,
        "annotator": "WebGPT labelers",
        "choice": "a" if first > second else "b" if second > first else "tie",
        "external_id": str(question.get("id") or "") or None if isinstance(question, dict) else None,
    }
