//! Chord recognition, in two ways.
//!
//! [`recognize`]: the rule-based algorithm that annotated `SymMV` (paper, section 3.2), as
//! published in the Python package chorder 0.1.4, with its tie-breaking and its quirks. Every beat and every two beats get the chord template with the highest score over the time
//! that each pitch class sounds; a vote between the two sizes gives one chord a beat.
//!
//! [`decode`]: the better one, a hidden Markov model fitted on POP909.

mod chroma;
mod decode;
mod guess;
mod windows;

use crate::{Error, Note, Result};
pub use chroma::Chroma;
pub use decode::{PLANES, STATES, decode, decode_at, features, scores};
use guess::Guess;
use windows::Windows;

/// The id of "no chord".
pub const NO_CHORD: u8 = 120;
/// The most beats that one call answers for: six days at 120 bpm.
pub const MAX_BEATS: i64 = 1 << 20;
/// The longest beat in time units: beyond any resolution that a MIDI file can state.
pub const MAX_BEAT: i64 = 1 << 16;

/// One chord id for each of the first `beats` beats, each `beat` time units long.
///
/// An id is root * 10 + quality, root 0..=11 with C = 0, qualities in the order
/// M m 7 M7 m7 o o7 + sus2 sus4; [`NO_CHORD`] where nothing fits. Notes may come in any order.
///
/// # Errors
///
/// [`Error::Value`] for pitches outside 0..=127, `beats` outside 0..=[`MAX_BEATS`], or `beat`
/// outside 1..=[`MAX_BEAT`].
pub fn recognize(notes: &[Note], beats: i64, beat: i64) -> Result<Vec<u8>> {
    check(notes, beats, beat)?;
    let single = guesses(notes, beats, beat);
    let double = guesses(notes, (beats + 1) / 2, 2 * beat);
    let mut ids = Vec::with_capacity(single.len());
    for (pair, both) in single.chunks(2).zip(&double) {
        // Scores grow with the time they cover: two beats' count half.
        let wins = |one: &Guess| 2 * one.score >= both.score;
        match pair {
            [first, second] if wins(first) && wins(second) => ids.extend([first.id, second.id]),
            [_, _] => ids.extend([both.id, both.id]),
            // The last of an odd number of beats must beat the two it belongs to, not equal them.
            [last] if 2 * last.score > both.score => ids.push(last.id),
            _ => ids.push(both.id),
        }
    }
    Ok(ids)
}

/// The best chord of each of `count` windows of `width` time units.
fn guesses(notes: &[Note], count: i64, width: i64) -> Vec<Guess> {
    Windows::new(notes, count, width).map(|spans| guess::guess(&spans, width)).collect()
}

fn check(notes: &[Note], beats: i64, beat: i64) -> Result<()> {
    let bad = |name, index, must, actual: i64| {
        Err(Error::Value { name, index, must, actual: actual.to_string() })
    };
    if !(0..=MAX_BEATS).contains(&beats) {
        return bad("beats", None, "0 to 1048576", beats);
    }
    if !(1..=MAX_BEAT).contains(&beat) {
        return bad("beat", None, "1 to 65536", beat);
    }
    if let Some(i) = notes.iter().position(|n| !(0..=127).contains(&n.pitch)) {
        return bad("notes", Some(i), "of pitch 0 to 127", notes[i].pitch.into());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn block(beats: std::ops::Range<i32>, pitches: &[i32]) -> Vec<Note> {
        let duration = 4 * (beats.end - beats.start);
        let note = |&pitch| Note { onset: 4 * beats.start, duration, pitch, velocity: 64 };
        pitches.iter().map(note).collect()
    }

    #[test]
    fn names_plain_chords() {
        for (pitches, id) in [
            (&[60, 64, 67][..], 0),  // C M
            (&[57, 60, 64], 91),     // A m
            (&[55, 59, 62, 65], 72), // G 7
            (&[60, 64, 67, 71], 3),  // C M7
            (&[62, 65, 69, 72], 24), // D m7
            (&[59, 62, 65], 115),    // B o
            (&[60, 64, 68], 7),      // C +
            (&[60, 62, 67], 8),      // C sus2
            (&[60, 65, 67], 9),      // C sus4
            (&[58, 62, 65], 100),    // Bb M, a root that SymMV's files lack
        ] {
            assert_eq!(recognize(&block(0..2, pitches), 2, 4), Ok(vec![id, id]), "{pitches:?}");
        }
    }

    #[test]
    fn silence_and_a_short_note_are_no_chord() {
        assert_eq!(recognize(&[], 3, 4), Ok(vec![NO_CHORD; 3]));
        let short = Note { onset: 1, duration: 1, pitch: 60, velocity: 64 };
        assert_eq!(recognize(&[short], 1, 4), Ok(vec![NO_CHORD]));
    }

    #[test]
    fn beats_differ_where_each_is_clear() {
        let mut notes = block(0..1, &[60, 64, 67]);
        notes.extend(block(1..2, &[57, 60, 64]));
        assert_eq!(recognize(&notes, 2, 4), Ok(vec![0, 91]));
    }

    #[test]
    fn hostile_values_are_errors_or_answers() {
        let extreme = Note { onset: i32::MIN, duration: i32::MAX, pitch: 60, velocity: 1 };
        let late = Note { onset: i32::MAX, ..extreme };
        let backwards = Note { duration: i32::MIN, ..extreme };
        assert!(recognize(&[extreme, late, backwards], 5000, MAX_BEAT).is_ok());
        assert!(recognize(&[Note { pitch: 128, ..extreme }], 1, 4).is_err());
        assert!(recognize(&[], -1, 4).is_err());
        assert!(recognize(&[], i64::MAX, 4).is_err());
        assert!(recognize(&[], 1, 0).is_err());
    }
}
