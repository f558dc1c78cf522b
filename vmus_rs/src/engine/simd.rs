//! Sixteen numbers at a time, with whatever the machine has, chosen at run time.
//!
//! Every level computes the same sixteen lanes in the same order, multiplications and additions fused, so
//! that all of them give the same bits. The plain level is what the compiler makes of the target's
//! baseline: slow where that has no fused multiply-add (x86-64), NEON on aarch64.

// What is to be compiled for a level must be inlined into it, and closures and iterators are not always:
// hence loops over indices.
#![expect(clippy::inline_always)]

use crate::{Error, Result};

/// Numbers in a vector.
pub(crate) const LANES: usize = 16;

/// What the sixteen lanes are made of.
#[derive(Clone, Copy, Debug)]
pub enum Level {
    /// The target's baseline.
    Plain,
    /// AVX2 and FMA: two vectors of eight.
    #[cfg(target_arch = "x86_64")]
    Avx2(pulp::x86::V3),
    /// AVX-512 F, BW, CD, DQ, VL: one vector of sixteen.
    #[cfg(target_arch = "x86_64")]
    Avx512(pulp::x86::V4),
    /// The same and VNNI, for which the compiler makes one instruction of `dot`'s two.
    #[cfg(target_arch = "x86_64")]
    Vnni(pulp::x86::V4, x86::Vnni),
}

impl Level {
    /// All that this machine has, the fastest first.
    #[must_use]
    pub fn available() -> Vec<Self> {
        let mut levels = Vec::new();
        #[cfg(target_arch = "x86_64")]
        {
            let wide = pulp::x86::V4::try_new();
            levels.extend(wide.zip(x86::Vnni::try_new()).map(|(v4, vnni)| Self::Vnni(v4, vnni)));
            levels.extend(wide.map(Self::Avx512));
            levels.extend(pulp::x86::V3::try_new().map(Self::Avx2));
        }
        levels.push(Self::Plain);
        levels
    }

    /// The fastest that this machine has.
    #[must_use]
    pub fn best() -> Self {
        Self::available().first().copied().unwrap_or(Self::Plain)
    }

    /// Its name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Plain if cfg!(target_arch = "aarch64") => "neon",
            Self::Plain => "plain",
            #[cfg(target_arch = "x86_64")]
            Self::Avx2(_) => "avx2",
            #[cfg(target_arch = "x86_64")]
            Self::Avx512(_) => "avx512",
            #[cfg(target_arch = "x86_64")]
            Self::Vnni(..) => "avx512vnni",
        }
    }

    /// The level of that name.
    ///
    /// # Errors
    ///
    /// [`Error::Value`] if this machine has none of that name.
    pub fn find(name: &str) -> Result<Self> {
        Self::available().into_iter().find(|level| level.name() == name).ok_or_else(|| {
            Error::Value {
                name: "level",
                index: None,
                must: "one that this machine has",
                actual: name.to_owned(),
            }
        })
    }

    /// Does some work with this level's lanes.
    #[inline]
    pub(crate) fn run<W: Work>(self, work: W) -> W::Output {
        match self {
            Self::Plain => work.run(Plain),
            #[cfg(target_arch = "x86_64")]
            Self::Avx2(token) => token.vectorize(Inside(token, work)),
            #[cfg(target_arch = "x86_64")]
            Self::Avx512(token) => token.vectorize(Inside(token, work)),
            #[cfg(target_arch = "x86_64")]
            Self::Vnni(token, vnni) => vnni.vectorize(Inside(token, work)),
        }
    }
}

/// Work to be compiled once for each level; `run` must be inlined, and all that it calls.
pub(crate) trait Work {
    /// What comes of it.
    type Output;
    /// Does it.
    fn run<S: Lanes>(self, lanes: S) -> Self::Output;
}

/// The lanes of a level.
pub(crate) trait Lanes: Copy {
    /// Sixteen floats.
    type Floats: Copy;
    /// Sixteen 32-bit integers.
    type Integers: Copy;
    /// Sixteen pairs of 16-bit integers.
    type Pairs: Copy;
    /// Whether there are registers for sixteen accumulators of sixteen lanes.
    const WIDE: bool;

