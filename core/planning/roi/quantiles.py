"""Quantiles of an uncertain input, in closed form: for the tornado."""

from math import exp, log, sqrt

from scipy.special import betaincinv, ndtri

from core.planning.quantity import Quantity, Z


def quantile(quantity: Quantity, p: float) -> float:
    """The value that the input is below with probability `p` (0 to 1, exclusive)."""
    value, low, high = quantity.value, float(quantity.low or 0), float(quantity.high or 0)
    if quantity.kind == "fixed":
        return value
    if quantity.kind == "normal":
        return value + float(ndtri(p)) * (high - low) / (2 * Z)
    if quantity.kind == "lognormal":
        return exp(log(value) + float(ndtri(p)) * log(high / low) / (2 * Z))
    if quantity.kind == "uniform":
        return low + p * (high - low)
    if quantity.kind == "beta":
        a, b = quantity.beta_shape()
        return float(betaincinv(a, b, p))
    # Triangular: two parabolas that meet at the mode (Johnson 1997, The Statistician 46:387).
    below = (value - low) / (high - low)
    if p < below:
        return low + sqrt(p * (high - low) * (value - low))
    return high - sqrt((1 - p) * (high - low) * (high - value))
