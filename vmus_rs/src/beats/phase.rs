//! How far events are ahead of whole numbers, moment by moment.

use std::f64::consts::TAU;

use super::smooth::smooth;
use super::spectrum::cis;

/// Moments at which a phase is measured.
pub(crate) struct Knots {
    /// Seconds.
    pub(crate) start: f64,
    pub(crate) step: f64,
    pub(crate) count: usize,
}

impl Knots {
    /// By how much events at `position` are ahead of whole numbers around each knot, smoothed.
    ///
    /// Window and stiffness are those of a pass; with `most` no phase is farther off, without they are
    /// unwrapped along the piece.
    #[expect(clippy::cast_precision_loss, clippy::cast_possible_truncation, clippy::cast_sign_loss)]
    pub(crate) fn ahead(
        &self,
        time: &[f64],
        weight: &[f32],
        position: &[f64],
        (sigma, stiffness): (f64, f64),
        most: Option<f64>,
    ) -> Vec<f64> {
        let knots = self.count;
        // Each event is shared between the two knots beside it.
        let mut sums = vec![[0.0f32; 3]; knots + 1];
        for ((&t, &w), position) in time.iter().zip(weight).zip(position) {
            let (sin, cos) = cis(position.fract() as f32);
            let place = (t - self.start) / self.step;
            let (k, share) = (place as usize, place.fract() as f32);
            for (sum, share) in [(k, 1.0 - share), (k + 1, share)] {
                let part = [w * cos, w * sin, w * w].map(|x| x * share);
                sums[sum.min(knots)].iter_mut().zip(part).for_each(|(s, x)| *s += x);
            }
        }
        let reach = (4.0 * sigma / self.step) as usize;
        let taps: Vec<f32> = (0..=reach)
            .map(|d| (-0.5 * (d as f64 * self.step / sigma).powi(2)).exp() as f32)
            .collect();
        let (mut ahead, mut trust) = (Vec::with_capacity(knots), Vec::with_capacity(knots));
        for k in 0..knots {
            let (mut re, mut im, mut square) = (0.0f32, 0.0f32, 0.0f32);
            for j in k.saturating_sub(reach)..=(k + reach).min(knots) {
                let (g, [c, s, q]) = (taps[j.abs_diff(k)], sums[j]);
                re += g * c;
                im += g * s;
                square += g * g * q;
            }
            ahead.push(f64::from(im.atan2(re)) / TAU);
            trust.push(f64::from(((re * re + im * im) / square.max(1e-3)).min(20.0)) + 1e-3);
        }
        match most {
            Some(most) => ahead.iter_mut().for_each(|a| *a = a.clamp(-most, most)),
            None => unwrap(&mut ahead),
        }
        smooth(&ahead, &trust, stiffness)
    }
}

/// Takes jumps of over half a turn out of phases in turns.
fn unwrap(phase: &mut [f64]) {
    let mut turns = 0.0;
    for k in 1..phase.len() {
        let step = phase[k] + turns - phase[k - 1];
        turns -= (step + 0.5).floor();
        phase[k] += turns;
    }
}
