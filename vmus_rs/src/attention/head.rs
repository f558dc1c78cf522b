//! One head over one sequence, sixteen tokens at a time.
//!
//! Within a block products are masked squares; what came before (backward: what comes after) is read from a
//! running sum of k v^T. A number of queries lies along the lanes where a sum over them is wanted: no sum
//! goes across lanes.

#![expect(clippy::inline_always)]
#![expect(clippy::needless_range_loop)]
#![expect(clippy::many_single_char_names)] // as in the paper

use super::tiles::{
    Number, Row, add_multiple, add_product, gather, keep_later, scatter, transpose,
    transpose_square,
};
use super::{Backward, Forward, Packed};
use crate::engine::simd::{LANES, Lanes, Work};

const EPS: f32 = 1e-6;

/// Sizes of a head.
#[derive(Clone, Copy)]
struct Sizes {
    depth: usize,
    /// Sixteens in a row.
    vecs: usize,
    /// Depth, up to whole sixteens.
    padded: usize,
    /// Of a row of all heads.
    width: usize,
}

impl Sizes {
    fn new(width: usize, heads: usize) -> Self {
        let depth = width / heads;
        let vecs = depth.div_ceil(LANES);
        Self { depth, vecs, padded: vecs * LANES, width }
    }

    /// Sixteen rows.
    fn block(self) -> Vec<Row> {
        self.rows(LANES)
    }

    fn rows(self, count: usize) -> Vec<Row> {
        vec![[0.0; LANES]; count * self.vecs]
    }
}

/// Reads keys: zero at padding.
#[inline(always)]
fn gather_keys<N: Number, S: Lanes>(
    s: S,
    from: &[N],
    valid: &[f32],
    sizes: Sizes,
    out: &mut [Row],
) {
    gather::<N, true>(from, 3 * sizes.width, valid.len(), sizes.depth, out);
    for r in 0..valid.len() {
        let valid = s.splat(valid[r]);
        for row in &mut out[r * sizes.vecs..][..sizes.vecs] {
            *row = s.floats(s.fma(s.load(row), valid, s.splat(0.0)));
        }
    }
}

impl<N: Number> Work for Forward<'_, N> {
    type Output = ();

    #[inline(always)]
    fn run<S: Lanes>(self, s: S) {
        let Packed { lengths, valid, heads } = *self.packed;
        let sizes = Sizes::new(self.width, heads);
        let Sizes { depth, vecs, padded, width } = sizes;
        let group = self.heads.len();
        let (mut q, mut k, mut v) = (sizes.block(), sizes.block(), sizes.block());
        let (mut mixed, mut across) = (sizes.block(), vec![[0.0; LANES]; padded]);
        let (mut state, mut keys) = (sizes.rows(padded), sizes.rows(1));
        for place in 0..group {
            let column = (self.heads.start + place) * depth;
            let mut end = 0;
            for &length in lengths {
                let start = end;
                end += length;
                state.fill([0.0; LANES]);
                keys.fill([0.0; LANES]);
                let mut t = start;
                while t < end {
                    let count = LANES.min(end - t);
                    let rows = &self.qkv[t * 3 * width + column..];
                    gather::<N, true>(rows, 3 * width, count, depth, &mut q);
                    gather_keys(s, &rows[width..], &valid[t..t + count], sizes, &mut k);
                    gather::<N, false>(&rows[2 * width..], 3 * width, count, depth, &mut v);
                    transpose(s, &q, vecs, &mut across);
                    let mut scores = [[0.0; LANES]; LANES];
                    let keyed = k.as_flattened();
                    add_product::<S, false>(s, &mut scores, keyed, padded, &across, 1);
                    keep_later(s, &mut scores);
                    let mut weight = s.splat(EPS);
                    for j in 0..LANES {
                        weight = s.fma(s.load(&scores[j]), s.splat(1.0), weight);
                    }
                    let sums = keys.as_flattened();
                    for d in 0..padded {
                        weight = s.fma(s.splat(sums[d]), s.load(&across[d]), weight);
                    }
                    let weight = s.floats(weight);
                    mixed.fill([0.0; LANES]);
                    add_product::<S, true>(s, &mut mixed, scores.as_flattened(), LANES, &v, vecs);
                    add_product::<S, false>(s, &mut mixed, q.as_flattened(), padded, &state, vecs);
                    for r in 0..count {
                        let inverse = 1.0 / weight[r];
                        self.weight[(t + r) * group + place] = inverse;
                        let mixed = &mut mixed[r * vecs..][..vecs];
                        for row in &mut *mixed {
                            *row = s.floats(s.fma(s.load(row), s.splat(inverse), s.splat(0.0)));
                        }
                        let out = &mut self.out[(t + r) * group * depth + place * depth..];
                        scatter(mixed, &mut out[..depth]);
                    }
                    add_product::<S, true>(s, &mut state, keyed, padded, &v, vecs);
                    for r in 0..count {
                        add_multiple(s, &mut keys, 1.0, &k[r * vecs..][..vecs]);
                    }
                    t += LANES;
                }
            }
        }
    }
}

