from fastapi import APIRouter

router = APIRouter(prefix="/projects/{project_id}/plan/team", tags=["plan"])
