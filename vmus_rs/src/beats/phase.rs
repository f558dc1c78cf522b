//! How far events are ahead of whole numbers, moment by moment.

use std::f64::consts::TAU;

use super::smooth::smooth;
use super::spectrum::phasors;
use crate::wide::wide;

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
        let reach = (4.0 * sigma / self.step) as usize;
        let mut sums = [(); 3].map(|()| vec![0.0f32; knots + 1 + 2 * reach]);
        let (sin, cos) = phasors(position, 1.0);
        for (((&t, &w), sin), cos) in time.iter().zip(weight).zip(sin).zip(cos) {
            let place = (t - self.start) / self.step;
            let (k, share) = (place as usize, place.fract() as f32);
            for (knot, share) in [(k, 1.0 - share), (k + 1, share)] {
                let at = reach + knot.min(knots);
                for (sum, x) in sums.iter_mut().zip([w * cos, w * sin, w * w]) {
                    sum[at] += share * x;
                }
            }
        }
        let taps: Vec<f32> = (0..=reach)
            .map(|d| (-0.5 * (d as f64 * self.step / sigma).powi(2)).exp() as f32)
            .collect();
        let squared: Vec<f32> = taps.iter().map(|tap| tap * tap).collect();
        let mut windows = [(); 3].map(|()| vec![0.0f32; knots]);
        for ((window, sum), taps) in windows.iter_mut().zip(&sums).zip([&taps, &taps, &squared]) {
            convolve(sum, taps, window);
        }
        let [re, im, square] = windows;
        let mut ahead: Vec<f64> =
            re.iter().zip(&im).map(|(re, im)| f64::from(im.atan2(*re)) / TAU).collect();
        let trust = |k: usize| ((re[k] * re[k] + im[k] * im[k]) / square[k].max(1e-3)).min(20.0);
        let trust: Vec<f64> = (0..knots).map(|k| f64::from(trust(k)) + 1e-3).collect();
        match most {
            Some(most) => ahead.iter_mut().for_each(|a| *a = a.clamp(-most, most)),
            None => unwrap(&mut ahead),
        }
        smooth(&ahead, &trust, stiffness)
    }
}

wide! {
    /// Sums around each place, `taps` weighing distances to both sides; the values reach that much
    /// farther at both ends.
    fn convolve['a]['a](values: &'a [f32], taps: &'a [f32], out: &'a mut [f32]) {
        let (size, reach) = (out.len(), taps.len() - 1);
        for d in 0..=2 * reach {
            let (tap, shifted) = (taps[d.abs_diff(reach)], &values[d..d + size]);
            for k in 0..size {
                out[k] += tap * shifted[k];
            }
        }
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