    /// The same number in every lane.
    fn splat(self, x: f32) -> Self::Floats;
    /// Reads floats.
    fn load(self, from: &[f32; LANES]) -> Self::Floats;
    /// Reads finite half-precision floats.
    fn load_half(self, from: &[u16; LANES]) -> Self::Floats;
    /// The numbers.
    fn floats(self, x: Self::Floats) -> [f32; LANES];
    /// a * b + c, rounded once.
    fn fma(self, a: Self::Floats, b: Self::Floats, c: Self::Floats) -> Self::Floats;
    /// Rows to columns.
    #[inline(always)]
    fn transpose(self, rows: [Self::Floats; LANES]) -> [Self::Floats; LANES] {
        let mut from = [[0.0; LANES]; LANES];
        for r in 0..LANES {
            from[r] = self.floats(rows[r]);
        }
        let mut out = rows;
        for c in 0..LANES {
            let mut column = [0.0; LANES];
            for r in 0..LANES {
                column[r] = from[r][c];
            }
            out[c] = self.load(&column);
        }
        out
    }
    /// Zeros.
    fn zeros(self) -> Self::Integers;
    /// The same pair in every lane.
    fn splat_pair(self, pair: [i16; 2]) -> Self::Pairs;
    /// Reads pairs of bytes.
    fn load_pairs(self, from: &[i8; 2 * LANES]) -> Self::Pairs;
    /// Adds the dot product of each lane's pairs.
    fn dot(self, sum: Self::Integers, a: Self::Pairs, b: Self::Pairs) -> Self::Integers;
    /// The numbers.
    fn integers(self, x: Self::Integers) -> [i32; LANES];
}

/// Arrays, left to the compiler.
#[derive(Clone, Copy)]
pub(crate) struct Plain;

impl Lanes for Plain {
    type Floats = [f32; LANES];
    type Integers = [i32; LANES];
    type Pairs = [i16; 2 * LANES];
    const WIDE: bool = cfg!(target_arch = "aarch64");

    #[inline(always)]
    fn splat(self, x: f32) -> [f32; LANES] {
        [x; LANES]
    }

    #[inline(always)]
    fn load(self, from: &[f32; LANES]) -> [f32; LANES] {
        *from
    }

    #[inline(always)]
    fn load_half(self, from: &[u16; LANES]) -> [f32; LANES] {
        from.map(widen_half)
    }

    #[inline(always)]
    fn floats(self, x: [f32; LANES]) -> [f32; LANES] {
        x
    }

    #[inline(always)]
    fn fma(self, a: [f32; LANES], b: [f32; LANES], c: [f32; LANES]) -> [f32; LANES] {
        let mut out = c;
        for l in 0..LANES {
            out[l] = a[l].mul_add(b[l], c[l]);
        }
        out
    }

    #[inline(always)]
    fn zeros(self) -> [i32; LANES] {
        [0; LANES]
    }

    #[inline(always)]
    fn splat_pair(self, pair: [i16; 2]) -> [i16; 2 * LANES] {
        let mut out = [0; 2 * LANES];
        for l in 0..LANES {
            out[2 * l] = pair[0];
            out[2 * l + 1] = pair[1];
        }
        out
    }

    #[inline(always)]
    fn load_pairs(self, from: &[i8; 2 * LANES]) -> [i16; 2 * LANES] {
        from.map(i16::from)
    }

    #[inline(always)]
    fn dot(self, sum: [i32; LANES], a: [i16; 2 * LANES], b: [i16; 2 * LANES]) -> [i32; LANES] {
        let mut out = sum;
        for l in 0..LANES {
            let product = |i: usize| i32::from(a[i]) * i32::from(b[i]);
            out[l] = sum[l].wrapping_add(product(2 * l)).wrapping_add(product(2 * l + 1));
        }
        out
    }

    #[inline(always)]
    fn integers(self, x: [i32; LANES]) -> [i32; LANES] {
        x
    }
}

/// A finite half-precision float, exactly: the exponent is moved by a multiplication, which also gets the
/// subnormal ones right.
#[inline(always)]
pub(crate) fn widen_half(half: u16) -> f32 {
    let magnitude = f32::from_bits((u32::from(half) & 0x7fff) << 13);
    let moved = magnitude * f32::from_bits((127 + 112) << 23);
    f32::from_bits(moved.to_bits() | (u32::from(half) & 0x8000) << 16)
}

#[cfg(target_arch = "x86_64")]
pub(crate) use x86::Inside;

#[cfg(target_arch = "x86_64")]
mod x86;

#[cfg(test)]
#[expect(clippy::float_cmp)]
mod tests {
    use super::*;

    #[test]
    fn halves_are_exact() {
        for bits in 0..=u16::MAX {
            let half = half::f16::from_bits(bits);
            if half.is_finite() {
                assert_eq!(widen_half(bits), half.to_f32());
            }
        }
    }
}
