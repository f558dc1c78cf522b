//! A song's notes as the melody's features need them: in order, and grouped by onset.

use crate::{Error, Note, Result};

/// Longer notes count as this long, in sixteenths.
pub(super) const LONGEST: i64 = 64;

/// One note in plain numbers.
#[derive(Clone, Copy)]
pub(super) struct Event {
    pub(super) onset: i64,
    /// 1..=[`LONGEST`].
    pub(super) duration: i64,
    /// 0..=127.
    pub(super) pitch: usize,
    /// 1..=127.
    pub(super) velocity: i64,
    /// Which group it belongs to.
    pub(super) group: usize,
}

/// The notes that start together.
#[derive(Clone, Copy)]
pub(super) struct Group {
    pub(super) onset: i64,
    /// Where its first note is, in order.
    pub(super) first: usize,
    /// Behind its last note.
    pub(super) end: usize,
    /// Bit p: a note of pitch p starts.
    pub(super) pitches: u128,
}

/// Notes sorted by onset and pitch.
pub(super) struct Song {
    pub(super) events: Vec<Event>,
    pub(super) groups: Vec<Group>,
    /// Where each event stood in what the caller gave.
    pub(super) order: Vec<usize>,
}

impl Song {
    /// # Errors
    ///
    /// [`Error::Value`] for pitches outside 0..=127.
    pub(super) fn new(notes: &[Note]) -> Result<Self> {
        if let Some(i) = notes.iter().position(|n| !(0..=127).contains(&n.pitch)) {
            let actual = notes[i].pitch.to_string();
            let must = "of pitch 0 to 127";
            return Err(Error::Value { name: "notes", index: Some(i), must, actual });
        }
        let mut order: Vec<usize> = (0..notes.len()).collect();
        order.sort_by_key(|&i| (notes[i].onset, notes[i].pitch));
        let mut events = Vec::with_capacity(notes.len());
        let mut groups: Vec<Group> = Vec::new();
        for &i in &order {
            let (onset, place) = (i64::from(notes[i].onset), events.len());
            let pitch = usize::try_from(notes[i].pitch).unwrap_or(0);
            match groups.last_mut() {
                Some(group) if group.onset == onset => {
                    group.pitches |= 1 << pitch;
                    group.end = place + 1;
                }
                _ => {
                    groups.push(Group { onset, first: place, end: place + 1, pitches: 1 << pitch });
                }
            }
            events.push(Event {
                onset,
                duration: i64::from(notes[i].duration).clamp(1, LONGEST),
                pitch,
                velocity: i64::from(notes[i].velocity).clamp(1, 127),
                group: groups.len() - 1,
            });
        }
        Ok(Self { events, groups, order })
    }

    /// For each group, the range of groups whose onset lies within `radius` of its own.
    pub(super) fn near(&self, radius: i64) -> impl Iterator<Item = (usize, usize)> + '_ {
        let (mut low, mut high) = (0, 0);
        self.groups.iter().map(move |group| {
            while self.groups[low].onset < group.onset - radius {
                low += 1;
            }
            while high < self.groups.len() && self.groups[high].onset <= group.onset + radius {
                high += 1;
            }
            (low, high)
        })
    }

    /// The events of a range of groups.
    pub(super) fn events_of(&self, (low, high): (usize, usize)) -> (usize, usize) {
        if low < high { (self.groups[low].first, self.groups[high - 1].end) } else { (0, 0) }
    }

    /// Values in the order of events, brought into the caller's.
    pub(super) fn restore<T: Copy>(&self, values: &[T]) -> Vec<T> {
        let mut result = values.to_vec();
        for (&i, &value) in self.order.iter().zip(values) {
            result[i] = value;
        }
        result
    }

    /// The caller's values in the order of events.
    pub(super) fn sort<T: Copy>(&self, values: &[T]) -> Vec<T> {
        self.order.iter().map(|&i| values[i]).collect()
    }
}
