"""A number that nobody knows exactly: its best value, how sure one is of it, and where it
comes from. Every input of a plan is one."""

from math import exp, log, sqrt
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, model_validator

Kind = Literal["fixed", "normal", "lognormal", "triangular", "uniform", "beta"]
Origin = Literal["assumed", "measured", "overridden"]
Z = 1.959964  # 97.5 % point of the standard normal


class Quantity(BaseModel):
    """`value` is the best value: mean of a normal, uniform (then the middle) and beta,
    median of a lognormal, mode of a triangular.

    `low` and `high` are the ends of a triangular and a uniform, and of the 95 % interval of
    a normal, a lognormal and a beta. `n`: observations behind it, when it was measured.
    `origin`: `overridden` is a measured figure that a person replaced; `source` says in a
    sentence where the value comes from.
    """

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)

    value: float
    kind: Kind = "fixed"
    low: float | None = None
    high: float | None = None
    n: Annotated[int | None, Field(ge=0)] = None
    origin: Origin = "assumed"
    source: str = ""

    @model_validator(mode="after")
    def _consistent(self) -> "Quantity":
        if self.kind == "fixed":
            return self
        if self.low is None or self.high is None:
            raise ValueError(f"a {self.kind} range needs a low and a high end")
        if not self.low < self.high:
            raise ValueError("the low end must be below the high end")
        if self.kind == "uniform":
            self.value = (self.low + self.high) / 2
        if not self.low <= self.value <= self.high:
            raise ValueError("the value must lie within its range")
        if self.kind == "lognormal" and self.low <= 0:
            raise ValueError("a lognormal range must be above zero")
        if self.kind == "beta" and not (self.low >= 0 and self.high <= 1 and 0 < self.value < 1):
            raise ValueError("a beta range must lie between 0 and 1, its value strictly so")
        return self

    @property
    def uncertain(self) -> bool:
        return self.kind != "fixed"

    def sample(self, rng: np.random.Generator, size: int) -> np.ndarray:
        """`size` draws, as (size,) float64."""
        if self.kind == "fixed":
            return np.full(size, self.value)
        low, high = float(self.low or 0), float(self.high or 0)
        if self.kind == "normal":
            return rng.normal(self.value, (high - low) / (2 * Z), size)
        if self.kind == "lognormal":
            return rng.lognormal(log(self.value), log(high / low) / (2 * Z), size)
        if self.kind == "triangular":
            return rng.triangular(low, self.value, high, size)
        if self.kind == "uniform":
            return rng.uniform(low, high, size)
        a, b = self.beta_shape()
        return rng.beta(a, b, size)

    def mean(self) -> float:
        if self.kind == "lognormal":
            s = log(float(self.high or 0) / float(self.low or 0)) / (2 * Z)
            return self.value * exp(s * s / 2)
        if self.kind == "triangular":
            return (float(self.low or 0) + self.value + float(self.high or 0)) / 3
        return self.value

    def beta_shape(self) -> tuple[float, float]:
        """(a, b) of the beta with this mean whose standard deviation is that of the
        interval, taken as 2 · 1.96 standard deviations wide (method of moments)."""
        m = self.value
        sd = max(1e-9, (float(self.high or 0) - float(self.low or 0)) / (2 * Z))
        strength = max(2e-3, m * (1 - m) / (sd * sd) - 1)
        return m * strength, (1 - m) * strength

    def standard_deviation(self) -> float:
        """Of the distribution that `sample` draws from."""
        low, high, m = float(self.low or 0), float(self.high or 0), self.value
        if self.kind == "normal":
            return (high - low) / (2 * Z)
        if self.kind == "lognormal":
            s = log(high / low) / (2 * Z)
            return self.mean() * sqrt(exp(s * s) - 1)
        if self.kind == "triangular":
            return sqrt((low**2 + m**2 + high**2 - low * m - low * high - m * high) / 18)
        if self.kind == "uniform":
            return (high - low) / sqrt(12)
        if self.kind == "beta":
            a, b = self.beta_shape()
            return sqrt(a * b / ((a + b) ** 2 * (a + b + 1)))
        return 0.0


def fixed(value: float, source: str = "") -> Quantity:
    return Quantity(value=value, source=source)


def between(low: float, value: float, high: float, source: str = "", kind: Kind = "triangular") -> Quantity:
    """An assumption with a range."""
    return Quantity(value=value, kind=kind, low=low, high=high, source=source)


def at_least(quantity: Quantity, least: float, most: float | None = None) -> Quantity:
    """The quantity, or ValueError when it can leave [least, most]: for a field's check."""
    ends = [quantity.value]
    if quantity.kind != "fixed":
        ends += [float(quantity.low or 0), float(quantity.high or 0)]
    if min(ends) < least:
        raise ValueError(f"must not be below {least:g}")
    if most is not None and max(ends) > most:
        raise ValueError(f"must not be above {most:g}")
    return quantity


def as_quantity(value: Any) -> Any:
    """A bare number is a fixed quantity: for `field_validator(mode="before")`."""
    return {"value": value} if isinstance(value, int | float) and not isinstance(value, bool) else value
