//! What a token's vector is made of: `python/vmusprod/models/embeddings.py`.
//!
//! Tables and the linear maps behind them are multiplied once, when the weights are read: an embedding is
//! then a sum of rows.

use super::config::{Config, RUN_LEVELS, SLOTS};
use super::matrix::{Matrix, Precision, Room};
use super::ops;
use super::simd::Level;
use super::weights::Weights;
use crate::Result;
use crate::tokens::{ATTRIBUTES, SIZES, STEPS_PER_BAR, Token};

const TEMPO_LEVELS: usize = 41;
const MODES: usize = 3;
const STYLES: usize = 4;
const CONTROL_LEVELS: usize = 9;
const PHRASE: usize = 16;
pub(crate) const TIMING_LEVELS: usize = 101;
/// Intervals of each chord quality above its root.
const INTERVALS: [&[usize]; 10] = [
    &[0, 4, 7],
    &[0, 3, 7],
    &[0, 4, 7, 10],
    &[0, 4, 7, 11],
    &[0, 3, 7, 10],
    &[0, 3, 6],
    &[0, 3, 6, 9],
    &[0, 4, 8],
    &[0, 2, 7],
    &[0, 5, 7],
];

/// Whether a chord's ROOT and QUALITY attributes have a pitch class.
pub(crate) fn chord_has(root: usize, quality: usize, pitch_class: usize) -> bool {
    (1..=12).contains(&root)
        && (1..=10).contains(&quality)
        && INTERVALS[quality - 1].iter().any(|i| (root - 1 + i) % 12 == pitch_class)
}

/// The rows of a table (N, inner) mapped by `join`'s columns from `first` on: (N, width).
fn mapped(rows: &[f32], inner: usize, join: &[f32], total: usize, first: usize) -> Vec<f32> {
    if inner == 0 {
        return Vec::new();
    }
    let part: Vec<f32> =
        join.chunks_exact(total).flat_map(|row| &row[first..first + inner]).copied().collect();
    let matrix = Matrix::new(&part, join.len() / total, None, Precision::F32);
    let mut out = Vec::new();
    // The level does not matter to the result.
    matrix.apply(rows, &mut Room::new(Level::best()), &mut out);
    out
}

/// One table an attribute, and one of chords, already mapped to the width.
pub(crate) struct Attributes {
    width: usize,
    tables: Vec<(usize, Vec<f32>)>,
    /// By root * 12 + quality.
    chords: Vec<f32>,
}

impl Attributes {
    pub(crate) fn read(
        weights: &Weights<'_>,
        name: &str,
        sizes: &[usize; ATTRIBUTES],
        chroma_size: usize,
        width: usize,
    ) -> Result<Self> {
        let total = sizes.iter().sum::<usize>() + chroma_size;
        let join = weights.numbers(&format!("{name}.join.weight"), &[width, total])?;
        let mut tables = Vec::new();
        let mut first = 0;
        for (attribute, &size) in sizes.iter().enumerate().filter(|(_, size)| **size > 0) {
            let key = format!("{name}.tables.{}.weight", tables.len());
            let table = weights.numbers(&key, &[SIZES[attribute], size])?;
            tables.push((attribute, mapped(&table, size, &join, total, first)));
            first += size;
        }
        let mut chords = Vec::new();
        if chroma_size > 0 {
            let map = weights.numbers(&format!("{name}.chroma.weight"), &[chroma_size, 12])?;
            let chroma: Vec<f32> = (0..14 * 12 * 12)
                .map(|i| f32::from(u8::from(chord_has(i / 144, i / 12 % 12, i % 12))))
                .collect();
            let inner = mapped(&chroma, 12, &map, 12, 0);
            chords = mapped(&inner, chroma_size, &join, total, first);
        }
        Ok(Self { width, tables, chords })
    }

    /// Adds a token's vector to `x`; `chord`: ROOT and QUALITY sounding there.
    pub(crate) fn add_to(&self, x: &mut [f32], token: &Token, chord: Option<[usize; 2]>) {
        for (attribute, table) in &self.tables {
            let value = usize::try_from(token[*attribute]).unwrap_or(0);
            if let Some(row) = table.chunks_exact(self.width).nth(value) {
                ops::add(x, row);
            }
        }
        if let Some([root, quality]) = chord
            && let Some(row) = self.chords.chunks_exact(self.width).nth(root * 12 + quality)
        {
            ops::add(x, row);
        }
    }
}

