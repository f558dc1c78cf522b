//! Notes in time onto the grid of sixteenths.

use crate::{Error, Note, Result};

/// The longest duration that fits the result.
pub const MAX_DURATION: i64 = i32::MAX as i64;

/// Notes in time, one item a note in each slice; times in any unit, as long as it is one.
#[derive(Clone, Copy, Debug)]
pub struct TimedNotes<'a> {
    /// When each note starts.
    pub onset: &'a [f64],
    /// When each note ends.
    pub offset: &'a [f64],
    /// MIDI pitch, 0..=127.
    pub pitch: &'a [u8],
    /// MIDI velocity, 0..=127; 0 becomes 1.
    pub velocity: &'a [u8],
}

/// Put notes on a grid whose lines are at `phase + k * step`.
///
/// Onsets and offsets go to the nearest line (halves up); notes before line 0 are dropped;
/// durations are at least 1 and at most `max_duration`. Of notes with equal onset and pitch one
/// stays, with the longest duration and the loudest velocity; a note that still sounds when its
/// pitch comes again is cut there. The result is sorted by (onset, pitch).
///
/// # Errors
///
/// [`Error`] for slices of unequal length, times that are not finite, pitches or velocities above
/// 127, a step that is not a positive finite number, a phase that is not finite, a
/// `max_duration` outside 1..=[`MAX_DURATION`], or an onset beyond line `i32::MAX`.
pub fn quantize(
    notes: TimedNotes<'_>,
    step: f64,
    phase: f64,
    max_duration: i64,
) -> Result<Vec<Note>> {
    check_grid(step, phase, max_duration)?;
    check_notes(notes)?;
    let mut grid = Vec::with_capacity(notes.onset.len());
    for (i, &time) in notes.onset.iter().enumerate() {
        let onset = nearest_line(time, step, phase);
        if onset < 0 {
            continue;
        }
        let Ok(line) = i32::try_from(onset) else {
            return Err(Error::Value {
                name: "onset",
                index: Some(i),
                must: "on a line of the grid below 2147483648",
                actual: format!("{time:?}"),
            });
        };
        // The difference of two lines fits i64: both are clamped to half its range.
        let length = nearest_line(notes.offset[i], step, phase) - onset;
        let duration = i32::try_from(length.clamp(1, max_duration)).unwrap_or(1);
        grid.push(Note {
            onset: line,
            duration,
            pitch: i32::from(notes.pitch[i]),
            velocity: i32::from(notes.velocity[i].max(1)),
        });
    }
    Ok(untangle(grid))
}

/// The nearest grid line, halves up; beyond +-2^62 it stays there.
fn nearest_line(time: f64, step: f64, phase: f64) -> i64 {
    const LIMIT: f64 = 4_611_686_018_427_387_904.0;
    let line = ((time - phase) / step + 0.5).floor();
    // Clamped before the cast, so that nothing is truncated; infinities from a tiny step, too.
    #[expect(clippy::cast_possible_truncation)]
    let line = line.clamp(-LIMIT, LIMIT) as i64;
    line
}

/// Sort by (onset, pitch), merge equal ones, and cut each note where its pitch comes again.
fn untangle(mut notes: Vec<Note>) -> Vec<Note> {
    notes.sort_unstable_by_key(|n| (n.onset, n.pitch));
    notes.dedup_by(|next, kept| {
        let same = (next.onset, next.pitch) == (kept.onset, kept.pitch);
        if same {
            kept.duration = kept.duration.max(next.duration);
            kept.velocity = kept.velocity.max(next.velocity);
        }
        same
    });
    let mut next_onset = [i64::MAX; 128];
    for note in notes.iter_mut().rev() {
        let next = &mut next_onset[usize::try_from(note.pitch & 127).unwrap_or(0)];
        let room = next.saturating_sub(i64::from(note.onset));
        if i64::from(note.duration) > room {
            note.duration = i32::try_from(room).unwrap_or(note.duration);
        }
        *next = i64::from(note.onset);
    }
    notes
}

fn check_grid(step: f64, phase: f64, max_duration: i64) -> Result<()> {
    let bad = |name, must, actual| Err(Error::Value { name, index: None, must, actual });
    if !(step.is_finite() && step > 0.0) {
        return bad("step", "a positive finite number", format!("{step:?}"));
    }
    if !phase.is_finite() {
        return bad("phase", "finite", format!("{phase:?}"));
    }
    if !(1..=MAX_DURATION).contains(&max_duration) {
        return bad("max_duration", "1 to 2147483647", max_duration.to_string());
    }
    Ok(())
}

