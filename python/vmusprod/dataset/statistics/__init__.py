"""The statistics of a set of songs that the paper shows: Tables 1 and 5, Figures 3 and 5 to 8."""

from __future__ import annotations

from vmusprod.dataset.statistics.report import Report, describe_set

__all__ = ["Report", "describe_set"]
