"""The methods, in one table: what each is, what it needs, and what can be set. The form,
the API, the documentation's table and the worker read it; a method is added here, with a
file of its own beside this one. Never imports torch.
"""

from typing import Any

from core.errors import Invalid
from core.optimize.method import Method, Option
from core.optimize.phrases import GRANULARITIES


def _whole(name: str, label: str, default: int, low: int, high: int, help: str = "") -> Option:
    return Option(name, label, default, help, low, high)


def _temperature(default: float) -> Option:
    return Option("temperature", "Temperature", default, "Of the language model that proposes", 0.0, 2.0)


_FORM = Option(
    "request_form",
    "Request form",
    "automatic",
    "Tags: the model encloses its text in tags by itself. Begun: the opening tag is written for it and it "
    "goes on, which small models need; the server behind a URL must know how (vLLM, llama.cpp). Automatic: "
    "begun in process, tags behind a URL",
    choices=("automatic", "tags", "begun"),
)

_EVOLUTION = (
    _whole("population", "Population", 10, 4, 100, "Texts that live at a time; 10 in the paper"),
    _whole("generations", "Generations at most", 10, 1, 1_000, "10 in the paper"),
    _temperature(0.5),
    _FORM,
    Option("frameworks", "Share by frameworks", 0.0,
           "Of the children: one parent put into role, RISEN, WISER or chain of thought", 0.0, 1.0),
)  # fmt: skip


def _writer(beta: float, beta_help: str, epochs: int) -> tuple[Option, ...]:
    return (
        _whole(
            "batch", "Prompts a step", 8, 2, 512, "Written and scored together; one group of GRPO and RLOO"
        ),
        _whole("minibatch", "Mini-batch", 16, 1, 10_000, "Train examples each of them is scored on"),
        _whole("steps", "Steps at most", 100, 1, 100_000, "Of the policy"),
        _whole("every", "Steps a round", 4, 1, 1_000, "After so many the best are scored on all of train"),
        _whole("finals", "Prompts a round", 2, 1, 100, "So many of the best"),
        _whole("epochs", "Passes over a batch", epochs, 1, 16, "Each costs 3 calls a prompt"),
        Option("beta", "KL weight", beta, beta_help, 0.0001, 10.0),
        Option("learning_rate", "Learning rate", 0.0005, "Of Adam, on the adapter", 1e-7, 1.0),
        _whole("rank", "Rank", 8, 1, 256, "Of the adapter (LoRA)"),
        _whole("exemplars", "Examples shown", 0, 0, 50, "Train examples in the request; 0: the start alone"),
        Option(
            "penalty", "Penalty", 0.5, "What a prompt gets that cannot be tried, below the start", 0.0, 100.0
        ),
        _whole(
            "tokens", "Tokens a prompt", 64, 2, 4_096, "A prompt that has not ended by then cannot be tried"
        ),
        Option("temperature", "Temperature", 0.8, "At which the policy writes and learns", 0.1, 2.0),
    )


_GRADIENTS = frozenset({"gradients"})


def _soft(learning_rate: float, *encoder: Option) -> tuple[Option, ...]:
    return (
        _whole("tokens", "Virtual tokens", 0, 0, 1_000, "0: as many as the start's instruction has"),
        Option("init", "Start as", "text", "The start's instruction, or at random, which is far worse",
               choices=("text", "random")),
        Option("learning_rate", "Learning rate", learning_rate, "Of Adam", 1e-6, 10.0),
        _whole("batch", "Batch", 8, 1, 1_000, "Examples a step; each costs three calls"),
        _whole("steps", "Steps at most", 200, 1, 1_000_000),
        _whole("every", "Steps a candidate", 10, 1, 100_000, "So many steps, then the vectors are scored"),
        *encoder,
        _whole("answer_tokens", "Tokens of a reference", 128, 1, 8_192,
               "With a reward on text: so many of a reference response are learned"),
    )  # fmt: skip


def _hidden(default: int) -> Option:
    return _whole("hidden", "Units of the encoder", default, 1, 16_384)


