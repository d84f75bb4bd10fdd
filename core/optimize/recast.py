"""Frameworks as a mutation: a language model puts an instruction into the sections of role,
RISEN, WISER or chain of thought (core/prompts/frameworks.py), and fills those it says nothing of.

A search may do that to any of its texts, whatever that is made of; a start dressed in a framework
without a model is core/optimize/starts.py.
"""

import random

from core.llm.protocol import Messages
from core.prompts.frameworks import FRAMEWORKS, Framework

TAG = "prompt"


def drawn_framework(rng: random.Random) -> Framework:
    return rng.choice(list(FRAMEWORKS.values()))


def operation_of(framework: Framework) -> str:
    return f"framework {framework.title}"


def recast_request(text: str, framework: Framework, note: str = "") -> Messages:
    """`note`: what must stay as it is, for a text with slots."""
    parts = "\n".join(
        f"- {section.title}: {section.help}"
        + (f" Begins with “{section.opening}”." if section.opening else "")
        for section in framework.sections
        if section.key != "input"
    )
    return [
        {
            "role": "user",
            "content": f"Rewrite the prompt below in the structure “{framework.title}”. Its sections, in this order, "
            f"with an empty line between them:\n{parts}\n\nKeep what the prompt asks for, and fill the sections that it "
            f"says nothing of. Write the new prompt between <{TAG}> and </{TAG}>.{note}\n\nPrompt: {text}",
        }
    ]


def tokens_for(text: str) -> int:
    return 256 + 4 * len(text.split())
