"""Which structure a search starts from, and which part of the prompt it edits."""

from typing import Any

import streamlit as st

from core.optimize.view import sections_of
from core.prompts.frameworks import FRAMEWORKS
from core.services import database
from pages.shared import me

AS_IT_IS, WHOLE = "as it is", "whole"


def start_form(project_id: str, reward: Any, prompt: str | None) -> dict[str, str]:
    """`framework` and `section` of the config, where they were chosen."""
    config: dict[str, str] = {}
    left, right = st.columns(2)
    framework = left.selectbox(
        "Structure",
        [AS_IT_IS, *FRAMEWORKS],
        format_func=lambda key: "The prompt as it is" if key == AS_IT_IS else FRAMEWORKS[key].title,
        key="optimize_framework",
        help="Start from a framework: the prompt's instruction becomes its task, and the other sections are "
        "filled with the project's criteria or labels and with plain words.",
    )
    if framework != AS_IT_IS:
        config["framework"] = framework
    asked: dict[str, Any] = {"reward": reward, **config, **({"prompt": prompt} if prompt else {})}
    sections = sections_of(database(), me(), project_id, asked)
    part = right.selectbox(
        "Edit",
        [WHOLE, *sections],
        format_func=lambda key: "The whole instruction" if key == WHOLE else f"Section {sections[key]}",
        # The choices follow from the start: another start is another box.
        key=f"optimize_section_{'_'.join(sections)}",
        help="Every method can edit one section and leave the rest as it is, byte for byte."
        if sections
        else "This prompt is free text. One made of sections, or a structure to its left, can be edited by section.",
    )
    if part != WHOLE:
        config["section"] = part
    return config
