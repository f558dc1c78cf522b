//! Compound tokens: the event representation of paper section 4.2 (Fig. 4a).
//!
//! A token is seven attributes: type, bar or beat, pitch, duration, velocity, root, quality; 0 where it has
//! none. `python/vmusprod/music/tokens.py` says what the numbers mean and in which order tokens come.

use crate::{Error, Note, Result, SIXTEENTHS_PER_BAR, SIXTEENTHS_PER_BEAT};

/// One token's attributes.
pub type Token = [i16; ATTRIBUTES];

/// Attributes of a token.
pub(crate) const ATTRIBUTES: usize = 7;
/// Number of values of each attribute, 0 (absent) included.
pub(crate) const SIZES: [usize; ATTRIBUTES] = [4, 18, 129, 65, 9, 14, 12];

// Which attribute of a token it is.
pub(crate) const TYPE: usize = 0;
pub(crate) const BARBEAT: usize = 1;
pub(crate) const PITCH: usize = 2;
pub(crate) const DURATION: usize = 3;
pub(crate) const VELOCITY: usize = 4;
pub(crate) const ROOT: usize = 5;
pub(crate) const QUALITY: usize = 6;

// Types.
pub(crate) const END: i16 = 0;
pub(crate) const RHYTHM: i16 = 1;
pub(crate) const NOTE: i16 = 2;
pub(crate) const CHORD: i16 = 3;

/// Places in a bar: sixteenths.
pub(crate) const STEPS_PER_BAR: usize = 16;
/// Places in a beat.
pub(crate) const STEPS_PER_BEAT: usize = 4;
pub(crate) const BEATS_PER_BAR: usize = STEPS_PER_BAR / STEPS_PER_BEAT;
/// The longest note, in steps.
pub(crate) const MAX_DURATION: u8 = 64;
/// Longer pieces than this are refused: over a day of music.
pub(crate) const MAX_BARS: u32 = 1 << 16;

const NO_CHORD: u8 = 120;
const QUALITIES: u8 = 10;

/// The tokens of `bars` bars, without the end token.
///
/// `chords` has one id a beat (beats past the last bar are left out, missing ones have no token); `notes`
/// are sorted by onset and pitch, those outside the bars are left out. Either may be `None`.
///
/// # Errors
///
/// [`Error::Value`] if `bars` is negative or over 65,536, or the notes are not sorted.
pub fn encode(bars: i64, chords: Option<&[u8]>, notes: Option<&[Note]>) -> Result<Vec<Token>> {
    let bars = match usize::try_from(bars) {
        Ok(count) if bars <= i64::from(MAX_BARS) => count,
        _ => {
            return Err(Error::Value {
                name: "bars",
                index: None,
                must: "within 0..=65536",
                actual: bars.to_string(),
            });
        }
    };
    let notes = notes.unwrap_or_default();
    if let Some(i) =
        notes.windows(2).position(|n| (n[1].onset, n[1].pitch) < (n[0].onset, n[0].pitch))
    {
        return Err(Error::Value {
            name: "notes",
            index: Some(i + 1),
            must: "sorted by onset and pitch",
            actual: format!("onset {} after {}", notes[i + 1].onset, notes[i].onset),
        });
    }
    let chords = chords.unwrap_or_default();
    let mut rest = &notes[notes.partition_point(|n| n.onset < 0)..];
    let mut out = Vec::with_capacity(bars * 2 + notes.len() * 2);
    for bar in 0..bars {
        out.push([RHYTHM, 1, 0, 0, 0, 0, 0]);
        for step in 0..SIXTEENTHS_PER_BAR {
            // bars <= 65,536, so that this stays far below i32::MAX
            #[expect(clippy::cast_possible_truncation, clippy::cast_possible_wrap)]
            let place = bar as i32 * SIXTEENTHS_PER_BAR + step;
            let here = rest.partition_point(|n| n.onset <= place);
            let (now, later) = rest.split_at(here);
            rest = later;
            let chord = changed_chord(chords, bar, step);
            if step == 0 {
                out.extend(chord.map(chord_token));
            }
            if !now.is_empty() || (step > 0 && chord.is_some()) {
                #[expect(clippy::cast_possible_truncation)] // at most 17
                out.push([RHYTHM, step as i16 + 2, 0, 0, 0, 0, 0]);
            }
            if step > 0 {
                out.extend(chord.map(chord_token));
            }
            out.extend(now.iter().map(note_token));
        }
    }
    Ok(out)
}

/// The chord that is written at a place: on every beat where it changes, and on each bar's first.
fn changed_chord(chords: &[u8], bar: usize, step: i32) -> Option<u8> {
    if step % SIXTEENTHS_PER_BEAT != 0 {
        return None;
    }
    let beat = bar * BEATS_PER_BAR + usize::try_from(step / SIXTEENTHS_PER_BEAT).unwrap_or(0);
    let chord = *chords.get(beat)?;
    (step == 0 || chords[beat - 1] != chord).then_some(chord)
}

fn chord_token(chord: u8) -> Token {
    if chord >= NO_CHORD {
        return [CHORD, 0, 0, 0, 0, 13, 11];
    }
    let (root, quality) = (chord / QUALITIES, chord % QUALITIES);
    [CHORD, 0, 0, 0, 0, i16::from(root) + 1, i16::from(quality) + 1]
}

fn note_token(note: &Note) -> Token {
    let level = (note.velocity.saturating_sub(18)).div_euclid(12).clamp(0, 7);
    // Each is clamped to a few hundred.
    #[expect(clippy::cast_possible_truncation)]
    let small = |value: i32| value as i16;
    [
        NOTE,
        0,
        small(note.pitch.clamp(0, 127)) + 1,
        small(note.duration.clamp(1, i32::from(MAX_DURATION))),
        small(level) + 1,
        0,
        0,
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bar_with_everything() {
        let note = |onset, pitch| Note { onset, duration: 99, pitch, velocity: 64 };
        let notes = [note(-3, 50), note(0, 60), note(4, 62), note(4, 65), note(16, 60)];
        let tokens = encode(1, Some(&[0, 120, 120, 0]), Some(&notes));
        let expected: Vec<Token> = vec![
            [1, 1, 0, 0, 0, 0, 0],
            [3, 0, 0, 0, 0, 1, 1],
            [1, 2, 0, 0, 0, 0, 0],
            [2, 0, 61, 64, 4, 0, 0],
            [1, 6, 0, 0, 0, 0, 0],
            [3, 0, 0, 0, 0, 13, 11],
            [2, 0, 63, 64, 4, 0, 0],
            [2, 0, 66, 64, 4, 0, 0],
            [1, 14, 0, 0, 0, 0, 0],
            [3, 0, 0, 0, 0, 1, 1],
        ];
        assert_eq!(tokens, Ok(expected));
    }

    #[test]
    fn refuses_what_it_cannot_hold() {
        assert!(encode(-1, None, None).is_err());
        assert!(encode(1 << 40, None, None).is_err());
        assert_eq!(encode(0, Some(&[1]), None), Ok(vec![]));
    }
}
