"""The crowd's comparisons of `shared/data/llmfao`, as canonical rows."""

import csv
import json
from typing import Any

from tests.conftest import SHARED_DATA

FOLDER = SHARED_DATA / "llmfao"


def rows() -> list[dict[str, Any]]:
    """One canonical row a judgement: a is `model_x`, b is `model_y`."""

    def lines(name: str) -> list[dict[str, Any]]:
        return [json.loads(line) for line in (FOLDER / name).read_text(encoding="utf-8").splitlines()]

    pairs = {pair["id"]: pair for pair in lines("pairs-crowd.jsonl")}
    names = {model["id"]: model["name"] for model in lines("models.jsonl")}
    found = []
    with (FOLDER / "crowd-comparisons.csv").open(encoding="utf-8", newline="") as file:
        for vote in csv.DictReader(file):
            pair = pairs[int(vote["id"])]
            model_a, model_b = names[pair["model_x"]], names[pair["model_y"]]
            side = {model_a: "a", model_b: "b"}
            choice = "tie" if vote["winner"] == "tie" else side[vote[vote["winner"]]]
            found.append(
                {
                    "input": pair["text"],
                    "response_a": pair["result_x"],
                    "response_b": pair["result_y"],
                    "prompt_a": model_a,
                    "prompt_b": model_b,
                    "annotator": vote["worker"],
                    "choice": choice,
                    "left": side[vote["left"]],
                    "external_id": f"{vote['id']}/{vote['worker']}",
                }
            )
    return found
