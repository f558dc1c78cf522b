"""Video-music CLIP (paper, section 5): which music belongs to which video, and VMCP, the metric.

    scorer = load_scorer(side="clip")           # or "pixels", for videos without CLIP features
    scorer.similarity(features, "out.mid")      # -1..1, higher is better
    score_pairs(pairs, candidates=70)           # P@5, P@10, P@20, average rank, with intervals

Only training and the audio side load torch.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from vmusprod.vmcp.scorer import Scorer, load_scorer, score_pairs, similarity

__all__ = ["Scorer", "load_scorer", "score_pairs", "similarity"]


def __getattr__(name: str) -> object:
    if name in __all__:
        from vmusprod.vmcp import scorer

        return getattr(scorer, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
