//! The pulse that onsets follow: its rate as it drifts, its phase, and how well it is followed.

use super::events::Events;
use super::phase::Knots;
use super::spectrum;
use super::steady::constant;

/// Seconds between the points of a pulse curve, and between those where its phase is measured.
const GRID: f64 = 0.25;
const KNOT: f64 = 0.5;
/// Deviation of the window (s) and stiffness of the smoothed phase, pass by pass.
const REFINE: [(f64, f64); 4] = [(3.0, 60.0), (1.5, 20.0), (1.0, 10.0), (0.75, 4.0)];
/// Seconds; shorter stretches have no tempo.
const SHORTEST: f64 = 6.0;
/// Events; fewer have no tempo.
const FEWEST: usize = 16;
/// A constant rate is taken if it fits worse by no more than this.
const PREFER_CONSTANT: f64 = 0.04;
/// ... unless it fits worse than this.
const LOOSE: f64 = 0.7;
/// Seconds; nobody holds a tempo for longer, and the search is quadratic.
const LONGEST_CONSTANT: f64 = 1800.0;
/// Between stretches of one tempo whose finest notes differ: 8ths after 16ths, triplets after either.
const RATIOS: [f64; 11] =
    [0.25, 1.0 / 3.0, 0.5, 2.0 / 3.0, 0.75, 1.0, 4.0 / 3.0, 1.5, 2.0, 3.0, 4.0];
const SAME: f64 = 0.03;
/// Seconds; after a longer gap another tempo may begin.
const SILENCE: f64 = 4.0;
/// Seconds that an event's surroundings fade in, and within which others say nothing of it.
const MEMORY: f64 = 4.0 / 3.0;
const ITSELF: f64 = 0.05;
/// Known beats, and known sixteenths, are moved by at most so many pulses.
const NUDGE: f64 = 0.3;
/// As of [`REFINE`], of the pass over known sixteenths. Of songs left out the fit is best around
/// these; random onsets are hardly followed better.
const CLOSE: (f64, f64) = (0.3, 6.0);

/// A stretch of a piece and its pulse.
#[derive(Clone, Debug, PartialEq)]
pub struct Pulse {
    /// Seconds of the curve's points, increasing; two where one rate holds throughout.
    pub times: Vec<f64>,
    /// Pulses at those points, increasing.
    pub count: Vec<f64>,
    /// Seconds of the first and the last event.
    pub start: f64,
    /// See `start`.
    pub end: f64,
    /// Mean cosine of the events' phases against the phase that the events around predict: about 0
    /// for noise, up to 1.
    pub fit: f64,
}

impl Pulse {
    /// Whether one rate holds throughout.
    #[must_use]
    pub fn is_constant(&self) -> bool {
        self.times.len() == 2
    }

    /// Pulses a second, on the whole.
    pub(crate) fn rate(&self) -> f64 {
        let last = self.times.len() - 1;
        (self.count[last] - self.count[0]) / (self.times[last] - self.times[0])
    }

    /// The curve with `scale * (count - shift)` for its count.
    pub(crate) fn scaled(&self, scale: f64, shift: f64) -> Self {
        let count = self.count.iter().map(|x| scale * (x - shift)).collect();
        Self { times: self.times.clone(), count, ..*self }
    }

    /// Makes a curve of many points follow the events more closely.
    ///
    /// `position`: where the events lie, in pulses, when what is no matter of rate is taken off.
    pub(crate) fn close(&mut self, time: &[f64], weight: &[f32], position: &[f64]) {
        let knots = Knots { start: self.times[0], step: GRID, count: self.times.len() };
        let ahead = knots.ahead(time, weight, position, CLOSE, Some(NUDGE));
        self.count.iter_mut().zip(ahead).for_each(|(value, ahead)| *value -= ahead);
        make_increasing(&mut self.count);
    }

    /// Pulses at times that increase, continued linearly outside the curve.
    pub(crate) fn positions(&self, seconds: impl Iterator<Item = f64>) -> Vec<f64> {
        continued(seconds, &self.times, &self.count)
    }

    /// Times of pulses that increase: the inverse of `positions`.
    pub(crate) fn seconds(&self, positions: impl Iterator<Item = f64>) -> Vec<f64> {
        continued(positions, &self.count, &self.times)
    }
}

/// Linear interpolation, and extrapolation by the outermost pieces, at places that mostly increase.
pub(crate) fn continued(
    places: impl Iterator<Item = f64>,
    knots: &[f64],
    values: &[f64],
) -> Vec<f64> {
    let last = knots.len() - 2;
    let mut k = 0;
    places
        .map(|x| {
            while k < last && x >= knots[k + 1] {
                k += 1;
            }
            while k > 0 && x < knots[k] {
                k -= 1;
            }
            let slope = (values[k + 1] - values[k]) / (knots[k + 1] - knots[k]);
            values[k] + (x - knots[k]) * slope
        })
        .collect()
}

