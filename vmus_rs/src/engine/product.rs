//! Products of matrices with vectors, in tiles that fit the registers.

// What is to be compiled for a level must be inlined into it, and closures and iterators are not always:
// hence loops over indices.
#![expect(clippy::inline_always)]
#![expect(clippy::needless_range_loop)]

use super::matrix::Matrix;
use super::simd::{LANES, Lanes, Work};

/// Added to a number below 2^22, this rounds it to even and leaves it in the low bits.
pub(crate) const ROUND: f32 = 12_582_912.0;

/// A block's column in floats.
pub(crate) trait Column: Copy {
    fn lanes<S: Lanes>(&self, s: S) -> S::Floats;
}

impl Column for [f32; LANES] {
    #[inline(always)]
    fn lanes<S: Lanes>(&self, s: S) -> S::Floats {
        s.load(self)
    }
}

impl Column for [u16; LANES] {
    #[inline(always)]
    fn lanes<S: Lanes>(&self, s: S) -> S::Floats {
        s.load_half(self)
    }
}

/// A product of `vectors` vectors at a time by some blocks of rows at a time, as wide as fits the registers.
trait Tiles {
    fn tile<S: Lanes, const R: usize, const C: usize>(&mut self, s: S, block: usize, first: usize);

    /// Blocks are the outer loop: their weights are read from memory once for all vectors.
    #[inline(always)]
    fn run_tiles<S: Lanes>(&mut self, s: S, blocks: usize, count: usize) {
        let mut block = 0;
        while block < blocks {
            block += match (blocks - block, count) {
                (4.., ..=4) => self.columns::<S, 4>(s, block, count),
                (2.., _) => self.columns::<S, 2>(s, block, count),
                _ => self.columns::<S, 1>(s, block, count),
            };
        }
    }

    /// All vectors with R blocks of rows.
    #[inline(always)]
    fn columns<S: Lanes, const R: usize>(&mut self, s: S, block: usize, count: usize) -> usize {
        let mut first = 0;
        while first < count {
            let left = count - first;
            if left >= 8 && S::WIDE && R <= 2 {
                self.tile::<S, R, 8>(s, block, first);
                first += 8;
            } else if left >= 4 && (S::WIDE || R <= 2) {
                self.tile::<S, R, 4>(s, block, first);
                first += 4;
            } else if left >= 2 {
                self.tile::<S, R, 2>(s, block, first);
                first += 2;
            } else {
                self.tile::<S, R, 1>(s, block, first);
                first += 1;
            }
        }
        R
    }
}

/// Weights in floats.
pub(crate) struct Floats<'a, W> {
    pub(crate) matrix: &'a Matrix,
    pub(crate) w: &'a [W],
    pub(crate) x: &'a [f32],
    pub(crate) out: &'a mut [f32],
}

impl<W: Column> Work for Floats<'_, W> {
    type Output = ();

    #[inline(always)]
    fn run<S: Lanes>(mut self, s: S) {
        let count = self.x.len() / self.matrix.cols.max(1);
        self.run_tiles(s, self.matrix.rows.div_ceil(LANES), count);
    }
}

impl<W: Column> Tiles for Floats<'_, W> {
    #[inline(always)]
    fn tile<S: Lanes, const R: usize, const C: usize>(&mut self, s: S, block: usize, first: usize) {
        let cols = self.matrix.cols;
        let w: [&[W]; R] = std::array::from_fn(|r| &self.w[(block + r) * cols..][..cols]);
        let x: [&[f32]; C] = std::array::from_fn(|c| &self.x[(first + c) * cols..][..cols]);
        let mut sums = [[s.splat(0.0); C]; R];
        for k in 0..cols {
            // No closures in here: they would not be compiled for the level.
            let mut weights = [s.splat(0.0); R];
            for r in 0..R {
                weights[r] = w[r][k].lanes(s);
            }
            for c in 0..C {
                let x = s.splat(x[c][k]);
                for r in 0..R {
                    sums[r][c] = s.fma(weights[r], x, sums[r][c]);
                }
            }
        }
        for r in 0..R {
            for c in 0..C {
                put(self.matrix.rows, self.out, block + r, first + c, s.floats(sums[r][c]));
            }
        }
    }
}

