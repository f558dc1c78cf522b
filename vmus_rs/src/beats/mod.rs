//! Tempo, beats and bars of notes in time.
//!
//! Three steps: the pulse that the onsets follow, by the likeliest path through its spectrum
//! (`spectrum`, `pulse`); how many pulses make a beat and which are beats (`level`), where the tempo
//! drifts with the beats tracked one by one (`track`), and a closer look at the sixteenths (`pulse`,
//! `swing`); which beats begin a bar (`metre`). What is fitted is fitted on POP909 alone, by
//! `python -m vmusprod.dataset.metre_fit`.

mod dense;
mod events;
mod level;
mod metre;
mod model;
mod phase;
mod pulse;
mod smooth;
mod spectrum;
mod steady;
mod swing;
mod track;

use std::ops::Range;

use crate::quantize::{TimedNotes, check_notes};
use crate::{Error, Result};
use events::Events;
pub use level::{FEATURES as READING_FEATURES, Reading};
pub use metre::FEATURES as BEAT_FEATURES;
use model::Model;
pub use model::{CLASSES, PARTS};
pub use pulse::Pulse;
use swing::Swing;
pub use track::FEATURES as EVENT_FEATURES;

/// Seconds; about a beat, in which what events are is measured before the beat is known.
const UNIT: f64 = 0.75;
/// Notes that start so long before or after a stretch's events belong to it.
const MARGIN: f64 = 0.1;
/// Longest piece, in seconds: what is kept of each moment fits into memory then.
const LONGEST: f64 = 172_800.0;
/// Sixteenths a beat.
const SIXTEENTHS: usize = 4;

/// A part of a piece with a tempo of its own, and where its sixteenths and bars lie.
#[derive(Clone, Debug, PartialEq)]
pub struct Stretch {
    /// The notes that start in it.
    pub notes: Range<usize>,
    /// Seconds of successive sixteenths, increasing.
    pub times: Vec<f64>,
    /// Indices into `times` of those that make up whole bars.
    pub kept: Vec<usize>,
    /// How closely the onsets follow: 1 on the grid, near 0 for noise.
    pub concentration: f64,
    /// 4, or 3.
    pub beats_a_bar: usize,
}

/// The stretches of a piece in order: most have one, tutorials a second and slower one.
///
/// A stretch has 16 events and 6 seconds at least; onsets must not decrease.
///
/// # Errors
///
/// [`Error`] for slices of unequal length, times that are not finite, decrease or span over two
/// days, pitches or velocities above 127.
pub fn stretches(notes: TimedNotes<'_>) -> Result<Vec<Stretch>> {
    let model = Model::fitted();
    let pulses = pulses(notes)?;
    Ok(pulses.into_iter().filter_map(|pulse| stretch(notes, pulse, model)).collect())
}

/// The pulses alone that [`stretches`] finds first.
///
/// # Errors
///
/// [`Error`] as [`stretches`].
pub fn pulses(notes: TimedNotes<'_>) -> Result<Vec<Pulse>> {
    check(notes)?;
    let events = Events::of(notes.onset);
    Ok(pulse::track(&events, &events.weights()))
}

/// All readings of a pulse and what describes each: what the choice of the beat is fitted to.
///
/// # Errors
///
/// [`Error`] as [`stretches`], and for a pulse whose times or counts do not increase.
pub fn readings(
    notes: TimedNotes<'_>,
    pulse: &Pulse,
) -> Result<Vec<(Reading, [f32; READING_FEATURES])>> {
    check(notes)?;
    increasing("times", &pulse.times)?;
    increasing("count", &pulse.count)?;
    if pulse.times.len() != pulse.count.len() {
        return Err(Error::LengthMismatch {
            first: "times",
            expected: pulse.times.len(),
            second: "count",
            actual: pulse.count.len(),
        });
    }
    let events = Events::of(notes.onset);
    if events.len() == 0 {
        return Ok(Vec::new());
    }
    let rows = events::table(notes, &events, UNIT);
    let position = pulse.positions(events.time.iter().copied());
    let slot = level::slots(&position);
    let rate = pulse.rate();
    let described = level::readings(rate).flat_map(|pulses| {
        let features = level::describe(&position, &slot, &rows, rate, pulses);
        (0..).zip(features).map(move |(phase, row)| (Reading { pulses, phase }, row))
    });
    Ok(described.collect())
}

/// When the events are and what decides their strength; `beat`: the usual beat, in seconds.
///
/// # Errors
///
/// [`Error`] as [`stretches`], and for a beat that is no positive finite number.
pub fn event_features(
    notes: TimedNotes<'_>,
    beat: f64,
) -> Result<(Vec<f64>, Vec<[f32; EVENT_FEATURES]>)> {
    check(notes)?;
    if !(beat.is_finite() && beat > 0.0) {
        let actual = format!("{beat:?}");
        let must = "a positive finite number";
        return Err(Error::Value { name: "beat", index: None, must, actual });
    }
    let events = Events::of(notes.onset);
    if events.len() == 0 {
        return Ok((Vec::new(), Vec::new()));
    }
    let rows = events::table(notes, &events, UNIT);
    let features = track::describe(&events.time, &rows, beat);
    Ok((events.time, features))
}

