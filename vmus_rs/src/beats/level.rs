//! How many pulses make a beat, and which of them: every reading is described by what lies on its
//! beats and between them, and the likeliest is taken.

use super::events::{COLUMNS, Row};
use super::model::Model;
use super::spectrum::phasors;

/// Pulses a beat that are tried.
const PULSES: [i32; 10] = [1, 2, 3, 4, 6, 8, 9, 12, 16, 24];
/// Slowest and fastest beat, a minute.
const MIN_TEMPO: f64 = 40.0;
const MAX_TEMPO: f64 = 180.0;
/// A column more than the events': that there is one.
const SUMS: usize = COLUMNS + 1;
/// Beats, their halves, quarters and thirds.
const PLACES: usize = 4;
/// Columns that tell beats of a bar apart: onsets, low ones, their length, loudness, six changes.
const BAR_COLUMNS: [usize; 10] = [0, 1, 6, 8, 11, 12, 13, 14, 15, 16];
/// Tempi that bumps sit on, an octave's quarter wide.
const TEMPI: [f64; 8] = [50.0, 60.0, 70.0, 82.0, 97.0, 115.0, 135.0, 160.0];
/// Distances between events that are counted, in beats.
const GAPS: [f64; 6] = [0.2, 0.3, 0.4, 0.6, 0.85, 1.2];
/// Sixteenths that prevail less are finer than the player is exact, and explain nothing: what that
/// costs a reading, beyond what POP909's exact songs can teach.
const INEXACT: f32 = 0.85;
const INEXACT_COST: f32 = 12.0;
/// Beats that are told apart: bars of two, three and four fit.
const BAR: usize = 12;
/// What a reading is described by.
pub const FEATURES: usize =
    PLACES * SUMS + 1 + 3 * BAR_COLUMNS.len() + TEMPI.len() + 2 + GAPS.len() + 1 + 4 + 2;

/// So many pulses make a beat, and those `phase` behind a multiple of them are beats.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reading {
    /// Pulses a beat.
    pub pulses: i32,
    /// 0..`pulses`.
    pub phase: i32,
}

/// All readings of a pulse of `rate` a second at 40 to 180 beats a minute.
pub(crate) fn readings(rate: f64) -> impl Iterator<Item = i32> {
    let is_possible = move |p: &i32| {
        let tempo = 60.0 * rate / f64::from(*p);
        (MIN_TEMPO..=MAX_TEMPO).contains(&tempo)
    };
    PULSES.into_iter().filter(is_possible)
}

/// The pulse that each event is nearest to.
#[expect(clippy::cast_possible_truncation)]
pub(crate) fn slots(position: &[f64]) -> Vec<i64> {
    position.iter().map(|x| x.round() as i64).collect()
}

/// Of all sixteenths that an onset may be at, how much those near one phase prevail, in single precision.
fn concentration(position: &[f64], scale: f64) -> f32 {
    let (sin, cos) = phasors(position, scale);
    let (re, im) = (cos.iter().sum::<f32>(), sin.iter().sum::<f32>());
    #[expect(clippy::cast_precision_loss)]
    let size = position.len().max(1) as f32;
    re.hypot(im) / size
}

