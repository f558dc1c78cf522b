//! The pulse of events at one constant rate.

use std::f64::consts::TAU;

use super::pulse::Pulse;
use super::spectrum::phasors;
use crate::wide::wide;

/// The best constant rate near `rate`, its phase taken from all events.
#[expect(clippy::cast_precision_loss, clippy::cast_possible_truncation, clippy::cast_sign_loss)]
pub(crate) fn constant(time: &[f64], weight: &[f32], mut rate: f64) -> Pulse {
    let (start, end) = (time[0], time[time.len() - 1]);
    let mut width = 0.03 * rate;
    let mut points = (4.0 * width * (end - start).max(1.0)).clamp(21.0, 4001.0) as usize;
    for _ in 0..4 {
        let step = 2.0 * width / (points - 1) as f64;
        let best = scan(time, weight, rate - width, step, points);
        rate += step * best as f64 - width;
        width = 4.0 * width / points as f64;
        points = 21;
    }
    let (mut re, mut im) = (0.0, 0.0);
    let since: Vec<f64> = time.iter().map(|t| t - start).collect();
    let (sin, cos) = phasors(&since, rate);
    for ((sin, cos), &w) in sin.iter().zip(&cos).zip(weight) {
        re += f64::from(w * cos);
        im += f64::from(w * sin);
    }
    let shift = im.atan2(re) / TAU;
    // Against its own constant phase: no window to fool itself with.
    let (im, re) = (im / im.hypot(re).max(1e-9), re / im.hypot(re).max(1e-9));
    let along = |(sin, cos): (&f32, &f32)| f64::from(*cos) * re + f64::from(*sin) * im;
    let fit = sin.iter().zip(&cos).map(along).sum::<f64>() / time.len() as f64;
    let times = vec![start - 1.0, end + 1.0];
    let count = vec![-rate - shift, rate * (end + 1.0 - start) - shift];
    Pulse { times, count, start, end, fit }
}

/// Which of the rates `from`, `from + step`, ... has the strongest resultant.
fn scan(time: &[f64], weight: &[f32], from: f64, step: f64, points: usize) -> usize {
    let since: Vec<f64> = time.iter().map(|t| t - time[0]).collect();
    let (mut im, mut re) = phasors(&since, from);
    let (sin, cos) = phasors(&since, step);
    for ((x, y), &w) in re.iter_mut().zip(&mut im).zip(weight) {
        *x *= w;
        *y *= w;
    }
    strongest(&mut re, &mut im, &cos, &sin, points)
}

/// Lanes that sums are made in.
const LANES: usize = 16;

wide! {
    /// After how many turns of all phasors by their step their sum is longest.
    fn strongest['a]['a](
        re: &'a mut [f32],
        im: &'a mut [f32],
        cos: &'a [f32],
        sin: &'a [f32],
        points: usize,
    ) -> usize {
        let size = re.len();
        let (im, cos, sin) = (&mut im[..size], &cos[..size], &sin[..size]);
        let mut best = (0, f32::NEG_INFINITY);
        for k in 0..points {
            let (mut x, mut y) = ([0.0f32; LANES], [0.0f32; LANES]);
            let mut at = 0;
            while at < size {
                let width = LANES.min(size - at);
                // The last may be narrower; most are not, and known to be so.
                let (re, im) = (&mut re[at..at + width], &mut im[at..at + width]);
                let (cos, sin) = (&cos[at..at + width], &sin[at..at + width]);
                if width == LANES {
                    for l in 0..LANES {
                        x[l] += re[l];
                        y[l] += im[l];
                        let turned = (re[l] * cos[l] - im[l] * sin[l], re[l] * sin[l] + im[l] * cos[l]);
                        (re[l], im[l]) = turned;
                    }
                } else {
                    for l in 0..width {
                        x[l] += re[l];
                        y[l] += im[l];
                        let turned = (re[l] * cos[l] - im[l] * sin[l], re[l] * sin[l] + im[l] * cos[l]);
                        (re[l], im[l]) = turned;
                    }
                }
                at += width;
            }
            let (mut total_x, mut total_y) = (0.0, 0.0);
            for l in 0..LANES {
                total_x += x[l];
                total_y += y[l];
            }
            let power = total_x * total_x + total_y * total_y;
            if power > best.1 {
                best = (k, power);
            }
        }
        best.0
    }
}
