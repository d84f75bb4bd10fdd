"""Which prompts an optimiser found, so that people must have preferred them, blind, before they
are promoted.

An edit of a found prompt is found, too: what a search made to please a reward model is still in
it. Not so an edit of one that was the champion: that has been compared, and people work on from
there. The same words under another name are the same prompt.
"""

from sqlmodel import Session, col, or_, select

from core.access import Principal, require
from core.prompts.versions import find_prompt
from storage.database import Database
from storage.improvements import was_champion
from storage.tables import Prompt


def found_by_an_optimiser(db: Database, who: Principal, prompt_id: str) -> bool:
    """Raises NotFound."""
    require(who, "project.view")
    with db.read() as session:
        return is_found(session, find_prompt(session, prompt_id))


def is_found(session: Session, prompt: Prompt) -> bool:
    """Whether an optimiser found it, here or in the installation that it was imported from, or it
    was edited from such a prompt, or says the same as one."""
    if was_found(prompt) or _same_words(session, prompt):
        return True
    seen = {prompt.id}
    above = prompt
    while above.parent_id is not None and above.parent_id not in seen:
        parent = session.get(Prompt, above.parent_id)
        if parent is None or was_champion(session, parent.project_id, parent.id):
            return False
        if was_found(parent):
            return True
        seen.add(parent.id)
        above = parent
    return False


def was_found(prompt: Prompt) -> bool:
    """By this version alone."""
    return prompt.run_id is not None or ":" in prompt.operation


def _same_words(session: Session, prompt: Prompt) -> bool:
    query = select(Prompt.id).where(
        Prompt.project_id == prompt.project_id,
        Prompt.id != prompt.id,
        Prompt.system == prompt.system,
        Prompt.user == prompt.user,
        or_(col(Prompt.run_id).is_not(None), col(Prompt.operation).contains(":")),
    )
    return session.exec(query.limit(1)).first() is not None
