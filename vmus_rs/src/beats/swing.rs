//! Swing: the places of a beat that a player is early or late at throughout.

use std::f64::consts::TAU;

use super::spectrum::cis_of;

/// So many sixteenths to a beat.
const PLACES: usize = 4;
/// Weight of onsets that are on time, which every place has besides its own.
const PRIOR: f64 = 10.0;
/// Sixteenths; no place is farther off.
const MOST: f64 = 0.25;
/// Sixteenths; places that are late by less are on time.
const LEAST: f64 = 0.03;
/// Onsets are assigned to places, and places moved, so many times.
const PASSES: usize = 2;

/// How late the sixteenths of each beat are, in sixteenths.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Swing([f64; PLACES]);

impl Swing {
    /// The swing of events at `position` in sixteenths from a beat.
    pub(crate) fn of(position: &[f64], weight: &[f32]) -> Self {
        let mut swing = Self::default();
        for _ in 0..PASSES {
            let mut sums = [(0.0, PRIOR); PLACES];
            for (&x, &w) in position.iter().zip(weight) {
                let straight = swing.straight(x);
                let (sin, cos) = cis_of(straight);
                let sum = &mut sums[place(nearest(straight))];
                sum.0 += f64::from(w) * sin;
                sum.1 += f64::from(w) * cos;
            }
            for (late, (sin, cos)) in swing.0.iter_mut().zip(sums) {
                *late = (*late + sin.atan2(cos) / TAU).clamp(-MOST, MOST);
            }
        }
        swing.0.iter_mut().filter(|late| late.abs() < LEAST).for_each(|late| *late = 0.0);
        swing
    }

    /// Where a sixteenth comes.
    pub(crate) fn line(&self, line: i64) -> f64 {
        as_float(line) + self.0[place(line)]
    }

    /// The position among evenly spaced sixteenths of what lies at `x` among the swung.
    pub(crate) fn straight(&self, x: f64) -> f64 {
        let mut line = floor(x);
        if x < self.line(line) {
            line -= 1;
        } else if x >= self.line(line + 1) {
            line += 1;
        }
        let (low, high) = (self.line(line), self.line(line + 1));
        as_float(line) + (x - low) / (high - low)
    }
}

fn place(line: i64) -> usize {
    usize::try_from(line.rem_euclid(4)).unwrap_or(0)
}

fn nearest(x: f64) -> i64 {
    floor(x + 0.5)
}

#[expect(clippy::cast_possible_truncation)] // saturates
fn floor(x: f64) -> i64 {
    x.floor() as i64
}

#[expect(clippy::cast_precision_loss)] // far below 2^53
fn as_float(line: i64) -> f64 {
    line as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn late_offbeats_are_found_and_undone() {
        let late = [0.0, 0.1, -0.05, 0.2];
        let played: Vec<f64> = (-40i64..400).map(|k| as_float(k) + late[place(k)]).collect();
        let swing = Swing::of(&played, &[3.0; 440]);
        for (found, late) in swing.0.iter().zip(late) {
            assert!((found - late).abs() < 0.01, "{found} {late}");
        }
        for (k, &x) in (-40i64..400).zip(&played) {
            assert!((swing.straight(x) - as_float(k)).abs() < 0.01);
            assert!((swing.straight(swing.line(k)) - as_float(k)).abs() < 1e-9);
        }
    }

    #[test]
    fn no_events_have_no_swing() {
        assert_eq!(Swing::of(&[], &[]), Swing::default());
    }
}
