//! Matrices of weights, laid out so that sixteen rows are computed at once.
//!
//! Rows come in blocks of sixteen; a block holds its columns one after the other, sixteen numbers each.
//! So every output is one chain of fused additions along the columns, in the same order at every level and
//! for any number of vectors at a time, and no sum across lanes is ever needed.

use super::product::{Bytes, Floats, ROUND, Round, low_half};
use super::simd::{LANES, Level};
use crate::{Error, Result};

/// How weights are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Precision {
    /// Single precision.
    F32,
    /// Half precision: what weight files hold.
    F16,
    /// A byte a weight and a scale a row; vectors are rounded to 16 bits or as many as sums allow.
    I8,
}

impl Precision {
    /// The precision of that name: `f32`, `f16`, `int8`.
    ///
    /// # Errors
    ///
    /// [`Error::Value`] on another name.
    pub fn find(name: &str) -> Result<Self> {
        match name {
            "f32" => Ok(Self::F32),
            "f16" => Ok(Self::F16),
            "int8" => Ok(Self::I8),
            _ => Err(Error::Value {
                name: "precision",
                index: None,
                must: "f32, f16 or int8",
                actual: name.to_owned(),
            }),
        }
    }
}

/// Vectors are multiplied in groups of this many, so that they stay in the cache.
const GROUP: usize = 64;

enum Store {
    Single(Vec<[f32; LANES]>),
    Half(Vec<[u16; LANES]>),
    Byte { pairs: Vec<[i8; 2 * LANES]>, scales: Vec<f32>, most: f32 },
}

/// A matrix of weights (rows, cols) with, perhaps, a bias a row.
pub(crate) struct Matrix {
    pub(crate) rows: usize,
    pub(crate) cols: usize,
    store: Store,
    bias: Option<Vec<f32>>,
}

/// Where matrices put what they need in between; and the level to work at.
pub(crate) struct Room {
    pub(crate) level: Level,
    pairs: Vec<[i16; 2]>,
    scales: Vec<f32>,
}

impl Room {
    pub(crate) fn new(level: Level) -> Self {
        Self { level, pairs: Vec::new(), scales: Vec::new() }
    }
}

impl Matrix {
    /// From weights (rows, cols) in C order.
    pub(crate) fn new(
        weights: &[f32],
        rows: usize,
        bias: Option<Vec<f32>>,
        precision: Precision,
    ) -> Self {
        let cols = weights.len().checked_div(rows).unwrap_or(0);
        let half = |x: f32| half::f16::from_f32(x).to_bits();
        let store = match precision {
            Precision::F32 => Store::Single(blocks(weights, rows, cols, |x| x)),
            Precision::F16 => Store::Half(blocks(weights, rows, cols, half)),
            Precision::I8 => bytes(weights, rows, cols),
        };
        Self { rows, cols, store, bias }
    }

    /// Multiplies each vector of `x` (N, cols); `out` becomes (N, rows).
    pub(crate) fn apply(&self, x: &[f32], room: &mut Room, out: &mut Vec<f32>) {
        let count = x.len() / self.cols.max(1);
        out.clear();
        out.resize(count * self.rows, 0.0);
        let groups = x.chunks(GROUP * self.cols.max(1));
        for (x, out) in groups.zip(out.chunks_mut(GROUP * self.rows.max(1))) {
            match &self.store {
                Store::Single(w) => room.level.run(Floats { matrix: self, w, x, out }),
                Store::Half(w) => room.level.run(Floats { matrix: self, w, x, out }),
                Store::Byte { pairs, scales, most } => {
                    let Room { level, pairs: rounded, scales: steps } = room;
                    level.run(Round { x, cols: self.cols, most: *most, pairs: rounded, steps });
                    level.run(Bytes { matrix: self, w: pairs, scales, x: rounded, steps, out });
                }
            }
        }
        if let Some(bias) = &self.bias {
            for row in out.chunks_exact_mut(self.rows.max(1)) {
                super::ops::add(row, bias);
            }
        }
    }
}

/// Weights in blocks of sixteen rows, column by column.
fn blocks<T: Copy + Default>(
    weights: &[f32],
    rows: usize,
    cols: usize,
    of: impl Fn(f32) -> T,
) -> Vec<[T; LANES]> {
    let mut out = vec![[T::default(); LANES]; rows.div_ceil(LANES) * cols];
    for (r, row) in weights.chunks_exact(cols.max(1)).take(rows).enumerate() {
        for (place, &x) in out[r / LANES * cols..].iter_mut().zip(row) {
            place[r % LANES] = of(x);
        }
    }
    out
}

