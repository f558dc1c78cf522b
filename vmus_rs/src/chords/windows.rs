//! How long each pitch sounds in each window of a song.

use crate::Note;

/// Notes that started this many onsets before a window or earlier are not heard in it, however
/// long they sound: chorder looks back over so many distinct onsets and no further.
const LOOK_BACK: usize = 10;

/// Time that each MIDI pitch sounds within a window; simultaneous notes of a pitch add up.
pub(super) type Spans = [i64; 128];

/// From window `at` on.
struct Change {
    at: i64,
    pitch: usize,
    /// Time in window `at` alone.
    once: i64,
    /// How much more (or less) sounds through every window from `at` on.
    steady: i64,
}

/// An iterator over windows `0..count`, each `width` long, that yields their [`Spans`].
///
/// A sweep over changes, so that the cost is that of the notes plus that of the windows and never
/// their product, whatever the durations.
pub(super) struct Windows {
    changes: std::iter::Peekable<std::vec::IntoIter<Change>>,
    steady: Spans,
    at: i64,
    count: i64,
}

impl Windows {
    pub(super) fn new(notes: &[Note], count: i64, width: i64) -> Self {
        let mut onsets: Vec<i32> = notes.iter().map(|n| n.onset).collect();
        onsets.sort_unstable();
        onsets.dedup();
        let mut changes = Vec::with_capacity(2 * notes.len());
        for note in notes {
            let place = onsets.partition_point(|&o| o < note.onset);
            let forgotten = onsets.get(place + LOOK_BACK);
            let heard = forgotten.map_or(i64::MAX, |&o| i64::from(o).div_euclid(width));
            push_changes(&mut changes, note, heard, width);
        }
        changes.sort_unstable_by_key(|c| c.at);
        Self { changes: changes.into_iter().peekable(), steady: [0; 128], at: 0, count }
    }
}

/// The changes that `note` makes, up to window `heard`.
fn push_changes(changes: &mut Vec<Change>, note: &Note, heard: i64, width: i64) {
    let (start, end) = (i64::from(note.onset).max(0), note.end());
    if end <= start {
        return;
    }
    let first = start / width;
    let last = ((end - 1) / width).min(heard);
    let pitch = usize::try_from(note.pitch & 127).unwrap_or(0);
    if first > last {
        return;
    }
    let inside = |window: i64| end.min((window + 1) * width) - start.max(window * width);
    let mut push = |at, once, steady| changes.push(Change { at, pitch, once, steady });
    push(first, inside(first), 0);
    if last > first {
        push(last, inside(last), 0);
    }
    if last > first + 1 {
        push(first + 1, 0, width);
        push(last, 0, -width);
    }
}

impl Iterator for Windows {
    type Item = Spans;

    fn next(&mut self) -> Option<Spans> {
        if self.at >= self.count {
            return None;
        }
        let mut once = [0; 128];
        while let Some(change) = self.changes.next_if(|c| c.at <= self.at) {
            once[change.pitch] += change.once;
            self.steady[change.pitch] += change.steady;
        }
        self.at += 1;
        for (once, steady) in once.iter_mut().zip(self.steady) {
            *once += steady;
        }
        Some(once)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spans_of(notes: &[Note], count: i64, width: i64, pitch: usize) -> Vec<i64> {
        Windows::new(notes, count, width).map(|spans| spans[pitch]).collect()
    }

    #[test]
    fn a_long_note_is_split_over_its_windows() {
        let note = Note { onset: 3, duration: 10, pitch: 60, velocity: 1 };
        assert_eq!(spans_of(&[note], 5, 4, 60), [1, 4, 4, 1, 0]);
        assert_eq!(spans_of(&[note, note], 2, 4, 60), [2, 8]);
        let early = Note { onset: -6, ..note };
        assert_eq!(spans_of(&[early], 3, 4, 60), [4, 0, 0]);
    }

    #[test]
    fn a_note_is_forgotten_after_ten_onsets() {
        let mut notes = vec![Note { onset: 0, duration: 100, pitch: 60, velocity: 1 }];
        let short = |onset| Note { onset, duration: 1, pitch: 72, velocity: 1 };
        notes.extend((1..=11).map(short));
        // Window 2 starts at 8, which nine onsets precede; window 3 at 12, which twelve precede.
        assert_eq!(spans_of(&notes, 5, 4, 60), [4, 4, 4, 0, 0]);
    }
}
