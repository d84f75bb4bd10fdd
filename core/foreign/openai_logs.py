"""OpenAI's comparisons: preference fine-tuning files, and the logs it published.

- Preference fine-tuning (Together and Fireworks take the same): `{input: {messages, tools,
  parallel_tool_calls}, preferred_output: [message], non_preferred_output: [message]}`, one
  message of the assistant each; a content may be a list of parts.
  (developers.openai.com/api/docs/guides/direct-preference-optimization)
- Summarize from feedback (Stiennon et al. 2020, arXiv 2009.01325): `{info: {id, post, title,
  subreddit} or {id, article, title, site}, summaries: [{text, policy, note}, …], choice: 0 or 1,
  worker, batch, split, extra: {confidence}}`. A `note` was written before the post was seen: it is
  no reason. Its second half, ratings of one summary on axes, compares nothing.
  (README of openai/summarize-from-feedback)
- WebGPT comparisons (Nakano et al. 2021, arXiv 2112.09332, appendix K): OpenAI's own file has a
  list of two records a line, `[{question: {dataset, id, full_text}, quotes, answer, tokens, score},
  …]`; the Hugging Face set has them side by side (`answer_0`, `score_0`, …). The two scores add up
  to 0; the positive one is preferred, and 0 is a tie.
  (dataset card of openai/webgpt_comparisons)
"""

from collections.abc import Iterator
from typing import Any

from storage.inputs import RowProblem, messages_of
from storage.preferences import UNKNOWN_PROMPT

Row = dict[str, Any]


def fits(row: Row) -> bool:
    return (
        {"preferred_output", "non_preferred_output"} <= set(row)
        or {"summaries", "choice"} <= set(row)
        or {"answer_0", "answer_1", "score_0", "score_1"} <= set(row)
        or _two_records(row)
        or _axes(row) is not None
    )


def rows(line: Row) -> Iterator[Row | str]:
    if "summaries" in line:
        yield _summaries(line)
    elif "answer_0" in line:
        yield _webgpt(
            line["question"], *(line[name] for name in ("answer_0", "answer_1", "score_0", "score_1"))
        )
    elif _two_records(line):
        first, second = line["0"], line["1"]
        if first["question"] != second["question"]:
            raise RowProblem("question: its two answers are to different ones")
        yield _webgpt(first["question"], first["answer"], second["answer"], first["score"], second["score"])
    elif _axes(line) is not None:
        yield f"it rates one summary ({', '.join(_axes(line) or ())}), and compares nothing"
    else:
        yield _preference(line)


def _two_records(row: Row) -> bool:
    """A line of WebGPT's own file: a list of two, named by their places."""
    return set(row) == {"0", "1"} and all({"question", "answer", "score"} <= set(one) for one in row.values())


def _axes(row: Row) -> Row | None:
    """The ratings of a line of Summarize from feedback's `axis_evals`."""
    summary = row.get("summary")
    return summary.get("axes") if isinstance(summary, dict) and "info" in row else None


def _preference(line: Row) -> Row:
    given = line["input"]
    asked = given.get("messages") if isinstance(given, dict) else given
    if not asked:
        raise RowProblem("input: it has no messages")
    if isinstance(asked, list):
        # `developer` is what newer models call the system's part.
        asked = [one | {"role": "system"} if one.get("role") == "developer" else one for one in asked]
        turns = messages_of(asked, "input")
        asked = turns[0]["content"] if len(turns) == 1 else turns
    sides = {}
    for side, name in (("a", "preferred_output"), ("b", "non_preferred_output")):
        said = line[name] if isinstance(line[name], list) else [line[name]]
        if len(said) != 1 or not said[0].get("content"):
            raise RowProblem(f"{name}: it is not one message of text")
        sides[f"response_{side}"] = messages_of(said, name)[0]["content"]
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


def _webgpt(question: Any, answer_a: str, answer_b: str, score_a: float, score_b: float) -> Row:
    text = question["full_text"] if isinstance(question, dict) else question
    return {
        "input": text,
        "response_a": answer_a,
        "response_b": answer_b,
        "prompt_a": UNKNOWN_PROMPT,
        "prompt_b": UNKNOWN_PROMPT,
        "annotator": "WebGPT labelers",
        "choice": "a" if score_a > score_b else "b" if score_b > score_a else "tie",
        "external_id": str(question.get("id") or "") or None if isinstance(question, dict) else None,
    }
