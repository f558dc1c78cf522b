"""What a batch is made of."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol, TypeVar

__all__ = ["ItemProgress", "Progress", "Work"]

Progress = Callable[[str, float], None]
"""Told what is being done to an item and the fraction of it, 0..1, nan where unknown."""
ItemProgress = Callable[[int, str, float], None]
"""The same, after the item's place in the batch."""


Item = TypeVar("Item", contravariant=True)
Result = TypeVar("Result", covariant=True)


class Work(Protocol[Item, Result]):
    """A function of one item that can be pickled; doing an item twice must do no harm."""

    def __call__(self, item: Item, progress: Progress) -> Result:
        """Return what became of the item; a fault of the item is a result, not an exception."""
        ...

    def lost(self, item: Item, cause: str) -> Result:
        """Return what stands for an item whose process died twice, or raised."""
        ...
