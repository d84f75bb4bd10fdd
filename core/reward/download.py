"""A reward model as a zip: the folder that `transformers` reads, with its card as README.md."""

import re
import zipfile
from collections.abc import Iterator
from pathlib import Path

from core.access import Principal, require
from core.encoding import Sink
from core.errors import Conflict
from core.reward.cards import card_of, front_matter
from core.reward.stages import version
from core.settings import get_settings
from storage.database import Database

PIECE = 2**20
_WHEN = (1980, 1, 1, 0, 0, 0)  # the same model, the same bytes


def file_name(name: str) -> str:
    stamp = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")[:60] or "reward-model"
    return f"{stamp}.zip"


def model_zip(db: Database, who: Principal, model_id: str) -> tuple[str, Iterator[bytes]]:
    """(file name, the zip piece by piece). What is wrong is raised at once: NotFound, or Conflict
    when the files are gone. For archived versions too."""
    require(who, "run.view")
    found = version(db, who, model_id)
    if not found.files:
        raise Conflict(f"The files of “{found.model.name}” are gone.", "Train a new one.")
    card = front_matter(found) + "\n" + card_of(db, who, model_id).text
    folder = (get_settings().data_dir / found.model.folder).resolve()
    name = file_name(found.model.name)
    return name, _pieces(folder, name.removesuffix(".zip"), card)


def _pieces(folder: Path, top: str, card: str) -> Iterator[bytes]:
    sink = Sink()
    # Stored: weights do not shrink, and the bytes pass through at the speed of the disk.
    with zipfile.ZipFile(sink, "w", zipfile.ZIP_STORED) as archive:
        archive.writestr(zipfile.ZipInfo(f"{top}/README.md", _WHEN), card)
        for path in sorted(folder.rglob("*")):
            if not path.is_file() or path.is_symlink() or path == folder / "README.md":
                continue
            entry = zipfile.ZipInfo(f"{top}/{path.relative_to(folder).as_posix()}", _WHEN)
            entry.file_size = path.stat().st_size
            with path.open("rb") as source, archive.open(entry, "w", force_zip64=True) as target:
                while piece := source.read(PIECE):
                    target.write(piece)
                    yield sink.take()
    yield sink.take()
