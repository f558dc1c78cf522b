//! Small dense layers whose numbers are part of the crate, for many rows at a time.

// What is to be compiled for a level must be inlined into it, and closures and iterators are not always:
// hence loops over indices.
#![expect(clippy::inline_always)]
#![expect(clippy::needless_range_loop)]

use crate::engine::ops::exp;
use crate::engine::simd::{LANES, Lanes, Level, Work};

/// Reads little-endian floats, as the fitting commands write them; a rest of under four bytes is left out.
pub(crate) fn floats(bytes: &[u8]) -> Vec<f32> {
    bytes.chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect()
}

/// Reads the upper halves of floats.
pub(crate) fn upper_halves(bytes: &[u8]) -> Vec<f32> {
    bytes.chunks_exact(2).map(|b| f32::from_le_bytes([0, 0, b[0], b[1]])).collect()
}

/// Numbers of a table, taken one after another; those that are missing are zeros, so that no length
/// can do harm.
pub(crate) struct Numbers<'a>(pub(crate) &'a [f32]);

impl Numbers<'_> {
    /// Rows of so many numbers, each filled up with zeros.
    pub(crate) fn rows(&mut self, count: usize, width: usize) -> Rows {
        let mut rows = Rows::zeros(count, width);
        for i in 0..count {
            let (own, rest) = self.0.split_at(width.min(self.0.len()));
            self.0 = rest;
            rows.row_mut(i)[..own.len()].copy_from_slice(own);
        }
        rows
    }
}

/// Rows of numbers, each filled up with zeros to whole vectors.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Rows {
    /// A row is so many vectors.
    vectors: usize,
    numbers: Vec<[f32; LANES]>,
}

impl Rows {
    pub(crate) fn zeros(count: usize, width: usize) -> Self {
        let vectors = width.div_ceil(LANES).max(1);
        Self { vectors, numbers: vec![[0.0; LANES]; count * vectors] }
    }

    pub(crate) fn count(&self) -> usize {
        self.numbers.len() / self.vectors.max(1)
    }

    pub(crate) fn row(&self, i: usize) -> &[f32] {
        self.numbers[i * self.vectors..][..self.vectors].as_flattened()
    }

    pub(crate) fn row_mut(&mut self, i: usize) -> &mut [f32] {
        self.numbers[i * self.vectors..][..self.vectors].as_flattened_mut()
    }

    /// All numbers, those that fill up too.
    pub(crate) fn flat(&self) -> &[f32] {
        self.numbers.as_flattened()
    }

    /// All numbers, those that fill up too.
    pub(crate) fn flat_mut(&mut self) -> &mut [f32] {
        self.numbers.as_flattened_mut()
    }
}

/// Affine map of rows of numbers.
pub(crate) struct Dense {
    /// A row an input.
    weights: Rows,
    bias: Rows,
}

impl Dense {
    /// How many numbers a layer takes.
    pub(crate) const fn size(inputs: usize, outputs: usize) -> usize {
        (inputs + 1) * outputs
    }

    /// A row of outputs an input, then a row of biases.
    pub(crate) fn take(numbers: &mut Numbers, inputs: usize, outputs: usize) -> Self {
        Self { weights: numbers.rows(inputs, outputs), bias: numbers.rows(1, outputs) }
    }

    pub(crate) fn take_without_bias(numbers: &mut Numbers, inputs: usize, outputs: usize) -> Self {
        Self { weights: numbers.rows(inputs, outputs), bias: Rows::zeros(1, outputs) }
    }

    pub(crate) fn bias(&self) -> &[f32] {
        self.bias.row(0)
    }

    pub(crate) fn apply(&self, level: Level, input: &Rows) -> Rows {
        let mut out = Rows { vectors: self.bias.vectors, numbers: Vec::new() };
        out.numbers.reserve_exact(input.count() * self.bias.vectors);
        for _ in 0..input.count() {
            out.numbers.extend_from_slice(&self.bias.numbers);
        }
        self.add_to(level, &mut out, input);
        out
    }

