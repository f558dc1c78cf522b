//! The text files of an annotation.

use std::fmt::{Display, Formatter, Write};

use super::meter::Meter;
use super::midi::TICKS_PER_LINE;
use crate::chords::NO_CHORD;

const ROOTS: [&str; 12] = ["C", "Db", "D", "Eb", "E", "F", "Gb", "G", "Ab", "A", "Bb", "B"];
const KINDS: [&str; 10] = ["maj", "min", "7", "maj7", "min7", "dim", "dim7", "aug", "sus2", "sus4"];
/// Spelled as chorder does; `SymMV`'s own files lose the two with flats.
const SYMMV_ROOTS: [&str; 12] = ["C", "C#", "D", "Eb", "E", "F", "F#", "G", "G#", "A", "Bb", "B"];
const SYMMV_KINDS: [&str; 10] = ["M", "m", "7", "M7", "m7", "o", "o7", "+", "sus2", "sus4"];

/// Runs of equal chords: first line, the line behind the last, id.
fn runs<'a>(meter: &'a Meter<'_>, chords: &'a [u8]) -> impl Iterator<Item = (i32, i32, u8)> + 'a {
    let mut beat = 0;
    chords.chunk_by(|a, b| a == b).map(move |run| {
        let first = beat;
        beat += run.len();
        (meter.span(first).0, meter.span(beat - 1).1, run[0])
    })
}

/// Seconds, 0 or more, with four decimals; formatting a float to so many takes several times as long.
struct Seconds(f64);

impl Display for Seconds {
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // a song lasts hours
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        let parts = (self.0 * 1e4).round() as u64;
        write!(f, "{}.{:04}", parts / 10_000, parts % 10_000)
    }
}

/// All of the time from 0 to `duration`.
pub(super) fn chord_lab(meter: &Meter<'_>, chords: &[u8], duration: f64) -> String {
    let mut out = String::new();
    for (from, to, id) in runs(meter, chords) {
        let (start, end) = (meter.seconds(from), meter.seconds(to));
        if start >= duration - 0.0005 && start > 0.0 {
            break;
        }
        let end = if end >= duration - 0.0005 && duration > start { duration } else { end };
        let root = usize::from(id / 10);
        // Writing to a string cannot fail.
        let (start, end) = (Seconds(start), Seconds(end));
        let _ = if id == NO_CHORD {
            writeln!(out, "{start}\t{end}\tN")
        } else {
            writeln!(out, "{start}\t{end}\t{}:{}", ROOTS[root], KINDS[usize::from(id % 10)])
        };
    }
    out
}

/// Where there is no chord, there is no line: as in the published files.
pub(super) fn chord_txt(meter: &Meter<'_>, chords: &[u8]) -> String {
    let mut out = String::new();
    for (from, to, id) in runs(meter, chords).filter(|run| run.2 != NO_CHORD) {
        let (root, kind) = (SYMMV_ROOTS[usize::from(id / 10)], SYMMV_KINDS[usize::from(id % 10)]);
        let _ = writeln!(out, "{} {} {root}{kind}", TICKS_PER_LINE * from, TICKS_PER_LINE * to);
    }
    out
}

/// The beats from the bar of the first note to the end of the last one.
pub(super) fn beats_txt(meter: &Meter<'_>, first: usize, duration: f64) -> String {
    let mut out = String::new();
    for (beat, place) in meter.places.iter().enumerate().skip(first) {
        let time = meter.raw_seconds(meter.span(beat).0);
        if time > duration {
            break;
        }
        // A beat a hair before 0 is one at 0.
        if time > -0.02 {
            let _ = writeln!(out, "{}\t{place}", Seconds(time.max(0.0)));
        }
    }
    out
}
