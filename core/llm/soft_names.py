"""Soft prompts by their names: how a text says where vectors stand, and what is known of them.

A soft prompt is not text: it is vectors that stand where tokens of an instruction would. A
template names them by a mark, `⟦soft prompt 3f2a91c0d4e5b6a7⟧`, and a host in process puts
them there (core/llm/soft.py). The name is a hash of the vectors and of the model they were
trained for, so that everything that goes by a text (books, caches, versions, differences)
holds for soft prompts as it stands. The file `<name>.safetensors` has a card in its header.
Never imports torch.
"""

import hashlib
import json
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

MARK = re.compile(r"⟦soft prompt ([0-9a-f]{16})⟧")
SOFT = "soft"  # the folder they lie in: of a run's artifacts, of its inputs, of the data folder
EMBEDDINGS, KEYS_VALUES = "embeddings", "keys_values"


@dataclass(frozen=True)
class Card:
    """What is known of a soft prompt without opening its model. `kind`: EMBEDDINGS (read
    like tokens) or KEYS_VALUES (of every layer). `model`: as its host named it;
    `fingerprint`: of its weights. `tokens`: so many places it takes; `numbers` it holds;
    `trained`: parameters that were trained for it, with those of an encoder that is not
    kept. `text`: what it started from (empty: random). `rows`: for EMBEDDINGS the nearest
    vocabulary token of each vector ({place, token, distance, cosine, began}), for
    KEYS_VALUES how far each layer moved ({layer, keys, values}). `yardstick`: the median
    distance from a vocabulary token to its nearest neighbour."""

    kind: str
    method: str
    model: str
    fingerprint: str
    tokens: int
    numbers: int
    trained: int
    steps: int
    text: str
    rows: list[dict[str, Any]] = field(default_factory=list)
    yardstick: float = 0.0


def name_of(kind: str, fingerprint: str, shape: tuple[int, ...], vectors: bytes) -> str:
    """16 hexadecimal digits of a hash of all that a soft prompt is. `vectors`: float32, in C order."""
    content = hashlib.sha256(f"{kind} {fingerprint} {shape}".encode())
    content.update(vectors)
    return content.hexdigest()[:16]


def mark(name: str) -> str:
    return f"⟦soft prompt {name}⟧"


def names_in(*texts: str) -> list[str]:
    """The soft prompts that texts name, each once."""
    return list(dict.fromkeys(name for text in texts for name in MARK.findall(text)))


def file_of(folder: Path, name: str) -> Path:
    return folder / f"{name}.safetensors"


def card_of(folder: Path, name: str) -> Card | None:
    """The card of a soft prompt; None when its file is not there, or is no soft prompt's."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(file_of(folder, name), framework="numpy") as file:
            return Card(**json.loads((file.metadata() or {})["card"]))
    except (OSError, SafetensorError, KeyError, TypeError, ValueError, RecursionError):
        return None
