"""GRPO: group relative policy optimisation (Shao et al. 2024, DeepSeekMath, arXiv 2402.03300),
by the trainer of TRL. Read beside section 4.1 of the paper.

    the prompts of a step are one group: A_i = (r_i - mean r) / (std r + 1e-4), with the
    standard deviation of the sample; every token of prompt i has the advantage A_i
    loss = mean over prompts of the mean over their tokens of
        -min(rho A, clip(rho, 1 - .2, 1 + .2) A) + beta KL
    KL of a token: pi_ref / pi - log (pi_ref / pi) - 1, which is never negative

There is no value function: the group is the baseline. TRL's beta is 0 unless it is set, and
then there is no reference; ours is never 0. TRL's own default for the loss divides by
the tokens of the whole batch (`dapo`); ours is the paper's.
"""

from typing import Any

from trl import GRPOConfig, GRPOTrainer

from core.optimize.writer.trl_writer import TrlWriter


class Grpo(TrlWriter):
    name = "grpo"
    trainer_class, config_class = GRPOTrainer, GRPOConfig

    def settings(self) -> dict[str, Any]:
        return {"loss_type": "grpo", "scale_rewards": "group", "epsilon": 0.2}