/// The stretches of one tempo, constant or drifting, in order.
pub(crate) fn track(events: &Events, weight: &[f32]) -> Vec<Pulse> {
    let time = &events.time[..];
    let size = time.len();
    if size < FEWEST || time[size - 1] - time[0] < SHORTEST {
        return Vec::new();
    }
    let path = spectrum::ridge(time, weight);
    let values = spectrum::rates();
    let mut rate: Vec<f64> = path.rate.iter().map(|&k| values[k]).collect();
    let cuts = join(time, &path.centre, &mut rate, path.jumps);
    let mut result = Vec::new();
    for k in 0..=cuts.len() {
        let low = if k == 0 { f64::NEG_INFINITY } else { cuts[k - 1] };
        let high = cuts.get(k).copied().unwrap_or(f64::INFINITY);
        let within = |times: &[f64]| {
            times.partition_point(|&t| t < low)..times.partition_point(|&t| t < high)
        };
        let (own, windows) = (within(time), within(&path.centre));
        if own.len() >= FEWEST && time[own.end - 1] - time[own.start] >= SHORTEST {
            let curve = (&path.centre[windows.clone()], &rate[windows]);
            result.push(stretch(&time[own.clone()], &weight[own], curve));
        }
    }
    result
}

/// Brings stretches in a simple ratio to the rate of the longer; returns the cuts that remain.
fn join(time: &[f64], centre: &[f64], rate: &mut [f64], mut cuts: Vec<f64>) -> Vec<f64> {
    let mut k = 0;
    while k < cuts.len() {
        let edge = |i: usize| centre.partition_point(|&c| c < cuts[i]);
        let low = if k == 0 { 0 } else { edge(k - 1) };
        let high = if k + 1 < cuts.len() { edge(k + 1) } else { centre.len() };
        let middle = edge(k);
        let after = time.partition_point(|&t| t < cuts[k]);
        let gap = time[after.min(time.len() - 1)] - time[after.saturating_sub(1)];
        let ratio = median(&rate[low..middle]) / median(&rate[middle..high]);
        let off = |r: f64| (r / ratio).ln().abs();
        let factor = RATIOS.iter().copied().fold(1.0, |a, b| if off(b) < off(a) { b } else { a });
        if gap > SILENCE || off(factor) >= SAME {
            k += 1;
            continue;
        }
        if middle - low >= high - middle {
            rate[middle..high].iter_mut().for_each(|r| *r *= factor);
        } else {
            rate[low..middle].iter_mut().for_each(|r| *r /= factor);
        }
        cuts.remove(k);
        // The joined stretch may now go with the one before it.
        k = k.saturating_sub(1);
    }
    cuts
}

pub(crate) fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_unstable_by(f64::total_cmp);
    let n = sorted.len();
    if n == 0 { f64::NAN } else { f64::midpoint(sorted[(n - 1) / 2], sorted[n / 2]) }
}

/// The pulse of events that keep one, slowly drifting tempo. `curve`: rates at times.
fn stretch(time: &[f64], weight: &[f32], curve: (&[f64], &[f64])) -> Pulse {
    let (start, end) = (time[0], time[time.len() - 1]);
    let grid = grid(start - 1.0, end + 1.0);
    let rate = held(&grid, curve.0, curve.1);
    let mut count = Vec::with_capacity(grid.len());
    let mut sum = 0.0;
    for (k, value) in rate.iter().enumerate() {
        if k > 0 {
            sum += f64::midpoint(rate[k - 1], *value) * GRID;
        }
        count.push(sum);
    }
    for (sigma, stiffness) in REFINE {
        correct(time, weight, &grid, &mut count, (sigma, stiffness), None);
    }
    let whole = (count[count.len() - 1] - count[0]) / (grid[grid.len() - 1] - grid[0]);
    let drifting = curve_of(time, grid, count);
    if end - start > LONGEST_CONSTANT {
        return drifting;
    }
    let steady = constant(time, weight, whole);
    let handicap = if steady.fit < LOOSE { 0.0 } else { PREFER_CONSTANT };
    if steady.fit >= drifting.fit - handicap { steady } else { drifting }
}

/// Points from `start` to `end` or just past it.
#[expect(clippy::cast_precision_loss, clippy::cast_possible_truncation, clippy::cast_sign_loss)]
fn grid(start: f64, end: f64) -> Vec<f64> {
    let count = ((end - start) / GRID).ceil() as usize + 1;
    (0..count).map(|k| start + GRID * k as f64).collect()
}

