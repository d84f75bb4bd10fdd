"""Plans over the API: the same figures and documents as the pages, under
`/projects/{id}/plan/…`."""

from fastapi import APIRouter

from api.planning import brief, decision, documents, milestones, roi, sourcing, team

router = APIRouter()
# The generic routes match any kind, so they come last.
for room in (roi, decision, milestones, team, sourcing, brief, documents):
    router.include_router(room.router)
