//! The small operations between the matrices, the same bits at every level.

// What is to be compiled for a level must be inlined into it, and closures and iterators are not always:
// hence loops over indices.
#![expect(clippy::inline_always)]
#![expect(clippy::needless_range_loop)]

use super::simd::{LANES, Lanes, Level, Work};

const EPS: f32 = 1e-6;
const NORM_EPS: f32 = 1e-5;

/// e^x within 2 ulp, for x clamped to what single precision holds.
#[inline(always)]
pub(crate) fn exp(x: f32) -> f32 {
    // Added and taken away again, this rounds to a whole number, and leaves it in the low bits.
    const ROUND: f32 = 12_582_912.0;
    let x = x.clamp(-87.0, 88.0);
    let shifted = x.mul_add(std::f32::consts::LOG2_E, ROUND);
    let whole = shifted - ROUND;
    let r = whole.mul_add(-0.693_359_4, x);
    let r = whole.mul_add(2.121_944_4e-4, r);
    let mut p = 1.987_569_1e-4;
    for c in [1.398_199_9e-3, 8.333_452e-3, 4.166_579_6e-2, 1.666_666_5e-1, 0.5] {
        p = r.mul_add(p, c);
    }
    let p = (r * r).mul_add(p, r) + 1.0;
    p * f32::from_bits((shifted.to_bits() << 23).wrapping_add(0x3f80_0000))
}

/// GELU in its tanh form: x times the logistic function of twice tanh's argument.
#[inline(always)]
fn gelu_one(x: f32) -> f32 {
    let inner = (x * x * x).mul_add(0.044_715, x) * (2.0 * 0.797_884_6);
    x / (1.0 + exp(-inner))
}

/// elu(x) + 1, in torch's two steps.
#[inline(always)]
pub(crate) fn feature_one(x: f32) -> f32 {
    let below = (exp(if x > 0.0 { 0.0 } else { x }) - 1.0) + 1.0;
    if x > 0.0 { x + 1.0 } else { below }
}

struct Map<'a, const GELU: bool>(&'a mut [f32]);

impl<const GELU: bool> Work for Map<'_, GELU> {
    type Output = ();

    #[inline(always)]
    fn run<S: Lanes>(self, _: S) {
        for x in self.0 {
            *x = if GELU { gelu_one(*x) } else { feature_one(*x) };
        }
    }
}

/// GELU (tanh form) of each number.
pub(crate) fn gelu(level: Level, x: &mut [f32]) {
    level.run(Map::<true>(x));
}

/// Linear attention's feature map, elu + 1, of each number.
pub(crate) fn feature_map(level: Level, x: &mut [f32]) {
    level.run(Map::<false>(x));
}

/// Scale and offset after normalisation.
pub(crate) struct Norm {
    pub(crate) weight: Vec<f32>,
    pub(crate) bias: Vec<f32>,
}

impl Norm {
    /// Layer normalisation of each column of `x`, written to `out`.
    pub(crate) fn apply(&self, level: Level, x: &[f32], out: &mut Vec<f32>) {
        let width = self.weight.len();
        out.resize(x.len(), 0.0);
        for (x, out) in x.chunks_exact(width).zip(out.chunks_exact_mut(width)) {
            level.run(Normalise { norm: self, x, out });
        }
    }
}

struct Normalise<'a> {
    norm: &'a Norm,
    x: &'a [f32],
    out: &'a mut [f32],
}

impl Work for Normalise<'_> {
    type Output = ();

    #[inline(always)]
    #[expect(clippy::cast_precision_loss)] // a width is at most 8192
    fn run<S: Lanes>(self, _: S) {
        let count = self.x.len() as f32;
        let mean = sum(self.x, |x| x) / count;
        let variance = sum(self.x, |x| (x - mean) * (x - mean)) / count;
        let scale = 1.0 / (variance + NORM_EPS).sqrt();
        let (weight, bias) = (&self.norm.weight[..], &self.norm.bias[..]);
        let (x, out) = (self.x, self.out);
        for i in 0..x.len() {
            out[i] = ((x[i] - mean) * scale).mul_add(weight[i], bias[i]);
        }
    }
}

/// Sum in sixteen lanes, then of the lanes.
#[inline(always)]
fn sum(x: &[f32], of: impl Fn(f32) -> f32) -> f32 {
    let mut lanes = [0.0f32; LANES];
    let mut chunks = x.chunks_exact(LANES);
    for chunk in &mut chunks {
        for l in 0..LANES {
            lanes[l] += of(chunk[l]);
        }
    }
    for (lane, &x) in lanes.iter_mut().zip(chunks.remainder()) {
        *lane += of(x);
    }
    lanes.iter().sum()
}

/// What linear attention has read: for each head the sum of k v^T, (D, D), and the sum of k, (D,).
#[derive(Clone)]
pub(crate) struct Memory {
    heads: usize,
    pub(crate) products: Vec<f32>,
    pub(crate) keys: Vec<f32>,
}

impl Memory {
    /// Nothing read yet.
    pub(crate) fn new(width: usize, heads: usize) -> Self {
        let depth = width / heads;
        Self { heads, products: vec![0.0; width * depth], keys: vec![0.0; width] }
    }