/// What the notes do at each of the beats: what the downbeats are found by.
///
/// # Errors
///
/// [`Error`] as [`stretches`], and for fewer than two beats or beats that do not increase.
pub fn beat_features(notes: TimedNotes<'_>, beats: &[f64]) -> Result<Vec<[f32; BEAT_FEATURES]>> {
    check(notes)?;
    increasing("beats", beats)?;
    Ok(rows_at(notes, beats))
}

/// Which of known beats begin a bar, and how many beats a bar has, 3 or 4.
///
/// # Errors
///
/// [`Error`] as [`beat_features`].
pub fn downbeats(notes: TimedNotes<'_>, beats: &[f64]) -> Result<(Vec<usize>, usize)> {
    let rows = beat_features(notes, beats)?;
    Ok(metre::bars(&metre::odds(&rows, Model::fitted())))
}

/// Log odds of each beat being a downbeat, before bars are made of them.
///
/// # Errors
///
/// [`Error`] as [`beat_features`].
pub fn downbeat_odds(notes: TimedNotes<'_>, beats: &[f64]) -> Result<Vec<f32>> {
    Ok(metre::odds(&beat_features(notes, beats)?, Model::fitted()))
}

fn rows_at(notes: TimedNotes<'_>, beats: &[f64]) -> Vec<metre::Row> {
    #[expect(clippy::cast_precision_loss)]
    let numbers: Vec<f64> = (0..beats.len()).map(|k| (SIXTEENTHS * k) as f64).collect();
    let onset = pulse::continued(notes.onset.iter().copied(), beats, &numbers);
    let offset = pulse::continued(notes.offset.iter().copied(), beats, &numbers);
    metre::describe(&onset, &offset, notes, beats.len())
}

/// The grid of the notes along one pulse; none if it has no reading at a usual tempo.
fn stretch(all: TimedNotes<'_>, mut pulse: Pulse, model: &Model) -> Option<Stretch> {
    let low = all.onset.partition_point(|&t| t < pulse.start - MARGIN);
    let high = all.onset.partition_point(|&t| t <= pulse.end + MARGIN);
    let notes = TimedNotes {
        onset: all.onset.get(low..high)?,
        offset: all.offset.get(low..high)?,
        pitch: all.pitch.get(low..high)?,
        velocity: all.velocity.get(low..high)?,
    };
    let events = Events::of(notes.onset);
    if events.len() == 0 {
        return None;
    }
    let (rows, weight) = (events::table(notes, &events, UNIT), events.weights());
    let choose = |pulse: &Pulse| {
        let (position, rate) = (pulse.positions(events.time.iter().copied()), pulse.rate());
        level::choose(&position, &rows, rate, level::readings(rate), model)
    };
    let (mut reading, _) = choose(&pulse)?;
    if !pulse.is_constant() {
        // The pulse may have slipped where the tempo moved; the beat of its usual length has not.
        let beat = f64::from(reading.pulses) / pulse.rate();
        let described = track::describe(&events.time, &rows, beat);
        let strength: Vec<u8> = described.iter().map(|row| model.strength(row)).collect();
        let beats = track::track(&events.time, &strength, beat, model);
        pulse = pulse::of_beats(&events.time, &weight, &beats);
        (reading, _) = choose(&pulse)?;
    }
    let (sixteenth, swing) = followed(&pulse, reading, &events.time, &weight);
    let placed = |times: &[f64]| -> Vec<f64> {
        let at = sixteenth.positions(times.iter().copied());
        at.into_iter().map(|x| swing.straight(x)).collect()
    };
    let (mut onset, mut offset) = (placed(notes.onset), placed(notes.offset));
    // The first beat lies one to two beats before the first note.
    let first = ((onset[0] / 4.0).floor() - 1.0) * 4.0;
    onset.iter_mut().chain(&mut offset).for_each(|x| *x -= first);
    let latest = onset.iter().copied().fold(0.0, f64::max);
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
    let last = latest.ceil() as usize + 1;
    let beats = last / SIXTEENTHS + 2;
    let odds = metre::odds(&metre::describe(&onset, &offset, notes, beats), model);
    let (starts, size) = metre::bars(&odds);
    let bars = whole_bars(&starts, size, onset[0], last);
    let (begin, end) = (*bars.first()?, *bars.last()?);
    #[expect(clippy::cast_possible_truncation)]
    let first = first as i64;
    let times = sixteenth.seconds((begin..=end).map(|k| swing.line(k + first)));
    let fit = pulse.fit.min(concentration(&onset));
    let kept = kept(&bars, size);
    Some(Stretch { notes: low..high, times, kept, concentration: fit.max(0.0), beats_a_bar: size })
}

