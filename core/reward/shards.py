"""Weights in several files: `model-00001-of-00003.safetensors`, …, and an index that says which
weight lies in which (`save_pretrained(…, max_shard_size=…)`). A stranger wrote the index, and
`transformers` joins its file names to the folder's: they are checked before it reads them. Both
sides: no database, no torch."""

import json
import re
from collections.abc import Collection
from pathlib import PurePosixPath

from core.errors import Invalid

WHOLE, INDEX = "model.safetensors", "model.safetensors.index.json"
ADAPTER = "adapter_config.json"
MOST_INDEX_BYTES = 32 * 2**20
_SHARD = re.compile(r"model-\d+-of-\d+\.safetensors")
_ANEW = "Save it anew with save_pretrained, and zip the whole folder."


def check_weights(names: Collection[str]) -> None:
    """`names` of the files of a model's folder: weights in one file, or an index of several.
    Raises Invalid."""
    if ADAPTER in names:
        raise Invalid(
            f"{ADAPTER}: this is an adapter, of which transformers would take the rest from elsewhere.",
            "Add it into its base model (merge_and_unload), and save that.",
        )
    shards = sorted(name for name in names if _SHARD.fullmatch(name))
    if WHOLE in names and (INDEX in names or shards):
        raise Invalid(
            f"The zip has its weights twice: {WHOLE}, and {INDEX if INDEX in names else shards[0]}.",
            "Leave one of the two forms out.",
        )
    if WHOLE in names or INDEX in names:
        return
    if shards:
        raise Invalid(f"The zip has {shards[0]}, but no {INDEX} that says what is in it.", _ANEW)
    raise Invalid(
        f"The zip has no {WHOLE} (nor a {INDEX} with its shards).",
        "Save it with save_pretrained(…, safe_serialization=True).",
    )


def read_index(data: bytes, names: Collection[str]) -> dict[str, set[str]]:
    """shard -> the weights that the index says it holds, where each shard is one of `names`, the
    files of the folder, and these have no other. Raises Invalid, naming what is wrong."""
    if len(data) > MOST_INDEX_BYTES:
        raise Invalid(f"{INDEX}: larger than {MOST_INDEX_BYTES // 2**20} MB.", _ANEW)
    try:
        index = json.loads(data)
    except (ValueError, RecursionError):
        index = None
    found = index.get("weight_map") if isinstance(index, dict) else None
    if not isinstance(index, dict) or not isinstance(found, dict) or not found:
        raise Invalid(f"{INDEX}: it has no “weight_map” that names the file of each weight.", _ANEW)
    if not isinstance(index.get("metadata"), dict):
        raise Invalid(f"{INDEX}: it has no “metadata”, without which transformers does not read it.", _ANEW)
    shards: dict[str, set[str]] = {}
    for weight, name in found.items():
        _check_name(weight, name)
        shards.setdefault(name, set()).add(weight)
    if missing := sorted(set(shards) - set(names)):
        if len(missing) == len(shards):
            raise Invalid(
                f"{INDEX}: none of its {len(shards)} shards is in the zip ({_some(missing)}).", _ANEW
            )
        raise Invalid(
            f"{INDEX}: {len(missing)} of its {len(shards)} shards {_is(missing)} not in the zip: {_some(missing)}.",
            _ANEW,
        )
    there = (name for name in names if "/" not in name and name.endswith(".safetensors"))
    if extra := sorted(set(there) - set(shards)):
        raise Invalid(
            f"{INDEX}: it does not know {_some(extra)}, which {_is(extra)} in the zip.",
            "Leave it out, or take the index that belongs to it.",
        )
    return shards


def check_shard(name: str, held: Collection[str], wanted: set[str]) -> None:
    """Whether a shard holds the weights that its index says. Raises Invalid."""
    if missing := sorted(wanted - set(held)):
        raise Invalid(
            f"{name}: {len(missing)} of the {len(wanted)} weights that {INDEX} says it holds are not in it, "
            f"such as {missing[0]}.",
            _ANEW,
        )
    if extra := sorted(set(held) - wanted):
        raise Invalid(
            f"{name}: it holds {len(extra)} weights that {INDEX} does not say it holds, such as {extra[0]}.",
            _ANEW,
        )


def _check_name(weight: str, name: object) -> None:
    said = f"{INDEX}: the weight {weight[:120]} lies in {str(name)[:120]!r}"
    if not isinstance(name, str) or not name.endswith(".safetensors"):
        raise Invalid(f"{said}, which is no safetensors file.", _ANEW)
    if PurePosixPath(name).name != name or "\\" in name or "\x00" in name:
        raise Invalid(f"{said}, which is not a file of this folder.", _ANEW)


def _some(names: list[str]) -> str:
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")


def _is(names: list[str]) -> str:
    return "are" if len(names) > 1 else "is"
