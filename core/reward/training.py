"""One training: what all its members share, and how each of them is trained.

Shared are the backbone, the encoded pairs, and, where lower layers are frozen, what these say
of each text (core/reward/frozen.py). A member is what it differs in: its newly drawn head, the
order of its data, and the weights that come of it (core/reward/members.py).
"""

import os
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import set_seed

from core.reward.beginning import draw, freeze, no_dropout
from core.reward.encode import Encoder, device, fast_bf16, load, longest
from core.reward.estimate import TOKEN_LAYER_S
from core.reward.frozen import Frozen, Reader
from core.reward.heads import head_names
from core.reward.members import Member, finished_member, keep_member
from core.reward.objectives import raw_tie, tie_at_start, tie_value
from core.reward.options import Options
from core.reward.pairs import Pairs, Row
from core.reward.presets import Preset, schedule
from core.reward.split import Split
from core.reward.trainer import PairCollator, PreferenceTrainer, last_checkpoint, training_config
from core.reward.watch import Watch
from core.runs.context import RunContext, WorkError

REFIT_S = 40.0  # spent on refits for the learning curve, at most
TWO_ORDERS = 4  # of a curve: sizes that double up to all pairs, twice
MEMBER_SEEDS = 7919  # apart: member i of seed s is not member 0 of seed s + 1


