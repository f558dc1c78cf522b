//! Causal attention of some heads, sixteen tokens at a time.
//!
//! Within a block products are masked squares; what came before is read from a running sum of k v^T. Queries
//! lie along the lanes where a sum over something else is wanted: no sum goes across lanes.

#![expect(clippy::inline_always)]
#![expect(clippy::needless_range_loop)]
#![expect(clippy::many_single_char_names)] // as in the paper

use super::block::{Sizes, multiply};
use super::tiles::{Number, Row, add_multiple, add_product, keep_later, transpose};
use super::{Forward, Packed};
use crate::engine::simd::{LANES, Lanes, Work};

const EPS: f32 = 1e-6;

/// The running sums of a head: of k v^T and of k.
struct State<'a> {
    products: &'a mut [Row],
    keys: &'a mut [Row],
}

impl<N: Number> Work for Forward<'_, N> {
    type Output = ();

    #[inline(always)]
    fn run<S: Lanes>(self, s: S) {
        let Packed { lengths, valid, heads } = *self.packed;
        let sizes = Sizes::new(self.width, heads, &self.heads);
        let Sizes { depth, padded, width, group, .. } = sizes;
        let (mut q, mut k, mut v) = (sizes.rows(LANES), sizes.rows(LANES), sizes.rows(LANES));
        let (mut products, mut keys) = (sizes.rows(padded), sizes.rows(1));
        let mut mixed = sizes.rows(LANES);
        let mut turned = [vec![[0.0; LANES]; padded], vec![[0.0; LANES]; padded]];
        let mut end = 0;
        for &length in lengths {
            let start = end;
            end += length;
            products.fill([0.0; LANES]);
            keys.fill([0.0; LANES]);
            let mut t = start;
            while t < end {
                let count = LANES.min(end - t);
                let rows = &self.qkv[t * 3 * width..];
                let valid = &valid[t..t + count];
                sizes.gather_qkv(s, rows, valid, [&mut q, &mut k, &mut v]);
                for place in 0..group {
                    let here = sizes.of(place, LANES);
                    let state = State {
                        products: &mut products[sizes.of(place, padded)],
                        keys: &mut keys[sizes.of(place, 1)],
                    };
                    let qkv = (&q[here.clone()], &k[here.clone()], &v[here.clone()]);
                    let mixed = &mut mixed[here];
                    let weight = block(s, sizes, qkv, state, mixed, &mut turned);
                    for r in 0..count {
                        let inverse = 1.0 / weight[r];
                        self.weight[(t + r) * group + place] = inverse;
                        multiply(s, &mut mixed[r * sizes.vecs..][..sizes.vecs], inverse);
                    }
                }
                let width = group * depth;
                for r in 0..count {
                    sizes.scatter(&mixed, r, &mut self.out[(t + r) * width..][..width]);
                }
                t += LANES;
            }
        }
    }
}

/// Sums of the values by weight, to `mixed`, and of the weights, of a head's sixteen queries.
#[inline(always)]
fn block<S: Lanes>(
    s: S,
    sizes: Sizes,
    (q, k, v): (&[Row], &[Row], &[Row]),
    state: State<'_>,
    mixed: &mut [Row],
    [queries, keyed]: &mut [Vec<Row>; 2],
) -> Row {
    let Sizes { padded, vecs, .. } = sizes;
    let State { products, keys } = state;
    transpose(s, q, vecs, queries);
    transpose(s, k, vecs, keyed);
    let mut scores = [[0.0; LANES]; LANES];
    add_product(s, &mut scores, keyed.as_flattened(), LANES, queries, 1);
    keep_later(s, &mut scores);
    let mut weight = s.splat(EPS);
    for j in 0..LANES {
        weight = s.fma(s.load(&scores[j]), s.splat(1.0), weight);
    }
    let sums = keys.as_flattened();
    for d in 0..padded {
        weight = s.fma(s.splat(sums[d]), s.load(&queries[d]), weight);
    }
    mixed.fill([0.0; LANES]);
    add_product(s, mixed, scores.as_flattened(), LANES, v, vecs);
    add_product(s, mixed, queries.as_flattened(), LANES, products, vecs);
    add_product(s, products, k.as_flattened(), padded, v, vecs);
    for r in 0..LANES {
        add_multiple(s, keys, 1.0, &k[r * vecs..][..vecs]);
    }
    s.floats(weight)
}