/// What the way back needs of a whole sequence.
struct Held {
    q: Vec<Row>,
    k: Vec<Row>,
    v: Vec<Row>,
    /// Gradient of the weighted sums.
    g: Vec<Row>,
    /// Gradient of the weights, sixteen queries a row.
    gw: Vec<Row>,
    /// Gradient of the scores, one key a row, sixteen queries in it.
    inner: Vec<Row>,
    dq: Vec<Row>,
}

impl<N: Number> Work for Backward<'_, N> {
    type Output = ();

    #[inline(always)]
    fn run<S: Lanes>(mut self, s: S) {
        let sizes = Sizes::new(self.width, self.packed.heads);
        let blocks = self.packed.lengths.iter().max().map_or(0, |n| n.div_ceil(LANES));
        let most = || sizes.rows(blocks * LANES);
        let mut held = Held {
            q: most(),
            k: most(),
            v: most(),
            g: most(),
            gw: vec![[0.0; LANES]; blocks],
            inner: vec![[0.0; LANES]; blocks * LANES],
            dq: most(),
        };
        let lengths = self.packed.lengths;
        for place in 0..self.heads.len() {
            let mut end = 0;
            for &length in lengths {
                let start = end;
                end += length;
                self.queries(s, sizes, &mut held, place, start..end);
                self.keys(s, sizes, &mut held, place, start..end);
            }
        }
    }
}

