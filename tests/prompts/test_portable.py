"""Prompts from one installation to another, with soft prompts; and files that strangers sent."""

import hashlib
import io
import json
import zipfile
from dataclasses import asdict

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.numpy import load_file, save
from sqlmodel import select

from core.errors import Conflict, Forbidden, Invalid
from core.llm.soft_names import Card, mark
from core.optimize.found import was_found
from core.prompts import portable, versions
from core.prompts.soft import soft_card, soft_folder
from storage.tables import Project, Prompt

VECTORS = np.arange(12, dtype=np.float32).reshape(3, 4) / 8


def card(**other):
    rows = [{"place": i + 1, "token": "a", "distance": 0.5, "cosine": 0.9, "began": ""} for i in range(3)]
    return Card(**{"kind": "embeddings", "method": "prompt_tuning", "model": "m", "fingerprint": "f" * 32,
                   "tokens": 3, "numbers": 12, "trained": 12, "steps": 4, "text": "", "rows": rows, **other})  # fmt: skip


def name_of(vectors, of):
    """By hand: the first 16 digits of a hash of all it is."""
    said = f"{of.kind} {of.fingerprint} {tuple(vectors.shape)}".encode() + vectors.tobytes()
    return hashlib.sha256(said).hexdigest()[:16]


def safetensors(vectors=VECTORS, of=None, key="vectors"):
    return save({key: vectors}, {"card": json.dumps(asdict(of or card()))})


NAME = name_of(VECTORS, card())
SOFT = f"soft/{NAME}.safetensors"


def line(**other):
    return json.dumps({"name": "found", "system": f"{mark(NAME)}", "user": "{{input}}", **other})


def zipped(*lines, **files):
    into = io.BytesIO()
    with zipfile.ZipFile(into, "w") as archive:
        if lines:
            archive.writestr("prompts.jsonl", "\n".join(lines))
        for name, content in files.items():
            archive.writestr(name, content)
    return into.getvalue()


@pytest.fixture
def other(db):
    """A project of another installation: nothing is there but its name."""
    project = Project(name="Elsewhere, über")
    db.write(lambda session: session.add(project))
    return project


@pytest.fixture
def written(db, admin, project):
    """Two versions of one prompt, one that an optimiser found, and one that is vectors."""
    folder = soft_folder(project.id)
    folder.mkdir(parents=True)
    (folder / f"{NAME}.safetensors").write_bytes(safetensors())
    one = versions.create_prompt(db, admin, project.id, "plain", "Be brief.", "{{input}}")
    two = versions.create_prompt(db, admin, project.id, "plain", "Be very brief.", "{{input}}")
    structure = {"framework": "role", "sections": {"role": "a cook", "task": "Cook.", "input": "{{input}}"}}
    three = versions.create_prompt(db, admin, project.id, "cook", structure=structure, parent_id=two.id)
    found = versions.create_prompt(
        db, admin, project.id, "plain", mark(NAME), "{{input}}", operation="prompt_tuning:4 steps", run_id="r"
    )
    db.write(lambda session: session.add(Prompt(project_id=project.id, name="known by name")))
    return [one, two, three, found]


def prompts_in(db, project):
    with db.read() as session:
        found = list(session.exec(select(Prompt).where(Prompt.project_id == project.id)))
    return sorted(found, key=lambda one: (one.name, one.version))


def test_there_and_back(db, admin, project, other, written):
    name, pieces = portable.export_prompts(db, admin, project.id)
    file = b"".join(pieces)
    assert name == "a-project-prompts.zip" and zipfile.ZipFile(io.BytesIO(file)).testzip() is None
    assert b"".join(portable.export_prompts(db, admin, project.id)[1]) == file
    taken = portable.import_prompts(db, admin, other.id, [file[:100], file[100:]])
    assert (len(taken.made), taken.there, taken.soft) == (4, 0, 1)
    mine, theirs = ([p for p in prompts_in(db, of) if p.user] for of in (project, other))
    for a, b in zip(mine, theirs, strict=True):
        assert (a.name, a.version, a.system, a.user, a.structure) == (
            b.name,
            b.version,
            b.system,
            b.user,
            b.structure,
        )
    assert [p.operation for p in theirs] == [
        "imported",
        "imported",
        "imported",
        "imported prompt_tuning:4 steps",
    ]
    labels = {p.id: versions.label(p) for p in theirs}
    assert [labels.get(p.parent_id) for p in theirs] == ["plain v2", None, "plain v1", "plain v2"]
    assert [was_found(p) for p in theirs] == [False, False, False, True]  # it needs its comparison here, too
    there = soft_folder(other.id) / f"{NAME}.safetensors"
    assert np.array_equal(load_file(there)["vectors"], VECTORS) and soft_card(theirs[-1]) == card()

    again = portable.import_prompts(db, admin, other.id, [file])
    assert (again.made, again.there, again.soft) == ([], 4, 0) and len(prompts_in(db, other)) == 4


