"""Low-rank adapters, for backbones too large to train whole (Hu et al., arXiv 2106.09685).

What is trained are two thin matrices beside each linear layer, and the score head. What is
kept is the plain model with the adapters added in, so that it loads without `peft`; the
adapter itself lies beside it, in `adapter/`.
"""

from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig, TaskType, get_peft_model
from peft.tuners.lora import LoraLayer

from core.reward.options import Lora

ADAPTER = "adapter"


def with_adapters(model: Any, lora: Lora) -> Any:
    """The model with adapters on all its linear layers; the newly drawn head is trained whole
    (`modules_to_save`)."""
    heads = sorted({name.split(".")[0] for name in model.fresh} & {"score", "classifier"}) or ["score"]
    return get_peft_model(
        model,
        LoraConfig(
            task_type=TaskType.SEQ_CLS,
            r=lora.r,
            lora_alpha=lora.alpha,
            lora_dropout=lora.dropout,
            target_modules="all-linear",
            modules_to_save=heads,
        ),
    )


@torch.no_grad()
def merged_weights(model: Any) -> dict[str, torch.Tensor]:
    """What the adapters and the head change of the plain model, by its names. The model itself
    stays as it is: adding and taking away again would leave rounding behind."""
    found: dict[str, torch.Tensor] = {}
    for name, module in model.get_base_model().named_modules():
        if isinstance(module, LoraLayer):
            of: Any = module
            weight = of.get_base_layer().weight
            delta = of.get_delta_weight("default").to(weight.dtype)
            found[f"{name}.weight"] = (weight + delta).detach().cpu().clone()
        elif hasattr(module, "modules_to_save") and hasattr(module, "original_module"):
            for key, value in module.modules_to_save["default"].named_parameters():
                found[f"{name}.{key}"] = value.detach().cpu().clone()
    return found


def without_adapters(model: Any) -> Any:
    """The plain model again, as it was before."""
    return model.unload()


def save_adapter(model: Any, target: Path) -> None:
    model.save_pretrained(target)
