"""What the user decides about annotations."""

from __future__ import annotations

from dataclasses import asdict, dataclass

from vmusprod.jobs import OptionError

__all__ = ["BEATS", "CHORDS", "MELODIES", "TRANSCRIBERS", "AnnotateOptions"]

MELODIES = ("auto", "skyline", "tracks", "learned")
CHORDS = ("hmm", "chorder", "published")
BEATS = ("auto", "file", "track")
TRANSCRIBERS = ("madmom", "basic-pitch")


@dataclass(frozen=True)
class AnnotateOptions:
    """How songs are annotated. Raises OptionError for what is unknown or does not fit together.

    Attributes
    ----------
    melody : str
        `auto`: the track that is named as the melody if there is one, else `learned`; `skyline`:
        the paper's; `tracks`: the named track, a file without one fails; `learned`: a network.
    chords : str
        `hmm`: with context, fitted on POP909; `chorder`: SymMV's algorithm on the song's own
        beats; `published`: SymMV's algorithm on the file's nominal beats, as in the published set.
    beats : str
        `auto`: the file's own where the notes fall on them, else tracked; `file`; `track`.
    transcriber : str
        For audio files: `madmom` or `basic-pitch`.
    jams : bool
        Write annotation.jams, too.
    """

    melody: str = "auto"
    chords: str = "hmm"
    beats: str = "auto"
    transcriber: str = "madmom"
    jams: bool = False

    def __post_init__(self) -> None:
        for name, value, known in (
            ("melody", self.melody, MELODIES),
            ("chords", self.chords, CHORDS),
            ("beats", self.beats, BEATS),
            ("transcriber", self.transcriber, TRANSCRIBERS),
        ):
            if value not in known:
                raise OptionError(f"--{name} {value}: not one of {', '.join(known)}")
        if self.chords == "published" and self.beats == "track":
            raise OptionError("--chords published is about the file's own beats, not tracked ones")

    def to_dict(self) -> dict[str, str | bool]:
        """The settings by name."""
        return asdict(self)
