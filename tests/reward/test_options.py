"""What can be chosen about a training: defaults, what is refused and how, and what it costs."""

import pytest

from core.errors import Invalid
from core.reward.estimate import MINILM, estimate, shape_of, speed_here
from core.reward.options import Combination, Lora, Objective, Options, read_options
from core.reward.presets import PRESETS


def test_nothing_said_is_the_defaults_and_what_is_frozen_reads_back():
    assert read_options({}) == Options()
    said = {
        "preset": "quick",  # not of the options: left alone
        "objective": {"loss": "davidson", "label_smoothing": 0.05, "weights": "skill", "centre": 0.01, "tie": 0.5},
        "criteria": ["kind", "safe"],
        "combination": {"weights": {"overall": 1, "kind": 0.5}, "at_least": {"safe": -1}, "penalty": 2},
        "members": 3, "average": "warm", "lora": {"r": 8}, "precision": "bf16", "accumulation": 4,
        "max_length": 128, "early_stopping": 3, "processes": 2,
    }  # fmt: skip
    options = read_options(said)
    assert options.objective == Objective("davidson", False, True, 0.05, "skill", 0.01, 0.5)
    assert options.lora == Lora(8, 16, 0.0) and options.criteria == ("kind", "safe")
    assert options.combination == Combination({"overall": 1.0, "kind": 0.5}, {"safe": -1.0}, 2.0)
    assert read_options(options.as_config()) == options


@pytest.mark.parametrize(
    "config, said",
    [
        ({"objective": "soft"}, "objective: not an object"),
        ({"objective": {"los": "davidson"}}, "objective.los: there is no such setting"),
        ({"objective": {"loss": "elo"}}, "objective.loss: there is no “elo”"),
        ({"objective": {"loss": "davidson", "margin": True}}, "objective.margin: davidson has none"),
        ({"objective": {"tie": 0.5}}, "objective.tie: bradley_terry has no tie"),
        ({"objective": {"soft": "yes"}}, "objective.soft: neither true nor false"),
        ({"objective": {"label_smoothing": 0.6}}, "objective.label_smoothing: 0.6 is out of range"),
        ({"objective": {"centre": "a"}}, "objective.centre: not a number"),
        ({"objective": {"centre": float("nan")}}, "objective.centre: not a number"),
        ({"objective": {"weights": "votes"}}, "objective.weights: there is no “votes”"),
        ({"criteria": "kind"}, "criteria: not a list"),
        ({"criteria": ["kind", "kind"]}, "criteria: a name stands there twice"),
        ({"criteria": ["overall"]}, "criteria: “overall” is the name"),
        ({"combination": []}, "combination: not an object"),
        ({"combination": {"weights": {"kind": 1}}}, "combination.weights: there is no head “kind”"),
        ({"combination": {"weights": {"overall": 0}}}, "combination.weights: all are zero"),
        (
            {"criteria": ["a"], "combination": {"at_least": {"a": "x"}}},
            "combination.at_least.a: not a number",
        ),
        ({"criteria": ["a"], "combination": {"penalty": -1}}, "combination.penalty: -1 is out of range"),
        ({"members": 6}, "members: 6 is out of range"),
        ({"members": True}, "members: not a whole number"),
        ({"average": "warm"}, "average: there is only one member"),
        ({"average": "mean"}, "average: there is no “mean”"),
        ({"lora": 8}, "lora: not an object"),
        ({"lora": {"rank": 8}}, "lora.rank: there is no such setting"),
        ({"lora": {"r": 0}}, "lora.r: 0 is out of range"),
        ({"lora": {"dropout": 1}}, "lora.dropout: 1 is out of range"),
        ({"precision": "int8"}, "precision: there is no “int8”"),
        ({"accumulation": 0}, "accumulation: 0 is out of range"),
        ({"max_length": 4}, "max_length: 4 is out of range"),
        ({"early_stopping": 0.5}, "early_stopping: not a whole number"),
        ({"report_to": "excel"}, "report_to: there is no “excel”"),
        ({"processes": 0}, "processes: 0 is out of range"),
    ],
)
def test_what_is_wrong_is_named(config, said):
    with pytest.raises(Invalid, match=said):
        read_options(config)


def test_an_estimate_grows_with_what_is_asked():
    def of(name="standard", n=1400, **options):
        return estimate(PRESETS[name], n, 600, 1500, read_options(options))

    plain = of()
    assert of("quick").seconds < plain.seconds < of("thorough").seconds
    # Members share the reading of the frozen layers: three take less than three times as long.
    three = of(members=3)
    assert plain.seconds < three.seconds < 3 * plain.seconds
    assert of(precision="fp32").seconds > plain.seconds and of(n=2800).seconds > plain.seconds
    assert of(processes=2).seconds != plain.seconds and of("thorough").bytes > plain.bytes
    assert of(accumulation=4).bytes < plain.bytes
    assert 20 < plain.seconds < 300 and 1e9 < plain.bytes < 6e9
    twice = estimate(PRESETS["standard"], 1400, 600, 1500, speed=2.0)
    assert twice.seconds == pytest.approx(2 * plain.seconds) and twice.corrected


def test_earlier_trainings_correct_it():
    def model(seconds, reckoned, **more):
        return {"seconds": seconds, "estimate": {"reckoned": reckoned}, **more}

    assert speed_here([]) is None and speed_here([{"seconds": 20.0}]) is None
    assert speed_here([model(100, 50), model(30, 10), model(40, 40)]) == 2.0
    assert speed_here([model(900, 50, partial=True)]) is None
    assert speed_here([model(1e6, 1)]) == 20.0


def test_the_shape_of_a_backbone_is_read_from_its_config(tmp_path):
    import json

    assert shape_of("embedded") is MINILM
    assert not shape_of(str(tmp_path / "nowhere")).known and not shape_of("nobody/nothing").known
    config = {"model_type": "qwen2", "hidden_size": 896, "num_hidden_layers": 24, "num_attention_heads": 14,
              "num_key_value_heads": 2, "intermediate_size": 4864, "vocab_size": 151_936}  # fmt: skip
    (tmp_path / "config.json").write_text(json.dumps(config))
    qwen = shape_of(str(tmp_path))
    assert qwen.known and not qwen.encoder and qwen.weights == pytest.approx(494e6, rel=0.03)
    (tmp_path / "config.json").write_text("[]")
    assert not shape_of(str(tmp_path)).known