pub(crate) fn check_notes(notes: TimedNotes<'_>) -> Result<()> {
    let expected = notes.onset.len();
    for (second, actual) in [
        ("offset", notes.offset.len()),
        ("pitch", notes.pitch.len()),
        ("velocity", notes.velocity.len()),
    ] {
        if actual != expected {
            return Err(Error::LengthMismatch { first: "onset", expected, second, actual });
        }
    }
    for (name, times) in [("onset", notes.onset), ("offset", notes.offset)] {
        if let Some(i) = times.iter().position(|t| !t.is_finite()) {
            let actual = format!("{:?}", times[i]);
            return Err(Error::Value { name, index: Some(i), must: "finite", actual });
        }
    }
    for (name, values) in [("pitch", notes.pitch), ("velocity", notes.velocity)] {
        if let Some(i) = values.iter().position(|&v| v > 127) {
            let actual = values[i].to_string();
            return Err(Error::Value { name, index: Some(i), must: "at most 127", actual });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Rows of onset, offset, pitch, velocity on a grid of step 0.25 and phase 0.1.
    fn quantized(rows: &[(f64, f64, u8, u8)], max_duration: i64) -> Result<Vec<[i32; 4]>> {
        let onset: Vec<f64> = rows.iter().map(|r| r.0).collect();
        let offset: Vec<f64> = rows.iter().map(|r| r.1).collect();
        let pitch: Vec<u8> = rows.iter().map(|r| r.2).collect();
        let velocity: Vec<u8> = rows.iter().map(|r| r.3).collect();
        let timed =
            TimedNotes { onset: &onset, offset: &offset, pitch: &pitch, velocity: &velocity };
        let notes = quantize(timed, 0.25, 0.1, max_duration)?;
        Ok(notes.iter().map(|n| [n.onset, n.duration, n.pitch, n.velocity]).collect())
    }

    #[test]
    fn snaps_to_the_nearest_line_and_sorts() {
        let rows = [(0.62, 0.63, 64, 0), (0.1, 0.84, 60, 90), (0.11, 0.3, 55, 80)];
        let expected = vec![[0, 1, 55, 80], [0, 3, 60, 90], [2, 1, 64, 1]];
        assert_eq!(quantized(&rows, 64), Ok(expected));
    }

    #[test]
    fn drops_what_starts_before_the_grid() {
        assert_eq!(quantized(&[(-0.1, 3.0, 60, 64)], 64), Ok(vec![]));
        assert_eq!(quantized(&[(0.0, 0.35, 60, 64)], 64), Ok(vec![[0, 1, 60, 64]]));
    }

    #[test]
    fn merges_equals_and_cuts_overlaps() {
        let rows = [(0.1, 0.4, 60, 50), (0.1, 2.1, 60, 40), (0.6, 1.1, 60, 30)];
        assert_eq!(quantized(&rows, 64), Ok(vec![[0, 2, 60, 50], [2, 2, 60, 30]]));
        assert_eq!(quantized(&[(0.1, 99.0, 60, 64)], 64), Ok(vec![[0, 64, 60, 64]]));
    }

    #[test]
    fn hostile_values_are_errors_or_answers() {
        for time in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
            assert!(quantized(&[(time, 1.0, 60, 64)], 64).is_err());
            assert!(quantized(&[(1.0, time, 60, 64)], 64).is_err());
        }
        assert!(quantized(&[(1e300, 1e301, 60, 64)], 64).is_err());
        assert_eq!(quantized(&[(-1e300, 1e300, 60, 64)], 64), Ok(vec![]));
        assert_eq!(
            quantized(&[(0.1, 1e300, 60, 64)], MAX_DURATION),
            Ok(vec![[0, i32::MAX, 60, 64]])
        );
        assert_eq!(quantized(&[(0.1, -1e300, 60, 64)], 64), Ok(vec![[0, 1, 60, 64]]));
        assert!(quantized(&[(0.1, 1.0, 128, 64)], 64).is_err());
        assert!(quantized(&[], 0).is_err());
    }

    #[test]
    fn a_grid_must_have_a_step() {
        let none = TimedNotes { onset: &[], offset: &[], pitch: &[], velocity: &[] };
        for step in [0.0, -1.0, f64::NAN, f64::INFINITY] {
            assert!(quantize(none, step, 0.0, 64).is_err());
        }
        assert!(quantize(none, f64::MIN_POSITIVE, f64::NAN, 64).is_err());
        assert_eq!(quantize(none, f64::MIN_POSITIVE, 0.0, 64), Ok(vec![]));
        let short = TimedNotes { offset: &[], onset: &[0.0], pitch: &[], velocity: &[] };
        assert!(matches!(quantize(short, 1.0, 0.0, 64), Err(Error::LengthMismatch { .. })));
    }
}
