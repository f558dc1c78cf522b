//! Causal linear attention for training on a CPU: `python/vmusprod/models/attention.py`, forward and back.
//!
//! Heads are shared out over threads; each is computed in one fixed order, so that the result is the same on
//! any number of them, and at every SIMD level. All sums are in single precision, whatever comes in.

use std::ops::Range;
use std::thread;

mod backward;
mod block;
mod forward;
mod tiles;

pub use tiles::Number;

use crate::engine::Level;
use crate::{Error, Result};

/// How sequences lie end to end.
#[derive(Clone, Copy, Debug)]
pub struct Packed<'a> {
    /// Tokens of each sequence, padding included.
    pub lengths: &'a [usize],
    /// For each token 1 or, at padding, 0.
    pub valid: &'a [f32],
    /// Attention heads.
    pub heads: usize,
}

/// With what to compute.
#[derive(Clone, Copy, Debug)]
pub struct Means {
    /// The lanes.
    pub level: Level,
    /// Threads, at least 1.
    pub threads: usize,
}

/// What `forward` returns.
#[derive(Clone, Debug, PartialEq)]
pub struct Mixed {
    /// (T, width).
    pub out: Vec<f32>,
    /// One over what each query's weights add up to, (T, heads).
    pub weight: Vec<f32>,
}

impl Packed<'_> {
    /// Checks that everything fits; returns the width.
    fn width<N>(&self, qkv: &[N]) -> Result<usize> {
        let total = self.lengths.iter().try_fold(0usize, |sum, n| sum.checked_add(*n));
        if total != Some(self.valid.len()) {
            return Err(Error::Value {
                name: "lengths",
                index: None,
                must: "as many tokens as valid has",
                actual: total.map_or_else(|| "more".into(), |n| n.to_string()),
            });
        }
        let width = qkv.len() / self.valid.len().max(1) / 3;
        let fits = qkv.len() == self.valid.len() * 3 * width;
        if !fits || self.heads == 0 || !width.is_multiple_of(self.heads) {
            return Err(Error::Shape {
                name: "qkv",
                expected: "(T, 3 * heads * depth)",
                actual: vec![self.valid.len(), qkv.len() / self.valid.len().max(1)],
            });
        }
        Ok(width)
    }

    /// The heads of each thread.
    fn groups(&self, threads: usize) -> Vec<Range<usize>> {
        let count = threads.clamp(1, self.heads.max(1));
        (0..count).map(|i| i * self.heads / count..(i + 1) * self.heads / count).collect()
    }
}

struct Forward<'a, N> {
    packed: &'a Packed<'a>,
    qkv: &'a [N],
    width: usize,
    heads: Range<usize>,
    /// Of these heads alone: (T, heads * depth), (T, heads).
    out: &'a mut [f32],
    weight: &'a mut [f32],
}

struct Backward<'a, N> {
    packed: &'a Packed<'a>,
    qkv: &'a [N],
    width: usize,
    heads: Range<usize>,
    grad: &'a [N],
    out: &'a [f32],
    weight: &'a [f32],
    /// Of these heads alone: (T, 3, heads * depth).
    gradient: &'a mut [N],
}

/// Attention of each token to itself and those before it in its sequence.
///
/// `qkv`: (T, 3 * width), before the feature map.
///
/// # Errors
///
/// [`Error::Value`], [`Error::Shape`] where sizes do not fit together.
pub fn forward<N: Number>(packed: &Packed<'_>, qkv: &[N], means: Means) -> Result<Mixed> {
    let width = packed.width(qkv)?;
    let total = packed.valid.len();
    let groups = packed.groups(means.threads);
    let depth = width / packed.heads;
    let mut parts: Vec<_> = groups
        .iter()
        .map(|g| (vec![0.0; total * g.len() * depth], vec![0.0; total * g.len()]))
        .collect();
    share(groups.iter().zip(&mut parts), |(heads, (out, weight))| {
        let heads = heads.clone();
        means.level.run(Forward { packed, qkv, width, heads, out, weight });
    });
    let (outs, weights): (Vec<_>, Vec<_>) = parts.into_iter().unzip();
    Ok(Mixed { out: join(outs, total), weight: join(weights, total) })
}

/// The gradient with respect to `qkv`, (T, 3 * width), from that with respect to the output.
///
/// `grad`: (T, width); `mixed`: what [`forward`] returned.
///
/// # Errors
///
/// [`Error::Value`], [`Error::Shape`], [`Error::LengthMismatch`] where sizes do not fit together.
pub fn backward<N: Number>(
    packed: &Packed<'_>,
    qkv: &[N],
    grad: &[N],
    (out, weight): (&[f32], &[f32]),
    means: Means,
) -> Result<Vec<N>> {
    let width = packed.width(qkv)?;
    let total = packed.valid.len();
    let wanted = [("grad", grad.len(), width), ("out", out.len(), width)];
    for (second, actual, columns) in
        wanted.into_iter().chain([("weight", weight.len(), packed.heads)])
    {
        let expected = total * columns;
        if actual != expected {
            return Err(Error::LengthMismatch { first: "qkv", expected, second, actual });
        }
    }
    let groups = packed.groups(means.threads);
    let depth = width / packed.heads;
    let size = |heads: &Range<usize>| total * 3 * heads.len() * depth;
    let mut parts: Vec<_> = groups.iter().map(|g| vec![N::default(); size(g)]).collect();
    share(groups.iter().zip(&mut parts), |(heads, gradient)| {
        let heads = heads.clone();
        means.level.run(Backward { packed, qkv, width, heads, grad, out, weight, gradient });
    });
    // Queries, keys and values are rows of their own.
    Ok(join(parts, 3 * total))
}

