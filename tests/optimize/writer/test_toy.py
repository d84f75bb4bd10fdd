"""On a task with a known best prompt, each writer finds better ones than random search does
with as many calls: five seeds, and the intervals do not touch.

The task: of twelve words one is right, drawn for a seed, and the best prompt says it eight times
(12 ** 8 = 430 million prompts of that length); the reward is the share of words that are right,
with at least eight to be right. The model is a random Llama of one layer, near uniform over
these words: at first it is random search. All calls of the policy are counted: what it writes,
and what it learns with. Random search pays for scoring alone, knows the words and the length,
and draws no prompt twice. The learning rate is 20 times the default: there is no language to
unlearn here, and there are only a few steps. The penalty is small, so that the first steps are
not all about where to end.
"""

import random

import pytest

from core.llm.protocol import HostSpec
from core.optimize.methods import METHODS
from tests.optimize.rules import RuleEvaluator
from tests.optimize.toy import interval

WORDS = ["calm", "brave", "quick", "slow", "warm", "cold", "bright", "dark", "soft", "loud", "sweet", "sour"]
PLACES = 8
SEEDS = range(5)
CALLS = 1_500
OPTIONS = {
    "batch": 16, "minibatch": 1, "steps": 100, "every": 100, "finals": 1, "epochs": 1, "tokens": 10,
    "learning_rate": 0.01, "beta": 0.001, "penalty": 0.03, "temperature": 1.0,
}  # fmt: skip


def task(seed):
    """The reward, from 0 to 100, of a text."""
    best = random.Random(f"task {seed}").choice(WORDS[1:])

    def reward(text):
        words = text.split()
        return 100 * words.count(best) / max(PLACES, len(words))

    return reward


@pytest.fixture(scope="module")
def host(tmp_path_factory):
    import torch
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    from core.llm.local import LocalHost

    folder = tmp_path_factory.mktemp("toy")
    names = ["<pad>", "</s>", "<unk>", *WORDS]
    plain = Tokenizer(models.WordLevel({name: i for i, name in enumerate(names)}, unk_token="<unk>"))
    plain.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=plain, eos_token="</s>", unk_token="<unk>", pad_token="<pad>"
    )
    tokenizer.chat_template = "{{ messages[0]['content'].split()[-1] }}"
    torch.manual_seed(0)
    shape = LlamaConfig(
        vocab_size=len(names), hidden_size=64, intermediate_size=64, num_hidden_layers=1,
        num_attention_heads=4, num_key_value_heads=4, max_position_embeddings=64, bos_token_id=None,
        eos_token_id=1, pad_token_id=0, initializer_range=0.08,
    )  # fmt: skip
    LlamaForCausalLM(shape).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    spec = HostSpec(model=str(folder), name="toy", params={"dtype": "float32", "device": "cpu"})
    return LocalHost(spec, folder)


def random_search(seed):
    draw, tried = random.Random(f"random {seed}"), set()
    while len(tried) < CALLS:
        tried.add(" ".join(draw.choices(WORDS, k=PLACES)))
    return max(map(task(seed), tried))


@pytest.mark.parametrize("name", ["ppo", "grpo", "rloo"])
def test_it_beats_random_search_at_equal_calls(name, host):
    found = []
    for seed in SEEDS:
        books = RuleEvaluator(task(seed), budget=CALLS)
        books.host = books.optimizer_host = host
        optimizer = METHODS[name].make(" ".join([WORDS[0]] * PLACES), seed, OPTIONS)
        while not optimizer.finished and max(books.known.values(), default=0) < 100:
            optimizer.step(books)
        assert books.calls <= CALLS
        found.append(max(books.known.values()))
    by_chance = [random_search(seed) for seed in SEEDS]
    assert interval(found)[0] > interval(by_chance)[1]
