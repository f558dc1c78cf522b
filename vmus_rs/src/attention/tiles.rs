//! Small matrices in rows of sixteens: products in tiles that fit the registers, and their transposes.

// What is to be compiled for a level must be inlined into it, and closures and iterators are not always:
// hence loops over indices.
#![expect(clippy::inline_always)]
#![expect(clippy::many_single_char_names)] // matrices, rows, vectors

use crate::engine::simd::{LANES, Lanes};

/// Sixteen numbers: a row of a matrix is one or more of them, zero beyond its width.
pub(super) type Row = [f32; LANES];

/// Ones where a query (the lane) is at or after a key (the row).
const LATER: [Row; LANES] = {
    let mut mask = [[0.0; LANES]; LANES];
    let mut j = 0;
    while j < LANES {
        let mut i = j;
        while i < LANES {
            mask[j][i] = 1.0;
            i += 1;
        }
        j += 1;
    }
    mask
};

/// Ones where a key (the lane) is at or before a query (the row).
const EARLIER: [Row; LANES] = {
    let mut mask = [[0.0; LANES]; LANES];
    let mut i = 0;
    while i < LANES {
        let mut j = 0;
        while j <= i {
            mask[i][j] = 1.0;
            j += 1;
        }
        i += 1;
    }
    mask
};

/// A number as it lies in memory.
pub trait Number: Copy + Default + Send + Sync {
    /// In single precision, exactly.
    fn wide(self) -> f32;
    /// Rounded to the nearest, ties to even.
    fn narrow(x: f32) -> Self;
}

impl Number for f32 {
    #[inline(always)]
    fn wide(self) -> f32 {
        self
    }

    #[inline(always)]
    fn narrow(x: f32) -> Self {
        x
    }
}

/// The bits of a bfloat16.
impl Number for u16 {
    #[inline(always)]
    fn wide(self) -> f32 {
        f32::from_bits(u32::from(self) << 16)
    }

    #[inline(always)]
    fn narrow(x: f32) -> Self {
        let bits = x.to_bits();
        let rounded = bits.wrapping_add(0x7fff + (bits >> 16 & 1));
        // Rounding would make infinity of some NaNs.
        let kept = if x.is_nan() { bits | 0x0040_0000 } else { rounded };
        (kept >> 16) as u16
    }
}

/// Adds A b to `out`, both in rows of `vecs` sixteens; as many rows of `b` as A has columns.
///
/// A lies column by column: its number (r, k) is `a[k * stride + r]`. The rows of `out` are a multiple of
/// eight.
#[inline(always)]
pub(super) fn add_product<S: Lanes>(
    s: S,
    out: &mut [Row],
    a: &[f32],
    stride: usize,
    b: &[Row],
    vecs: usize,
) {
    let rows = out.len() / vecs;
    let mut v = 0;
    while v < vecs {
        let pair = S::WIDE && vecs - v >= 2;
        let mut r = 0;
        while r < rows {
            let at = (r, v);
            if pair {
                tile::<S, 8, 2>(s, out, a, stride, b, vecs, at);
            } else if S::WIDE {
                tile::<S, 8, 1>(s, out, a, stride, b, vecs, at);
            } else {
                tile::<S, 4, 1>(s, out, a, stride, b, vecs, at);
                tile::<S, 4, 1>(s, out, a, stride, b, vecs, (r + 4, v));
            }
            r += 8;
        }
        v += if pair { 2 } else { 1 };
    }
}

#[inline(always)]
fn tile<S: Lanes, const R: usize, const V: usize>(
    s: S,
    out: &mut [Row],
    a: &[f32],
    stride: usize,
    b: &[Row],
    vecs: usize,
    (row, vec): (usize, usize),
) {
    let mut sums = [[s.splat(0.0); V]; R];
    for r in 0..R {
        let out = &out[(row + r) * vecs + vec..][..V];
        for v in 0..V {
            sums[r][v] = s.load(&out[v]);
        }
    }
    for k in 0..b.len() / vecs {
        let a = &a[k * stride + row..][..R];
        let b = &b[k * vecs + vec..][..V];
        for v in 0..V {
            let b = s.load(&b[v]);
            for r in 0..R {
                sums[r][v] = s.fma(s.splat(a[r]), b, sums[r][v]);
            }
        }
    }
    for r in 0..R {
        let out = &mut out[(row + r) * vecs + vec..][..V];
        for v in 0..V {
            out[v] = s.floats(sums[r][v]);
        }
    }
}

/// Transposes sixteen rows of `vecs` sixteens to rows of one sixteen.
#[inline(always)]
pub(super) fn transpose<S: Lanes>(s: S, from: &[Row], vecs: usize, out: &mut [Row]) {
    for v in 0..vecs {
        let mut block = [s.splat(0.0); LANES];
        for r in 0..LANES {
            block[r] = s.load(&from[r * vecs + v]);
        }
        let block = s.transpose(block);
        for r in 0..LANES {
            out[v * LANES + r] = s.floats(block[r]);
        }
    }
}

/// Transposes a square of `vecs` * 16 rows of `vecs` sixteens.
#[inline(always)]
pub(super) fn transpose_square<S: Lanes>(s: S, from: &[Row], vecs: usize, out: &mut [Row]) {
    for high in 0..vecs {
        for v in 0..vecs {
            let mut block = [s.splat(0.0); LANES];
            for r in 0..LANES {
                block[r] = s.load(&from[(high * LANES + r) * vecs + v]);
            }
            let block = s.transpose(block);
            for r in 0..LANES {
                out[(v * LANES + r) * vecs + high] = s.floats(block[r]);
            }
        }
    }
}

/// Sets to zero queries before their key: rows are of keys, lanes of queries.
#[inline(always)]
pub(super) fn keep_later<S: Lanes>(s: S, square: &mut [Row]) {
    mask(s, square, &LATER);
}

/// Sets to zero keys after their query: rows are of queries, lanes of keys.
#[inline(always)]
pub(super) fn keep_earlier<S: Lanes>(s: S, square: &mut [Row]) {
    mask(s, square, &EARLIER);
}

#[inline(always)]
fn mask<S: Lanes>(s: S, square: &mut [Row], mask: &[Row; LANES]) {
    for i in 0..LANES {
        square[i] = s.floats(s.fma(s.load(&square[i]), s.load(&mask[i]), s.splat(0.0)));
    }
}

/// Adds a multiple of a row.
#[inline(always)]
pub(super) fn add_multiple<S: Lanes>(s: S, out: &mut [Row], factor: f32, row: &[Row]) {
    let factor = s.splat(factor);
    for v in 0..row.len() {
        out[v] = s.floats(s.fma(factor, s.load(&row[v]), s.load(&out[v])));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bfloat16_is_rounded_as_torch_does() {
        for high in (0..=u16::MAX).step_by(7) {
            for low in [0, 1, 0x7fff, 0x8000, 0x8001, 0xffff] {
                let x = f32::from_bits(u32::from(high) << 16 | low);
                let wanted = half::bf16::from_f32(x);
                let found = half::bf16::from_bits(u16::narrow(x));
                assert!(found == wanted || (found.is_nan() && wanted.is_nan()), "{x}");
                if !found.is_nan() {
                    assert_eq!(u16::narrow(x).wide().to_bits(), wanted.to_f32().to_bits());
                }
            }
        }
    }
}
