"""Everything that is said about one reward model, on data it was not trained on.

`judge_model` is called once, at the end of a training or of the taking in of an upload, in the worker. It writes
artifacts/judgement.json and artifacts/test_pairs.parquet; `core.reward.judged` reads them for
pages and routes. What is in judgement.json:

A **figure** is {"value", "low", "high", "n"}: a 95 % interval, by examples where pairs share
them; value is null where there is nothing to say (n 0), low and high are null where no interval
can be given. Shares are 0 to 1. d is score(a) - score(b) in standard deviations of the scores
of training responses ("sd").

    format        1
    trained_here  false: it was uploaded, and what it learnt from is not known; train is then what the
                  baselines were fitted on
    n             {train, dev, test: pairs; decided, ties: of the test pairs; examples, votes,
                  simulated, machine (of the votes): in test}
    accuracy      figure; n decided test pairs
    baselines     list, in the order to show: {
                    name        longer, shorter, overlap, prompt, style, embeddings, left
                    title, how  words for a page: what it is, and what it was fitted on
                    unit        "pairs" or "votes" (left: a side differs from vote to vote)
                    accuracy    figure, on the same pairs (votes) as
                    model       figure: this model
                    difference  figure: model less baseline, on them
                    p           of no difference (McNemar's mid-p, or sign flips by examples) }
    people        {
                    message     what can be said at all, in words
                    single      test pairs with one decisive vote by a person;   several: with more
                    votes       figure: two votes on one pair agree; n pairs
                    one_out     figure: a vote agrees with the majority of the others; n votes
                    model_one_out    figure: the model agrees with those same majorities
                    difference       figure: model_one_out less one_out; p as above
                    model_majority   figure: the model's accuracy on exactly those pairs; n pairs
                    majority_vote    figure: single votes agree with their pair's majority; n votes }
    calibration   {
                    temperature figure; n dev pairs it was fitted on (1 where they are too few)
                    fitted      false: the model brought its temperature; low and high are what a fit on
                                these dev pairs would be
                    n_dev
                    before, after: {log_loss, brier, ece: figures; bins: [{from, to, confidence,
                                    value, low, high, n}]}; p = s(d sd), and s(d sd / T) }
    slices        {
                    looked_at   how many slices were tested;   too_small: how many were not (n < 10)
                    method      "Benjamini-Hochberg";   level .05;   marked: how many differ
                    groups      [{by, title, unit, rows: [{name, accuracy: figure, rest: figure,
                                  difference: figure, p, p_adjusted, differs: bool}]}] }
                    by: margin, strength, length, cluster, annotator, prompt, criterion, week, source
    clusters      [{name, words: [..], n: test pairs, inputs}]: topics of the inputs
    formatting    [{name: length, headers, lists, bold, code, emoji; title; varied: pairs where the
                   two differ in it; model, people, partial: figures}]: rank correlations with the
                   difference of the two responses: of d; of the share of votes; of d with the
                   votes held fixed
    length        {follows: figure, against: figure, gap: figure}: accuracy where the preferred
                   response is the longer one, the shorter one, and their difference
    sensitivity   [{name, title, kind: same, cheat, order, loss; example: [before, after];
                    shift       figure, sd: mean change of an edited response's score; n responses
                    size        figure, sd: mean absolute change
                    flipped     figure: decisions that change when one side is edited
                    won         figure: of responses that were losing, those that win by it }]
    curve         null, or {
                    learner     what was refitted, in words
                    unit_votes  votes a training pair has, on average
                    points      [{pairs, votes, accuracy: figure, log_loss: figure, fits}]
                    accuracy, log_loss: {
                      fit       [{pairs, votes, value, low, high}]: the fitted curve, and beyond
                      more      [{votes, pairs, gain: figure}]: what so many more should bring
                      message } }
    mistakes      twenty, worst first: {pair_id, example_id, d, p: of the side people prefer,
                   q, n: votes, length_difference, cluster, prompt_a, prompt_b}; by people's votes
    leaks         (all 0 where the model was not trained here)
                  {input, responses, response: test pairs whose input, both responses, or one
                   response of 60 characters and more also stands in the train split; pairs: with
                   any of them; accuracy: figure on those; clean: figure on the others; ids: [..]}
    position      {left: figure: decisive votes that went to the left; model: figure: the model
                   agrees with the left one; n votes}
    warnings      [{code, level: "bad" or "note", text}]: what a reader must know, in plain words.
                   codes: uploaded, length_cheat, length_labels, style_cheat, leak, simulated, machine, position_labels, padding,
                   flattery, list, unstable, order, truncation, no_better, single_votes, few_examples,
                   miscalibrated, slices
    skipped       [{part, reason}]: what was not looked at, and why
    plan          {name, ...}: how much was looked at;   seconds: {part: s}

test_pairs.parquet has a row for each test pair, and no text (look it up by pair_id in the run's
inputs/pairs.parquet, of an upload inputs/judging.parquet): pair_id, example_id, d (sd), p (calibrated, that a is preferred), q, n,
n_people, right (1, 0, .5; null for a tie), margin (|2q - 1|), strength, length_difference
(characters, a less b), cluster (its name), prompt_a, prompt_b, week, leaked.

Bytes on disk: some 100 KB. Everything follows from the inputs and the seed.
"""

from core.reward.judgement.judge import judge_model

__all__ = ["judge_model"]
