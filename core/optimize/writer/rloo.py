"""RLOO: REINFORCE with a leave-one-out baseline (Ahmadian et al. 2024, Back to Basics, arXiv
2402.14740), by the trainer of TRL. Read beside section 3.3 of the paper.

    reward of a prompt: its grade, less beta (log pi - log pi_ref) summed over its tokens
    A_i = r_i less the mean of the others' r in the step
    loss = mean over prompts of -min(rho A, clip(rho, 1 - .2, 1 + .2) A), rho of the whole prompt

One action is the whole prompt, so there is one ratio a prompt and no credit to a token.
"""

from trl import RLOOConfig, RLOOTrainer

from core.optimize.writer.trl_writer import TrlWriter


class Rloo(TrlWriter):
    name = "rloo"
    trainer_class, config_class = RLOOTrainer, RLOOConfig
    ratio = "prompt"