impl<N: Number> Backward<'_, N> {
    /// First to last: gradients of the queries, with the running sum of v k^T.
    #[inline(always)]
    fn queries<S: Lanes>(
        &mut self,
        s: S,
        sizes: Sizes,
        held: &mut Held,
        place: usize,
        span: std::ops::Range<usize>,
    ) {
        let Sizes { depth, vecs, padded, width } = sizes;
        let heads = self.packed.heads;
        let column = (self.heads.start + place) * depth;
        let (mut state, mut keys) = (sizes.rows(padded), sizes.rows(1));
        let mut mixed = sizes.block();
        let mut across = vec![[0.0; LANES]; padded];
        for (block, t) in span.clone().step_by(LANES).enumerate() {
            let count = LANES.min(span.end - t);
            let here = block * LANES * vecs..(block + 1) * LANES * vecs;
            let q = &mut held.q[here.clone()];
            let k = &mut held.k[here.clone()];
            let v = &mut held.v[here.clone()];
            let g = &mut held.g[here.clone()];
            let dq = &mut held.dq[here];
            let rows = &self.qkv[t * 3 * width + column..];
            gather::<N, true>(rows, 3 * width, count, depth, q);
            gather_keys(s, &rows[width..], &self.packed.valid[t..t + count], sizes, k);
            gather::<N, false>(&rows[2 * width..], 3 * width, count, depth, v);
            gather::<N, false>(&self.grad[t * width + column..], width, count, depth, g);
            gather::<f32, false>(&self.out[t * width + column..], width, count, depth, &mut mixed);
            // d(n / w) = dn / w - (n / w) dw / w
            let mut lost = [[0.0; LANES]; LANES];
            for r in 0..count {
                let inverse = s.splat(self.weight[(t + r) * heads + column / depth]);
                let mut sum = s.splat(0.0);
                for i in r * vecs..(r + 1) * vecs {
                    let scaled = s.fma(s.load(&g[i]), inverse, s.splat(0.0));
                    sum = s.fma(scaled, s.load(&mixed[i]), sum);
                    g[i] = s.floats(scaled);
                }
                lost[r] = s.floats(sum);
            }
            let mut sums = [[0.0; LANES]; LANES];
            transpose(s, &lost, 1, &mut sums);
            let mut gw = s.splat(0.0);
            for l in 0..LANES {
                gw = s.fma(s.load(&sums[l]), s.splat(-1.0), gw);
            }
            let gw = s.floats(gw);
            held.gw[block] = gw;
            transpose(s, g, vecs, &mut across);
            let inner = &mut held.inner[block * LANES..(block + 1) * LANES];
            inner.fill(gw);
            add_product::<S, false>(s, inner, v.as_flattened(), padded, &across, 1);
            keep_later(s, inner);
            for r in 0..LANES {
                let dq = &mut dq[r * vecs..][..vecs];
                dq.fill([0.0; LANES]);
                add_multiple(s, dq, gw[r], &keys);
            }
            add_product::<S, true>(s, dq, inner.as_flattened(), LANES, k, vecs);
            add_product::<S, false>(s, dq, g.as_flattened(), padded, &state, vecs);
            add_product::<S, true>(s, &mut state, v.as_flattened(), padded, k, vecs);
            for r in 0..count {
                add_multiple(s, &mut keys, 1.0, &k[r * vecs..][..vecs]);
                slope(&q[r * vecs..][..vecs], &mut dq[r * vecs..][..vecs]);
            }
        }
    }

    /// Last to first: gradients of keys and values, with the running sum of q g^T. Writes all three.
    #[inline(always)]
    fn keys<S: Lanes>(
        &mut self,
        s: S,
        sizes: Sizes,
        held: &mut Held,
        place: usize,
        span: std::ops::Range<usize>,
    ) {
        let Sizes { depth, vecs, padded, .. } = sizes;
        let group = self.heads.len() * depth;
        let (mut state, mut turned) = (sizes.rows(padded), sizes.rows(padded));
        let mut weights = sizes.rows(1);
        let (mut dk, mut dv) = (sizes.block(), sizes.block());
        let mut across = vec![[0.0; LANES]; padded];
        for block in (0..span.len().div_ceil(LANES)).rev() {
            let t = span.start + block * LANES;
            let count = LANES.min(span.end - t);
            let here = block * LANES * vecs..(block + 1) * LANES * vecs;
            let (q, k, v) = (&held.q[here.clone()], &held.k[here.clone()], &held.v[here.clone()]);
            let (g, dq) = (&held.g[here.clone()], &held.dq[here]);
            let inner = held.inner[block * LANES..(block + 1) * LANES].as_flattened();
            transpose(s, q, vecs, &mut across);
            let mut scores = [[0.0; LANES]; LANES];
            add_product::<S, false>(s, &mut scores, k.as_flattened(), padded, &across, 1);
            keep_later(s, &mut scores);
            for r in 0..LANES {
                dk[r * vecs..][..vecs].copy_from_slice(&weights);
            }
            add_product::<S, false>(s, &mut dk, inner, LANES, q, vecs);
            add_product::<S, false>(s, &mut dk, v.as_flattened(), padded, &state, vecs);
            dv.fill([0.0; LANES]);
            add_product::<S, false>(s, &mut dv, scores.as_flattened(), LANES, g, vecs);
            add_product::<S, false>(s, &mut dv, k.as_flattened(), padded, &turned, vecs);
            for r in 0..count {
                let valid = self.packed.valid[t + r];
                let row = r * vecs..(r + 1) * vecs;
                slope(&k[row.clone()], &mut dk[row.clone()]);
                for x in dk[row.clone()].as_flattened_mut() {
                    *x *= valid;
                }
                let out = &mut self.gradient[(t + r) * 3 * group + place * depth..];
                scatter(&dq[row.clone()], &mut out[..depth]);
                scatter(&dk[row.clone()], &mut out[group..][..depth]);
                scatter(&dv[row], &mut out[2 * group..][..depth]);
            }
            add_product::<S, true>(s, &mut state, g.as_flattened(), padded, q, vecs);
            for r in 0..LANES {
                add_multiple(s, &mut weights, held.gw[block][r], &q[r * vecs..][..vecs]);
            }
            transpose_square(s, &state, vecs, &mut turned);
        }
    }
}

/// Multiplies by the derivative of the feature map, known by its value.
#[inline(always)]
fn slope(mapped: &[Row], gradient: &mut [Row]) {
    let mapped = mapped.as_flattened();
    let gradient = gradient.as_flattened_mut();
    for i in 0..mapped.len() {
        gradient[i] *= mapped[i].min(1.0);
    }
}
