//! A piece's sixteenths in time, its beats and its bars.

use crate::{Error, Result, SIXTEENTHS_PER_BAR};

/// The most sixteenths that a piece may have: a day and a half at 120 bpm.
pub const MAX_LINES: usize = 1 << 20;
/// Lines before time 0 follow each other by this, in seconds: an upbeat that begins before the
/// recording does has to go somewhere.
const SQUEEZED: f64 = 0.001;
/// So many lines are looked through one by one.
const NEAR: usize = 24;

/// When sixteenths come, and which of them are beats.
#[derive(Clone, Copy, Debug)]
pub struct Meter<'a> {
    lines: &'a [f64],
    beats: &'a [i32],
    /// The place of each beat in its bar, from 1.
    pub places: &'a [u8],
}

impl<'a> Meter<'a> {
    /// `lines`: seconds of successive sixteenths, increasing; those at the beginning may be before
    /// 0. `beats`: the line of each beat, the first at line 0, and where the last one ends. `places`
    /// of each beat in its bar, from 1: a beat of place 1 begins a bar, whatever went before.
    ///
    /// # Errors
    ///
    /// [`Error`] where these are not so.
    pub fn new(lines: &'a [f64], beats: &'a [i32], places: &'a [u8]) -> Result<Self> {
        let bad = |name, index, must, actual: String| {
            Err(Error::Value { name, index: Some(index), must, actual })
        };
        if !(2..=MAX_LINES).contains(&lines.len()) {
            let (expected, actual) = ("(2 to 1048576,)", vec![lines.len()]);
            return Err(Error::Shape { name: "lines", expected, actual });
        }
        if let Some(i) = lines.iter().position(|t| !t.is_finite()) {
            return bad("lines", i, "finite", format!("{:?}", lines[i]));
        }
        if let Some(i) = lines.windows(2).position(|pair| pair[0] >= pair[1]) {
            return bad("lines", i + 1, "above the one before", format!("{:?}", lines[i + 1]));
        }
        if beats.len() != places.len() + 1 || places.is_empty() {
            let (expected, actual) = (places.len().max(1) + 1, beats.len());
            return Err(Error::LengthMismatch {
                first: "places, and one",
                expected,
                second: "beats",
                actual,
            });
        }
        if beats[0] != 0 {
            return bad("beats", 0, "0", beats[0].to_string());
        }
        if let Some(i) = beats.windows(2).position(|pair| pair[0] >= pair[1]) {
            return bad("beats", i + 1, "above the one before", beats[i + 1].to_string());
        }
        let last = beats.len() - 1;
        if usize::try_from(beats[last]).is_ok_and(|line| line >= lines.len()) {
            return bad("beats", last, "one of the lines", beats[last].to_string());
        }
        if let Some(i) = places.iter().position(|&place| place == 0) {
            return bad("places", i, "1 or more", "0".into());
        }
        Ok(Self { lines, beats, places })
    }

    /// Where the last beat ends.
    pub(super) fn last_line(&self) -> i32 {
        self.beats[self.beats.len() - 1]
    }

    /// How many beats.
    pub(super) fn count(&self) -> usize {
        self.places.len()
    }

    /// First line and the line behind the last of a beat.
    pub(super) fn span(&self, beat: usize) -> (i32, i32) {
        (self.beats[beat], self.beats[beat + 1])
    }

    /// Sixteenths from line 0 at times, with the outermost spacing beyond the ends.
    pub(super) fn positions(&self, onset: &[f64], offset: &[f64]) -> (Vec<f64>, Vec<f64>) {
        // Each is sought from the last onset's line on: notes are in order, and short.
        let mut line = 1;
        let mut both = (Vec::with_capacity(onset.len()), Vec::with_capacity(offset.len()));
        for (&start, &stop) in onset.iter().zip(offset) {
            line = self.line_after(start, line);
            both.0.push(self.between(start, line));
            both.1.push(self.between(stop, self.line_after(stop, line)));
        }
        both
    }

    /// The first line that comes after a time, sought from a line on; inner lines only.
    fn line_after(&self, seconds: f64, from: usize) -> usize {
        let inner = &self.lines[..self.lines.len() - 1];
        let from = from.min(inner.len());
        let next = if self.lines[from - 1] <= seconds {
            let near = inner[from..].iter().take(NEAR).take_while(|&&t| t <= seconds).count();
            if near < NEAR {
                from + near
            } else {
                from + near + inner[from + near..].partition_point(|&t| t <= seconds)
            }
        } else {
            inner[..from].partition_point(|&t| t <= seconds)
        };
        next.max(1)
    }

    fn between(&self, seconds: f64, after: usize) -> f64 {
        let (low, high) = (self.lines[after - 1], self.lines[after]);
        #[expect(clippy::cast_precision_loss)] // at most MAX_LINES
        let whole = (after - 1) as f64;
        whole + (seconds - low) / (high - low)
    }

    /// When a line comes, on the clock of the files: from 0 on, increasing.
    pub(super) fn seconds(&self, line: i32) -> f64 {
        let raw = usize::try_from(line).ok().and_then(|i| self.lines.get(i));
        if line == 0 {
            return 0.0;
        }
        raw.map_or(
            0.0,
            |&t| if self.lines[0] < 0.0 { t.max(SQUEEZED * f64::from(line)) } else { t },
        )
    }

