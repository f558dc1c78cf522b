//! The network: what each note looks like is a sum of rows of one table; three rounds judge it beside
//! what its half bar knows of the song, and what the round before made of the notes around.
//! `dataset/melody_net.py` has the same in torch.

use std::sync::OnceLock;

use super::context::{self, Places};
use super::features::{FEATURES, Row, SIZES};
use super::round::{NOTE, Round, Shape};
use crate::engine::Level;
use crate::net::{self, Numbers, Rows};

const SHAPES: [Shape; 3] = [
    Shape { dilations: &[1, 2, 4, 8, 16], is_first: true, is_last: false },
    Shape { dilations: &[1, 2, 8], is_first: false, is_last: false },
    Shape { dilations: &[1, 4], is_first: false, is_last: true },
];
/// Sixteenths of a half bar.
const CELL: i64 = 8;
/// Longer stretches without notes count as so many half bars.
const LONGEST_GAP: i64 = 4;
/// Log odds are kept within this.
pub(super) const MOST: f32 = 8.0;

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
        == 2 * (ROWS + (ROWS + 2) * NOTE + SHAPES[0].size() + SHAPES[1].size() + SHAPES[2].size())
);

/// A note that the sieve lets through.
pub(super) struct Candidate {
    pub(super) row: Row,
    pub(super) onset: i64,
    pub(super) pitch: u8,
    pub(super) velocity: u8,
    pub(super) duration: u8,
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
    let level = network.level;
    let places = Places::of(level, candidates, cells(candidates));
    let mut notes = network.look(candidates, solo);
    let (mut context, mut known) = (None, None);
    let mut odds = Vec::new();
    for (i, round) in network.rounds.iter().enumerate() {
        if i > 0 {
            context = Some(context::context(level, candidates, &places, odds));
        }
        let found = round.run(level, &mut notes, &places, known.as_ref(), context.as_ref());
        odds = found.0;
        for x in &mut odds {
            *x = x.clamp(-MOST, MOST);
        }
        known = Some(found.1);
    }
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

struct Network {
    level: Level,
    /// Whole numbers, so that the sum is exact: 0 or more for a candidate.
    sieve: Vec<i32>,
    table: Rows,
    bias: Rows,
    solo: Rows,
    rounds: Vec<Round>,
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
                level: Level::best(),
                sieve: sieve.collect(),
                table: numbers.rows(ROWS, NOTE),
                bias: numbers.rows(1, NOTE),
                solo: numbers.rows(1, NOTE),
                rounds: SHAPES.map(|shape| Round::take(&mut numbers, shape)).into(),
            }
        })
    }

    /// The sums of the table's rows that the notes' features pick.
    fn look(&self, candidates: &[Candidate], solo: f32) -> Rows {
        let mut first = self.bias.clone();
        for (x, s) in first.flat_mut().iter_mut().zip(self.solo.flat()) {
            *x += s * solo;
        }
        let rows: Vec<Row> = candidates.iter().map(|c| c.row).collect();
        let (table, first) = (&self.table, first.row(0));
        let mut notes = net::sums_of_rows(self.level, table, first, &FIRST_ROWS, &rows);
        for x in notes.flat_mut() {
            *x = x.max(0.0);
        }
        notes
    }
}
