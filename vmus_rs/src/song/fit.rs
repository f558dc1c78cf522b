//! How well beats fit the onsets.

use std::f64::consts::TAU;

use super::meter::{Meter, nearest};

/// Windows to judge the fit in, in seconds; those with fewer onsets say nothing.
const WINDOW: f64 = 10.0;
const LEAST: usize = 8;
/// A window fits from this concentration on: noise has about 0.4.
const GOOD: f64 = 0.6;

/// How well beats fit the onsets.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Fit {
    /// |mean exp(2 pi i position)| over the onsets, positions in sixteenths: 1 on the grid.
    pub concentration: f64,
    /// Windows of 10 s with 8 onsets or more.
    pub windows: usize,
    /// Those whose concentration is above 0.6.
    pub good_windows: usize,
    /// How far the onsets are from their sixteenths, in seconds: mean and most.
    pub mean_moved: f64,
    /// The same, of the one farthest off.
    pub most_moved: f64,
}

impl Fit {
    /// `onset` in seconds, sorted, and its `position` in sixteenths.
    pub(super) fn new(onset: &[f64], position: &[f64], meter: &Meter<'_>) -> Self {
        let Some(&first) = onset.first() else { return Self::default() };
        let mut fit = Self::default();
        let mut all = Phases::default();
        #[expect(clippy::cast_possible_truncation)] // saturates
        let window = |t: f64| ((t - first) / WINDOW).floor() as i64;
        let mut rest = position;
        for together in onset.chunk_by(|&a, &b| window(a) == window(b)) {
            let (own, others) = rest.split_at(together.len());
            rest = others;
            let own = Phases::of(own);
            all.add(&own);
            if own.count >= LEAST {
                fit.windows += 1;
                fit.good_windows += usize::from(own.concentration() > GOOD);
            }
        }
        fit.concentration = all.concentration();
        for (&t, &at) in onset.iter().zip(position) {
            let line = i32::try_from(nearest(at)).unwrap_or(i32::MAX);
            let moved = (meter.raw_seconds(line) - t).abs();
            fit.mean_moved += moved;
            fit.most_moved = fit.most_moved.max(moved);
        }
        fit.mean_moved /= size(onset.len());
        fit
    }
}

/// Sums over phases in the sixteenth.
#[derive(Default)]
struct Phases {
    sin: f64,
    cos: f64,
    count: usize,
}

impl Phases {
    fn of(position: &[f64]) -> Self {
        let mut sum = Self { count: position.len(), ..Self::default() };
        // The notes of a chord have one phase.
        let (mut last, mut phase) = (f64::NAN, (0.0, 0.0));
        for &at in position {
            if at.total_cmp(&last).is_ne() {
                (last, phase) = (at, (TAU * at.fract()).sin_cos());
            }
            sum.sin += phase.0;
            sum.cos += phase.1;
        }
        sum
    }

    fn add(&mut self, other: &Self) {
        self.sin += other.sin;
        self.cos += other.cos;
        self.count += other.count;
    }

    fn concentration(&self) -> f64 {
        f64::hypot(self.sin, self.cos) / size(self.count.max(1))
    }
}

#[expect(clippy::cast_precision_loss)] // numbers of notes
fn size(count: usize) -> f64 {
    count as f64
}
