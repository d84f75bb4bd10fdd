"""What the steps of each method take of a budget: the least calls of its first step, so that
a budget that cannot carry one is refused before the start; and how many candidates the calls
of a search are enough for. Never imports torch.

n train examples; a text on one of them takes `price` calls. The calls are those that the
methods ask their evaluator for, in the files of their names.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

Options = Mapping[str, Any]

# Calls a prompt writer's step takes for each prompt, besides scoring it, by the passes over a
# batch. PPO and RLOO: write, read by the policy, read by the reference; GRPO: write, read by the
# reference, and by the old policy where there is more than one pass. A pass: forwards and backwards.
PASSES: dict[str, Callable[[int], int]] = {
    "ppo": lambda epochs: 3 + 3 * epochs,
    "grpo": lambda epochs: 2 + (epochs > 1) + 3 * epochs,
    "rloo": lambda epochs: 3 + 3 * epochs,
}
TRAINED = 3  # calls of an example that is read forwards and backwards
APE_FINALISTS = 3


@dataclass(frozen=True)
class Pacing:
    """`first`: calls of the first step after the start, with what must be left to score one of
    its candidates in full. `tries`: how many candidates so many calls are enough for, the start not
    counted, in full or in part; it is asked for calls that carry the first step."""

    name: str
    options: Options
    price: int = 1

    def first(self, n: int) -> int:
        return FIRST.get(self.name, _asked)(self.options, n, self.price)

    def tries(self, calls: int, n: int) -> int:
        return max(1, TRIES.get(self.name, _unbounded)(self.options, n, self.price, calls))


# --- the first step ---------------------------------------------------------------------------


def _scored(options: Options, n: int, price: int) -> int:
    return price * n


def _asked(options: Options, n: int, price: int) -> int:
    """A text that a language model is asked for, and scored."""
    return 1 + price * n


def _random(options: Options, n: int, price: int) -> int:
    return price * n + _asks(options)


def _mipro(options: Options, n: int, price: int) -> int:
    """The summary and the instructions, a trial on a mini-batch, and one score in full."""
    return _mipro_asks(options) + price * (options["batch"] + n)


def _writer(name: str) -> Callable[[Options, int, int], int]:
    return lambda options, n, price: _writer_step(name, options, n, price) + price * options["finals"] * n


def _rlprompt(options: Options, n: int, price: int) -> int:
    return _rlprompt_step(options, n, price) + price * n


def _autoprompt(options: Options, n: int, price: int) -> int:
    return _autoprompt_step(options, n) + n


def _soft(options: Options, n: int, price: int) -> int:
    return TRAINED * min(options["batch"], n) + price * n


FIRST: dict[str, Callable[[Options, int, int], int]] = {
    "grips": _scored,
    "random": _random,
    "mipro": _mipro,
    **{name: _writer(name) for name in PASSES},
    "rlprompt": _rlprompt,
    "autoprompt": _autoprompt,
    "prompt_tuning": _soft,
    "p_tuning": _soft,
    "prefix_tuning": _soft,
}


# --- how many candidates ----------------------------------------------------------------------


def _unbounded(options: Options, n: int, price: int, calls: int) -> int:
    return calls // (1 + price * n)


def _up_to(most: Callable[[Options], int]) -> Callable[[Options, int, int, int], int]:
    """Each is asked for, and scored in full."""
    return lambda options, n, price, calls: min(most(options), calls // (_asks(options) + price * n))


def _grips_tries(options: Options, n: int, price: int, calls: int) -> int:
    return min(options["iterations"] * options["candidates"], calls // (price * n))


def _gepa_tries(options: Options, n: int, price: int, calls: int) -> int:
    """As many as can be asked for and scored on a mini-batch, if none is good enough for more."""
    return min(options["iterations"], calls // (1 + price * min(options["minibatch"], n)))


def _ape_tries(options: Options, n: int, price: int, calls: int) -> int:
    """A draw asks for no more than could be scored in full; each is scored on a mini-batch, and
    enough is kept for the finalists."""
    proposals = options["subsets"] * min(options["per_subset"], calls // (1 + price * n))
    batch = min(options["batch"], n)
    in_part = (calls - price * APE_FINALISTS * n) // (1 + price * batch)
    alone = min(proposals, APE_FINALISTS, calls // (1 + price * n))  # without any round
    return max(alone, min(proposals, options["rounds"] * options["arms"], in_part))


def _mipro_tries(options: Options, n: int, price: int, calls: int) -> int:
    each = price * (min(options["batch"], n) + n / options["full_every"])
    trials = int((calls - _mipro_asks(options) - price * n) // each)
    return min(options["trials"], options["instructions"] * options["sets"] - 1, trials)


def _writer_tries(name: str) -> Callable[[Options, int, int, int], int]:
    def tries(options: Options, n: int, price: int, calls: int) -> int:
        """`finals` are scored in full after each round of steps; what a budget has left in the
        end scores more of what was written."""
        step, scoring = _writer_step(name, options, n, price), price * options["finals"] * n
        rounds, rest = divmod(calls, options["every"] * step + scoring)
        most = -(-options["steps"] // options["every"])
        if rounds >= most:
            return int(options["finals"] * most)
        if rest >= step + scoring:
            rest -= (rest - scoring) // step * step
        return int(options["finals"] * rounds + rest // (price * n))

    return tries


def _rlprompt_tries(options: Options, n: int, price: int, calls: int) -> int:
    """The best prompt of each step."""
    return min(options["iterations"], (calls - price * n) // _rlprompt_step(options, n, price))


def _autoprompt_tries(options: Options, n: int, price: int, calls: int) -> int:
    return int(
        options["candidates"] * min(options["iterations"], (calls - n) // _autoprompt_step(options, n))
    )


def _soft_tries(options: Options, n: int, price: int, calls: int) -> int:
    """One after so many steps; what a budget has left in the end trains and scores one more."""
    each = TRAINED * min(options["batch"], n) * options["every"] + price * n
    whole, rest = divmod(calls, each)
    last = rest >= _soft(options, n, price)
    return min(whole + last, -(-options["steps"] // options["every"]))


TRIES: dict[str, Callable[[Options, int, int, int], int]] = {
    "grips": _grips_tries,
    "ape": _ape_tries,
    "opro": _up_to(lambda options: options["proposals"] * options["iterations"]),
    "evoprompt_ga": _up_to(lambda options: options["population"] * (1 + options["generations"]) - 1),
    "evoprompt_de": _up_to(lambda options: options["population"] * (1 + options["generations"]) - 1),
    "gepa": _gepa_tries,
    "mipro": _mipro_tries,
    **{name: _writer_tries(name) for name in PASSES},
    "rlprompt": _rlprompt_tries,
    "autoprompt": _autoprompt_tries,
    "prompt_tuning": _soft_tries,
    "p_tuning": _soft_tries,
    "prefix_tuning": _soft_tries,
    "random": _up_to(lambda options: options["candidates"]),
    "best_of_n": _up_to(lambda options: options["n"]),
}


# --- what both say ----------------------------------------------------------------------------


def _asks(options: Options) -> int:
    """Calls that a proposal takes: random edits take none."""
    return 0 if options.get("source") == "edits" else 1


def _mipro_asks(options: Options) -> int:
    return int(options["instructions"]) if options["instructions"] > 1 else 0


def _writer_step(name: str, options: Options, n: int, price: int) -> int:
    batch, minibatch = options["batch"], min(options["minibatch"], n)
    return int(batch * PASSES[name](options["epochs"]) + price * batch * minibatch)


def _rlprompt_step(options: Options, n: int, price: int) -> int:
    return int(options["prompts"] * (1 + price * min(options["batch"], n)))


def _autoprompt_step(options: Options, n: int) -> int:
    """Gradients, and the candidates and the triggers as they are on a fresh batch."""
    batch = min(options["batch"], n)
    return int(TRAINED * options["accumulate"] * batch + (1 + options["candidates"]) * batch)
