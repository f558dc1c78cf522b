//! Gradients of causal attention, sixteen tokens at a time: see `forward`.

#![expect(clippy::inline_always)]
#![expect(clippy::needless_range_loop)]
#![expect(clippy::many_single_char_names)] // as in the paper

use std::ops::Range;

use super::Backward;
use super::block::{Sizes, multiply};
use super::tiles::{
    Number, Row, add_multiple, add_product, keep_earlier, keep_later, transpose, transpose_square,
};
use crate::engine::simd::{LANES, Lanes, Work};

/// Sixteen tokens of all heads, and what is computed of them.
struct Room {
    q: Vec<Row>,
    k: Vec<Row>,
    v: Vec<Row>,
    /// Gradient of the weighted sums of values.
    g: Vec<Row>,
    /// The output.
    out: Vec<Row>,
    /// Of one head: its rows as columns.
    turned: [Vec<Row>; 3],
    /// Gradients of all heads.
    dq: Vec<Row>,
    dk: Vec<Row>,
    dv: Vec<Row>,
    /// Gradients of the weights' sums: for each block and head sixteen queries.
    gw: Vec<Row>,
    /// Gradients of the weights: for each block and head sixteen queries, sixteen keys in each.
    inner: Vec<Row>,
}

impl<N: Number> Work for Backward<'_, N> {
    type Output = ();

    #[inline(always)]
    fn run<S: Lanes>(mut self, s: S) {
        let sizes = Sizes::new(self.width, self.packed.heads, &self.heads);
        let blocks = self.packed.lengths.iter().max().map_or(0, |n| n.div_ceil(LANES));
        let one = || vec![[0.0; LANES]; sizes.padded];
        let all = || sizes.rows(LANES);
        let mut room = Room {
            q: all(),
            k: all(),
            v: all(),
            g: all(),
            out: all(),
            turned: [one(), one(), one()],
            dq: all(),
            dk: all(),
            dv: all(),
            gw: vec![[0.0; LANES]; blocks * sizes.group],
            inner: vec![[0.0; LANES]; blocks * sizes.group * LANES],
        };
        let mut end = 0;
        for &length in self.packed.lengths {
            let start = end;
            end += length;
            self.queries(s, sizes, &mut room, start..end);
            self.keys(s, sizes, &mut room, start..end);
        }
    }
}

