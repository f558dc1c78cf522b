//! The network: what each note looks like is a sum of rows of one table; two rounds judge it beside
//! what its half bar knows of the song. `dataset/melody_net.py` has the same in torch.

use std::sync::OnceLock;

use super::features::{FEATURES, Row, SIZES};
use super::round::{self, HEARD, LINE, NOTE, Note, PLACE, Round, sigmoid};
use crate::net::{self, Numbers};

/// Half bars from tap to tap.
const FIRST_DILATIONS: [usize; 5] = [1, 2, 4, 8, 16];
const LAST_DILATIONS: [usize; 3] = [1, 2, 8];
/// Sixteenths of a half bar.
const CELL: i64 = 8;
/// Longer stretches without notes count as so many half bars.
const LONGEST_GAP: i64 = 4;
/// Log odds are kept within this.
pub(super) const MOST: f32 = 8.0;
/// So are leaps, in semitones.
const FARTHEST: f32 = 24.0;

const ROWS: usize = rows_before(FEATURES);
const FIRST_ROWS: [usize; FEATURES] = {
    let mut first = [0; FEATURES];
    let mut i = 0;
    while i < FEATURES {
        first[i] = rows_before(i);
        i += 1;
    }
    first
};
const TABLE: &[u8] = include_bytes!("weights.bin");

/// Where a feature's rows begin.
const fn rows_before(feature: usize) -> usize {
    let (mut rows, mut i) = (0, 0);
    while i < feature {
        rows += SIZES[i];
        i += 1;
    }
    rows
}

// The table must be the one that these shapes were fitted for.
const _: () = assert!(
    TABLE.len()
        == 2 * (ROWS
            + (ROWS + 2) * NOTE
            + round::size(HEARD, FIRST_DILATIONS.len(), true)
            + round::size(HEARD + PLACE, LAST_DILATIONS.len(), false))
);

/// A note that the sieve lets through.
pub(super) struct Candidate {
    pub(super) row: Row,
    pub(super) onset: i64,
    pub(super) pitch: f32,
}

/// Whether a note may be melody at all, by a linear score.
pub(super) fn is_candidate(row: &Row) -> bool {
    let sieve = &Network::get().sieve;
    let parts = row.iter().zip(FIRST_ROWS).map(|(&value, first)| sieve[first + usize::from(value)]);
    parts.sum::<i32>() >= 0
}

/// Log odds of being melody of the candidates, which are sorted by onset and pitch. `solo` is 1 for a
/// solo, -1 for an arrangement, 0 for not known.
pub(super) fn odds(candidates: &[Candidate], solo: f32) -> Vec<f32> {
    let network = Network::get();
    let cells = cells(candidates);
    let mut notes: Vec<Note> = candidates.iter().map(|c| network.look(&c.row, solo)).collect();
    let (first, places) = network.first.run(&mut notes, &cells, &[], &[]);
    let lines = lines(candidates, &first);
    let (odds, _) = network.last.run(&mut notes, &cells, &places, &lines);
    odds
}

/// The half bar of each candidate, from the first on.
fn cells(candidates: &[Candidate]) -> Vec<usize> {
    let mut last = candidates.first().map_or(0, |c| c.onset.div_euclid(CELL));
    let mut at = 0;
    let cell = |c: &Candidate| {
        let half_bar = c.onset.div_euclid(CELL);
        at += usize::try_from((half_bar - last).min(LONGEST_GAP)).unwrap_or(0);
        last = half_bar;
        at
    };
    candidates.iter().map(cell).collect()
}

/// Of each candidate: its odds, those of the best other one of its onset, of the best of the onsets
/// before and after, and the way to these two.
fn lines(candidates: &[Candidate], odds: &[f32]) -> Vec<[f32; LINE]> {
    let mut lines = vec![[0.0; LINE]; odds.len()];
    let bound = |x: f32| x.clamp(-MOST, MOST);
    // Of the onset before, the best odds and its pitch; before the first and after the last there is none.
    let mut before = (-MOST, 0.0);
    let mut group = 0..0;
    while group.end < odds.len() {
        let onset = candidates[group.end].onset;
        let start = group.end;
        let count = candidates[start..].iter().take_while(|c| c.onset == onset).count();
        let last = std::mem::replace(&mut group, start..start + count);
        let (mut best, mut second) = (start, f32::NEG_INFINITY);
        for i in start + 1..group.end {
            if odds[i] >= odds[best] {
                second = second.max(odds[best]);
                best = i;
            } else {
                second = second.max(odds[i]);
            }
        }
        let own = (bound(odds[best]), candidates[best].pitch);
        put_way(&mut lines[last.clone()], &candidates[last], 3, 5, own);
        for i in group.clone() {
            let other = if i == best { second } else { odds[best] };
            lines[i][0] = bound(odds[i]) / 4.0;
            lines[i][1] = bound(other) / 4.0;
        }
        put_way(&mut lines[group.clone()], &candidates[group.clone()], 2, 4, before);
        before = own;
    }
    put_way(&mut lines[group.clone()], &candidates[group], 3, 5, (-MOST, 0.0));
    lines
}

/// Puts the best odds of a neighbouring onset, and the way to it, into two columns.
fn put_way(
    lines: &mut [[f32; LINE]],
    own: &[Candidate],
    column: usize,
    way: usize,
    (odds, pitch): (f32, f32),
) {
    for (line, candidate) in lines.iter_mut().zip(own) {
        line[column] = odds / 4.0;
        line[way] = (pitch - candidate.pitch).clamp(-FARTHEST, FARTHEST) / 8.0 * sigmoid(odds);
    }
}

struct Network {
    /// Whole numbers, so that the sum is exact: 0 or more for a candidate.
    sieve: Vec<i32>,
    table: Vec<Note>,
    bias: Note,
    solo: Note,
    first: Round<HEARD>,
    last: Round<{ HEARD + PLACE }>,
}

impl Network {
    fn get() -> &'static Self {
        static NETWORK: OnceLock<Network> = OnceLock::new();
        NETWORK.get_or_init(|| {
            let (sieve, rest) = TABLE.split_at(2 * ROWS);
            let sieve = sieve.chunks_exact(2).map(|b| i16::from_le_bytes([b[0], b[1]]).into());
            let numbers = net::upper_halves(rest);
            let mut numbers = Numbers(&numbers);
            Self {
                sieve: sieve.collect(),
                table: numbers.rows(ROWS),
                bias: numbers.row(),
                solo: numbers.row(),
                first: Round::take(&mut numbers, &FIRST_DILATIONS, true),
                last: Round::take(&mut numbers, &LAST_DILATIONS, false),
            }
        })
    }

    /// The sum of the table's rows that a note's features pick.
    fn look(&self, row: &Row, solo: f32) -> Note {
        let mut sum = self.bias;
        for (s, x) in sum.iter_mut().zip(&self.solo) {
            *s += x * solo;
        }
        for (&value, first) in row.iter().zip(FIRST_ROWS) {
            for (s, x) in sum.iter_mut().zip(&self.table[first + usize::from(value)]) {
                *s += x;
            }
        }
        sum.map(|x| x.max(0.0))
    }
}
