"""Model cards (Mitchell et al. 2019, 1810.03993): what a version is, what it was made from, how
good it is, what it is not good for. Generated from what is kept; a person may write another,
every version of which is kept. Both are shown."""

from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from sqlmodel import Session

from core import audit
from core.access import Principal, require
from core.errors import Invalid
from core.llm.embedded import ENCODER_NAME
from core.reward.stages import Version, find_model, version
from core.settings import get_settings
from storage.database import Database
from storage.project_documents import document_versions, save_document

LONGEST = 50_000
_UNKNOWN = "unknown"


@dataclass(frozen=True)
class Edit:
    number: int
    author: str
    at: datetime
    text: str


@dataclass(frozen=True)
class Card:
    """`generated` from what is kept; `edited`: what a person wrote instead, if anybody did;
    `edits`: all that was ever written, newest first ("" where it was taken back)."""

    generated: str
    edited: str | None
    edits: list[Edit]

    @property
    def text(self) -> str:
        return self.edited or self.generated


def card_of(db: Database, who: Principal, model_id: str) -> Card:
    found = version(db, who, model_id)
    with db.read() as session:
        rows = document_versions(session, found.model.project_id, _kind(model_id))
    edits = [Edit(row.number, row.author, row.created_at, row.body.get("text", "")) for row in rows]
    return Card(generated(found), found.model.card, edits)


def edit_card(db: Database, who: Principal, model_id: str, text: str) -> None:
    """Put a person's card in place of the generated one, or, empty, take it away."""
    require(who, "reward.manage")
    text = text.strip()
    if len(text) > LONGEST:
        raise Invalid(f"card: longer than {LONGEST:,} characters.")

    def work(session: Session) -> None:
        model = find_model(session, model_id)
        if (model.card or "") == text:
            return
        model.card = text or None
        session.add(model)
        body = {"text": text}
        save_document(
            session, model.project_id, _kind(model_id), f"Card of {model.name}", body, who.user_id, who.name
        )
        audit.record(
            session, who, "reward.card", "reward_model", model_id, model.project_id,
            name=model.name, characters=len(text),
        )  # fmt: skip

    db.write(work)


def _kind(model_id: str) -> str:
    return f"reward_card:{model_id}"


# --- generated ----------------------------------------------------------------------------------


def licence(backbone: str, folder: Path | None = None) -> str:
    """Of the backbone, as far as it is known here: of the embedded one, or what the README.md in
    the folder of a local or an uploaded model says."""
    if backbone == "embedded":
        return "apache-2.0"
    for place in (folder, Path(backbone)):
        readme = place / "README.md" if place is not None else None
        if readme is not None and readme.is_file():
            return _licence_line(readme.read_text(encoding="utf-8", errors="replace"))
    return _UNKNOWN


def _licence_line(text: str) -> str:
    lines = text.split("\n")
    if lines[0].strip() != "---":
        return _UNKNOWN
    for line in lines[1:40]:
        if line.strip() == "---":
            break
        name, _, value = line.partition(":")
        if name.strip() == "license" and value.strip():
            return value.strip()[:60]
    return _UNKNOWN


def front_matter(found: Version) -> str:
    """The head of a README.md as model hubs read it."""
    lines = ["library_name: transformers", "pipeline_tag: text-classification", "tags: [reward-model]"]
    known = licence(found.model.backbone, get_settings().data_dir / found.model.folder)
    if known != _UNKNOWN:
        lines.insert(0, f"license: {known}")
    if found.model.backbone == "embedded":
        lines.append("base_model: sentence-transformers/all-MiniLM-L6-v2")
    return "---\n" + "\n".join(lines) + "\n---\n"


def generated(found: Version) -> str:
    """Markdown. Model and project names are people's text: rendered like any other."""
    model, metrics = found.model, found.model.metrics
    parts = [f"# {model.name}", _what(found), "## Data", *_data(found), "## Training", *_training(found)]
    parts += ["## Figures", *_figures(metrics), "## Limits", *_limits(found), "## Use", _use(found)]
    parts += ["## Licence", _licence_words(found)]
    return "\n\n".join(part for part in parts if part) + "\n"


def _what(found: Version) -> str:
    made = f"{found.model.created_at:%Y-%m-%d %H:%M} UTC"
    how = "Uploaded" if found.uploaded else "Trained from people's comparisons"
    by = f" by {found.author}" if found.author else ""
    return (
        f"A reward model: it gives a response to an input one number, higher where people are more likely to "
        f"prefer it. {how} on {made}{by}. Run `{found.model.run_id}`."
    )


def _data(found: Version) -> list[str]:
    metrics = found.model.metrics
    if found.uploaded:
        said = ["Which votes it was trained on is not known here."]
        if metrics.get("accuracy") is not None:
            said.append(
                f"It was judged on this project's pairs: {metrics.get('n_dev') or 0:,} dev, "
                f"{metrics.get('n_test_pairs') or 0:,} test."
            )
        return said
    said = []
    if found.snapshot is not None:
        said.append(
            f"Preference data set “{found.snapshot.name}” (`{found.snapshot.id}`, content "
            f"`{found.snapshot.content_hash[:12]}`)."
        )
    pairs = ", ".join(
        f"{metrics.get(key) or 0:,} {name}"
        for key, name in (("n_train", "train"), ("n_dev", "dev"), ("n_test_pairs", "test"))
    )
    said.append(f"Pairs: {pairs}. Splits follow from the examples, so that no example is in two of them.")
    if found.model.simulated_share:
        said.append(f"**{100 * found.model.simulated_share:.0f} % of the votes are simulated.**")
    if metrics.get("machine_votes"):
        said.append(f"**{metrics['machine_votes']:,} votes are by machine judges.**")
    return said