    /// The map without its biases, added to something of its shape.
    pub(crate) fn add_to(&self, level: Level, sums: &mut Rows, input: &Rows) {
        level.run(Product { weights: &self.weights, input, sums });
    }
}

struct Product<'a> {
    weights: &'a Rows,
    input: &'a Rows,
    sums: &'a mut Rows,
}

impl Work for Product<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Lanes>(self, lanes: S) {
        let count = self.sums.count().min(self.input.count());
        let vectors = self.sums.vectors;
        let mut product = self;
        let mut v = 0;
        while v + 2 <= vectors {
            product.columns::<S, 2>(lanes, count, v);
            v += 2;
        }
        if v < vectors {
            product.columns::<S, 1>(lanes, count, v);
        }
    }
}

impl Product<'_> {
    /// `V` vectors of outputs from the `v`-th on, for all rows.
    #[inline(always)]
    fn columns<S: Lanes, const V: usize>(&mut self, lanes: S, count: usize, v: usize) {
        let mut i = 0;
        while S::WIDE && i + 6 <= count {
            self.block::<S, 6, V>(lanes, i, v);
            i += 6;
        }
        while i + 2 <= count {
            self.block::<S, 2, V>(lanes, i, v);
            i += 2;
        }
        if i < count {
            self.block::<S, 1, V>(lanes, i, v);
        }
    }

    #[inline(always)]
    fn block<S: Lanes, const R: usize, const V: usize>(&mut self, lanes: S, i: usize, v: usize) {
        let (stride, vectors) = (self.input.vectors, self.sums.vectors);
        let inputs = self.weights.count();
        let mut sums = [[lanes.splat(0.0); V]; R];
        let mut rows = [[].as_slice(); R];
        for r in 0..R {
            for k in 0..V {
                sums[r][k] = lanes.load(&self.sums.numbers[(i + r) * vectors + v + k]);
            }
            rows[r] = &self.input.numbers[(i + r) * stride..][..stride].as_flattened()[..inputs];
        }
        for x in 0..inputs {
            let mut weights = [lanes.splat(0.0); V];
            for k in 0..V {
                weights[k] = lanes.load(&self.weights.numbers[x * vectors + v + k]);
            }
            for r in 0..R {
                let own = lanes.splat(rows[r][x]);
                for k in 0..V {
                    sums[r][k] = lanes.fma(own, weights[k], sums[r][k]);
                }
            }
        }
        for r in 0..R {
            for k in 0..V {
                self.sums.numbers[(i + r) * vectors + v + k] = lanes.floats(sums[r][k]);
            }
        }
    }
}

/// The logistic function of each number, in place.
pub(crate) fn logistic(level: Level, numbers: &mut [f32]) {
    level.run(Logistic(numbers));
}

struct Logistic<'a>(&'a mut [f32]);

impl Work for Logistic<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Lanes>(self, _: S) {
        for i in 0..self.0.len() {
            self.0[i] = 1.0 / (1.0 + exp(-self.0[i]));
        }
    }
}

/// Of each list of values the sum of the rows of a table that they pick, and `first`; the rows of a value
/// begin where `starts` says.
pub(crate) fn sums_of_rows<const N: usize>(
    level: Level,
    table: &Rows,
    first: &[f32],
    starts: &[usize; N],
    lists: &[[u8; N]],
) -> Rows {
    let mut sums = Rows { vectors: table.vectors, numbers: Vec::new() };
    sums.numbers.resize(lists.len() * table.vectors, [0.0; LANES]);
    level.run(Bag { table, first, starts, lists, sums: &mut sums });
    sums
}

struct Bag<'a, const N: usize> {
    table: &'a Rows,
    first: &'a [f32],
    starts: &'a [usize; N],
    lists: &'a [[u8; N]],
    sums: &'a mut Rows,
}