/// Does some work for each item, each on a thread of its own, the last on this one.
fn share<T: Send>(items: impl Iterator<Item = T>, work: impl Fn(T) + Sync) {
    let mut items: Vec<T> = items.collect();
    let last = items.pop();
    thread::scope(|scope| {
        for item in items {
            let work = &work;
            scope.spawn(move || work(item));
        }
        last.into_iter().for_each(&work);
    });
}

/// Lays tables of `rows` rows side by side.
fn join<N: Number>(mut parts: Vec<Vec<N>>, rows: usize) -> Vec<N> {
    if parts.len() == 1 {
        return parts.pop().unwrap_or_default();
    }
    let widths: Vec<usize> = parts.iter().map(|part| part.len() / rows.max(1)).collect();
    let width: usize = widths.iter().sum();
    let mut out = vec![N::default(); rows * width];
    if width == 0 {
        return out;
    }
    let share_rows = rows.div_ceil(parts.len());
    share(out.chunks_mut(share_rows * width).enumerate(), |(i, out)| {
        for (r, row) in out.chunks_exact_mut(width).enumerate() {
            let mut place = 0;
            for (part, &n) in parts.iter().zip(&widths) {
                let from = (i * share_rows + r) * n;
                row[place..place + n].copy_from_slice(&part[from..from + n]);
                place += n;
            }
        }
    });
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn numbers(count: usize, seed: u64) -> Vec<f32> {
        let mut state = seed;
        let mut next = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            #[expect(clippy::cast_precision_loss)]
            let x = (state >> 40) as f32 / 4_194_304.0 - 2.0;
            x
        };
        (0..count).map(|_| next()).collect()
    }

    #[test]
    fn every_level_and_number_of_threads_gives_the_same_bits() {
        for (lengths, heads, depth) in
            [(vec![64, 128], 4, 32), (vec![37, 1, 16], 3, 5), (vec![80], 2, 64), (vec![], 2, 16)]
        {
            let total: usize = lengths.iter().sum();
            let mut valid = vec![1.0; total];
            valid.iter_mut().skip(30).step_by(7).for_each(|x| *x = 0.0);
            let packed = Packed { lengths: &lengths, valid: &valid, heads };
            let qkv = numbers(total * 3 * heads * depth, 1);
            let grad = numbers(total * heads * depth, 2);
            let all = |level, threads| {
                let means = Means { level, threads };
                let mixed = forward(&packed, &qkv, means)?;
                let held = (&mixed.out[..], &mixed.weight[..]);
                let gradient = backward(&packed, &qkv, &grad, held, means)?;
                let bits = |x: &[f32]| x.iter().map(|x| x.to_bits()).collect::<Vec<_>>();
                Ok::<_, Error>([bits(&mixed.out), bits(&mixed.weight), bits(&gradient)])
            };
            let expected = all(Level::Plain, 1);
            assert!(expected.is_ok());
            for level in Level::available() {
                for threads in [1, 2, 3, 9] {
                    assert_eq!(all(level, threads), expected, "{level:?}, {threads} threads");
                }
            }
        }
    }

    /// FNV-1a.
    fn checksum(numbers: &[f32], mut sum: u64) -> u64 {
        for byte in numbers.iter().flat_map(|x| x.to_bits().to_le_bytes()) {
            sum = (sum ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        }
        sum
    }

    #[test]
    fn every_machine_gives_the_same_bits() {
        let (lengths, valid) = ([70, 50], [1.0; 120]);
        let packed = Packed { lengths: &lengths, valid: &valid, heads: 3 };
        let (qkv, grad) = (numbers(120 * 3 * 3 * 24, 1), numbers(120 * 3 * 24, 2));
        let means = Means { level: Level::best(), threads: 2 };
        let all = || {
            let mixed = forward(&packed, &qkv, means)?;
            let gradient = backward(&packed, &qkv, &grad, (&mixed.out, &mixed.weight), means)?;
            Ok::<_, Error>(checksum(&gradient, checksum(&mixed.out, 0xcbf2_9ce4_8422_2325)))
        };
        assert_eq!(all(), Ok(0x919e_0f57_2916_650b));
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        let means = Means { level: Level::best(), threads: 1 };
        let valid = [1.0; 4];
        let packed = Packed { lengths: &[4], valid: &valid, heads: 2 };
        let qkv = [0.0f32; 24];
        assert!(forward(&packed, &qkv, means).is_ok());
        assert!(forward(&packed, &qkv[..23], means).is_err());
        assert!(forward(&Packed { heads: 0, ..packed }, &qkv, means).is_err());
        assert!(forward(&Packed { lengths: &[3], ..packed }, &qkv, means).is_err());
        assert!(forward(&Packed { lengths: &[usize::MAX, 5], ..packed }, &qkv, means).is_err());
        let (out, weight) = ([0.0; 8], [0.0; 8]);
        assert!(backward(&packed, &qkv, &out, (&out, &weight), means).is_ok());
        assert!(backward(&packed, &qkv, &out[1..], (&out, &weight), means).is_err());
        assert!(backward(&packed, &qkv, &out, (&out, &weight[1..]), means).is_err());
    }
}
