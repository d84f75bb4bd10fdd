"""A prompt writer trained by a trainer of TRL, one step at a time.

The trainer runs the loop: sampling, advantages, loss, Adam. It is run inside a greenlet,
which hands over after each batch it has learned from; the reward it calls is the grader that
PPO uses too. So the books are kept by the evaluator, and the trainer saves no checkpoint and
loads none: what it learns are our tensors, which are put into a new trainer after a kill.

What makes a step the same in a new trainer: the adapter and Adam's memory are restored bit for
bit; the reference is the model with the adapter off (the trainer makes the adapter itself: given
a model that has one, it would take a copy of that, however far trained, for the reference);
the learning rate is constant; and all random numbers are seeded anew where a step begins.
"""

import copy
import tempfile
from typing import Any

import greenlet
import torch
import transformers
from datasets import Dataset
from transformers import (
    GenerationConfig,
    PrinterCallback,
    TrainerCallback,
    TrainerControl,
    TrainerState,
    TrainingArguments,
)

from core.llm.protocol import Messages
from core.optimize.protocol import Scores
from core.optimize.writer.policy import lora, trained_weights, twin
from core.optimize.writer.writing import Grader, Writer
from core.runs.context import WorkError


class TrlWriter(Writer):
    """A method names its trainer, and the settings that are its own."""

    trainer_class: Any  # GRPOTrainer or RLOOTrainer
    config_class: Any
    ratio = "token"  # or "prompt": what has a ratio of its own, which may be clipped

    def settings(self) -> dict[str, Any]:
        """Of the trainer's configuration, what only this method has."""
        return {}

    def open(self, host: Any) -> None:
        self._folder = tempfile.TemporaryDirectory()  # the trainer wants one, and writes nothing there
        model = twin(host.model)
        model.generation_config = GenerationConfig(eos_token_id=host.eos)  # all that end an answer
        self.trainer = self.trainer_class(
            model=model,
            reward_funcs=self._reward,
            args=self.config_class(**self._shared(host), **self.settings()),
            train_dataset=Dataset.from_dict({"prompt": [_prompt(host, self.request)]}),
            processing_class=copy.deepcopy(host.tokenizer),
            peft_config=lora(self.rank),
        )
        if self.trainer.accelerator.device.type != torch.device(host.device).type:
            raise WorkError(
                f"The trainer of {self.name} works on {self.trainer.accelerator.device}, and the optimiser's "
                f"model is on {host.device}.",
                "Leave the host's device out, or choose the method ppo.",
            )
        self.trainer.remove_callback(PrinterCallback)
        self.trainer.add_callback(Turnstile(self))
        self.weights = trained_weights(self.trainer.model)
        self.adam = torch.optim.Adam(self.weights.values(), lr=self.learning_rate, eps=1e-5)
        self.trainer.optimizer = self.adam
        self._loop: greenlet.greenlet | None = None

    def _shared(self, host: Any) -> dict[str, Any]:
        return {
            "output_dir": self._folder.name,
            "seed": self.seed % 2**31,
            "per_device_train_batch_size": self.batch,
            "num_generations": self.batch,  # all prompts of a step are one group
            "num_iterations": self.epochs,
            "max_steps": self.steps * self.epochs,
            "max_completion_length": self.tokens,
            "temperature": self.temperature,
            "beta": self.beta,
            "learning_rate": self.learning_rate,
            "lr_scheduler_type": "constant",
            "max_grad_norm": 1.0,
            "shuffle_dataset": False,
            "bf16": False,  # weights have the host's precision, the adapter's are float32
            "gradient_checkpointing": False,
            "use_cpu": torch.device(host.device).type == "cpu",
            "dataloader_pin_memory": False,
            "logging_steps": 1,
            "save_strategy": "no",
            "report_to": "none",
            "disable_tqdm": True,
        }

    def _reward(self, prompts: list[Any], completions: list[Any], **columns: Any) -> list[float]:
        return self.grader.reward(prompts, completions, **columns)

    def learn(self, grader: Grader, seed: int) -> dict[str, Scores]:
        self.grader, self.step_seed = grader, seed
        self.said: list[dict[str, float]] = []  # what the trainer logs, one for each pass
        self.main = greenlet.getcurrent()
        if self._loop is None:
            self._loop = greenlet.greenlet(self.trainer.train)
        self._loop.switch()
        first, passes = self.said[0], len(self.said)
        tokens = round(first["completions/mean_length"] * self.batch)
        clipped = sum(one["clip_ratio/region_mean"] for one in self.said) / passes
        return {
            # Logged a token: the mean over all tokens, so times their mean number it is a prompt's.
            # The trainer does not tell it by prompt, so it has no interval.
            "kl": {"score": first["kl"] * first["completions/mean_length"], "n": self.batch},
            "entropy": {"score": first["entropy"], "n": tokens},
            "clip_fraction": {
                "score": clipped,
                "n": passes * (tokens if self.ratio == "token" else self.batch),
            },
        }


class Turnstile(TrainerCallback):
    """Seeds a step where it begins, and hands over to the search where it has ended."""

    def __init__(self, writer: TrlWriter) -> None:
        self.writer = writer

    def on_step_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        if state.global_step % self.writer.epochs == 0:
            transformers.set_seed(self.writer.step_seed)

    def on_log(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **known: Any
    ) -> None:
        if "entropy" in known["logs"]:  # a step, and not the summary of all
            self.writer.said.append(dict(known["logs"]))
            if len(self.writer.said) == self.writer.epochs:
                self.writer.main.switch()


def _prompt(host: Any, request: Messages) -> Any:
    """As the trainer wants it: a conversation, or for a model without a chat template a text."""
    return request if host.tokenizer.chat_template else host.rendered(request)