METHODS: dict[str, Method] = {
    "grips": Method(
        "GrIPS",
        "GrIPS: edit search",
        "Deletes, swaps, paraphrases and puts back phrases of the instruction, and keeps an edit that "
        "scores strictly better.",
        "Prasad et al. 2023, arXiv 2203.07281",
        "core.optimize.grips:Grips",
        (
            Option("granularity", "Edits on", "phrase", "What is edited as one piece", choices=GRANULARITIES),
            _whole("candidates", "Candidates an iteration", 5, 1, 100, "m in the paper"),
            _whole("edits", "Edits a candidate", 1, 1, 10, "l in the paper"),
            _whole("iterations", "Iterations at most", 10, 1, 10_000),
            _whole("patience", "Patience", 2, 1, 1_000, "Fruitless iterations until it stops"),
            Option("annealing", "Simulated annealing", False,
                   "Now and then accept a worse one, to get out of a dead end"),
        ),
        group="candidates",
    ),
    "ape": Method(
        "APE",
        "APE: induce, then select",
        "A language model is shown inputs with their outputs and says what the instruction was; a bandit "
        "(UCB) spends mini-batches of examples on the proposals that look best.",
        "Zhou et al. 2022, arXiv 2211.01910",
        "core.optimize.ape:Ape",
        (
            _whole("subsets", "Draws of demonstrations", 5, 1, 1_000),
            _whole("per_subset", "Proposals a draw", 10, 1, 100),
            _whole("demonstrations", "Demonstrations", 5, 1, 100, "Input-output pairs in one request"),
            _whole("batch", "Mini-batch", 5, 1, 1_000, "Examples a proposal is scored on in one round"),
            _whole("arms", "Proposals a round", 10, 1, 1_000),
            _whole("rounds", "Rounds at most", 20, 1, 10_000),
            Option("exploration", "Exploration", 1.0, "c of the upper confidence bound", 0.0, 10.0),
            _temperature(0.9),
        ),
        group="arms",
    ),
    "opro": Method(
        "OPRO",
        "OPRO: the model reads the scores",
        "A language model reads the best instructions so far, in ascending order of score, and writes "
        "better ones.",
        "Yang et al. 2023, arXiv 2309.03409",
        "core.optimize.opro:Opro",
        (
            _whole("proposals", "Proposals a step", 8, 1, 100, "8 in the paper"),
            _whole("iterations", "Steps at most", 200, 1, 10_000),
            _whole("exemplars", "Examples shown", 3, 0, 50, "Drawn anew each step; 3 in the paper"),
            _whole("buckets", "Score buckets", 100, 2, 100, "Steps on the scale from 0 to 100"),
            _whole("threshold", "Score threshold", 0, 0, 100, "Instructions below it are not shown"),
            _temperature(1.0),
            _FORM,
        ),
        group="proposals",
    ),
    "evoprompt_ga": Method(
        "EvoPrompt GA",
        "EvoPrompt: genetic algorithm",
        "A population of instructions; a language model crosses two of them over and mutates the result; "
        "the best live on.",
        "Guo et al. 2023, arXiv 2309.08532",
        "core.optimize.evoprompt:EvoPromptGA",
        _EVOLUTION,
        group="population",
        crosses=True,
    ),
    "evoprompt_de": Method(
        "EvoPrompt DE",
        "EvoPrompt: differential evolution",
        "A population of instructions; a language model mutates what two of them differ in, and combines "
        "it with the best and with the one whose place the child wants.",
        "Guo et al. 2023, arXiv 2309.08532",
        "core.optimize.evoprompt:EvoPromptDE",
        _EVOLUTION,
        group="population",
        crosses=True,
    ),
    "gepa": Method(
        "GEPA",
        "GEPA: reflect on what went wrong",
        "A language model reads answers with feedback from a mini-batch and rewrites the instruction; "
        "parents come from the instance-wise Pareto front.",
        "Agrawal et al. 2025, arXiv 2507.19457, by the authors' package",
        "core.optimize.gepa_search:Gepa",
        (
            _whole("minibatch", "Mini-batch", 3, 1, 100, "Examples one reflection reads; 3 in the paper"),
            _whole("iterations", "Iterations at most", 100, 1, 10_000),
            _whole("reflection_tokens", "Tokens a reflection", 400, 32, 8_192),
            _temperature(1.0),
        ),
        group="minibatch",
    ),
    "mipro": Method(
        "MIPRO",
        "MIPRO: instructions and demonstrations together",
        "A language model proposes instructions, train examples become sets of demonstrations, and a Bayesian "
        "search (Optuna's TPE) tries the two together on mini-batches.",
        "Opsahl-Ong et al. 2024, arXiv 2406.11695",
        "core.optimize.mipro:Mipro",
        (
            _whole("instructions", "Instructions", 6, 1, 100, "The start is the first"),
            _whole("sets", "Sets of demonstrations", 5, 1, 100, "The first is empty"),
            _whole("demonstrations", "Demonstrations a set", 3, 1, 20),
            _whole("trials", "Trials at most", 30, 1, 10_000, "On mini-batches; 30 in the authors' release"),
            _whole("batch", "Mini-batch", 8, 1, 1_000, "Examples of one trial; 35 in the authors' release"),
            _whole("full_every", "Full score every", 5, 1, 1_000,
                   "After so many trials the best one is scored on all of train"),
            _temperature(1.0),
            _FORM,
        ),
        group="full_every",
    ),
    "ppo": Method(
        "PPO",
        "PPO: a prompt writer, with a value function",
        "A language model with a small adapter writes prompts and learns from their reward alone, step by "
        "careful step; a value head says what was to be expected.",
        "Schulman et al. 2017, arXiv 1707.06347; Ouyang et al. 2022, arXiv 2203.02155",
        "core.optimize.writer.ppo:Ppo",
        _writer(0.02, "Holds the writer to the model it started as; 0.02 in InstructGPT", 2),
        group="batch",
        trains=frozenset({"gradients"}),
    ),
    "grpo": Method(
        "GRPO",
        "GRPO: a prompt writer, measured by its group",
        "As PPO without a value function: each prompt is compared with the others of its step. By TRL's "
        "trainer.",
        "Shao et al. 2024, arXiv 2402.03300",
        "core.optimize.writer.grpo:Grpo",
        _writer(0.04, "Holds the writer to the model it started as; 0.04 in the paper", 1),
        group="batch",
        trains=frozenset({"gradients"}),
    ),
    "rloo": Method(
        "RLOO",
        "RLOO: a prompt writer, measured by the others",
        "REINFORCE with the mean of the step's other prompts as its baseline. By TRL's trainer.",
        "Ahmadian et al. 2024, arXiv 2402.14740",
        "core.optimize.writer.rloo:Rloo",
        _writer(0.05, "Holds the writer to the model it started as", 1),
        group="batch",
        trains=frozenset({"gradients"}),
    ),
    "rlprompt": Method(
        "RLPrompt",
        "RLPrompt: tokens by soft Q-learning",
        "A small network on top of a frozen language model in process (the optimiser's host) learns which "
        "tokens to append to the instruction from the reward alone; they need not make sense to a person.",
        "Deng et al. 2022, arXiv 2205.12548",
        "core.optimize.rlprompt:RLPrompt",
        (
            _whole("length", "Tokens", 5, 1, 100, "Of a prompt; 2 or 5 in the paper"),
            Option("keep_start", "Append to the start", True, "Otherwise the tokens take its place"),
            _whole("prompts", "Prompts a step", 8, 2, 1_000, "16 in the paper"),
            _whole("batch", "Mini-batch", 8, 1, 1_000, "Examples each of them is scored on; 16 in the paper"),
            _whole("iterations", "Steps at most", 12_000, 1, 1_000_000),
            _whole("evaluate_every", "Greedy every", 10, 1, 100_000,
                   "After so many steps what the policy likes best is scored on all of train"),
            Option("learning_rate", "Learning rate", 5e-5, "Of Adam", 1e-6, 0.1),
            Option("polyak", "Target network", 1e-3, "Share by which it follows each step (Polyak)", 1e-6, 1.0),
            _whole("top_k", "Top k", 256, 1, 100_000, "Tokens that are drawn from"),
            Option("logit_bias", "Bias of Q", -10.0,
                   "Brings the value of a large vocabulary down to the rewards' scale; as in the released code",
                   -100.0, 100.0),
        ),
        group="prompts",
        trains=frozenset({"gradients"}),
    ),
    "autoprompt": Method(
        "AutoPrompt",
        "AutoPrompt: tokens by gradient",
        "Appends trigger tokens to the instruction and flips one at a time to the tokens that the gradient of "
        "the label loss suggests; they need not make sense to a person.",
        "Shin et al. 2020, arXiv 2010.15980",
        "core.optimize.autoprompt:AutoPrompt",
        (
            Option("place", "Triggers", "append", "After the instruction, or the instruction's own tokens",
                   choices=("append", "instruction")),
            _whole("tokens", "Trigger tokens", 5, 1, 100, "When they are appended; 3 in the paper"),
            _whole("candidates", "Candidates an iteration", 8, 1, 1_000, "k in the paper, there 10"),
            _whole("batch", "Batch", 16, 1, 1_000, "Examples; 32 in the paper"),
            _whole("accumulate", "Batches for a gradient", 2, 1, 100, "10 in the paper; an example costs 3 calls"),
            _whole("iterations", "Iterations at most", 100, 1, 10_000),
            Option("loss", "Loss against", "labels",
                   "Of the right label: its probability among the labels, or among all tokens (the paper)",
                   choices=("labels", "vocabulary")),
        ),
        group="candidates",
        needs=frozenset({"gradients", "label_logprobs"}),
        asks=False,
        by_labels=True,
    ),
    "prompt_tuning": Method(
        "Prompt tuning",
        "Prompt tuning: vectors for words",
        "Trains vectors that are read in the place of the instruction's tokens. They are not readable, and "
        "bound to the model.",
        "Lester et al. 2021, arXiv 2104.08691, through peft",
        "core.optimize.soft:PromptTuning",
        _soft(0.003),
        group="batch",
        needs=_GRADIENTS,
        asks=False,
        vectors=True,
    ),
    "p_tuning": Method(
        "P-tuning",
        "P-tuning: vectors by an encoder",
        "As prompt tuning, with the vectors made by a small network that is trained; only they are kept.",
        "Liu et al. 2021, arXiv 2103.10385, through peft",
        "core.optimize.soft:PTuning",
        _soft(
            0.001,
            Option("encoder", "Encoder", "mlp", "What makes the vectors", choices=("mlp", "lstm")),
            _hidden(128),
        ),
        group="batch",
        needs=_GRADIENTS,
        asks=False,
        vectors=True,
    ),
    "prefix_tuning": Method(
        "Prefix-tuning",
        "Prefix-tuning: keys and values of every layer",
        "Trains the keys and values that the instruction has in every layer of the model. They are not "
        "readable, and bound to the model.",
        "Li and Liang 2021, arXiv 2101.00190, through peft",
        "core.optimize.soft:PrefixTuning",
        _soft(
            0.003,
            Option("encoder", "Reparametrisation", "none", "Trained straight, or made by an MLP, as in the paper",
                   choices=("none", "mlp")),
            _hidden(128),
        ),
        group="batch",
        needs=_GRADIENTS,
        asks=False,
        vectors=True,
    ),
    "random": Method(
        "Random search",
        "Random search (baseline)",
        "Independent proposals, each scored on all train examples: what learns has to beat it at equal calls.",
        "Bergstra and Bengio 2012",
        "core.optimize.random_search:RandomSearch",
        (
            Option("source", "Proposals", "rewrites",
                   "Rewrites by the language model; random edits of phrases, which cost no calls; or frameworks "
                   "(role, RISEN, …) that the language model puts the start into",
                   choices=("rewrites", "edits", "frameworks")),
            _whole("batch", "Proposals a step", 8, 1, 100),
            _whole("candidates", "Candidates at most", 200, 1, 100_000),
            _temperature(1.0),
        ),
        group="batch",
        baseline=True,
    ),
    "best_of_n": Method(
        "Best of n",
        "Best of n (baseline)",
        "The best of n independent rewrites; how far that moves away from the language model is known: "
        "KL = log n − (n − 1) / n.",
        "Stiennon et al. 2020, arXiv 2009.01325; Gao et al. 2022, arXiv 2210.10760",
        "core.optimize.random_search:BestOfN",
        (
            _whole("n", "n", 16, 1, 10_000, "Draws from the language model that proposes"),
            _whole("batch", "Draws a step", 16, 1, 100),
            _temperature(1.0),
        ),
        group="batch",
        baseline=True,
    ),
}  # fmt: skip


def method_named(name: Any) -> Method:
    method = METHODS.get(key_of(name))
    if method is None:
        raise Invalid(f"method: there is no “{name}”.", f"Methods: {', '.join(METHODS)}.")
    return method


def key_of(name: Any) -> str:
    return str(name or "grips").strip().lower().replace("-", "_")