    /// Adds one token: its key after the feature map, and its value.
    pub(crate) fn add(&mut self, level: Level, k: &[f32], v: &[f32]) {
        level.run(Add { memory: self, k, v });
    }

    /// What a query (after the feature map) reads.
    pub(crate) fn read(&self, level: Level, q: &[f32], out: &mut [f32]) {
        level.run(Read { memory: self, q, out });
    }

    /// This, and then two others, added in that order.
    pub(crate) fn sum(level: Level, parts: [&Self; 3], out: &mut Self) {
        let add = |a: &[f32], b: &[f32], c: &[f32], out: &mut [f32]| {
            level.run(Plus { parts: [a, b, c], out });
        };
        let [a, b, c] = parts;
        add(&a.products, &b.products, &c.products, &mut out.products);
        add(&a.keys, &b.keys, &c.keys, &mut out.keys);
    }

    /// Forgets everything.
    pub(crate) fn clear(&mut self) {
        self.products.fill(0.0);
        self.keys.fill(0.0);
    }
}

/// Sixteen numbers of a slice that has them.
#[inline(always)]
fn sixteen(x: &[f32], first: usize) -> [f32; LANES] {
    x[first..].first_chunk().copied().unwrap_or([0.0; LANES])
}

struct Add<'a> {
    memory: &'a mut Memory,
    k: &'a [f32],
    v: &'a [f32],
}

impl Work for Add<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Lanes>(self, s: S) {
        let depth = self.k.len() / self.memory.heads;
        for i in 0..self.k.len() {
            let k = self.k[i];
            self.memory.keys[i] += k;
            let head = i / depth * depth;
            let v = &self.v[head..head + depth];
            let row = &mut self.memory.products[i * depth..(i + 1) * depth];
            let mut e = 0;
            while e + LANES <= depth {
                let sum = s.fma(s.splat(k), s.load(&sixteen(v, e)), s.load(&sixteen(row, e)));
                if let Some(place) = row[e..].first_chunk_mut() {
                    *place = s.floats(sum);
                }
                e += LANES;
            }
            for e in e..depth {
                row[e] = k.mul_add(v[e], row[e]);
            }
        }
    }
}

struct Read<'a> {
    memory: &'a Memory,
    q: &'a [f32],
    out: &'a mut [f32],
}

impl Work for Read<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Lanes>(self, s: S) {
        let depth = self.q.len() / self.memory.heads;
        for first in (0..self.q.len()).step_by(depth) {
            let q = &self.q[first..first + depth];
            let keys = &self.memory.keys[first..first + depth];
            let products = &self.memory.products[first * depth..(first + depth) * depth];
            let mut weight = 0.0f32;
            for d in 0..depth {
                weight = q[d].mul_add(keys[d], weight);
            }
            let weight = weight + EPS;
            let out = &mut self.out[first..first + depth];
            let mut e = 0;
            while e + LANES <= depth {
                let mut sum = s.splat(0.0);
                for d in 0..depth {
                    sum = s.fma(s.splat(q[d]), s.load(&sixteen(products, d * depth + e)), sum);
                }
                let sum = s.floats(sum);
                for l in 0..LANES {
                    out[e + l] = sum[l] / weight;
                }
                e += LANES;
            }
            for e in e..depth {
                let mut sum = 0.0f32;
                for d in 0..depth {
                    sum = q[d].mul_add(products[d * depth + e], sum);
                }
                out[e] = sum / weight;
            }
        }
    }
}

struct Plus<'a> {
    parts: [&'a [f32]; 3],
    out: &'a mut [f32],
}

impl Work for Plus<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Lanes>(self, _: S) {
        let [a, b, c] = self.parts;
        for (((out, a), b), c) in self.out.iter_mut().zip(a).zip(b).zip(c) {
            *out = a + b + c;
        }
    }
}

/// Adds `b` to `a`.
pub(crate) fn add(a: &mut [f32], b: &[f32]) {
    for (x, y) in a.iter_mut().zip(b) {
        *x += y;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn functions_are_close_to_double_precision() {
        for i in -9000..9000 {
            #[expect(clippy::cast_precision_loss)]
            let x = i as f32 * 0.01;
            let wide = f64::from(x);
            let e = wide.clamp(-87.0, 88.0).exp();
            assert!((f64::from(exp(x)) / e - 1.0).abs() < 3e-7, "exp {x}");
            let inner = 0.797_884_560_8 * (wide + 0.044_715 * wide.powi(3));
            let gelu = 0.5 * wide * (1.0 + inner.tanh());
            assert!((f64::from(gelu_one(x)) - gelu).abs() < 1e-6 * wide.abs().max(1.0), "gelu {x}");
            let feature = if x > 0.0 { wide + 1.0 } else { wide.exp() };
            assert!((f64::from(feature_one(x)) - feature).abs() < 2e-7 * feature.max(1.0));
        }
    }

    #[test]
    fn what_is_not_a_number_stays_so() {
        assert!(exp(f32::NAN).is_nan());
        assert!(gelu_one(f32::NAN).is_nan());
        assert!(feature_one(f32::NAN).is_nan());
    }
}
