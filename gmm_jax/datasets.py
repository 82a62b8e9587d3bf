"""Data of the tutorials."""

BENTOS = (
    498, 352, 501, 349, 497, 503, 351, 500, 348, 502,
    499, 350, 498, 353, 501, 347, 499, 502, 352, 500,
)  # fmt: skip
"""Weights of Chibany's 20 mystery bentos, in grams."""
