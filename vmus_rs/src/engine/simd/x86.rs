//! x86-64: AVX2 and AVX-512.

// What is to be compiled for a level must be inlined into it.
#![expect(clippy::inline_always)]

use std::arch::x86_64::{__m256, __m256i, __m512, __m512i};

use pulp::cast;
use pulp::x86::{V3, V4};

use super::{LANES, Lanes, Work, widen_half};

/// Of the 128-bit parts of each of two vectors the first and third.
const EVEN: i32 = 0x88;
/// The second and fourth.
const ODD: i32 = 0xdd;

pulp::simd_type! {
    /// What compiles for VNNI; the lanes are AVX-512's.
    pub struct Vnni {
        pub fma: "fma",
        pub f16c: "f16c",
        pub avx512f: "avx512f",
        pub avx512bw: "avx512bw",
        pub avx512cd: "avx512cd",
        pub avx512dq: "avx512dq",
        pub avx512vl: "avx512vl",
        pub avx512vnni: "avx512vnni",
    }
}

/// Work with a level's token, as pulp takes it: what it calls is compiled with the level's features.
pub(crate) struct Inside<S, W>(pub(super) S, pub(super) W);

impl<S: Lanes, W: Work> pulp::NullaryFnOnce for Inside<S, W> {
    type Output = W::Output;

    #[inline(always)]
    fn call(self) -> W::Output {
        self.1.run(self.0)
    }
}

impl Lanes for V3 {
    type Floats = [__m256; 2];
    type Integers = [__m256i; 2];
    type Pairs = [__m256i; 2];
    const WIDE: bool = false;

    #[inline(always)]
    fn splat(self, x: f32) -> [__m256; 2] {
        [self.avx._mm256_set1_ps(x); 2]
    }

    #[inline(always)]
    fn load(self, from: &[f32; LANES]) -> [__m256; 2] {
        cast(*from)
    }

    #[inline(always)]
    fn load_half(self, from: &[u16; LANES]) -> [__m256; 2] {
        let mut wide = [0.0f32; LANES];
        for l in 0..LANES {
            wide[l] = widen_half(from[l]);
        }
        cast(wide)
    }

    #[inline(always)]
    fn floats(self, x: [__m256; 2]) -> [f32; LANES] {
        cast(x)
    }

    #[inline(always)]
    fn fma(self, a: [__m256; 2], b: [__m256; 2], c: [__m256; 2]) -> [__m256; 2] {
        let low = self.fma._mm256_fmadd_ps(a[0], b[0], c[0]);
        [low, self.fma._mm256_fmadd_ps(a[1], b[1], c[1])]
    }

    #[inline(always)]
    fn zeros(self) -> [__m256i; 2] {
        [self.avx._mm256_setzero_si256(); 2]
    }

    #[inline(always)]
    fn splat_pair(self, pair: [i16; 2]) -> [__m256i; 2] {
        [self.avx._mm256_set1_epi32(cast(pair)); 2]
    }

    #[inline(always)]
    fn load_pairs(self, from: &[i8; 2 * LANES]) -> [__m256i; 2] {
        let [low, high]: [[i8; LANES]; 2] = cast(*from);
        let low = self.avx2._mm256_cvtepi8_epi16(cast(low));
        [low, self.avx2._mm256_cvtepi8_epi16(cast(high))]
    }

    #[inline(always)]
    fn dot(self, sum: [__m256i; 2], a: [__m256i; 2], b: [__m256i; 2]) -> [__m256i; 2] {
        let (low, high) =
            (self.avx2._mm256_madd_epi16(a[0], b[0]), self.avx2._mm256_madd_epi16(a[1], b[1]));
        [self.avx2._mm256_add_epi32(sum[0], low), self.avx2._mm256_add_epi32(sum[1], high)]
    }

    #[inline(always)]
    fn integers(self, x: [__m256i; 2]) -> [i32; LANES] {
        cast(x)
    }
}

impl Lanes for V4 {
    type Floats = __m512;
    type Integers = __m512i;
    type Pairs = __m512i;
    const WIDE: bool = true;

    #[inline(always)]
    fn splat(self, x: f32) -> __m512 {
        self.avx512f._mm512_set1_ps(x)
    }

    #[inline(always)]
    fn load(self, from: &[f32; LANES]) -> __m512 {
        cast(*from)
    }

    #[inline(always)]
    fn load_half(self, from: &[u16; LANES]) -> __m512 {
        self.avx512f._mm512_cvtph_ps(cast(*from))
    }

    #[inline(always)]
    fn floats(self, x: __m512) -> [f32; LANES] {
        cast(x)
    }

    #[inline(always)]
    fn fma(self, a: __m512, b: __m512, c: __m512) -> __m512 {
        self.avx512f._mm512_fmadd_ps(a, b, c)
    }

    #[inline(always)]
    fn transpose(self, rows: [__m512; LANES]) -> [__m512; LANES] {
        let f = self.avx512f;
        let mut pairs = rows;
        for r in 0..LANES / 2 {
            let (a, b) = (rows[2 * r], rows[2 * r + 1]);
            pairs[2 * r] = f._mm512_unpacklo_ps(a, b);
            pairs[2 * r + 1] = f._mm512_unpackhi_ps(a, b);
        }
        let mut fours = rows;
        for r in (0..LANES).step_by(4) {
            for half in 0..2 {
                let (a, b) = (cast(pairs[r + half]), cast(pairs[r + half + 2]));
                fours[r + 2 * half] = cast(f._mm512_unpacklo_pd(a, b));
                fours[r + 2 * half + 1] = cast(f._mm512_unpackhi_pd(a, b));
            }
        }
        let mut out = rows;
        for c in 0..4 {
            let (low, high) = ((fours[c], fours[4 + c]), (fours[8 + c], fours[12 + c]));
            let even_low = f._mm512_shuffle_f32x4::<EVEN>(low.0, low.1);
            let even_high = f._mm512_shuffle_f32x4::<EVEN>(high.0, high.1);
            let odd_low = f._mm512_shuffle_f32x4::<ODD>(low.0, low.1);
            let odd_high = f._mm512_shuffle_f32x4::<ODD>(high.0, high.1);
            out[c] = f._mm512_shuffle_f32x4::<EVEN>(even_low, even_high);
            out[4 + c] = f._mm512_shuffle_f32x4::<EVEN>(odd_low, odd_high);
            out[8 + c] = f._mm512_shuffle_f32x4::<ODD>(even_low, even_high);
            out[12 + c] = f._mm512_shuffle_f32x4::<ODD>(odd_low, odd_high);
        }
        out
    }

    #[inline(always)]
    fn zeros(self) -> __m512i {
        self.avx512f._mm512_setzero_si512()
    }

    #[inline(always)]
    fn splat_pair(self, pair: [i16; 2]) -> __m512i {
        self.avx512f._mm512_set1_epi32(cast(pair))
    }

    #[inline(always)]
    fn load_pairs(self, from: &[i8; 2 * LANES]) -> __m512i {
        self.avx512bw._mm512_cvtepi8_epi16(cast(*from))
    }

    #[inline(always)]
    fn dot(self, sum: __m512i, a: __m512i, b: __m512i) -> __m512i {
        self.avx512f._mm512_add_epi32(sum, self.avx512bw._mm512_madd_epi16(a, b))
    }

    #[inline(always)]
    fn integers(self, x: __m512i) -> [i32; LANES] {
        cast(x)
    }
}
