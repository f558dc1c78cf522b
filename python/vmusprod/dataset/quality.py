"""What the paper's musicians threw out (section 3.1), as rules a program can apply.

"They filter out low-quality pairs, such as static or lyric videos and fragmented or undesirable
MIDIs." A static video hardly moves and hardly ever cuts; a lyric video is known by its title; a
fragmented MIDI has few notes for its length, or long pauses.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np

from vmusprod.dataset.align import LIKELY, Alignment
from vmusprod.dataset.check import still_share
from vmusprod.music.score import TimedNotes
from vmusprod.video.features import VideoFeatures

__all__ = ["Rules", "faults_of_alignment", "faults_of_notes", "faults_of_title", "faults_of_video"]

_LYRIC = re.compile(
    r"\blyrics?\b|\bkaraoke\b|\baudio only\b|\bofficial audio\b|\bvisuali[sz]er\b|歌词|歌詞|伴奏",
    re.I,
)


@dataclass(frozen=True)
class Rules:
    """Limits; whatever breaks one is thrown out.

    Attributes
    ----------
    min_seconds, max_seconds : float
        Length of the piano piece.
    min_notes_a_second : float
        Over the whole piece.
    max_pause : float
        Longest time without a sounding note, seconds, beginning and end aside.
    max_still : float
        Share of the video's 0.2 s steps that change by less than 1 of 255 on average.
    min_confidence : float
        Of the alignment with the official recording.
    min_video_share : float
        Length of the video against the official recording's.
    """

    min_seconds: float = 30.0
    max_seconds: float = 1200.0
    min_notes_a_second: float = 1.0
    max_pause: float = 15.0
    max_still: float = 0.9
    min_confidence: float = LIKELY
    min_video_share: float = 0.5


_STILL_MOTION = 1.0
_CUTS_A_MINUTE = 2.0  # a slide show of pictures is no static video


def faults_of_notes(notes: TimedNotes, rules: Rules) -> list[str]:
    """What is wrong with a transcription: too short or long, too few notes, long pauses."""
    if not len(notes):
        return ["no notes"]
    begin, end = float(notes.onset[0]), float(notes.offset.max())
    seconds = end - begin
    faults = []
    if seconds < rules.min_seconds:
        faults.append(f"short ({seconds:.0f} s)")
    if seconds > rules.max_seconds:
        faults.append(f"long ({seconds:.0f} s)")
    rate = len(notes) / max(seconds, 1.0)
    if rate < rules.min_notes_a_second:
        faults.append(f"near-empty ({rate:.2f} notes a second)")
    # Until the latest end so far something sounds.
    sounding = np.maximum.accumulate(notes.offset)
    pause = float(np.max(notes.onset[1:] - sounding[:-1], initial=0.0))
    if pause > rules.max_pause:
        faults.append(f"fragmentary (a pause of {pause:.0f} s)")
    return faults


def faults_of_video(features: VideoFeatures, seconds: float, rules: Rules) -> list[str]:
    """Whether a video is static, or far shorter than its music of `seconds`."""
    faults = []
    if features.duration < rules.min_video_share * seconds:
        faults.append(f"short video ({features.duration:.0f} s for {seconds:.0f} s of music)")
    # The first step has no picture before it.
    still = still_share(features.motion[1:], _STILL_MOTION)
    cuts = 60 * len(features.cuts) / features.duration
    if still > rules.max_still and cuts < _CUTS_A_MINUTE:
        faults.append(f"static video ({still:.0%} of it stands still)")
    return faults


def faults_of_title(title: str) -> list[str]:
    """Whether a title is one of a lyric video, of karaoke, or of sound over a picture."""
    match = _LYRIC.search(title)
    return [f"lyric video or the like ({match[0]!r} in its title)"] if match else []


def faults_of_alignment(found: Alignment, rules: Rules) -> list[str]:
    """Whether the piano piece is rather another song."""
    if found.confidence < rules.min_confidence:
        return [f"not the same piece (confidence {found.confidence:.2f})"]
    return []