class Training:
    """Raises WorkError when the backbone cannot be loaded, or the options do not fit it."""

    def __init__(
        self,
        context: RunContext,
        rows: Sequence[Row],
        options: Options,
        preset: Preset,
        *,
        processes: int = 1,
    ) -> None:
        started = time.monotonic()
        self.context, self.options, self.preset, self.processes = context, options, preset, processes
        self.learning_rate = preset.lora_rate if options.lora else preset.learning_rate
        self.precision = precision_here(options)
        self.half = self.precision == "bf16"
        set_seed(context.seed)
        thin = options.lora is not None and self.half and device().type == "cuda"
        self.model, self.tokenizer = load(
            context.config["backbone"], head=True, heads=head_names(options.criteria),
            dtype=torch.bfloat16 if thin else torch.float32,
        )  # fmt: skip
        self.fresh: frozenset[str] = self.model.fresh
        self.pad_id = self.tokenizer.pad_token_id
        wanted = options.max_length or preset.max_length
        self.encode = Encoder(self.tokenizer, longest(self.model, self.tokenizer, wanted))
        self.rows = {
            split: [row for row in rows if row["split"] == split] for split in ("train", "dev", "test")
        }
        self.train, self.dev = self.pairs(self.rows["train"]), self.pairs(self.rows["dev"])
        no_dropout(self.model)
        self.peft: Any = None
        if options.lora is None:
            self.frozen_layers, self.layers = freeze(self.model, preset.frozen)
        else:
            from core.reward.lora import with_adapters

            self.frozen_layers, self.layers = freeze(self.model, 0.0)
            self.peft = with_adapters(self.model, options.lora)
        self.trained = self.peft if self.peft is not None else self.model
        self.model.to(device())
        self.tie = self._tie()
        self.weights = {name: value for name, value in self.trained.named_parameters() if value.requires_grad}
        self.start = {name: value.detach().cpu().clone() for name, value in self.weights.items()}
        self.split, self.frozen = self._shared()
        self.batch_size, self.epochs = schedule(preset, len(self.train))
        self.heads = head_names(options.criteria)
        self.scale: Any = None  # core.reward.ensemble.Scale, once there are members
        self.known: dict[tuple[str, str], float] = {}  # normalised scores of (input, response)
        self.seconds_to_load, self.seconds_below = time.monotonic() - started, 0.0

    def pairs(self, rows: Sequence[Row]) -> Pairs:
        return Pairs(rows, self.encode, self.options.criteria)

    def _tie(self) -> torch.nn.Parameter | None:
        objective = self.options.objective
        if objective.loss == "bradley_terry":
            return None
        share = float(self.train.votes[:, 2].mean()) if len(self.train) else 0.0
        value = objective.tie or tie_at_start(objective.loss, share)
        tie = torch.nn.Parameter(
            torch.tensor(raw_tie(objective.loss, value), device=device()), requires_grad=objective.tie is None
        )
        self.trained.register_parameter("tie", tie)
        return tie

    def _shared(self) -> tuple[Split | None, Frozen | None]:
        """The model in two parts, where it can be, and the cache between them."""
        if self.processes > 1 or self.peft is not None or not len(self.train):
            return None, None
        by_length = sorted(self.train.sides[:200], key=len)
        samples = [by_length[0], by_length[len(by_length) // 2], by_length[-1]]
        split = Split.of(self.model, self.frozen_layers, samples, self.pad_id)
        if split is None or not self.frozen_layers:
            if self.frozen_layers:
                kind = self.model.config.model_type
                self.context.log(
                    f"A “{kind}” backbone cannot be split below its trained layers: what the frozen ones say is "
                    "computed anew each time, which takes longer."
                )
            return split, None
        return split, Frozen(split, self.pad_id, self.context.state / "frozen", half=self.half)

    # --- reading ------------------------------------------------------------------------------

    @property
    def reader(self) -> Reader:
        return Reader(self.model, self.pad_id, self.frozen, self.half)

    def look_below(self, low: float, high: float) -> None:
        """Put the pairs of train and dev through the frozen layers, where what these say is
        kept: once, for all that follows."""
        if self.frozen is None:
            return
        started = time.monotonic()
        sides = [*self.train.sides, *self.dev.sides]

        def told(done: int) -> None:
            self.context.check_cancelled()
            self.context.progress(
                low + (high - low) * done / len(sides), "reading each text once, frozen layers"
            )

        self.frozen.rows(sides, told)
        self.seconds_below = time.monotonic() - started

    def scores(
        self, pairs: Pairs, members: Sequence[Member], told: Callable[[float], None] = lambda share: None
    ) -> np.ndarray:
        """(k, n, 2, heads) raw scores of a and b by each member; `told(share done)`."""
        found = []
        total = 2 * len(pairs) * len(members)
        for place, member in enumerate(members):
            self.put(member.weights)
            before = 2 * len(pairs) * place
            flat = self.reader(pairs.sides, _told(told, before, total))
            found.append(flat.reshape(2, len(pairs), flat.shape[-1]).transpose(1, 0, 2))
        return np.stack(found)

    @torch.no_grad()
    def put(self, weights: dict[str, torch.Tensor]) -> None:
        """Copy a member's weights into the plain model."""
        there = dict(self.model.named_parameters())
        for name, value in weights.items():
            if name != "tie":
                there[name].copy_(value)

    # --- training -----------------------------------------------------------------------------

    def members(self, low: float, high: float) -> tuple[list[Member], bool]:
        """All members, trained or read from state/, and whether the training was cancelled:
        then the last of them is the best there was of it so far."""
        found: list[Member] = []
        width = (high - low) / self.options.members
        for number in range(self.options.members):
            if (done := finished_member(self.context.state, number)) is not None:
                found.append(done)
                continue
            if found:
                if self.context.cancelled:
                    return found, True
            else:
                self.context.check_cancelled()
            shares = (low + number * width, low + (number + 1) * width)
            member, cancelled = self._member(number, shares)
            found.append(member)
            if cancelled:
                return found, True
            if self.leads:
                keep_member(self.context.state, member)
        return found, False

    @property
    def leads(self) -> bool:
        return not torch.distributed.is_initialized() or torch.distributed.get_rank() == 0

    def seeds(self, number: int) -> tuple[int, int]:
        """(of the head, of the data order) of a member. Members whose weights will be averaged
        start from the same head, so that they end near each other (WARM, section 3)."""
        seed = self.context.seed + MEMBER_SEEDS * number
        return (self.context.seed if self.options.average == "warm" else seed), seed

    def _member(self, number: int, shares: tuple[float, float]) -> tuple[Member, bool]:
        context, options = self.context, self.options
        state = context.state / f"member-{number}"
        head_seed, seed = self.seeds(number)
        self._begin(head_seed)
        with self._cut():
            trainer, watch = self._trainer(
                self.train, seed, state, watched=True, shares=shares, number=number
            )
            checkpoint = last_checkpoint(state)
            if checkpoint is not None:
                which = f" of member {number + 1}" if options.members > 1 else ""
                context.log(f"Going on from step {checkpoint.name.rsplit('-', 1)[1]}{which}.")
            trainer.train(resume_from_checkpoint=str(checkpoint) if checkpoint else None)
            # Without the trainer's wrapper: what is judged is what is saved.
            trainer.accelerator.unwrap_model(trainer.model, keep_fp32_wrapper=False).eval()
        if watch.diverged:
            raise WorkError(
                "The training diverged: its loss is not a number.",
                "Try another seed or the quick preset; if it happens again, look at the pairs with extreme text.",
            )
        if watch.best_step is not None and watch.best_step < trainer.state.global_step:
            trainer.put_weights(trainer.kept_weights)
        record = {
            "seed": seed,
            "steps": trainer.state.global_step,
            "best_step": watch.best_step,
            "dev_loss": trainer.keep.get("best_loss"),
            "stopped_early": watch.stopped_early,
            "seconds": watch.seconds(),
        }
        if self.tie is not None:
            record["tie"] = tie_value(options.objective.loss, float(self.tie.detach()))
        return Member(number, self._plain_weights(), record), watch.cancelled

    def _begin(self, head_seed: int) -> None:
        """The weights that training starts from: the backbone's own, and a head newly drawn."""
        self._restore(self.start)
        draw(
            self.trained, self.fresh, head_seed, float(getattr(self.model.config, "initializer_range", 0.02))
        )

    @torch.no_grad()
    def _restore(self, weights: dict[str, torch.Tensor]) -> None:
        for name, value in self.weights.items():
            value.copy_(weights[name])

    @contextmanager
    def _cut(self) -> Iterator[None]:
        if self.split is None:
            yield
            return
        with self.split.cut():
            yield

    def _trainer(
        self,
        train: Pairs,
        seed: int,
        state: Path,
        *,
        watched: bool,
        shares: tuple[float, float] = (0.0, 1.0),
        number: int = 0,
    ) -> tuple[PreferenceTrainer, Watch]:
        options, preset = self.options, self.preset
        batch_size, epochs = schedule(preset, len(train))
        passes = options.accumulation * self.processes
        of_process = -(-batch_size // passes)
        steps = -(-len(train) // (of_process * passes)) * epochs
        numbers = self.frozen.rows(train.sides) if self.frozen is not None else None
        # Beside the model, and not in state/, which goes when the run is done.
        logs = self.context.artifacts / "tensorboard" / f"member-{number}"
        os.environ["TENSORBOARD_LOGGING_DIR"] = str(logs)
        trainer = PreferenceTrainer(
            model=self.trained,
            args=training_config(
                state, seed, batch_size=of_process, epochs=epochs, steps=steps,
                learning_rate=self.learning_rate,
                precision=self.precision, accumulation=options.accumulation,
                report_to=options.report_to if watched else (),
                name=f"{self.context.folder.path.name}-{number}",
            ),
            data_collator=PairCollator(self.pad_id, self.frozen),
            train_dataset=train.dataset(options, numbers),
            processing_class=self.tokenizer,
            objective=options.objective,
            weights=self.weights,
            tie=self.tie,
            frozen=self.frozen,
        )  # fmt: skip
        watch = Watch(
            self.context, trainer, self.reader, self.dev, steps=steps, epochs=epochs, shares=shares,
            member=number, members=options.members, patience=options.early_stopping, started=time.monotonic(),
        )  # fmt: skip
        if watched:
            trainer.add_callback(watch)
        return trainer, watch

    def _plain_weights(self) -> dict[str, torch.Tensor]:
        if self.peft is None:
            return {name: value.detach().cpu().clone() for name, value in self.weights.items()}
        from core.reward.lora import merged_weights

        found = merged_weights(self.peft)
        return found if self.tie is None else {**found, "tie": self.tie.detach().cpu().clone()}

    # --- for the learning curve ---------------------------------------------------------------

    def fit(self, rows: Sequence[Row], seed: int) -> Callable[[Sequence[Row]], np.ndarray]:
        """Train a member on these rows alone, as the members are trained but without choosing a
        state, and answer what gives d (n,) = score(a) - score(b) for rows. The weights of the
        model are as before when it comes back. Not with LoRA or ties (see `can_refit`)."""
        before = {name: value.detach().cpu().clone() for name, value in self.weights.items()}
        self._begin(seed)
        with self._cut():
            trainer, _ = self._trainer(self.pairs(rows), seed, self.context.state / "fit", watched=False)
            trainer.train()
            trainer.accelerator.unwrap_model(trainer.model, keep_fp32_wrapper=False).eval()
        fitted = self._plain_weights()
        self._restore(before)

        def predict(others: Sequence[Row]) -> np.ndarray:
            kept = {name: value.detach().cpu().clone() for name, value in self.weights.items()}
            self.put(fitted)
            sides = self.reader(self.pairs(others).sides)[:, 0].reshape(2, -1)
            self._restore(kept)
            return sides[0] - sides[1]

        return predict

    @property
    def can_refit(self) -> bool:
        """Whether a learning curve of refitted models is worth its time: by how much there is to
        compute, not by the clock, so that the same run says the same again."""
        if self.frozen is None or self.options.objective.loss != "bradley_terry":
            return False
        tokens = sum(map(len, self.train.sides)) * self.epochs
        once = tokens * (self.layers - self.frozen_layers) * 3 * TOKEN_LAYER_S
        return once * TWO_ORDERS <= REFIT_S

    # --- the end ------------------------------------------------------------------------------

    def merge(self, adapter: Path | None) -> Callable[[Path], None] | None:
        """With LoRA, the plain model again, into which members' weights can be put. The adapter,
        if it is asked for, is kept there; answers what copies it into a model's folder."""
        if self.peft is None:
            return None
        from core.reward import lora

        if adapter is not None:
            lora.save_adapter(self.peft, adapter)
        self.model, self.peft, self.tie = lora.without_adapters(self.peft).eval(), None, None
        if adapter is None:
            return None

        def copy(folder: Path) -> None:
            shutil.copytree(adapter, folder / lora.ADAPTER)

        return copy

    def end(self) -> None:
        """Take away what only training needs, before the model is saved."""
        if self.tie is not None:
            del self.trained.tie
            self.tie = None
        self.model.eval()


def _told(told: Callable[[float], None], before: int, total: int) -> Callable[[int], None]:
    return lambda done: told((before + done) / total)


def precision_here(options: Options) -> str:
    """fp32, bf16 or fp16. Raises WorkError where the processor cannot."""
    if options.precision == "fp16" and not torch.cuda.is_available():
        raise WorkError("precision: fp16 needs a GPU.", "Choose auto, bf16 or fp32.")
    if options.precision == "auto":
        return "bf16" if fast_bf16() else "fp32"
    return options.precision
