"""A toy task with a known best prompt, on which what learns can be told from what does not.

The task: of WORDS the right ones, in the right order (BEST, drawn once for a seed). The
reward is plain Python, so that hundreds of calls cost nothing:

    the mean over the places of what the word there is worth: 1 for the right word, NEAR for
    one of its CLOSE neighbours, else 0; divided by the longer length where there are more
    words than places

There are 24 ** 4 = 331,776 prompts. A random one is worth .09, because one in six places is
right or near: that is the signal to learn from. The best of some hundred random ones is worth
.6; only what learns gets to 1. Each place is worth something of its own, and a word has as
many neighbours at each place, so no single word or order is a shortcut. Each text is one call
(one example).

The language model is a tiny random GPT-2 with these words as its vocabulary and a chat
template. It says them nearly at random, so as a policy it starts out as random search; its
absolute positions let a policy tell the places apart; and its head's rows (norm 1) and last
hidden states (norm 8) are long enough that a policy can become certain. Methods that train it
need larger learning rates and fewer steps than in their papers (RLPrompt: 5e-5 and 12,000
steps of 256 calls, on a model that knows language): here the whole budget is some hundred
calls.
"""

import random
from functools import lru_cache
from pathlib import Path

import numpy as np

from core.llm.protocol import HostSpec
from tests.optimize.rules import RuleEvaluator

WORDS = [
    "calm",
    "brave",
    "quick",
    "slow",
    "warm",
    "cold",
    "bright",
    "dark",
    "soft",
    "loud",
    "sweet",
    "sour",
    "round",
    "flat",
    "deep",
    "high",
    "near",
    "far",
    "young",
    "old",
    "rich",
    "plain",
    "sharp",
    "blunt",
]
PLACES = 4
CLOSE = 3  # neighbours of the right word, at each place
NEAR = 0.4
START = "plain plain plain plain"


class Toy:
    """`best`: the words of the best prompt; `worth[place][word]`: what a word is worth."""

    def __init__(self, seed: int = 0) -> None:
        rng = random.Random(f"toy {seed}")
        drawn = [rng.sample([word for word in WORDS if word != "plain"], 1 + CLOSE) for _ in range(PLACES)]
        self.best = [words[0] for words in drawn]
        self.worth = [{word: (NEAR if i else 1.0) for i, word in enumerate(words)} for words in drawn]

    def reward(self, text: str) -> float:
        words = text.split()
        got = sum(worth.get(word, 0.0) for worth, word in zip(self.worth, words, strict=False))
        return got / max(PLACES, len(words))


class ToyEvaluator(RuleEvaluator):
    """Scores are 100 x the toy's reward; each text is one call, once. `host` and
    `optimizer_host` are the toy's language model."""

    def __init__(self, host, seed: int = 0, budget: int = 800) -> None:
        self.toy = Toy(seed)
        super().__init__(lambda text: 100 * self.toy.reward(text), budget=budget)
        self.host = self.optimizer_host = host
        self.rows = {
            "train": [{"id": "1", "input": "in 0", "fields": {}, "messages": None, "reference": None}]
        }

    def request(self, text, row):
        return [{"role": "system", "content": text}, {"role": "user", "content": row["input"]}]


def random_best(seed: int, calls: int) -> float:
    """The reward of the best of `calls` different random prompts of the right length: random
    search that knows the words, the length, and what it tried already."""
    toy, rng = Toy(seed), random.Random(f"random {seed}")
    tried: set[str] = set()
    while len(tried) < calls:
        tried.add(" ".join(rng.choices(WORDS, k=PLACES)))
    return max(map(toy.reward, tried))


@lru_cache
def toy_host(folder: Path):
    """The toy's language model as a host in process, built in `folder` in 0.3 s."""
    import torch
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import GPT2Config, GPT2LMHeadModel, PreTrainedTokenizerFast

    from core.llm.local import LocalHost

    names = ["<pad>", "<s>", "</s>", "<unk>", *WORDS]
    plain = Tokenizer(models.WordLevel({name: i for i, name in enumerate(names)}, unk_token="<unk>"))
    plain.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=plain, bos_token="<s>", eos_token="</s>", unk_token="<unk>", pad_token="<pad>"
    )
    tokenizer.chat_template = (
        "{% for m in messages %}<s> {{ m['content'] }} </s> {% endfor %}"
        "{% if add_generation_prompt %}<s> {% endif %}"
    )
    torch.manual_seed(0)
    shape = GPT2Config(
        vocab_size=len(names), n_embd=64, n_layer=2, n_head=4, n_positions=256,
        bos_token_id=1, eos_token_id=2, pad_token_id=0, resid_pdrop=0, embd_pdrop=0, attn_pdrop=0,
    )  # fmt: skip
    model = GPT2LMHeadModel(shape)
    for table in (model.transformer.wte, model.transformer.wpe):
        table.weight.data.normal_(0, 1 / 8)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    spec = HostSpec(model=str(folder), name="toy", params={"dtype": "float32", "device": "cpu"})
    return LocalHost(spec, folder)


def interval(values) -> tuple[float, float]:
    """Student's 95 % interval of a mean over seeds."""
    from scipy.stats import t

    values = np.asarray(values, dtype=float)
    half = t.ppf(0.975, len(values) - 1) * values.std(ddof=1) / len(values) ** 0.5
    return float(values.mean() - half), float(values.mean() + half)
