"""How far people agree on the same pairs: what a model can be expected to reach.

Decisive votes by people alone (a or b; no simulated ones, no machine judges). Two measures:

- two votes on a pair agree: the mean over pairs of sum_k n_k (n_k - 1) / (n (n - 1)), the
  agreement that Fleiss' kappa starts from (Fleiss 1971, Psychological Bulletin 76:378);
- one vote against the majority of the others, leaving each vote out in turn (an even split of
  the others counts a half). The model is held against those same majorities, as one more
  annotator would be, so that the two can be compared.

Intervals go by pairs.
"""

from collections import defaultdict
from collections.abc import Sequence
from typing import Any

import numpy as np

from core.reward.judgement.figures import Bootstrap, Figure, figure, mean_of, rate
from core.reward.judgement.pairs import Judged, agree
from core.reward.judgement.votes import Ballot
from core.reward.paired import mean_difference, sign_flip

FEW = 20  # pairs with two votes and more: below, the ceiling is only a guess
_NOTHING: Figure = figure(None, None, None, 0)


def people(test: Judged, ballots: Sequence[Ballot], *, resamples: int = 1_000) -> dict[str, Any]:
    """See `core.reward.judgement`."""
    counts: dict[int, list[int]] = defaultdict(lambda: [0, 0])
    for ballot in ballots:
        if ballot.people and ballot.decisive:
            counts[ballot.pair][ballot.outcome == "b"] += 1
    single = sum(a + b == 1 for a, b in counts.values())
    shared = {pair: (a, b) for pair, (a, b) in sorted(counts.items()) if a + b > 1}
    names = ("votes", "one_out", "model_one_out", "difference", "model_majority", "majority_vote")
    found: dict[str, Any] = {
        "single": single,
        "several": len(shared),
        **dict.fromkeys(names, _NOTHING),
        "p": None,
    }
    if not shared:
        found["message"] = nothing_to_say(len(test), single, bool(ballots))
        return found
    pairs = np.array(list(shared))
    votes = np.array(list(shared.values()), dtype=float)  # (m, 2)
    n = votes.sum(1)
    same = ((votes**2).sum(1) - n) / (n * (n - 1))
    whole = Bootstrap(np.arange(len(pairs)), resamples)
    found["votes"] = whole.figure(mean_of(same))

    # One vote left out in turn: n_a votes face the majority of (n_a - 1, n_b), and so on.
    place, human, model, times = [], [], [], []
    for i, (a, b) in enumerate(votes):
        for own, others in ((1.0, a - 1 - b), (0.0, a - b + 1)):
            count = a if own else b
            if count:
                place.append(i)
                times.append(count)
                majority = 0.5 + 0.5 * np.sign(others)
                human.append(0.5 if others == 0 else float(majority == own))
                model.append(
                    0.5 if others == 0 else float(agree(test.d[pairs[i : i + 1]], np.array([majority]))[0])
                )
    spread = np.repeat(np.arange(len(times)), np.array(times, dtype=int))
    at = np.array(place)[spread]
    one, other = np.array(human)[spread], np.array(model)[spread]
    each = Bootstrap(at, resamples)
    found["one_out"] = each.figure(mean_of(one))
    found["model_one_out"] = each.figure(mean_of(other))
    difference = mean_difference(one, other, at)
    found["difference"] = figure(difference.value, difference.low, difference.high, difference.n)
    found["p"] = sign_flip(one, other, at)

    uneven = votes[:, 0] != votes[:, 1]
    majority = (votes[:, 0] > votes[:, 1]).astype(float)
    found["model_majority"] = rate(agree(test.d[pairs], majority)[uneven], test.place[pairs][uneven])
    top = np.repeat(votes.max(1) / n, n.astype(int))
    found["majority_vote"] = Bootstrap(np.repeat(np.arange(len(pairs)), n.astype(int)), resamples).figure(
        mean_of(top)
    )
    found["message"] = words(found, len(test))
    return found


def nothing_to_say(test: int, single: int, has_votes: bool) -> str:
    if not has_votes:
        return "This run was frozen without its single votes, so how far people agree is not known."
    if single:
        return (
            f"Each of the {single:,} test pairs that people decided has one vote only: how far people agree with each "
            "other, and so what a model can reach, is not known. Ask for a second vote on some pairs of the test split."
        )
    return (
        f"None of the {test:,} test pairs was decided by people: there is no human agreement to compare with."
    )


def words(found: dict[str, Any], test: int) -> str:
    said = f"{found['several']:,} of {test:,} test pairs have two decisive votes by people and more."
    if found["several"] < FEW:
        said += " So few say little about how far people agree."
    if found["single"]:
        said += f" {found['single']:,} have one, and say nothing about agreement."
    return said