/// What is known of a token's place; `Context` in Python.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Place {
    pub(crate) bar: usize,
    pub(crate) step: usize,
    pub(crate) timing: usize,
    pub(crate) tempo: usize,
    pub(crate) mode: usize,
    pub(crate) style: usize,
    pub(crate) density: usize,
    pub(crate) loudness: usize,
}

/// Bar, beat, tempo and timing, and the controls of the bar; one table, each field its rows.
pub(crate) struct Places {
    width: usize,
    max_bars: usize,
    table: Vec<f32>,
    timing: Vec<f32>,
}

impl Places {
    pub(crate) fn read(weights: &Weights<'_>, name: &str, config: &Config) -> Result<Self> {
        let width = config.width;
        let rows: usize = Self::sizes(config.max_bars).iter().sum();
        Ok(Self {
            width,
            max_bars: config.max_bars,
            table: weights.numbers(&format!("{name}.table"), &[rows, width])?,
            timing: timing_table(weights, &format!("{name}.timing"), config.timing_size, width)?,
        })
    }

    fn sizes(max_bars: usize) -> [usize; 8] {
        [
            max_bars,
            PHRASE,
            STEPS_PER_BAR,
            TEMPO_LEVELS,
            MODES,
            STYLES,
            CONTROL_LEVELS,
            CONTROL_LEVELS,
        ]
    }

    /// Adds a place's vector to `x`; numbers beyond the tables count as the last.
    pub(crate) fn add_to(&self, x: &mut [f32], place: &Place) {
        let p = place;
        let fields =
            [p.bar, p.bar % PHRASE, p.step, p.tempo, p.mode, p.style, p.density, p.loudness];
        let mut sum = vec![0.0; self.width];
        let mut start = 0;
        for (field, size) in fields.into_iter().zip(Self::sizes(self.max_bars)) {
            ops::add(&mut sum, self.row(&self.table, start + field.min(size - 1)));
            start += size;
        }
        ops::add(&mut sum, self.row(&self.timing, p.timing.min(TIMING_LEVELS - 1)));
        ops::add(x, &sum);
    }

    fn row<'a>(&self, table: &'a [f32], row: usize) -> &'a [f32] {
        &table[row * self.width..][..self.width]
    }
}

/// Sinusoids of 0..=100 hundredths, mapped to the width: (101, width).
pub(crate) fn timing_table(
    weights: &Weights<'_>,
    name: &str,
    size: usize,
    width: usize,
) -> Result<Vec<f32>> {
    let map = weights.numbers(&format!("{name}.weight"), &[width, size])?;
    let half = size / 2;
    let mut encoding = Vec::with_capacity(TIMING_LEVELS * size);
    for level in 0..TIMING_LEVELS {
        // Small numbers; rates in single precision, as torch computes them.
        #[expect(clippy::cast_precision_loss, clippy::cast_possible_truncation)]
        let angle = |i: usize| {
            let rate = (i as f32 * (-10_000.0f64.ln() / half as f64) as f32).exp();
            level as f32 * rate
        };
        encoding.extend((0..half).map(|i| angle(i).sin()));
        encoding.extend((0..half).map(|i| angle(i).cos()));
    }
    Ok(mapped(&encoding, size, &map, size, 0))
}

/// Embeds the hints of recall: a map of the hinted tokens, a table of the runs.
pub(crate) struct Recall {
    width: usize,
    pub(crate) map: Matrix,
    runs: Vec<f32>,
}

impl Recall {
    pub(crate) fn read(weights: &Weights<'_>, width: usize) -> Result<Self> {
        Ok(Self {
            width,
            map: weights.matrix("recall.map", width, SLOTS * width)?,
            runs: weights.numbers("recall.runs", &[SLOTS * RUN_LEVELS, width])?,
        })
    }

    /// Numbers that the map takes: one vector a slot.
    pub(crate) fn slots_width(&self) -> usize {
        SLOTS * self.width
    }

    /// Adds the runs' vectors, levels 0..=7, to `x`.
    pub(crate) fn add_runs(&self, x: &mut [f32], levels: [usize; SLOTS]) {
        let mut sum = vec![0.0; self.width];
        for (slot, level) in levels.into_iter().enumerate() {
            let row = slot * RUN_LEVELS + level.min(RUN_LEVELS - 1);
            ops::add(&mut sum, &self.runs[row * self.width..][..self.width]);
        }
        ops::add(x, &sum);
    }
}
