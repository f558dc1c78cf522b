//! The chord of one window.

use super::NO_CHORD;
use super::windows::Spans;

/// A chord and how well it fits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Guess {
    /// Chord id, or [`NO_CHORD`].
    pub(super) id: u8,
    /// Weighted time; -1 if no template reaches the threshold.
    pub(super) score: i64,
}

/// The qualities that chorder tells apart. The first ten are numbered as in chord ids.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Quality {
    Major,
    Minor,
    Seventh,
    MajorSeventh,
    MinorSeventh,
    Diminished,
    DiminishedSeventh,
    Augmented,
    Suspended2,
    Suspended4,
    HalfDiminished,
}

/// chorder's templates in its order, which settles ties: weight of each interval over the root.
const TEMPLATES: [(Quality, [i64; 12]); 6] = [
    (Quality::Major, [10, -2, -1, -2, 10, -5, -2, 10, -2, -1, -2, 0]),
    (Quality::Minor, [10, -2, -1, 10, -2, -5, -2, 10, -1, -2, 0, -2]),
    (Quality::Diminished, [10, -2, -1, 10, -2, -1, 10, -2, -2, 1, -1, -2]),
    (Quality::Augmented, [10, -2, -1, -2, 10, -1, -2, -2, 10, -1, -2, 0]),
    (Quality::Suspended2, [10, -2, 5, -2, -1, -5, -2, 5, -2, -1, -2, 0]),
    (Quality::Suspended4, [10, -2, -1, -2, -5, 5, -2, 5, -2, -1, -2, 0]),
];

/// The best chord over the time each pitch sounds in a window of `width`.
pub(super) fn guess(spans: &Spans, width: i64) -> Guess {
    let mut classes = [0_i64; 12];
    for (pitch, span) in spans.iter().enumerate() {
        classes[pitch % 12] += span;
    }
    let none = Guess { id: NO_CHORD, score: -1 };
    let Some((root, triad, score)) = best_triad(&classes) else { return none };
    if score < 10 * width {
        return none;
    }
    // A chord without a bass keeps its score in the vote but is no chord in the end.
    let Some(bass) = bass_class(spans, width) else { return Guess { id: NO_CHORD, score } };
    let (root, quality) = over_bass(root, triad, bass);
    Guess { id: chord_id(root, with_seventh(root, quality, &classes)), score }
}

/// Root, template and score of the first best template, if any scores above zero.
fn best_triad(classes: &[i64; 12]) -> Option<(usize, Quality, i64)> {
    let mut best: Option<(usize, Quality, i64)> = None;
    for root in (0..12).filter(|&root| classes[root] > 0) {
        for (quality, weights) in TEMPLATES {
            let time = |interval: usize| classes[(root + interval) % 12];
            let score = (0..12).map(|interval| weights[interval] * time(interval)).sum();
            if score > best.map_or(0, |(_, _, top)| top) {
                best = Some((root, quality, score));
            }
        }
    }
    best
}

/// Class of the lowest pitch that sounds for at least an eighth of the window.
fn bass_class(spans: &Spans, width: i64) -> Option<usize> {
    spans.iter().position(|&span| span > 0 && 8 * span >= width).map(|pitch| pitch % 12)
}

/// A triad whose bass is a third below (or, if suspended, another root) is another chord.
fn over_bass(root: usize, triad: Quality, bass: usize) -> (usize, Quality) {
    match (triad, (root + 12 - bass) % 12) {
        (Quality::Diminished, 4) => (bass, Quality::Seventh),
        (Quality::Diminished, 3) => (bass, Quality::DiminishedSeventh),
        (Quality::Major, 3) => (bass, Quality::MinorSeventh),
        (Quality::Minor, 4) => (bass, Quality::MajorSeventh),
        (Quality::Minor, 3) => (bass, Quality::HalfDiminished),
        (Quality::Suspended2, 5) => (bass, Quality::Suspended4),
        (Quality::Suspended4, 7) => (bass, Quality::Suspended2),
        _ => (root, triad),
    }
}

/// A major or minor triad with the seventh that sounds longer, if one does.
fn with_seventh(root: usize, triad: Quality, classes: &[i64; 12]) -> Quality {
    let (minor_seventh, major_seventh) = (classes[(root + 10) % 12], classes[(root + 11) % 12]);
    match triad {
        Quality::Major if major_seventh > minor_seventh => Quality::MajorSeventh,
        Quality::Major if minor_seventh > major_seventh => Quality::Seventh,
        Quality::Minor if minor_seventh > 0 => Quality::MinorSeventh,
        other => other,
    }
}

/// root * 10 + quality.
fn chord_id(root: usize, quality: Quality) -> u8 {
    let number = match quality {
        Quality::Major => 0,
        Quality::Minor => 1,
        Quality::Seventh => 2,
        Quality::MajorSeventh => 3,
        Quality::MinorSeventh => 4,
        // The half-diminished seventh is none of the ten; its triad is.
        Quality::Diminished | Quality::HalfDiminished => 5,
        Quality::DiminishedSeventh => 6,
        Quality::Augmented => 7,
        Quality::Suspended2 => 8,
        Quality::Suspended4 => 9,
    };
    u8::try_from(root * 10 + number).unwrap_or(NO_CHORD)
}