def test_what_cannot_go_out(db, admin, person, project, other, written):
    with pytest.raises(Conflict, match="no prompt to export"):
        portable.export_prompts(db, admin, other.id)
    with pytest.raises(Forbidden):
        portable.export_prompts(db, person("annotator"), project.id)
    with pytest.raises(Forbidden):
        portable.import_prompts(db, person("annotator"), project.id, [b""])
    (soft_folder(project.id) / f"{NAME}.safetensors").unlink()
    with pytest.raises(Conflict, match="The vectors of plain v3 are not there any more"):
        portable.export_prompts(db, admin, project.id)


NAN = VECTORS.copy()
NAN[0, 0] = np.nan
WIDE = VECTORS.astype(np.float64)
REFUSED = {
    "not a zip archive": b"hello",
    "has no prompts.jsonl": zipped(**{SOFT: safetensors()}),
    "has no vectors for": zipped(line()),
    "names these vectors": zipped(line(system="Be brief."), **{SOFT: safetensors()}),
    "leads out of the folder": zipped(line(), **{f"../{SOFT}": safetensors()}),
    "'/soft": zipped(line(), **{f"/{SOFT}": safetensors()}),
    "no such entry": zipped(line(), **{SOFT: safetensors(), "soft/model.bin": b"x"}),
    "soft/deep/0123456789abcdef.safetensors: an export": zipped(
        line(), **{"soft/deep/0123456789abcdef.safetensors": safetensors()}
    ),
    "holds no soft prompt": zipped(line(), **{SOFT: b"\x80\x04pickle"}),
    "not those that this name": zipped(line(), **{SOFT: safetensors(VECTORS + 1)}),
    "not finite": zipped(
        line(system=mark(name_of(NAN, card()))),
        **{f"soft/{name_of(NAN, card())}.safetensors": safetensors(NAN)},
    ),
    "something else than vectors": zipped(line(), **{SOFT: safetensors(WIDE)}),
    "something else than": zipped(line(), **{SOFT: safetensors(key="weight")}),
    "what its card says": zipped(line(), **{SOFT: safetensors(of=card(tokens=4))}),
    "damaged, or holds": zipped(line(), **{SOFT: safetensors(of=card(method="**bold** <b>"))}),
    "or holds no": zipped(line(), **{SOFT: safetensors(of=card(rows=[{"place": "x"}]))}),
    f"soft/{NAME}.safetensors: it is damaged": zipped(
        line(), **{SOFT: save({"vectors": VECTORS}, {"card": "[" * 100_000})}
    ),
    "line 1: it holds a character": zipped(line(name="half a \ud800")),
    "line 1: it is no JSON": zipped("[" * 100_000),
    "line 2: it is no JSON": zipped(line(system="Be brief."), "{"),
    "line 1: a prompt has no field “run_id”": zipped(line(system="a", run_id="r")),
    "line 1: name is a text": zipped(line(name=3)),
    "line 1: user is empty": zipped(line(user=" ")),
    "line 1: version is": zipped(line(version=0)),
    "line 1: parent is": zipped(line(parent="plain")),
    "line 1: structure": zipped(line(system="a", structure={"framework": "none"})),
    "line 2: name: a prompt's name": zipped(line(system="a"), line(system="b", name="x" * 121)),
}  # fmt: skip


@pytest.mark.parametrize("message", REFUSED)
def test_a_foreign_file_is_refused_by_name_and_leaves_nothing(db, admin, other, message):
    with pytest.raises(Invalid) as problem:
        portable.import_prompts(db, admin, other.id, [REFUSED[message]])
    assert message in problem.value.message
    nothing_left(db, other)


