"""Policies that write prompts: a language model with a low-rank adapter is asked for another
instruction, and learns from the reward of what it wrote and from nothing else.

    policy.py      the model with its adapter: writes, and says how likely what was written is
    writing.py     what the methods share: the request, the reward, the rounds, the books
    ppo.py         proximal policy optimisation, ours
    trl_writer.py  one step of a trainer of TRL, started from our tensors
    grpo.py, rloo.py  the two trainers, with their settings
"""