impl<const N: usize> Work for Bag<'_, N> {
    type Output = ();

    #[inline(always)]
    fn run<S: Lanes>(self, _: S) {
        for i in 0..self.lists.len() {
            for v in 0..self.table.vectors {
                let mut sum = [0.0; LANES];
                sum.copy_from_slice(&self.first[v * LANES..][..LANES]);
                for k in 0..N {
                    let row = self.starts[k] + usize::from(self.lists[i][k]);
                    let own = &self.table.numbers[row * self.table.vectors + v];
                    for l in 0..LANES {
                        sum[l] += own[l];
                    }
                }
                self.sums.numbers[i * self.table.vectors + v] = sum;
            }
        }
    }
}

#[cfg(test)]
#[expect(clippy::float_cmp)] // small whole numbers and halves are exact
mod tests {
    use super::*;

    fn rows(width: usize, numbers: &[f32]) -> Rows {
        Numbers(numbers).rows(numbers.len() / width, width)
    }

    #[test]
    fn takes_its_numbers_in_order() {
        let mut numbers = Numbers(&[1.0, 2.0, 3.0, 4.0, 0.5, -20.0, 9.0]);
        let layer = Dense::take(&mut numbers, 2, 2);
        assert_eq!(numbers.0, [9.0]);
        let input = rows(2, &[2.0, 1.0, 0.0, 1.0]);
        for level in Level::available() {
            assert_eq!(layer.apply(level, &input), rows(2, &[5.5, -12.0, 3.5, -16.0]));
            let mut sums = rows(2, &[1.0, 0.0, 0.0, 0.0]);
            layer.add_to(level, &mut sums, &input);
            assert_eq!(sums, rows(2, &[6.0, 8.0, 3.0, 4.0]));
        }
    }

    #[test]
    fn all_blocks_are_the_same_map() {
        let weights: Vec<f32> = (0_u8..150).map(|i| f32::from(i % 7) - 3.0).collect();
        let layer = Dense::take_without_bias(&mut Numbers(&weights), 3, 50);
        let numbers: Vec<f32> = (0_u8..33).map(|i| f32::from(i % 5)).collect();
        let input = rows(3, &numbers);
        for level in Level::available() {
            let out = layer.apply(level, &input);
            for (i, own) in numbers.chunks_exact(3).enumerate() {
                for o in 0..50 {
                    let sum: f32 = (0..3).map(|x| own[x] * weights[x * 50 + o]).sum();
                    assert_eq!(out.row(i)[o], sum);
                }
            }
        }
    }

    #[test]
    fn missing_numbers_are_zeros() {
        let layer = Dense::take(&mut Numbers(&[2.0]), 2, 3);
        let out = layer.apply(Level::Plain, &rows(2, &[1.0, 1.0]));
        assert_eq!(out.row(0)[..3], [2.0, 0.0, 0.0]);
    }

    #[test]
    fn rows_of_a_table_are_summed() {
        let table = rows(2, &[1.0, 2.0, 10.0, 20.0, 0.5, 0.0]);
        let first = rows(2, &[100.0, 0.0]);
        for level in Level::available() {
            let sums = sums_of_rows(level, &table, first.row(0), &[0, 1], &[[0, 1], [1, 0]]);
            assert_eq!(sums, rows(2, &[101.5, 2.0, 120.0, 40.0]));
        }
    }

    #[test]
    fn logistic_function() {
        let mut numbers = [0.0, 100.0, -100.0];
        logistic(Level::best(), &mut numbers);
        assert_eq!(numbers[..2], [0.5, 1.0]);
        assert!(numbers[2].abs() < 1e-30);
    }

    #[test]
    fn floats_are_little_endian() {
        assert_eq!(floats(&[0, 0, 128, 63, 1]), [1.0]);
        assert_eq!(upper_halves(&[128, 63, 1]), [1.0]);
    }
}
