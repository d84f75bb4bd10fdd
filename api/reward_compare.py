"""Two reward models on the same pairs, and what making one active would change."""

from typing import Any

from fastapi import APIRouter

from api.deps import CurrentUser, DatabaseDep
from core.reward import comparing, promotion

router = APIRouter(tags=["reward models"])


@router.get("/reward-models/{model_id}/compare/{other_id}")
def compare(
    model_id: str, other_id: str, db: DatabaseDep, who: CurrentUser, source: str | None = None
) -> dict[str, Any]:
    """The first model is the reference: every difference is `other_id` less `model_id`, on
    held-out pairs that neither was trained on. `accuracy`, `log_loss` and `brier` with 95 %
    intervals, `p` by McNemar (mid-p; `by_examples` where examples have several pairs),
    `verdict` better, worse, unclear or unknown. `source`: test, or the id of a run of the kind
    reward_compare; by itself whichever has more pairs."""
    return comparing.compare(db, who, model_id, other_id, source).as_dict()


@router.get("/reward-models/{model_id}/change")
def change(model_id: str, db: DatabaseDep, who: CurrentUser) -> dict[str, Any]:
    """What `POST /reward-models/{model_id}/activate` would change, and the `warning` that asks
    for a reason; empty where the model is shown to be better, or none is active."""
    return promotion.change(db, who, model_id).as_dict()
