"""Tiny random models of several architectures, each with the vocabulary of tests/reward/tiny.py."""

from collections.abc import Callable
from pathlib import Path

from tests.reward.tiny import BAD, GOOD, PLAIN, tiny_backbone

SHAPE = {"hidden_size": 32, "num_hidden_layers": 4, "num_attention_heads": 2, "intermediate_size": 64}


def bert(folder: Path) -> Path:
    import torch
    from transformers import BertConfig, BertModel, BertTokenizer

    tiny_backbone(folder)
    torch.manual_seed(0)
    size = len(BertTokenizer.from_pretrained(folder))
    BertModel(BertConfig(vocab_size=size, max_position_embeddings=128, **SHAPE)).save_pretrained(folder)
    return folder


def modernbert(folder: Path) -> Path:
    import torch
    from transformers import BertTokenizer, ModernBertConfig, ModernBertModel

    tiny_backbone(folder)
    torch.manual_seed(0)
    tokenizer = BertTokenizer.from_pretrained(folder)
    config = ModernBertConfig(
        vocab_size=len(tokenizer), pad_token_id=tokenizer.pad_token_id, cls_token_id=tokenizer.cls_token_id,
        sep_token_id=tokenizer.sep_token_id, bos_token_id=tokenizer.cls_token_id,
        eos_token_id=tokenizer.sep_token_id, max_position_embeddings=128, local_attention=16,
        global_attn_every_n_layers=2, **SHAPE,
    )  # fmt: skip
    ModernBertModel(config).save_pretrained(folder)
    return folder


def _decoder(folder: Path, config_class: str, model_class: str, *, pad: bool) -> Path:
    """Byte-level, as decoders are. Read from the last token: weights are drawn large, so that it hears of the others. Some
    bring no padding token."""
    import torch
    import transformers
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

    special = ["<unk>", "<s>", "</s>", "<pad>"]
    inner = Tokenizer(models.BPE())
    inner.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    inner.decoder = decoders.ByteLevel()
    texts = [f"{word} {word}" for word in (*GOOD, *BAD, *PLAIN)] * 3
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    inner.train_from_iterator(
        texts, trainers.BpeTrainer(vocab_size=600, special_tokens=special, initial_alphabet=alphabet)
    )
    tokenizer = transformers.PreTrainedTokenizerFast(
        tokenizer_object=inner, padding_side="left", model_max_length=128, unk_token="<unk>",
        bos_token="<s>", eos_token="</s>", **({"pad_token": "<pad>"} if pad else {}),
    )  # fmt: skip
    tokenizer.save_pretrained(folder)
    torch.manual_seed(0)
    config = getattr(transformers, config_class)(
        vocab_size=len(tokenizer), num_key_value_heads=1, max_position_embeddings=128, bos_token_id=1,
        eos_token_id=2, pad_token_id=3 if pad else None, initializer_range=0.2, **SHAPE,
    )  # fmt: skip
    getattr(transformers, model_class)(config).save_pretrained(folder)
    return folder


def qwen(folder: Path) -> Path:
    return _decoder(folder, "Qwen2Config", "Qwen2Model", pad=True)


def llama(folder: Path) -> Path:
    return _decoder(folder, "LlamaConfig", "LlamaModel", pad=False)


KINDS: dict[str, Callable[[Path], Path]] = {
    "bert": bert,
    "modernbert": modernbert,
    "qwen": qwen,
    "llama": llama,
}