/// Linear interpolation at increasing places; outside, the outermost values hold.
fn held(places: &[f64], knots: &[f64], values: &[f64]) -> Vec<f64> {
    let mut k = 0;
    places
        .iter()
        .map(|&x| {
            while k < knots.len() && knots[k] <= x {
                k += 1;
            }
            if k == 0 {
                return values[0];
            }
            if k == knots.len() {
                return values[k - 1];
            }
            let share = (x - knots[k - 1]) / (knots[k] - knots[k - 1]);
            values[k - 1] + share * (values[k] - values[k - 1])
        })
        .collect()
}

/// Divides known beats into four pulses each, corrected to the onsets around.
pub(crate) fn of_beats(time: &[f64], weight: &[f32], beats: &[f64]) -> Pulse {
    let (first, last) = (time[0].min(beats[0]), time[time.len() - 1].max(beats[beats.len() - 1]));
    let grid = grid(first, last);
    #[expect(clippy::cast_precision_loss)]
    let numbers: Vec<f64> = (0..beats.len()).map(|k| 4.0 * k as f64).collect();
    let mut count = continued(grid.iter().copied(), beats, &numbers);
    for &pass in &REFINE[1..] {
        correct(time, weight, &grid, &mut count, pass, Some(NUDGE));
    }
    curve_of(time, grid, count)
}

fn curve_of(time: &[f64], grid: Vec<f64>, mut count: Vec<f64>) -> Pulse {
    make_increasing(&mut count);
    let fit = predictability(time, &held(time, &grid, &count));
    Pulse { times: grid, count, start: time[0], end: time[time.len() - 1], fit }
}

/// Lifts what falls behind what went before.
#[expect(clippy::cast_precision_loss)]
fn make_increasing(count: &mut [f64]) {
    let mut most = f64::NEG_INFINITY;
    for (k, value) in count.iter_mut().enumerate() {
        most = most.max(*value + 1e-6 * k as f64);
        *value = most;
    }
    // Equal neighbours would have no inverse.
    for k in 1..count.len() {
        if count[k] <= count[k - 1] {
            count[k] = count[k - 1] + 1e-9;
        }
    }
}

/// Takes off the count, smoothly, how far the events are ahead of it.
///
/// With `most` the count's own whole pulses hold and it moves by up to that; without, it is
/// unwrapped along the piece.
#[expect(clippy::cast_precision_loss, clippy::cast_possible_truncation, clippy::cast_sign_loss)]
fn correct(
    time: &[f64],
    weight: &[f32],
    grid: &[f64],
    count: &mut [f64],
    (sigma, stiffness): (f64, f64),
    most: Option<f64>,
) {
    let knots = Knots {
        start: grid[0],
        step: KNOT,
        count: ((grid[grid.len() - 1] - grid[0]) / KNOT).ceil() as usize + 1,
    };
    let position = held(time, grid, count);
    let ahead = knots.ahead(time, weight, &position, (sigma, stiffness), most);
    for (k, value) in count.iter_mut().enumerate() {
        let place = k as f64 * GRID / KNOT;
        let left = (place as usize).min(knots.count - 1);
        let right = (left + 1).min(knots.count - 1);
        *value -= ahead[left] + place.fract() * (ahead[right] - ahead[left]);
    }
}

/// Mean cosine between each event's phase and that of the events around it, itself left out.
///
/// Those around fade with distance; in two passes, forward and back.
pub(crate) fn predictability(time: &[f64], position: &[f64]) -> f64 {
    let size = time.len();
    let (sin, cos) = spectrum::phasors(position, 1.0);
    let mut around = vec![(0.0f32, 0.0f32); size];
    let order = |k: usize, back: bool| if back { size - 1 - k } else { k };
    for back in [false, true] {
        let (mut re, mut im) = (0.0f32, 0.0f32);
        let (mut now, mut next) = (time[order(0, back)], 0);
        for k in 0..size {
            let i = order(k, back);
            while next < k && (time[order(next, back)] - time[i]).abs() > ITSELF {
                let j = order(next, back);
                let fade = fading((time[j] - now).abs());
                re = re * fade + cos[j];
                im = im * fade + sin[j];
                now = time[j];
                next += 1;
            }
            let fade = fading((time[i] - now).abs());
            around[i].0 += im * fade;
            around[i].1 += re * fade;
        }
    }
    let mut sum = 0.0;
    for ((sin, cos), (im, re)) in sin.iter().zip(cos).zip(around) {
        let norm = (re * re + im * im).sqrt().max(1e-9);
        sum += f64::from((cos * re + sin * im) / norm);
    }
    #[expect(clippy::cast_precision_loss)]
    let mean = sum / size as f64;
    mean
}

#[expect(clippy::cast_possible_truncation)]
fn fading(seconds: f64) -> f32 {
    (-seconds / MEMORY).exp() as f32
}