/// Rounds each row to -127..=127.
fn bytes(weights: &[f32], rows: usize, cols: usize) -> Store {
    let width = cols.div_ceil(2);
    let mut scales = Vec::with_capacity(rows);
    let mut pairs = vec![[0i8; 2 * LANES]; rows.div_ceil(LANES) * width];
    for (r, row) in weights.chunks_exact(cols.max(1)).take(rows).enumerate() {
        let most = row.iter().fold(0.0f32, |most, x| most.max(x.abs()));
        let scale = most / 127.0;
        scales.push(scale);
        // The least subnormal numbers have no finite inverse: they count as zero.
        let inverse = if (1.0 / scale).is_finite() { 1.0 / scale } else { 0.0 };
        for (place, x) in pairs[r / LANES * width..].iter_mut().zip(row.chunks(2)) {
            for (i, &x) in x.iter().enumerate() {
                #[expect(clippy::cast_possible_truncation)] // within -127..=127
                let byte = low_half(x * inverse + ROUND) as i8;
                place[2 * (r % LANES) + i] = byte;
            }
        }
    }
    // No sum of products may pass 2^31.
    let cols = i64::try_from(cols).unwrap_or(i64::MAX / 256);
    let most = (i64::from(i32::MAX) / (127 * (cols + 1))).clamp(1, 32_767);
    #[expect(clippy::cast_precision_loss)] // at most 32,767
    let most = most as f32;
    Store::Byte { pairs, scales, most }
}

#[cfg(test)]
#[expect(clippy::cast_precision_loss)]
mod tests {
    use super::*;

    fn numbers(count: usize, seed: u64) -> Vec<f32> {
        let mut state = seed;
        let mut next = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (state >> 40) as f32 / 8_388_608.0 - 1.0
        };
        (0..count).map(|_| next()).collect()
    }

    fn shapes() -> impl Iterator<Item = (usize, usize, usize)> {
        let some = [(1, 1, 1), (3, 5, 2), (16, 7, 3), (65, 33, 9), (129, 64, 65), (200, 257, 6)];
        some.into_iter()
    }

    #[test]
    fn every_level_and_grouping_gives_the_same_bits() {
        for precision in [Precision::F32, Precision::F16, Precision::I8] {
            for (rows, cols, count) in shapes() {
                let bias = (rows % 2 == 1).then(|| numbers(rows, 3));
                let matrix = Matrix::new(&numbers(rows * cols, 1), rows, bias, precision);
                let x = numbers(count * cols, 2);
                let (mut first, mut again) = (Vec::new(), Vec::new());
                matrix.apply(&x, &mut Room::new(Level::Plain), &mut first);
                for level in Level::available() {
                    let mut room = Room::new(level);
                    matrix.apply(&x, &mut room, &mut again);
                    let exact = |x: &[f32]| x.iter().map(|x| x.to_bits()).collect::<Vec<_>>();
                    assert_eq!(exact(&first), exact(&again), "{level:?} {precision:?}");
                    for (x, row) in x.chunks(cols).zip(first.chunks(rows)) {
                        matrix.apply(x, &mut room, &mut again);
                        assert_eq!(exact(row), exact(&again), "{level:?} {precision:?}");
                    }
                }
            }
        }
    }

    #[test]
    fn every_machine_gives_the_same_bits() {
        let mut sum = 0xcbf2_9ce4_8422_2325u64; // FNV-1a
        for precision in [Precision::F32, Precision::F16, Precision::I8] {
            let matrix = Matrix::new(&numbers(129 * 66, 1), 129, None, precision);
            let mut out = Vec::new();
            matrix.apply(&numbers(9 * 66, 2), &mut Room::new(Level::best()), &mut out);
            for byte in out.iter().flat_map(|x| x.to_bits().to_le_bytes()) {
                sum = (sum ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
            }
        }
        assert_eq!(sum, 0xb67c_3fcd_30ce_7dea);
    }

    #[test]
    fn products_are_right() {
        let bounds = [(Precision::F32, 1e-5), (Precision::F16, 2e-3), (Precision::I8, 2e-2)];
        for (precision, bound) in bounds {
            for (rows, cols, count) in shapes() {
                let (w, x) = (numbers(rows * cols, 1), numbers(count * cols, 2));
                let matrix = Matrix::new(&w, rows, None, precision);
                let mut found = Vec::new();
                matrix.apply(&x, &mut Room::new(Level::best()), &mut found);
                for (i, got) in found.iter().enumerate() {
                    let (x, w) = (&x[i / rows * cols..][..cols], &w[i % rows * cols..][..cols]);
                    let exact: f64 =
                        x.iter().zip(w).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum();
                    let allowed = bound * (cols as f64).sqrt();
                    assert!((f64::from(*got) - exact).abs() < allowed, "{precision:?}");
                }
            }
        }
    }

    #[test]
    fn what_is_not_finite_is_not_hidden() {
        for precision in [Precision::F32, Precision::F16, Precision::I8] {
            for bad in [f32::NAN, f32::INFINITY] {
                let mut out = Vec::new();
                let matrix = Matrix::new(&[1.0, 2.0], 1, None, precision);
                matrix.apply(&[bad, 1.0], &mut Room::new(Level::best()), &mut out);
                assert!(!out[0].is_finite());
            }
        }
    }

    #[test]
    fn no_sum_overflows() {
        for cols in [1, 66, 8192, 40_960] {
            let matrix = Matrix::new(&vec![1.0; cols], 1, None, Precision::I8);
            let mut out = Vec::new();
            matrix.apply(&vec![3.0; cols], &mut Room::new(Level::Plain), &mut out);
            assert!((out[0] / (3.0 * cols as f32) - 1.0).abs() < 2e-3);
        }
    }
}
