"""Chatbot Arena: its published battles, and the log that FastChat writes.

Battles are `{question_id or id, model_a, model_b, winner, judge, conversation_a,
conversation_b, tstamp}` (winner: model_a, model_b, tie, "tie (bothbad)" or both_bad; newer
sets have `judge_hash` or `evaluation_session_id`, and a message's content as parts); the set of the Kaggle competition has `prompt`,
`response_a`, `response_b` as JSON lists and `winner_model_a`, `winner_model_b`, `winner_tie`;
a log line is `{type: leftvote, models, states: [{messages: [[role, text], …], offset}, …]}`,
its models as the page showed them (`<h3>Model A: name</h3>`, or "" before the vote).
Model A stands on the left. A battle whose two conversations part before the last question
judges more than one response to one input, and is not taken.
(huggingface.co/datasets/lmsys/chatbot_arena_conversations, …/lmarena-ai/arena-human-preference-140k,
fastchat/serve/monitor/clean_battle_data.py)
"""

import json
from collections.abc import Iterator
from typing import Any

from storage.inputs import RowProblem, messages_of

Row = dict[str, Any]
_VOTES = {"leftvote": "a", "rightvote": "b", "tievote": "tie", "bothbad_vote": "both_bad"}
_JUDGES = ("judge", "judge_hash", "evaluation_session_id")
_WINNERS = {
    "model_a": "a", "model_b": "b", "tie": "tie", "tie (bothbad)": "both_bad", "both_bad": "both_bad",
    "bothbad": "both_bad",
}  # fmt: skip


def fits(row: Row) -> bool:
    if isinstance(row.get("states"), list) and "models" in row:
        return True
    if "winner_model_a" in row and "response_a" in row:
        return True
    return {"model_a", "model_b", "winner"} <= set(row) and bool(
        {"conversation_a", "judge", "battle_mode"} & set(row)
    )


def rows(battle: Row) -> Iterator[Row | str]:
    if "states" in battle:
        yield _logged(battle)
    elif "winner_model_a" in battle:
        yield _competition(battle)
    else:
        yield _battle(battle)


def _battle(battle: Row) -> Row:
    if "conversation_a" not in battle:
        raise RowProblem("it has no conversations: this is the list of battles without their texts")
    choice = _WINNERS.get(str(battle["winner"]).strip().lower())
    if choice is None:
        raise RowProblem(f"winner: {str(battle['winner'])[:40]!r} is none")
    said = [_listed(battle[f"conversation_{side}"]) for side in "ab"]
    judge = next((battle[name] for name in _JUDGES if battle.get(name)), "arena user")
    row = _compared(messages_of(said[0], "conversation_a"), messages_of(said[1], "conversation_b"))
    return row | {
        "prompt_a": battle["model_a"],
        "prompt_b": battle["model_b"],
        "annotator": str(judge),
        "choice": choice,
        "left": "a",
        "created_at": battle.get("tstamp") or battle.get("timestamp"),
        "external_id": str(battle.get("question_id") or battle.get("id") or "") or None,
    }


def _competition(battle: Row) -> Row:
    won = [name for name in ("model_a", "model_b", "tie") if str(battle.get(f"winner_{name}")) in ("1", "1.0", "True")]  # fmt: skip
    if len(won) != 1:
        raise RowProblem("winner: not one of winner_model_a, winner_model_b, winner_tie is 1")
    prompts = _listed(battle["prompt"])
    said = []
    for side in "ab":
        answers = _listed(battle[f"response_{side}"])
        if len(answers) != len(prompts):
            raise RowProblem(f"response_{side}: {len(answers)} answers to {len(prompts)} prompts")
        said.append([
            turn
            for asked, answer in zip(prompts, answers, strict=True)
            for turn in ({"role": "user", "content": asked}, {"role": "assistant", "content": answer or ""})
        ])  # fmt: skip
    return _compared(*said) | {
        "prompt_a": battle["model_a"],
        "prompt_b": battle["model_b"],
        "annotator": "arena users",
        "choice": _WINNERS[won[0]],
        "left": "a",
        "external_id": str(battle.get("id") or "") or None,
    }


def _logged(line: Row) -> Row:
    choice = _VOTES.get(line.get("type", ""))
    if choice is None:
        raise RowProblem(f"it is no vote ({str(line.get('type'))[:30]})")
    said = []
    for state in line["states"]:
        turns = state["messages"][state.get("offset", 0) :]
        said.append([
            {"role": "user" if place % 2 == 0 else "assistant", "content": text or ""}
            for place, (_, text) in enumerate(turns)
        ])  # fmt: skip
    names = [
        state.get("model_name") or _shown(shown)
        for state, shown in zip(line["states"], line["models"], strict=True)
    ]
    return _compared(messages_of(said[0], "model a"), messages_of(said[1], "model b")) | {
        "prompt_a": names[0],
        "prompt_b": names[1],
        "annotator": "arena user",
        "choice": choice,
        "left": "a",
        "created_at": line.get("tstamp"),
        "external_id": str(line["states"][0].get("conv_id") or "") or None,
    }


def _shown(name: Any) -> str:
    """A model's name as the page showed it: `<h3>Model A: name</h3>`, or the name alone."""
    text = str(name or "").strip()
    if text.startswith("<h3>"):
        text = text.removeprefix("<h3>").removesuffix("</h3>").partition(": ")[2].strip()
    return text or "unknown model"


def _compared(first: list[Row], second: list[Row]) -> Row:
    if not first or not second or first[-1]["role"] != "assistant" or second[-1]["role"] != "assistant":
        raise RowProblem("a conversation does not end with an answer")
    if first[:-1] != second[:-1]:
        raise RowProblem("the two conversations part before the last question")
    asked = first[:-1]
    return {
        "input": asked if len(asked) > 1 else asked[0]["content"],
        "response_a": first[-1]["content"],
        "response_b": second[-1]["content"],
    }


def _listed(value: Any) -> list[Any]:
    """A list, also where a CSV has it as JSON."""
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except ValueError:
            raise RowProblem("a conversation is neither a list nor JSON") from None
    if not isinstance(value, list):
        raise RowProblem("a conversation is not a list")
    return value