/// Writes sixteen outputs of a vector, fewer in the last block.
#[inline(always)]
fn put(rows: usize, out: &mut [f32], block: usize, vector: usize, lanes: [f32; LANES]) {
    let row = block * LANES;
    let here = LANES.min(rows - row);
    out[vector * rows + row..][..here].copy_from_slice(&lanes[..here]);
}

/// Rounds vectors to whole numbers in pairs; one step size a vector.
pub(crate) struct Round<'a> {
    pub(crate) x: &'a [f32],
    pub(crate) cols: usize,
    pub(crate) most: f32,
    pub(crate) pairs: &'a mut Vec<[i16; 2]>,
    pub(crate) steps: &'a mut Vec<f32>,
}

impl Work for Round<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Lanes>(self, _: S) {
        self.pairs.clear();
        self.steps.clear();
        for x in self.x.chunks_exact(self.cols.max(1)) {
            let mut most = 0u32;
            for x in x {
                most = most.max(x.to_bits() & 0x7fff_ffff);
            }
            let largest = f32::from_bits(most);
            let finite = largest.is_finite();
            // Where a number is not finite no output may look as if it were.
            self.steps.push(if finite { largest / self.most } else { f32::NAN });
            let scale = if finite && largest > 0.0 { self.most / largest } else { 0.0 };
            // The least subnormal numbers have no finite inverse: they count as zero.
            let scale = if scale.is_finite() { scale } else { 0.0 };
            let start = self.pairs.len();
            self.pairs.resize(start + self.cols.div_ceil(2), [0; 2]);
            let rounded = &mut self.pairs[start..].as_flattened_mut()[..x.len()];
            for i in 0..x.len() {
                rounded[i] = low_half(x[i].mul_add(scale, ROUND));
            }
        }
    }
}

/// The low half of a float's bits.
#[inline(always)]
pub(crate) fn low_half(x: f32) -> i16 {
    #[expect(clippy::cast_possible_truncation)] // the low half is wanted
    let low = x.to_bits() as u16;
    low.cast_signed()
}

/// Weights in bytes, vectors already rounded.
pub(crate) struct Bytes<'a> {
    pub(crate) matrix: &'a Matrix,
    pub(crate) w: &'a [[i8; 2 * LANES]],
    pub(crate) scales: &'a [f32],
    pub(crate) x: &'a [[i16; 2]],
    pub(crate) steps: &'a [f32],
    pub(crate) out: &'a mut [f32],
}

impl Work for Bytes<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Lanes>(mut self, s: S) {
        self.run_tiles(s, self.matrix.rows.div_ceil(LANES), self.steps.len());
    }
}

impl Tiles for Bytes<'_> {
    #[inline(always)]
    fn tile<S: Lanes, const R: usize, const C: usize>(&mut self, s: S, block: usize, first: usize) {
        let pairs = self.matrix.cols.div_ceil(2);
        let w: [&[[i8; 2 * LANES]]; R] =
            std::array::from_fn(|r| &self.w[(block + r) * pairs..][..pairs]);
        let x: [&[[i16; 2]]; C] = std::array::from_fn(|c| &self.x[(first + c) * pairs..][..pairs]);
        let mut sums = [[s.zeros(); C]; R];
        for k in 0..pairs {
            let mut weights = [s.splat_pair([0; 2]); R];
            for r in 0..R {
                weights[r] = s.load_pairs(&w[r][k]);
            }
            for c in 0..C {
                let x = s.splat_pair(x[c][k]);
                for r in 0..R {
                    sums[r][c] = s.dot(sums[r][c], weights[r], x);
                }
            }
        }
        for r in 0..R {
            let row = (block + r) * LANES;
            for c in 0..C {
                let sums = s.integers(sums[r][c]);
                let mut lanes = [0.0f32; LANES];
                for (l, scale) in self.scales[row..].iter().take(LANES).enumerate() {
                    #[expect(clippy::cast_precision_loss)] // rounding is what int8 is about
                    let sum = sums[l] as f32;
                    lanes[l] = sum * scale * self.steps[first + c];
                }
                put(self.matrix.rows, self.out, block + r, first + c, lanes);
            }
        }
    }
}
