//! The dice of `python/vmusprod/models/task.py`: temperature, nucleus, and numpy's generator.

use crate::{Error, Result};

/// Lowest temperature that is divided by.
const MIN_TEMPERATURE: f64 = 1e-6;

/// Temperature (0: always the likeliest) and nucleus of an attribute.
#[derive(Clone, Copy, Debug)]
pub struct Dice {
    /// Above 1 wilder, below 1 plainer.
    pub temperature: f64,
    /// The likeliest values that together reach this share are drawn from.
    pub top_p: f64,
}

/// numpy's default generator, PCG64 (XSL-RR 128/64; O'Neill 2014), so that seeds mean the same.
#[derive(Clone, Debug)]
pub struct Random {
    state: u128,
    increment: u128,
}

impl Random {
    /// From the state and increment of numpy's `PCG64.state`.
    #[must_use]
    pub fn new(state: u128, increment: u128) -> Self {
        Self { state, increment }
    }

    /// The next number in [0, 1).
    pub fn number(&mut self) -> f64 {
        const MULTIPLIER: u128 = 0x2360_ed05_1fc6_5da4_4385_df64_9fcc_f645;
        self.state = self.state.wrapping_mul(MULTIPLIER).wrapping_add(self.increment);
        #[expect(clippy::cast_possible_truncation)] // the halves are wanted
        let (high, low) = ((self.state >> 64) as u64, self.state as u64);
        let bits = (high ^ low).rotate_right((high >> 58) as u32);
        #[expect(clippy::cast_precision_loss)] // 53 bits are exact
        let number = (bits >> 11) as f64;
        number * (1.0 / 9_007_199_254_740_992.0)
    }
}

impl Dice {
    /// Draws one of the allowed indices.
    ///
    /// # Errors
    ///
    /// [`Error::NotFinite`] if an allowed logit is not finite; [`Error::Value`] if nothing is allowed.
    pub fn draw(&self, logits: &[f32], allowed: &[bool], random: &mut Random) -> Result<usize> {
        let candidates: Vec<usize> =
            (0..logits.len()).filter(|&i| allowed.get(i).copied().unwrap_or(false)).collect();
        let scaled: Vec<f64> = candidates.iter().map(|&i| f64::from(logits[i])).collect();
        if scaled.is_empty() {
            return Err(Error::Value {
                name: "grammar",
                index: None,
                must: "leaving something to choose",
                actual: "nothing".into(),
            });
        }
        if scaled.iter().any(|x| !x.is_finite()) {
            return Err(Error::NotFinite);
        }
        let best = scaled.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        if self.temperature <= 0.0 {
            let first = scaled.iter().position(|&x| x >= best).unwrap_or(0);
            return Ok(candidates[first]);
        }
        let temperature = self.temperature.max(MIN_TEMPERATURE);
        let mut p: Vec<f64> = scaled.iter().map(|x| ((x - best) / temperature).exp()).collect();
        let total = pairwise_sum(&p);
        for p in &mut p {
            *p /= total;
        }
        let mut order: Vec<usize> = (0..p.len()).collect();
        order.sort_by(|&a, &b| p[b].total_cmp(&p[a]));
        let mut sum = 0.0;
        let mut ladder = Vec::new();
        for &i in &order {
            let reached = sum >= self.top_p && !ladder.is_empty();
            if reached {
                break;
            }
            sum += p[i];
            ladder.push(sum);
        }
        let aim = random.number() * sum;
        let rung = ladder.partition_point(|&rung| rung <= aim).min(ladder.len() - 1);
        Ok(candidates[order[rung]])
    }
}

/// The sum as numpy computes it for up to 128 numbers: eight partial sums.
fn pairwise_sum(x: &[f64]) -> f64 {
    if x.len() < 8 {
        return x.iter().sum();
    }
    let mut r: [f64; 8] = std::array::from_fn(|i| x[i]);
    let mut chunks = x[8..].chunks_exact(8);
    for chunk in &mut chunks {
        for (r, x) in r.iter_mut().zip(chunk) {
            *r += x;
        }
    }
    let sum = ((r[0] + r[1]) + (r[2] + r[3])) + ((r[4] + r[5]) + (r[6] + r[7]));
    chunks.remainder().iter().fold(sum, |sum, x| sum + x)
}