/// Describes all readings with `pulses` a beat, phase by phase.
///
/// `position`: pulses of the events, and `slot` the nearest whole ones; `rate`: pulses a second.
#[expect(clippy::cast_precision_loss, clippy::cast_possible_truncation)]
pub(crate) fn describe(
    position: &[f64],
    slot: &[i64],
    rows: &[Row],
    rate: f64,
    pulses: i32,
) -> Vec<[f32; FEATURES]> {
    let p = usize::try_from(pulses).unwrap_or(1).max(1);
    let sums = fold(slot, rows, BAR * p);
    let mut single = vec![[0.0f32; SUMS]; p];
    for (place, sum) in sums.iter().enumerate() {
        single[place % p].iter_mut().zip(sum).for_each(|(s, x)| *s += x);
    }
    let beats = ((slot[slot.len() - 1] - slot[0]) as f64 / p as f64).max(1.0);
    let per_beat = (1.0 / beats) as f32;
    let tempo = 60.0 * rate / p as f64;
    let near = TEMPI.map(|centre| {
        let octaves = (tempo / centre).log2();
        (-0.5 * (octaves / 0.25).powi(2)).exp() as f32
    });
    let exact = concentration(position, 4.0 / p as f64).max(0.05);
    let gaps = gaps(slot, p);
    (0..p)
        .map(|phase| {
            let mut out = Out { values: [0.0; FEATURES], next: 0 };
            // What lies so far behind a beat, on the mean.
            let at = |share: usize, parts: usize| (phase + p * share / parts) % p;
            let mut counted = 0.0;
            let shares: [(usize, &[usize]); PLACES] =
                [(1, &[0]), (2, &[1]), (4, &[1, 3]), (3, &[1, 2])];
            for (parts, places) in shares {
                let mut values = [0.0f32; SUMS];
                if p % parts == 0 {
                    for &k in places {
                        let sums = &single[at(k, parts)];
                        values.iter_mut().zip(sums).for_each(|(v, x)| *v += x * per_beat);
                    }
                }
                for value in values {
                    out.push(value);
                }
                counted += values[SUMS - 1];
            }
            out.push(slot.len() as f32 * per_beat - counted);
            let places: [usize; BAR] = std::array::from_fn(|k| (phase + k * p) % (BAR * p));
            for column in BAR_COLUMNS {
                let beats = places.map(|place| sums[place][column] * per_beat);
                // Every second beat, every third, every fourth: how much the likeliest stands out.
                for size in [2, 3, 4] {
                    let one = |first: usize| {
                        beats[first..].iter().step_by(size).sum::<f32>() * size as f32
                    };
                    let most = (0..size).map(one).fold(f32::MIN, f32::max);
                    out.push(most - (0..size).map(one).sum::<f32>() / size as f32);
                }
            }
            for value in near {
                out.push(value);
            }
            let density = (slot.len() as f64 / beats).ln();
            out.push(density as f32);
            out.push((density * density) as f32);
            for gap in gaps {
                out.push(gap);
            }
            for flag in [p % 3 == 0, p % 2 == 0, p % 4 == 0, p == 1] {
                out.push(f32::from(u8::from(flag)));
            }
            out.push(exact);
            out.push(exact.ln());
            out.values
        })
        .collect()
}

struct Out {
    values: [f32; FEATURES],
    next: usize,
}

impl Out {
    fn push(&mut self, value: f32) {
        if let Some(slot) = self.values.get_mut(self.next) {
            *slot = value;
        }
        self.next += 1;
    }
}

/// Sums of the events' columns at each place of so many pulses.
fn fold(slot: &[i64], rows: &[Row], bar: usize) -> Vec<[f32; SUMS]> {
    let mut sums = vec![[0.0f32; SUMS]; bar];
    for (&at, row) in slot.iter().zip(rows) {
        let place = usize::try_from(at.rem_euclid(i64::try_from(bar).unwrap_or(1))).unwrap_or(0);
        let sum = &mut sums[place];
        for (s, x) in sum.iter_mut().zip(row) {
            *s += x;
        }
        sum[COLUMNS] += 1.0;
    }
    sums
}

/// The share of the events that follow the one before at each distance.
#[expect(clippy::cast_precision_loss)]
fn gaps(slot: &[i64], p: usize) -> [f32; GAPS.len() + 1] {
    let mut number = [0.0f32; GAPS.len() + 1];
    for pair in slot.windows(2) {
        let beats = (pair[1] - pair[0]) as f64 / p as f64;
        number[GAPS.iter().filter(|&&gap| beats > gap).count()] += 1.0;
    }
    let all = (slot.len() as f32 - 1.0).max(1.0);
    number.map(|count| count / all)
}

/// The likeliest reading with its score.
///
/// `position`: pulses of the events; `rows`, `rate` as in [`describe`].
pub(crate) fn choose(
    position: &[f64],
    rows: &[Row],
    rate: f64,
    pulses: impl Iterator<Item = i32>,
    model: &Model,
) -> Option<(Reading, f32)> {
    let slot = slots(position);
    let mut best: Option<(Reading, f32)> = None;
    for p in pulses {
        for (phase, features) in (0..).zip(describe(position, &slot, rows, rate, p)) {
            let inexact = (INEXACT - features[FEATURES - 2]).max(0.0);
            let score = model.level(&features) - INEXACT_COST * inexact;
            if best.is_none_or(|(_, most)| score > most) {
                best = Some((Reading { pulses: p, phase }, score));
            }
        }
    }
    best
}