def _training(found: Version) -> list[str]:
    model, metrics = found.model, found.model.metrics
    backbone = ENCODER_NAME if model.backbone == "embedded" else model.backbone or _UNKNOWN
    settings: dict[str, Any] = metrics.get("settings") or {}
    rows = [("Backbone", backbone)]
    names = {
        "preset": "Preset", "max_length": "Tokens read", "epochs": "Epochs", "batch_size": "Pairs a step",
        "steps": "Steps", "learning_rate": "Learning rate", "frozen_layers": "Frozen layers", "layers": "Layers",
        "loss": "Loss", "members": "Members", "precision": "Precision", "device": "Device", "seed": "Seed",
    }  # fmt: skip
    rows += [(title, str(settings[key])) for key, title in names.items() if settings.get(key) is not None]
    if isinstance(metrics.get("temperature"), int | float):
        rows.append(("Temperature", f"{metrics['temperature']:.3g}"))
    table = "| | |\n|---|---|\n" + "\n".join(f"| {title} | {value} |" for title, value in rows)
    partial = (
        "The training was stopped early; this is the best state by then." if metrics.get("partial") else ""
    )
    return [table, partial]


def _figures(metrics: dict[str, Any]) -> list[str]:
    if metrics.get("accuracy") is None:
        return ["It has not been judged: there was no test split with enough decided pairs."]
    rows = [
        ("Pairwise accuracy", _share(metrics, "accuracy"), f"{metrics.get('n_test', 0):,} decided test pairs")
    ]
    for name, of in (metrics.get("baselines") or {}).items():
        if isinstance(of, dict) and of.get("n") and of.get("accuracy") is not None:
            interval = f"{100 * of['accuracy']:.1f} % ({100 * of['low']:.1f} to {100 * of['high']:.1f})"
            rows.append((f"Baseline: {name}", interval, f"{of['n']:,} {of.get('unit', 'pairs')}"))
    for key, title in (
        ("log_loss", "Log-loss (a coin: .693)"),
        ("brier", "Brier"),
        ("ece", "Calibration error"),
    ):
        if isinstance(metrics.get(key), int | float):
            rows.append((title, f"{metrics[key]:.3f}", f"{metrics.get('n_test_pairs', 0):,} test pairs"))
    if (leans := (metrics.get("length") or {}).get("spearman")) is not None:
        n = f"{metrics.get('n_test_pairs', 0):,} test pairs"
        rows.append(("Rank correlation with length", f"{leans:+.2f}", n))
    table = "| figure | value (95 %) | n |\n|---|---|---|\n"
    table += "\n".join(f"| {title} | {value} | {n} |" for title, value, n in rows)
    return [table, "On held-out pairs, read once, at the end."]


def _share(metrics: dict[str, Any], key: str) -> str:
    low, high = metrics.get(f"{key}_low"), metrics.get(f"{key}_high")
    value = f"{100 * metrics[key]:.1f} %"
    return value if low is None or high is None else f"{value} ({100 * low:.1f} to {100 * high:.1f})"


def _limits(found: Version) -> list[str]:
    metrics = found.model.metrics
    notes = [f"- {note}" for note in metrics.get("notes") or []]
    notes.append(
        "- It has learnt what the annotators of one project preferred, on inputs like theirs; elsewhere it "
        "says little."
    )
    notes.append(
        "- It is right less often than people agree with themselves: optimising hard against it finds what it "
        "overrates. Check with people."
    )
    notes.append("- Rewards have no unit of their own; compare them within one project and scale only.")
    return ["\n".join(notes)]


def _use(found: Version) -> str:
    return (
        "In Prefloop: `POST /api/v1/projects/<id>/score`. Elsewhere, with `transformers`:\n\n"
        "```python\n"
        "from transformers import AutoModelForSequenceClassification, AutoTokenizer\n\n"
        'tokenizer = AutoTokenizer.from_pretrained("folder", truncation_side="left")\n'
        'model = AutoModelForSequenceClassification.from_pretrained("folder")\n'
        "encoded = tokenizer(\n"
        '    input, response, truncation="only_first", max_length=N, return_token_type_ids=False, return_tensors="pt"\n'
        ")\n"
        "score = model(**encoded).logits[0, 0]\n"
        "```\n\n"
        "N is `max_length` in `reward.json`. That reads `[CLS] input [SEP] response [SEP]`; where a tokenizer has no "
        "such tokens it is input, blank line, response, end. Earlier turns stand before the input, each as `User: …` "
        "or `Assistant: …`, with blank lines between. The chance that people prefer a to b is "
        "`sigmoid((score_a - score_b) / temperature)`. Output 0 is the overall reward."
    )


def _licence_words(found: Version) -> str:
    known = licence(found.model.backbone, get_settings().data_dir / found.model.folder)
    if known == _UNKNOWN:
        return (
            "The backbone's licence is not known here: look where it comes from. It holds for this model too."
        )
    return f"Backbone: {known}. The votes and texts it learnt from are the project's own."