def nothing_left(db, project):
    folder = soft_folder(project.id)
    assert prompts_in(db, project) == [] and not list(folder.glob("*") if folder.exists() else [])


def test_a_file_too_large_is_refused_while_it_comes_in(db, admin, other, monkeypatch):
    monkeypatch.setattr(portable.get_settings(), "max_upload_mb", 0)
    with pytest.raises(Invalid, match="larger than 0 MB"):
        portable.import_prompts(db, admin, other.id, iter([b"x", b"y"]))
    monkeypatch.setattr(portable.get_settings(), "max_upload_mb", 1)
    lying = zipped(line(), **{SOFT: safetensors()})
    bomb = io.BytesIO(lying)
    with zipfile.ZipFile(bomb, "a", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("soft/0123456789abcdef.safetensors", bytes(4 * 2**20))
    with pytest.raises(Invalid, match="more than is allowed"):
        portable.import_prompts(db, admin, other.id, [bomb.getvalue()])
    nothing_left(db, other)


WHOLE = zipped(line(), **{SOFT: safetensors()})


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_a_damaged_file_is_taken_whole_or_refused_whole(db, admin, other, data):
    """Bytes changed, cut out or cut off, anywhere: never another error, never a part."""
    at = data.draw(st.integers(0, len(WHOLE) - 1))
    upto = data.draw(st.integers(at, min(at + 40, len(WHOLE))))
    broken = WHOLE[:at] + data.draw(st.binary(max_size=20)) + WHOLE[upto:]
    project = Project(name="Another")
    db.write(lambda session: session.add(project))
    try:
        portable.import_prompts(db, admin, project.id, [broken])
    except Invalid:
        nothing_left(db, project)
        return
    (prompt,) = prompts_in(db, project)
    if mark(NAME) in prompt.system:
        assert np.array_equal(load_file(soft_folder(project.id) / f"{NAME}.safetensors")["vectors"], VECTORS)


anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)
structures = st.fixed_dictionaries({"framework": st.just("role"), "sections": anything | st.dictionaries(
    st.sampled_from(["role", "task", "tone", "input", "other"]), anything, max_size=5
)})  # fmt: skip


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    row=st.fixed_dictionaries(
        {"name": st.just("a") | anything, "user": st.just("{{input}}") | anything},
        optional={
            "system": anything, "structure": structures | anything, "version": anything,
            "parent": st.lists(anything, max_size=3), "operation": anything,
        },
    )
)  # fmt: skip
def test_a_line_may_hold_anything_and_is_taken_or_refused(db, admin, row):
    project = Project(name="Another")
    db.write(lambda session: session.add(project))
    try:
        taken = portable.import_prompts(db, admin, project.id, [zipped(json.dumps(row))])
    except Invalid as problem:
        assert problem.message.startswith("prompts.jsonl, line 1: ")
        nothing_left(db, project)
        return
    assert len(taken.made) == len(prompts_in(db, project)) == 1


def test_over_the_api_and_on_the_page(db, admin, api, person, project, other, written, open_page):
    client = api(admin)
    answer = client.get(f"/projects/{project.id}/prompts/export")
    assert answer.headers["content-type"] == "application/zip"
    taken = client.post(f"/projects/{other.id}/prompts/import", content=answer.content).json()
    assert (len(taken["made"]), taken["there"], taken["soft"]) == (4, 0, 1)
    refused = client.post(f"/projects/{other.id}/prompts/import", content=b"no zip")
    assert refused.status_code == 422 and "not a zip archive" in refused.text
    assert api(person("annotator")).get(f"/projects/{project.id}/prompts/export").status_code == 403

    at = open_page(admin, "prompts.py", project)
    assert not at.exception and "Download 4 versions" in [
        button.label for button in at.get("download_button")
    ]
    fresh = Project(name="Fresh")
    db.write(lambda session: session.add(fresh))
    at = open_page(admin, "prompts.py", fresh)
    at.file_uploader[0].upload("prompts.zip", answer.content, "application/zip").run()
    at.button(key="prompts_import").click().run()
    assert not at.exception and "4 versions taken in" in " ".join(item.value for item in at.success)
    assert len(prompts_in(db, fresh)) == 4
