//! The skyline: which notes carry the melody (paper, section 3.2).

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use crate::Note;

/// True for each note that is on the skyline.
///
/// Of the notes that start together the highest is a candidate (the first given, if two share the
/// pitch). A candidate is dropped if a higher candidate of an earlier onset, dropped or not, still
/// sounds. Notes may come in any order.
#[must_use]
pub fn skyline(notes: &[Note]) -> Vec<bool> {
    let mut order: Vec<usize> = (0..notes.len()).collect();
    order.sort_by_key(|&i| (notes[i].onset, Reverse(notes[i].pitch)));
    let mut on_skyline = vec![false; notes.len()];
    // (pitch, end) of earlier candidates, the highest on top.
    let mut sounding: BinaryHeap<(i32, i64)> = BinaryHeap::new();
    for together in order.chunk_by(|&a, &b| notes[a].onset == notes[b].onset) {
        let candidate = notes[together[0]];
        // One that has ended never matters again, so it may go as soon as it comes to the top.
        while sounding.peek().is_some_and(|&(_, end)| end <= i64::from(candidate.onset)) {
            sounding.pop();
        }
        let covered = sounding.peek().is_some_and(|&(pitch, _)| pitch > candidate.pitch);
        on_skyline[together[0]] = !covered;
        sounding.push((candidate.pitch, candidate.end()));
    }
    on_skyline
}

#[cfg(test)]
mod tests {
    use super::*;

    fn notes(rows: &[(i32, i32, i32)]) -> Vec<Note> {
        let note = |&(onset, duration, pitch)| Note { onset, duration, pitch, velocity: 64 };
        rows.iter().map(note).collect()
    }

    #[test]
    fn highest_of_a_chord() {
        assert_eq!(skyline(&notes(&[(0, 4, 60), (0, 4, 67), (0, 4, 64)])), [false, true, false]);
    }

    #[test]
    fn dropped_under_a_sounding_note_until_it_ends() {
        let song = notes(&[(0, 8, 72), (4, 2, 60), (8, 2, 62)]);
        assert_eq!(skyline(&song), [true, false, true]);
    }

    #[test]
    fn a_dropped_candidate_still_covers() {
        let song = notes(&[(0, 3, 72), (2, 6, 67), (4, 1, 60)]);
        assert_eq!(skyline(&song), [true, false, false]);
    }

    #[test]
    fn hostile_values_do_not_overflow() {
        let song = notes(&[(i32::MAX, i32::MAX, i32::MAX), (i32::MIN, i32::MIN, i32::MIN)]);
        assert_eq!(skyline(&song), [true, true]);
        assert!(skyline(&[]).is_empty());
    }
}
