//! Sixteen tokens of all of a thread's heads, read row by row as they lie in memory.

#![expect(clippy::inline_always)]
#![expect(clippy::needless_range_loop)]

use std::ops::Range;

use super::tiles::{Number, Row};
use crate::engine::ops::feature_one;
use crate::engine::simd::{LANES, Lanes};

/// Sizes of some heads of a layer.
#[derive(Clone, Copy)]
pub(super) struct Sizes {
    /// Numbers of a head.
    pub(super) depth: usize,
    /// Sixteens in a row of a head.
    pub(super) vecs: usize,
    /// Depth, up to whole sixteens.
    pub(super) padded: usize,
    /// Of a row of all heads.
    pub(super) width: usize,
    /// The first head.
    first: usize,
    /// How many heads.
    pub(super) group: usize,
}

impl Sizes {
    pub(super) fn new(width: usize, all: usize, heads: &Range<usize>) -> Self {
        let depth = width / all;
        let vecs = depth.div_ceil(LANES);
        let padded = vecs * LANES;
        Self { depth, vecs, padded, width, first: heads.start, group: heads.len() }
    }

    /// Zero rows, so many for each head.
    pub(super) fn rows(&self, count: usize) -> Vec<Row> {
        vec![[0.0; LANES]; self.group * count * self.vecs]
    }

    /// Where a head's rows lie among as many for each head.
    #[inline(always)]
    pub(super) fn of(&self, place: usize, count: usize) -> Range<usize> {
        place * count * self.vecs..(place + 1) * count * self.vecs
    }

    /// Where a head's numbers lie in a row of all heads.
    #[inline(always)]
    pub(super) fn columns(&self, place: usize) -> Range<usize> {
        (self.first + place) * self.depth..(self.first + place + 1) * self.depth
    }

    /// A head's number among all.
    #[inline(always)]
    pub(super) fn head(&self, place: usize) -> usize {
        self.first + place
    }

    /// Reads a row of all heads of one of sixteen tokens, through the feature map if `MAP`.
    #[inline(always)]
    pub(super) fn gather<N: Number, const MAP: bool>(&self, row: &[N], r: usize, out: &mut [Row]) {
        for place in 0..self.group {
            let at = (place * LANES + r) * self.vecs;
            gather_row::<N, MAP>(&row[self.columns(place)], &mut out[at..at + self.vecs]);
        }
    }

    /// Reads queries, keys and values of `count` tokens, zero beyond; `rows` begins with the first's.
    #[inline(always)]
    pub(super) fn gather_qkv<N: Number, S: Lanes>(
        &self,
        s: S,
        rows: &[N],
        valid: &[f32],
        [q, k, v]: [&mut [Row]; 3],
    ) {
        for r in 0..valid.len() {
            let row = &rows[r * 3 * self.width..][..3 * self.width];
            self.gather::<N, true>(row, r, q);
            self.gather::<N, true>(&row[self.width..], r, k);
            self.gather::<N, false>(&row[2 * self.width..], r, v);
        }
        self.scale(s, k, valid);
        for rows in [q, k, v] {
            self.clear(rows, valid.len());
        }
    }

    /// Sets to zero the rows of tokens from `count` on.
    #[inline(always)]
    pub(super) fn clear(&self, rows: &mut [Row], count: usize) {
        if count < LANES {
            for place in 0..self.group {
                rows[self.of(place, LANES)][count * self.vecs..].fill([0.0; LANES]);
            }
        }
    }

    /// Writes a token's numbers of all these heads, end to end.
    #[inline(always)]
    pub(super) fn scatter<N: Number>(&self, rows: &[Row], r: usize, out: &mut [N]) {
        for place in 0..self.group {
            let at = (place * LANES + r) * self.vecs;
            let out = &mut out[place * self.depth..(place + 1) * self.depth];
            scatter_row(&rows[at..at + self.vecs], out);
        }
    }

    /// Multiplies each token's rows.
    #[inline(always)]
    fn scale<S: Lanes>(&self, s: S, rows: &mut [Row], factors: &[f32]) {
        for r in 0..factors.len() {
            if (factors[r] - 1.0).abs() > 0.0 {
                for place in 0..self.group {
                    let at = (place * LANES + r) * self.vecs;
                    multiply(s, &mut rows[at..at + self.vecs], factors[r]);
                }
            }
        }
    }
}

#[inline(always)]
fn gather_row<N: Number, const MAP: bool>(x: &[N], out: &mut [Row]) {
    let (whole, rest) = x.as_chunks::<LANES>();
    for (x, out) in whole.iter().zip(&mut *out) {
        for l in 0..LANES {
            out[l] = if MAP { feature_one(x[l].wide()) } else { x[l].wide() };
        }
    }
    if !rest.is_empty() {
        let out = &mut out[whole.len()];
        *out = [0.0; LANES];
        for l in 0..rest.len() {
            out[l] = if MAP { feature_one(rest[l].wide()) } else { rest[l].wide() };
        }
    }
}

/// Multiplies rows by a number.
#[inline(always)]
pub(super) fn multiply<S: Lanes>(s: S, rows: &mut [Row], factor: f32) {
    let factor = s.splat(factor);
    for i in 0..rows.len() {
        rows[i] = s.floats(s.fma(s.load(&rows[i]), factor, s.splat(0.0)));
    }
}

/// Writes a row of `out.len()` numbers.
#[inline(always)]
fn scatter_row<N: Number>(row: &[Row], out: &mut [N]) {
    let (whole, rest) = out.as_chunks_mut::<LANES>();
    if let Some(row) = row.get(whole.len()) {
        for l in 0..rest.len() {
            rest[l] = N::narrow(row[l]);
        }
    }
    for (out, x) in whole.iter_mut().zip(row) {
        for l in 0..LANES {
            out[l] = N::narrow(x[l]);
        }
    }
}
