"""What a policy that writes prompts says of each step that it takes, and what each figure means.
For both sides: no torch."""

from collections.abc import Mapping

FIGURES: Mapping[str, tuple[str, str]] = {
    "reward": (
        "Reward of the last step",
        "How much better than the start, on average, the prompts of the last step did on their mini-batch "
        "(what could not be tried counts with its penalty).",
    ),
    "kl": (
        "KL to the reference (nats a prompt)",
        "How far the policy has moved away from the model it started as, over the prompts of the last step.",
    ),
    "entropy": (
        "Entropy (nats a token)",
        "How undecided the policy is when it writes. Near 0 it writes the same prompt every time.",
    ),
    "clip_fraction": (
        "Clip fraction",
        "The share of the last step's updates that the clipped ratio held back. Always 0 with one pass over "
        "a batch: the ratio is 1 then.",
    ),
    "explained_variance": (
        "Explained variance",
        "How much of the spread of returns the value head foresees: 1 is all of it; 0 or less, nothing.",
    ),
    "degenerate": (
        "Degenerate prompts",
        "The share of the last step's prompts that could not be tried: without an end, empty, or damaged.",
    ),
}
