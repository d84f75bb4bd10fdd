"""Frozen embeddings of responses, for heads to stand on."""

import numpy as np


def embed(texts: list[tuple[str, str]], max_length: int = 256) -> np.ndarray:
    """(R, 384): the mean of the embedded encoder's last hidden states over the tokens of
    "input, response", put together and cut as for a reward model (`core.reward.encode`), at
    length 1."""
    import torch

    from core.llm.embedded import EMBEDDED
    from core.reward.encode import Encoder, load

    model, tokenizer = load(EMBEDDED, head=True)
    body = model.base_model.eval()
    ids, _ = Encoder(tokenizer, max_length)([asked for asked, _ in texts], [said for _, said in texts])
    found = np.zeros((len(ids), body.config.hidden_size), np.float32)
    order = sorted(range(len(ids)), key=lambda i: len(ids[i]))
    with torch.inference_mode():
        for start in range(0, len(order), 32):
            batch = order[start : start + 32]
            width = max(len(ids[i]) for i in batch)
            tokens = torch.full((len(batch), width), tokenizer.pad_token_id)
            mask = torch.zeros((len(batch), width))
            for row, i in enumerate(batch):
                tokens[row, : len(ids[i])] = torch.tensor(ids[i])
                mask[row, : len(ids[i])] = 1
            states = body(input_ids=tokens, attention_mask=mask.long()).last_hidden_state
            mean = (states * mask[:, :, None]).sum(1) / mask.sum(1, keepdim=True)
            found[batch] = torch.nn.functional.normalize(mean, dim=1).numpy()
    return found


def principal(features: np.ndarray, groups: np.ndarray, most: int) -> np.ndarray:
    """(R, most): what each row has along the directions in which rows of the same group (R,)
    differ most. Only such differences are compared, so the group's mean is taken out."""
    _, group = np.unique(groups, return_inverse=True)
    sums = np.zeros((group.max() + 1, features.shape[1]))
    np.add.at(sums, group, features)
    centred = features - (sums / np.bincount(group)[:, None])[group]
    _, _, directions = np.linalg.svd(centred, full_matrices=False)
    return centred @ directions[:most].T
