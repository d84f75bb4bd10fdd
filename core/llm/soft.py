"""Soft prompts in a model in process: what they are, where they are kept, how they are read.

The vectors stand in the place of the mark, within the request as the chat template writes
it: what is before them is read, then the vectors, then the rest. Libraries put them before
everything instead; here a soft prompt that starts as the words of a written prompt is, at
first, that prompt. What stands before and the vectors are read once for all requests that
share them, and kept as keys and values (core/llm/sharing.py); training reads them by the
same functions, so that their place is the same in training and in use.

    embeddings    (K, d)           K vectors read like the embeddings of K tokens
    keys_values   (2 L, H, K, D)   for each of L layers the keys and the values of K places,
                                   H key-value heads of D (with grouped-query attention fewer
                                   than attention heads). Keys as a cache holds them: rotated
"""

import hashlib
import json
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch

from core.llm.passes import last
from core.llm.sharing import Head, Ids
from core.llm.soft_names import EMBEDDINGS, MARK, Card, card_of, file_of, mark, name_of
from core.runs.context import WorkError

NEIGHBOURS = 256  # tokens sampled for the yardstick
_ROWS = 16_384  # of the vocabulary at a time


@dataclass(frozen=True)
class SoftPrompt:
    """Vectors, float32, and the fingerprint of the model they were trained for."""

    kind: str
    vectors: torch.Tensor
    fingerprint: str

    @property
    def tokens(self) -> int:
        """How many places it takes: K."""
        return int(self.vectors.shape[-2])

    @property
    def name(self) -> str:
        """16 hexadecimal digits of a hash of all it is."""
        kept = self.vectors.detach().to("cpu", torch.float32).contiguous()
        return name_of(self.kind, self.fingerprint, tuple(kept.shape), kept.numpy().tobytes())


