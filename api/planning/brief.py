"""The brief over REST: as JSON, as one HTML file, as a PDF of one page, and its tables."""

from datetime import datetime
from typing import Any

from fastapi import APIRouter, Response
from pydantic import BaseModel

from api.deps import CurrentUser, DatabaseDep
from core.access import require
from core.planning.brief import tables
from core.planning.brief.collect import collect, room_of, section_of
from core.projects import get_project

router = APIRouter(prefix="/projects/{project_id}/plan/brief", tags=["plan"])
CSV = "text/csv; charset=utf-8"


class Figure(BaseModel):
    label: str
    value: str
    detail: str


class BriefSection(BaseModel):
    """`empty`: there is nothing to say yet, and `answer` says what is missing. `tables`: the
    names under which `tables/{section}/{table}.json` and `.csv` are."""

    key: str
    title: str
    answer: str
    why: list[str]
    figures: list[Figure]
    tables: list[str]
    empty: bool


class BriefPublic(BaseModel):
    """`sources`: where the measured figures come from; `missing`: what is not measured yet."""

    project: str
    author: str
    at: datetime
    simulated: bool
    sections: list[BriefSection]
    sources: list[str]
    missing: list[str]


@router.get("")
def brief(project_id: str, db: DatabaseDep, who: CurrentUser) -> BriefPublic:
    """The answers of all five rooms, with their figures and reasons."""
    found = collect(db, who, project_id)
    sections = [
        BriefSection(
            key=section.key,
            title=section.title,
            answer=section.answer,
            why=section.why,
            figures=[
                Figure(label=label, value=value, detail=detail) for label, value, detail in section.figures
            ],
            tables=list(tables.tables_of(section)),
            empty=section.empty,
        )
        for section in found.sections
    ]
    return BriefPublic(
        project=found.project, author=found.author, at=found.at, simulated=found.simulated,
        sections=sections, sources=found.sources, missing=found.missing,
    )  # fmt: skip


@router.get(".html", response_class=Response, responses={200: {"content": {"text/html": {}}}})
def html(project_id: str, db: DatabaseDep, who: CurrentUser) -> Response:
    """One file with its charts inside; it loads nothing and runs no script."""
    from core.planning.brief.html import POLICY, as_html

    page = as_html(collect(db, who, project_id))
    return Response(page, media_type="text/html", headers={"Content-Security-Policy": f"sandbox; {POLICY}"})


@router.get(".pdf", response_class=Response, responses={200: {"content": {"application/pdf": {}}}})
def pdf(project_id: str, db: DatabaseDep, who: CurrentUser) -> Response:
    """One page of A4."""
    from core.planning.brief.pdf import as_pdf

    headers = {"Content-Disposition": 'inline; filename="brief.pdf"'}
    return Response(as_pdf(collect(db, who, project_id)), media_type="application/pdf", headers=headers)


@router.get("/tables.zip", response_class=Response, responses={200: {"content": {"application/zip": {}}}})
def every_table(project_id: str, db: DatabaseDep, who: CurrentUser) -> Response:
    """Every table of every section as CSV, in one zip."""
    headers = {"Content-Disposition": 'attachment; filename="tables.zip"'}
    content = tables.archive(collect(db, who, project_id))
    return Response(content, media_type="application/zip", headers=headers)


@router.get("/tables/{section}/{table}.json")
def table_json(
    project_id: str, section: str, table: str, db: DatabaseDep, who: CurrentUser
) -> list[dict[str, Any]]:
    """One table as rows; sections and tables are named in the brief."""
    found: list[dict[str, Any]] = tables.plain(_rows(project_id, section, table, db, who))
    return found


@router.get(
    "/tables/{section}/{table}.csv", response_class=Response, responses={200: {"content": {"text/csv": {}}}}
)
def table_csv(project_id: str, section: str, table: str, db: DatabaseDep, who: CurrentUser) -> Response:
    """One table as CSV. A text that a spreadsheet would take for a formula has an apostrophe
    before it."""
    headers = {"Content-Disposition": f'attachment; filename="{section}-{table}.csv"'}
    content = tables.table_csv(_rows(project_id, section, table, db, who))
    return Response(content, media_type=CSV, headers=headers)


def _rows(project_id: str, section: str, table: str, db: DatabaseDep, who: CurrentUser) -> tables.Rows:
    require(who, "plan.view")
    get_project(db, who, project_id)
    return tables.table(section_of(db, who, project_id, room_of(section)), table)
