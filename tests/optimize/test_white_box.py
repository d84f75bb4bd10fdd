"""The gradient at a prompt's tokens: against finite differences, and HotFlip's ranking against
trying every token."""

import itertools

import numpy as np
import pytest
import torch

from core.optimize.white_box import WhiteBox
from core.runs.context import WorkError

HEAD = "tell me"
ROWS = [{"input": "the film was boring"}, {"input": "a great cat"}, {"input": "no dog please stir the soup"}]
WORDS = ["good", "very bad"]  # one token, and two
RIGHT = [1, 0, 1]


def request(text, row):
    return [{"role": "system", "content": text}, {"role": "user", "content": row["input"]}]


@pytest.fixture
def box(tiny_host):
    return WhiteBox(tiny_host, request, WORDS, HEAD)


def label_loss(host, text, row, right, against, changed=None):
    """-log p, one label and one example at a time, without padding. `changed`: (place among the
    instruction's tokens, what is added to its embedding)."""
    scores = []
    for word in WORDS:
        prompt = host.tokens(host.rendered(request(text, row)))
        answer = host.tokenizer(word, add_special_tokens=False)["input_ids"]
        ids = torch.tensor([prompt + answer])
        with torch.no_grad():
            embedded = host.model.get_input_embeddings()(ids).clone()
            if changed is not None:
                place, delta = changed
                embedded[0, 2 + place] += delta  # after “<s> system”
            logp = host.model(inputs_embeds=embedded).logits[0].log_softmax(-1)
        scores.append(sum(logp[len(prompt) - 1 + i, token] for i, token in enumerate(answer)))
    scores = torch.stack(scores)
    return float(-scores[right] if against == "vocabulary" else -scores.log_softmax(0)[right])


@pytest.mark.parametrize("against", ["vocabulary", "labels"])
def test_the_gradient_against_finite_differences(tiny_host, box, against):
    ids = box.vocabulary.ids("film was dog")
    text = box.text(ids)
    assert text == "tell me film was dog"
    loss, slope = box.gradient(ids, list(zip(ROWS, RIGHT, strict=True)), against)
    assert slope.shape == (3, 32) and slope.dtype == torch.float32

    def mean_loss(changed=None):
        return np.mean(
            [
                label_loss(tiny_host, text, row, right, against, changed)
                for row, right in zip(ROWS, RIGHT, strict=True)
            ]
        )

    assert loss == pytest.approx(mean_loss(), rel=1e-6)
    step = 2e-3  # the model's norms are in single precision, so not smaller
    for place, dimension in itertools.product(range(3), (0, 13, 31)):
        delta = torch.zeros(32, dtype=torch.float64)
        delta[dimension] = step
        rise = mean_loss((2 + place, delta)) - mean_loss((2 + place, -delta))
        assert float(slope[place, dimension]) == pytest.approx(rise / (2 * step), rel=5e-3, abs=2e-3)


def test_hotflip_ranks_as_trying_every_token_to_first_order(tiny_host, box):
    """Each token's embedding is approached by a small step from the one that stands there: who
    lowers the loss most is first."""
    ids = box.vocabulary.ids("film was dog")
    text, place = box.text(ids), 1
    _, slope = box.gradient(ids, list(zip(ROWS, RIGHT, strict=True)))
    allowed = torch.tensor(box.vocabulary.without(WORDS))
    step, falls = 2e-3, {}
    for token in allowed.tolist():
        way = step * (box.embeddings[token] - box.embeddings[ids[place]])
        losses = [
            np.mean(
                [
                    label_loss(tiny_host, text, row, right, "vocabulary", (2 + place, sign * way))
                    for row, right in zip(ROWS, RIGHT, strict=True)
                ]
            )
            for sign in (-1, 1)
        ]
        falls[token] = (losses[0] - losses[1]) / (2 * step)
    ranked = box.flips(slope[place], allowed)
    exact = {
        token: -float((box.embeddings[token] - box.embeddings[ids[place]]).float() @ slope[place])
        for token in falls
    }
    assert [falls[token] for token in ranked] == pytest.approx(
        [exact[token] for token in ranked], rel=0.01, abs=0.02
    )
    assert ranked == sorted(exact, key=lambda token: -exact[token]) and len(ranked) > 30
    searched = sorted(falls, key=lambda token: -falls[token])
    assert ranked[0] == searched[0] and set(ranked[:8]) == set(searched[:8])


def test_labels_are_scored_as_the_host_scores_them(tiny_host, box):
    ids = box.vocabulary.ids("film was dog")
    logp = tiny_host.label_logprobs([request(box.text(ids), row) for row in ROWS], WORDS)
    loss, _ = box.gradient(ids, list(zip(ROWS, RIGHT, strict=True)))
    assert loss == pytest.approx(-np.mean(logp[range(3), RIGHT]), rel=1e-6)


def test_a_prompt_has_its_place_in_every_request(tiny_host, box):
    ids = box.vocabulary.ids("film was dog")
    for row in ROWS:
        placed = box.place(ids, row)
        assert placed.ids[placed.start : placed.start + 3] == ids
        assert placed.ids == tiny_host.tokens(tiny_host.rendered(request(box.text(ids), row)))
        assert [len(answer) for answer in placed.answers] == [1, 2]


def test_tokens_that_are_read_otherwise_have_no_place(tiny_host, box):
    unknown = tiny_host.tokenizer.unk_token_id  # its text is read as a special token, or not at all
    assert box.place([unknown], ROWS[0]) is None or box.text([unknown]).endswith("<unk>")
    other = WhiteBox(tiny_host, request, WORDS, HEAD)
    other.text = lambda ids: "tell me cat cat"
    assert other.place(box.vocabulary.ids("film dog"), ROWS[0]) is None
    with pytest.raises(WorkError, match="read as other tokens in every example"):
        other.gradient(box.vocabulary.ids("film dog"), [(ROWS[0], 0)])


def test_a_template_that_changes_the_text_is_refused(tiny_host):
    loud = WhiteBox(
        tiny_host, lambda text, row: [{"role": "system", "content": text.replace("dog", "cat")}], WORDS, HEAD
    )
    with pytest.raises(WorkError, match="changes the instruction's text"):
        loud.place(loud.vocabulary.ids("film dog"), ROWS[0])


def test_a_host_that_is_not_in_process_is_refused(tiny_host):
    from tests.optimize.fakes import FakeHost

    with pytest.raises(WorkError, match="“fake” is not in process"):
        WhiteBox(FakeHost(), request, WORDS, HEAD)