/// Where the sixteenths of a reading come in time, its pulse corrected to the onsets once more, and
/// their swing, which is no change of tempo.
fn followed(pulse: &Pulse, reading: Reading, time: &[f64], weight: &[f32]) -> (Pulse, Swing) {
    let scale = 4.0 / f64::from(reading.pulses);
    let mut sixteenth = pulse.scaled(scale, f64::from(reading.phase));
    let position = sixteenth.positions(time.iter().copied());
    let swing = Swing::of(&position, weight);
    if pulse.is_constant() {
        return (sixteenth, swing);
    }
    let straight: Vec<f64> = position.iter().map(|&x| swing.straight(x)).collect();
    sixteenth.close(time, weight, &straight);
    let swing = Swing::of(&sixteenth.positions(time.iter().copied()), weight);
    (sixteenth, swing)
}

/// Sixteenths at which bars begin, from the one of the first note to one behind sixteenth `last`.
///
/// Regular bars go before the first downbeat and behind the last.
#[expect(clippy::cast_possible_wrap)]
fn whole_bars(starts: &[usize], size: usize, first_note: f64, last: usize) -> Vec<i64> {
    let (head, tail) = (starts[0], starts[starts.len() - 1] + size);
    let before = (0..=head / size + 1).rev().map(|k| head as i64 - ((k + 1) * size) as i64);
    let after = (tail..last / SIXTEENTHS + 2 * size).step_by(size);
    let beats = before.chain(starts.iter().map(|&k| k as i64)).chain(after.map(|k| k as i64));
    let bars: Vec<i64> = beats.map(|beat| SIXTEENTHS as i64 * beat).collect();
    #[expect(clippy::cast_precision_loss)]
    let from = bars.partition_point(|&bar| bar as f64 <= first_note + 0.5).saturating_sub(1);
    let to = bars.partition_point(|&bar| bar < last as i64);
    bars[from..=to.max(from + 1).min(bars.len() - 1)].to_vec()
}

/// Sixteenths since the first bar that lie in whole bars.
fn kept(bars: &[i64], size: usize) -> Vec<usize> {
    let bar = SIXTEENTHS * size;
    let mut kept = Vec::new();
    for pair in bars.windows(2) {
        let offset = |k: usize| usize::try_from(pair[k] - bars[0]).unwrap_or(0);
        let whole = (offset(1) - offset(0)) / bar * bar;
        kept.extend(offset(0)..offset(0) + whole);
    }
    if kept.is_empty() {
        // Nothing but short bars: they are taken as one.
        kept.extend(0..bar);
    }
    kept
}

/// |mean exp(2 pi i position)|.
fn concentration(position: &[f64]) -> f64 {
    let (mut re, mut im) = (0.0, 0.0);
    for x in position {
        let (sin, cos) = spectrum::cis_of(*x);
        re += cos;
        im += sin;
    }
    #[expect(clippy::cast_precision_loss)]
    let size = position.len().max(1) as f64;
    re.hypot(im) / size
}

fn check(notes: TimedNotes<'_>) -> Result<()> {
    check_notes(notes)?;
    let onset = notes.onset;
    if let Some(i) = (1..onset.len()).find(|&i| onset[i] < onset[i - 1]) {
        return Err(Error::Value {
            name: "onset",
            index: Some(i),
            must: "no earlier than the one before it",
            actual: format!("{:?} after {:?}", onset[i], onset[i - 1]),
        });
    }
    let span = onset.last().zip(onset.first()).map_or(0.0, |(last, first)| last - first);
    if span > LONGEST || onset.iter().any(|t| t.abs() > 1e9) {
        let actual = format!("{span:?} from first to last");
        return Err(Error::Value { name: "onset", index: None, must: "within two days", actual });
    }
    Ok(())
}

fn increasing(name: &'static str, values: &[f64]) -> Result<()> {
    if values.len() < 2 {
        return Err(Error::Shape { name, expected: "(N,), N >= 2", actual: vec![values.len()] });
    }
    if let Some(i) = values.iter().position(|x| !x.is_finite()) {
        let actual = format!("{:?}", values[i]);
        return Err(Error::Value { name, index: Some(i), must: "finite", actual });
    }
    match (1..values.len()).find(|&i| values[i] <= values[i - 1]) {
        Some(i) => Err(Error::Value {
            name,
            index: Some(i),
            must: "later than the one before it",
            actual: format!("{:?} after {:?}", values[i], values[i - 1]),
        }),
        None => Ok(()),
    }
}
