"""A zip with a reward model, read as what a stranger sent: checked by its table of contents
before anything is unpacked, and unpacked without believing it. Both sides: no database, no torch.

Refused: names that lead out of the folder (zip slip), links, weights in any form but
safetensors (a pickle runs code when it is read), code, too many files, more bytes than allowed
(counted while unpacking, too: a table of contents can lie)."""

import stat
import zipfile
import zlib
from pathlib import Path, PurePosixPath

from core.errors import Invalid
from core.reward.shards import INDEX, MOST_INDEX_BYTES, check_weights, read_index

MOST_FILES = 300
PIECE = 2**20
KEPT = (".json", ".txt", ".safetensors", ".model", ".md", ".jinja", ".tiktoken", ".bpe", ".vocab")
PICKLES = (".bin", ".pt", ".pth", ".pkl", ".pickle", ".ckpt", ".joblib", ".npy", ".npz")


def entries(path: Path, most_bytes: int) -> dict[str, zipfile.ZipInfo]:
    """What is to be unpacked: the name within the model's folder -> the entry. The folder is the
    one that holds config.json, at the top or below one folder. Raises Invalid saying which entry
    is refused, and why."""
    try:
        with zipfile.ZipFile(path) as archive:
            found = archive.infolist()
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError):
        raise Invalid("The file is not a zip archive, or it is damaged.", "Zip the model's folder.") from None
    if len(found) > MOST_FILES:
        raise Invalid(f"The zip has {len(found):,} entries; a model has at most {MOST_FILES}.")
    files = [(safe_name(entry), entry) for entry in found if not entry.is_dir()]
    files = [(name, entry) for name, entry in files if not _is_litter(name)]
    roots = sorted(
        (name.parent for name, _ in files if name.name == "config.json"), key=lambda p: len(p.parts)
    )
    if not roots:
        raise Invalid("The zip has no config.json.", "Zip a folder that `save_pretrained` wrote.")
    root = roots[0]
    inside: dict[str, zipfile.ZipInfo] = {}
    for name, entry in files:
        if not name.is_relative_to(root):
            raise Invalid(f"{name}: it lies beside the model's folder.", "Zip that folder alone.")
        _check_kind(name)
        key = str(name.relative_to(root))
        if key in inside:
            raise Invalid(f"{name}: it is in the zip twice.")
        inside[key] = entry
    check_weights(inside)
    total = sum(entry.file_size for entry in inside.values())
    if total > most_bytes:
        raise Invalid(
            f"The model has {total / 2**20:,.0f} MB unpacked, where {most_bytes / 2**20:,.0f} MB are allowed.",
            "Raise PREFLOOP_MAX_MODEL_MB, or send a smaller one.",
        )
    if INDEX in inside:
        read_index(_start_of(path, inside[INDEX]), inside)
    return inside


def _start_of(path: Path, entry: zipfile.ZipInfo) -> bytes:
    """A small file, not more of it than is allowed, whatever the table of contents says."""
    try:
        with zipfile.ZipFile(path) as archive, archive.open(entry) as file:
            return file.read(MOST_INDEX_BYTES + 1)
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError):
        raise Invalid(f"{entry.filename}: it is damaged in the zip.", "Zip the folder anew.") from None


def safe_name(entry: zipfile.ZipInfo) -> PurePosixPath:
    """The entry's name, if it stays within the folder that it is unpacked to. Raises Invalid."""
    said = entry.filename
    name = PurePosixPath(said)
    odd = "\\" in said or "\x00" in said or ":" in said or any(ord(letter) < 32 for letter in said)
    if odd or name.is_absolute() or ".." in name.parts or not name.parts:
        raise Invalid(f"{said!r}: this name leads out of the folder.", "Zip the folder anew.")
    if stat.S_ISLNK(entry.external_attr >> 16):
        raise Invalid(f"{said}: it is a link.", "Zip the files themselves.")
    if entry.flag_bits & 0x1:
        raise Invalid(f"{said}: it is encrypted.", "Zip it without a password.")
    return name


def _is_litter(name: PurePosixPath) -> bool:
    """What operating systems and tools leave in a zip."""
    return "__MACOSX" in name.parts or name.name in (".DS_Store", ".gitattributes", "Thumbs.db")


def _check_kind(name: PurePosixPath) -> None:
    ending = name.suffix.lower()
    if ending in PICKLES:
        raise Invalid(
            f"{name}: weights come as safetensors only; this form can run code when it is read.",
            "Save it with save_pretrained(…, safe_serialization=True).",
        )
    if ending not in KEPT and name.name.upper() not in ("LICENSE", "NOTICE"):
        raise Invalid(f"{name}: a model's folder has no such file.", f"Kinds: {', '.join(KEPT)}.")


def unpack(path: Path, target: Path, most_bytes: int) -> int:
    """Unpack into an empty folder; answers the bytes. Raises Invalid."""
    left = most_bytes
    with zipfile.ZipFile(path) as archive:
        for name, entry in entries(path, most_bytes).items():
            place = (target / name).resolve()
            if target.resolve() not in place.parents:
                raise Invalid(f"{entry.filename!r}: this name leads out of the folder.")
            place.parent.mkdir(parents=True, exist_ok=True)
            try:
                with archive.open(entry) as source, place.open("wb") as file:
                    while piece := source.read(PIECE):
                        left -= len(piece)
                        if left < 0:
                            raise Invalid("The zip unpacks to more than it says.", "Zip the folder anew.")
                        file.write(piece)
            except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError):
                raise Invalid(
                    f"{entry.filename}: it is damaged in the zip.", "Zip the folder anew."
                ) from None
    return most_bytes - left