impl<N: Number> Backward<'_, N> {
    /// Reads sixteen tokens.
    #[inline(always)]
    fn read<S: Lanes>(&self, s: S, sizes: Sizes, room: &mut Room, t: usize, count: usize) {
        let rows = &self.qkv[t * 3 * self.width..];
        let valid = &self.packed.valid[t..t + count];
        sizes.gather_qkv(s, rows, valid, [&mut room.q, &mut room.k, &mut room.v]);
        for r in 0..count {
            sizes.gather::<N, false>(&self.grad[(t + r) * self.width..], r, &mut room.g);
            for place in 0..sizes.group {
                let weight = self.weight[(t + r) * self.packed.heads + sizes.head(place)];
                let at = (place * LANES + r) * sizes.vecs;
                multiply(s, &mut room.g[at..at + sizes.vecs], weight);
            }
        }
        sizes.clear(&mut room.g, count);
    }

    /// Writes the gradients of a token's queries, keys or values (`part` 0, 1, 2).
    #[inline(always)]
    fn write(&mut self, sizes: Sizes, rows: &[Row], (t, r): (usize, usize), part: usize) {
        let width = sizes.group * sizes.depth;
        let at = (3 * (t + r) + part) * width;
        sizes.scatter(rows, r, &mut self.gradient[at..at + width]);
    }

    /// First to last: gradients of the queries, with the running sum of v k^T.
    #[inline(always)]
    fn queries<S: Lanes>(&mut self, s: S, sizes: Sizes, room: &mut Room, span: Range<usize>) {
        let Sizes { vecs, padded, width, group, .. } = sizes;
        let (mut products, mut keys) = (sizes.rows(padded), sizes.rows(1));
        let mut t = span.start;
        let mut block = 0;
        while t < span.end {
            let count = LANES.min(span.end - t);
            self.read(s, sizes, room, t, count);
            for r in 0..count {
                sizes.gather::<f32, false>(&self.out[(t + r) * width..], r, &mut room.out);
            }
            sizes.clear(&mut room.out, count);
            for place in 0..group {
                let here = sizes.of(place, LANES);
                let (q, k, v) =
                    (&room.q[here.clone()], &room.k[here.clone()], &room.v[here.clone()]);
                let (g, out) = (&room.g[here.clone()], &room.out[here.clone()]);
                let products = &mut products[sizes.of(place, padded)];
                let keys = &mut keys[sizes.of(place, 1)];
                // d(n / w) = dn / w - (n / w) dw / w
                let mut lost = [[0.0; LANES]; LANES];
                for r in 0..LANES {
                    let mut sum = s.splat(0.0);
                    for i in r * vecs..(r + 1) * vecs {
                        sum = s.fma(s.load(&g[i]), s.load(&out[i]), sum);
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
                let at = block * group + place;
                room.gw[at] = gw;
                let mut inner = [gw; LANES];
                let [gs, vs, _] = &mut room.turned;
                transpose(s, g, vecs, gs);
                transpose(s, v, vecs, vs);
                add_product(s, &mut inner, vs.as_flattened(), LANES, gs, 1);
                keep_later(s, &mut inner);
                transpose(s, &inner, 1, &mut room.inner[at * LANES..(at + 1) * LANES]);
                let dq = &mut room.dq[here];
                dq.fill([0.0; LANES]);
                for r in 0..LANES {
                    add_multiple(s, &mut dq[r * vecs..][..vecs], gw[r], keys);
                }
                add_product(s, dq, inner.as_flattened(), LANES, k, vecs);
                add_product(s, dq, gs.as_flattened(), LANES, products, vecs);
                add_product(s, products, v.as_flattened(), padded, k, vecs);
                slope(q, dq);
                for r in 0..count {
                    add_multiple(s, keys, 1.0, &k[r * vecs..][..vecs]);
                }
            }
            for r in 0..count {
                self.write(sizes, &room.dq, (t, r), 0);
            }
            t += LANES;
            block += 1;
        }
    }

    /// Last to first: gradients of keys and values, with the running sum of g q^T.
    #[inline(always)]
    fn keys<S: Lanes>(&mut self, s: S, sizes: Sizes, room: &mut Room, span: Range<usize>) {
        let Sizes { vecs, padded, group, .. } = sizes;
        let (mut products, mut weights) = (sizes.rows(padded), sizes.rows(1));
        let mut turned = vec![[0.0; LANES]; padded * vecs];
        let mut block = span.len().div_ceil(LANES);
        while block > 0 {
            block -= 1;
            let t = span.start + block * LANES;
            let count = LANES.min(span.end - t);
            self.read(s, sizes, room, t, count);
            for place in 0..group {
                let here = sizes.of(place, LANES);
                let (q, k, v) =
                    (&room.q[here.clone()], &room.k[here.clone()], &room.v[here.clone()]);
                let g = &room.g[here.clone()];
                let products = &mut products[sizes.of(place, padded)];
                let weights = &mut weights[sizes.of(place, 1)];
                let at = block * group + place;
                let inner = room.inner[at * LANES..(at + 1) * LANES].as_flattened();
                let [qs, ks, vs] = &mut room.turned;
                transpose(s, q, vecs, qs);
                transpose(s, k, vecs, ks);
                transpose(s, v, vecs, vs);
                let mut scores = [[0.0; LANES]; LANES];
                add_product(s, &mut scores, qs.as_flattened(), LANES, ks, 1);
                keep_earlier(s, &mut scores);
                let dk = &mut room.dk[here.clone()];
                for r in 0..LANES {
                    dk[r * vecs..][..vecs].copy_from_slice(weights);
                }
                add_product(s, dk, inner, LANES, q, vecs);
                add_product(s, dk, vs.as_flattened(), LANES, products, vecs);
                slope(k, dk);
                let dv = &mut room.dv[here];
                dv.fill([0.0; LANES]);
                transpose_square(s, products, vecs, &mut turned);
                add_product(s, dv, scores.as_flattened(), LANES, g, vecs);
                add_product(s, dv, ks.as_flattened(), LANES, &turned, vecs);
                add_product(s, products, g.as_flattened(), padded, q, vecs);
                for r in 0..LANES {
                    add_multiple(s, weights, room.gw[at][r], &q[r * vecs..][..vecs]);
                }
            }
            // Where a key is padding, its slope is zero as it is.
            for r in 0..count {
                self.write(sizes, &room.dk, (t, r), 1);
                self.write(sizes, &room.dv, (t, r), 2);
            }
        }
    }
}

/// Multiplies by the derivative of the feature map, known by its value.
#[inline(always)]
fn slope(mapped: &[Row], gradient: &mut [Row]) {
    let mapped = mapped.as_flattened();
    for (gradient, mapped) in gradient.as_flattened_mut().iter_mut().zip(mapped) {
        *gradient *= mapped.min(1.0);
    }
}