class Shelf:
    """Where a host finds the soft prompts that its requests name. A mark of a name that is
    not here is text like any other: an example may contain anything."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.held: dict[str, SoftPrompt] = {}

    def keep(self, soft: SoftPrompt, card: Card) -> str:
        """Write it down; answers its name."""
        from safetensors.torch import save_file

        name = soft.name
        self.folder.mkdir(parents=True, exist_ok=True)
        part = self.folder / f"{name}.part"
        kept = {"vectors": soft.vectors.detach().to("cpu", torch.float32).contiguous()}
        save_file(kept, part, {"card": json.dumps(asdict(card), ensure_ascii=False)})
        part.replace(file_of(self.folder, name))
        self.held[name] = replace(soft, vectors=soft.vectors.detach())
        return name

    def find(self, name: str) -> SoftPrompt | None:
        if name not in self.held:
            card = card_of(self.folder, name)
            if card is None:
                return None
            from safetensors.torch import load_file

            vectors = load_file(file_of(self.folder, name))["vectors"]
            self.held[name] = SoftPrompt(card.kind, vectors, card.fingerprint)
        return self.held[name]


def placed(host: Any, text: str) -> tuple[Head, str]:
    """The beginning of a rendered request up to and with its soft prompt, and the text after
    it; an empty beginning, and the text, when it names none. Raises WorkError for vectors of
    another model."""
    found = MARK.search(text) if host.shelf is not None else None
    soft = host.shelf.find(found[1]) if found else None
    if found is None or soft is None:
        return Head(), text
    if soft.fingerprint != host.fingerprint:
        card = card_of(host.shelf.folder, found[1])
        trained = f"“{card.model}”" if card else "another model"
        raise WorkError(
            f"{mark(found[1])} was trained for {trained}, and the host “{host.spec.name}” runs a model "
            "with other weights: its vectors mean nothing there.",
            "Use the host it was trained on, or train one for this host.",
        )
    if not host.keeps_cache:
        raise WorkError(
            f"The model of “{host.spec.name}” keeps no keys and values, which a soft prompt needs.",
            "Choose a transformer.",
        )
    before = host.tokens(text[: found.start()]) if found.start() else []
    after = text[found.end() :]
    if not after:
        raise WorkError(
            "A soft prompt cannot be the end of a request: the answer needs a token to follow from.",
            "Put the slot after it, or use a model with a chat template.",
        )
    return Head((*before, *[host.pad] * soft.tokens), len(before), found[1]), after


def read(host: Any, ids: Ids, head: Head) -> Any:
    """The cache (of one row) after reading `ids`, which begin with `head`: the tokens before
    its vectors, the vectors, and whatever tokens follow. Gradients reach the vectors."""
    from transformers import DynamicCache

    soft = host.shelf.held[head.soft]
    cache = DynamicCache(config=host.model.config)
    if head.at:
        _pass(host, cache, input_ids=_row(host, ids[: head.at]))
    vectors = soft.vectors.to(host.device, host.dtype)
    if soft.kind == EMBEDDINGS:
        _pass(host, cache, inputs_embeds=vectors.unsqueeze(0))
    else:
        for layer in range(len(vectors) // 2):
            cache.update(vectors[2 * layer].unsqueeze(0), vectors[2 * layer + 1].unsqueeze(0), layer)
    rest = ids[len(head.ids) :]
    if rest:
        _pass(host, cache, input_ids=_row(host, rest))
    return cache


def _row(host: Any, ids: Ids) -> torch.Tensor:
    return torch.tensor([ids], device=host.device)


def _pass(host: Any, cache: Any, **inputs: torch.Tensor) -> None:
    host.model(**inputs, past_key_values=cache, use_cache=True, **last(host, 1))


@torch.inference_mode()
def fingerprint(model: torch.nn.Module) -> str:
    """Of a model's weights: names, shapes, and 64 values of each tensor, evenly spaced, as
    bfloat16 (so that one model has one fingerprint, in whatever precision it is loaded)."""
    content = hashlib.sha256()
    for name, weight in sorted(model.named_parameters()):
        content.update(f"{name} {tuple(weight.shape)}".encode())
        flat = weight.reshape(-1)
        places = _spread(len(flat), 64, flat.device)
        content.update(flat[places].to("cpu", torch.bfloat16).view(torch.int16).numpy().tobytes())
    return content.hexdigest()[:32]


def _spread(length: int, count: int, device: torch.device) -> torch.Tensor:
    """Up to `count` places from the first to the last, evenly spaced; in whole numbers, because
    float32 has none beyond 2^24."""
    count = min(count, length)
    return torch.arange(count, device=device) * (length - 1) // max(1, count - 1)


# --- what can be shown of them ---------------------------------------------------------------


@torch.inference_mode()
def nearest(host: Any, vectors: torch.Tensor, began: Ids) -> list[dict[str, Any]]:
    """For each of the (K, d) vectors the vocabulary token whose embedding is nearest by
    Euclidean distance, with that distance and the cosine; `began`: the tokens they were."""
    table = host.model.get_input_embeddings().weight
    vectors = vectors.to(table.device, torch.float32)
    distance, token = _nearest(table, vectors)
    cosine = torch.cosine_similarity(vectors, table[token].float(), dim=1)
    return [
        {
            "place": i + 1,
            "token": host.tokenizer.decode([int(token[i])]),
            "distance": round(float(distance[i]), 4),
            "cosine": round(float(cosine[i]), 4),
            "began": host.tokenizer.decode([began[i]]) if began else "",
        }
        for i in range(len(vectors))
    ]


@torch.inference_mode()
def yardstick(host: Any) -> float:
    """The median distance from a vocabulary token to its nearest other token, over a sample."""
    table = host.model.get_input_embeddings().weight
    places = _spread(len(table), NEIGHBOURS, table.device)
    distance, _ = _nearest(table, table[places].float(), apart_from=places)
    return round(float(distance.median()), 4)


def _nearest(
    table: torch.Tensor, vectors: torch.Tensor, apart_from: torch.Tensor | None = None
) -> tuple[torch.Tensor, torch.Tensor]:
    """(K,) distances and (K,) tokens; `apart_from` (K,): a token that does not count. Compared
    by a product of matrices, which is quick and rounds; the distances are then exact."""
    best = torch.full((len(vectors),), float("inf"), device=vectors.device)
    token = torch.zeros(len(vectors), dtype=torch.long, device=vectors.device)
    for start in range(0, len(table), _ROWS):
        part = torch.cdist(vectors, table[start : start + _ROWS].float())
        if apart_from is not None:
            here = (apart_from >= start) & (apart_from < start + part.shape[1])
            part[here, apart_from[here] - start] = float("inf")
        distance, place = part.min(dim=1)
        closer = distance < best
        best, token = torch.where(closer, distance, best), torch.where(closer, place + start, token)
    return (vectors - table[token].float()).norm(dim=1), token


@torch.inference_mode()
def moved(vectors: torch.Tensor, began: torch.Tensor) -> list[dict[str, Any]]:
    """How far the keys and values of each layer are from where they began, relative to the
    length they had: (2 L, H, K, D) twice."""
    vectors, began = vectors.float().cpu(), began.float().cpu()
    share = (
        (vectors - began).flatten(1).norm(dim=1) / began.flatten(1).norm(dim=1).clamp(min=1e-12)
    ).tolist()
    return [
        {"layer": i + 1, "keys": round(share[2 * i], 4), "values": round(share[2 * i + 1], 4)}
        for i in range(len(share) // 2)
    ]
