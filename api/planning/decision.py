from fastapi import APIRouter

router = APIRouter(prefix="/projects/{project_id}/plan/decision", tags=["plan"])