    /// When a line would come if time had no beginning.
    pub(super) fn raw_seconds(&self, line: i32) -> f64 {
        usize::try_from(line).ok().and_then(|i| self.lines.get(i)).copied().unwrap_or(0.0)
    }

    /// The beat that begins the bar in which a line lies.
    pub(super) fn bar_of(&self, line: i32) -> usize {
        let mut beat = self.beats.partition_point(|&b| b <= line).clamp(1, self.count()) - 1;
        while beat > 0 && self.places[beat] != 1 {
            beat -= 1;
        }
        beat
    }

    /// The beats that begin bars, the first beat and the end among them: indices of beats.
    pub(super) fn bars(&self) -> Vec<usize> {
        let inner = (1..self.count()).filter(|&b| self.places[b] == 1);
        [0].into_iter().chain(inner).chain([self.count()]).collect()
    }

    /// For each line up to the last, where it comes if every bar begins at a multiple of 16; one
    /// that the piece begins within ends at one.
    pub(super) fn in_long_bars(&self) -> Vec<i32> {
        let mut laid = vec![0; self.beats_end() + 1];
        let mut start = 0;
        for pair in self.bars().windows(2) {
            let (from, to) = (self.beats[pair[0]], self.beats[pair[1]]);
            let whole =
                (to - from + SIXTEENTHS_PER_BAR - 1) / SIXTEENTHS_PER_BAR * SIXTEENTHS_PER_BAR;
            let shift = if self.places[pair[0]] == 1 { 0 } else { whole - (to - from) };
            for line in from..=to {
                laid[super::index(line)] = start + shift + line - from;
            }
            start += whole;
        }
        laid
    }

    /// For each line up to the last, where it comes if every beat has four sixteenths.
    pub(super) fn in_equal_beats(&self) -> Vec<i32> {
        let mut laid = vec![0; self.beats_end() + 1];
        let mut start = 0;
        for pair in self.beats.windows(2) {
            let length = pair[1] - pair[0];
            for line in 0..=length {
                laid[super::index(pair[0] + line)] = start + (8 * line + length) / (2 * length);
            }
            start += 4;
        }
        laid
    }

    fn beats_end(&self) -> usize {
        super::index(self.last_line())
    }

    /// What the beats from one on are in a bar of four: 0 the downbeat, 2 the other strong one.
    pub(super) fn chord_places(&self, first: usize) -> Vec<u8> {
        let mut result = Vec::with_capacity(self.count() - first);
        for pair in self.bars().windows(2) {
            let size = pair[1] - pair[0];
            for beat in pair[0].max(first)..pair[1] {
                let place = self.places[beat] - 1;
                result.push(match (size, place) {
                    (2, 1) => 2,
                    (3, 2) => 3,
                    _ => place % 4,
                });
            }
        }
        result
    }
}

/// The nearest line, halves up.
pub(super) fn nearest(position: f64) -> i64 {
    #[expect(clippy::cast_possible_truncation)] // saturates
    let line = (position + 0.5).floor() as i64;
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lays_out_bars_of_any_length() -> crate::Result<()> {
        let lines: Vec<f64> = (0..40).map(f64::from).collect();
        // An upbeat of one quarter, a bar of two dotted quarters, one of two quarters.
        let meter = Meter::new(&lines, &[0, 4, 10, 16, 20, 24], &[4, 1, 2, 1, 2])?;
        let laid = meter.in_long_bars();
        assert_eq!(
            [laid[0], laid[3], laid[4], laid[15], laid[16], laid[24]],
            [12, 15, 16, 27, 32, 40]
        );
        let equal = meter.in_equal_beats();
        assert_eq!([equal[4], equal[7], equal[10], equal[16], equal[20]], [4, 6, 8, 12, 16]);
        assert_eq!(meter.chord_places(0), [3, 0, 2, 0, 2]);
        assert_eq!(meter.bar_of(12), 1);
        assert_eq!(meter.bar_of(2), 0);
        Ok(())
    }

    #[test]
    fn time_begins_at_zero() -> crate::Result<()> {
        let meter = Meter::new(&[-0.2, -0.1, 0.001, 0.1, 0.2], &[0, 4], &[1])?;
        let clock: Vec<f64> = (0..5).map(|line| meter.seconds(line)).collect();
        assert_eq!(clock, [0.0, 0.001, 0.002, 0.1, 0.2]);
        let (start, stop) = meter.positions(&[0.0505, 0.1, -0.3], &[0.4, 0.1, 0.2]);
        for (found, expected) in start.iter().chain(&stop).zip([2.5, 3.0, -1.0, 6.0, 3.0, 4.0]) {
            assert!((found - expected).abs() < 1e-9, "{found} {expected}");
        }
        Ok(())
    }

    #[test]
    fn refuses_what_is_no_meter() {
        let lines = [0.0, 0.1, 0.2, 0.3, 0.4];
        assert!(Meter::new(&lines, &[0, 4], &[1]).is_ok());
        for (beats, places) in [
            (&[0, 5][..], &[1][..]),
            (&[0], &[]),
            (&[1, 4], &[1]),
            (&[0, 4], &[0]),
            (&[0, 4, 4], &[1, 2]),
        ] {
            assert!(Meter::new(&lines, beats, places).is_err(), "{beats:?}");
        }
        assert!(Meter::new(&[0.0, 0.0], &[0, 1], &[1]).is_err());
        assert!(Meter::new(&[0.0, f64::NAN], &[0, 1], &[1]).is_err());
    }
}
