//! Events: the notes that start together, and what they are.

use crate::quantize::TimedNotes;

/// Onsets closer than this to the one before are one event, in seconds.
const CHORD: f64 = 0.03;
/// The lowest and highest such share of the notes counts as low, and as high.
const SHARE: f64 = 0.3;
/// Events to either side that loudness is compared with.
const LOUD_AROUND: usize = 8;
/// Spans of harmony before and after an event that are compared, in units.
const SPANS: [f64; 3] = [1.0, 2.0, 4.0];

/// Columns of [`table`].
pub(crate) const COLUMNS: usize = 19;
pub(crate) type Row = [f32; COLUMNS];

/// When events are, and the notes in them.
pub(crate) struct Events {
    /// Mean onset of each event's notes, in seconds; increasing.
    pub(crate) time: Vec<f64>,
    /// First note of each event, and the number of notes at the end.
    pub(crate) first: Vec<usize>,
}

impl Events {
    /// `onset` must not decrease.
    #[expect(clippy::cast_precision_loss)]
    pub(crate) fn of(onset: &[f64]) -> Self {
        let (mut time, mut first) = (Vec::new(), Vec::new());
        let mut start = 0;
        for end in 1..=onset.len() {
            if end < onset.len() && onset[end] - onset[end - 1] <= CHORD {
                continue;
            }
            time.push(onset[start..end].iter().sum::<f64>() / (end - start) as f64);
            first.push(start);
            start = end;
        }
        first.push(onset.len());
        Self { time, first }
    }

    pub(crate) fn len(&self) -> usize {
        self.time.len()
    }

    /// A chord counts for more than a note, but not for as many: the root of its number of notes.
    #[expect(clippy::cast_precision_loss)]
    pub(crate) fn weights(&self) -> Vec<f32> {
        self.first.windows(2).map(|pair| ((pair[1] - pair[0]) as f32).sqrt()).collect()
    }
}

/// Pitch at or below which a note is low, and at or above which it is high.
///
/// Quantiles with linear interpolation, as numpy's.
pub(crate) fn low_and_high(pitch: &[u8]) -> (f32, f32) {
    let mut number = [0usize; 256];
    for &p in pitch {
        number[usize::from(p)] += 1;
    }
    let ranked = |rank: usize| {
        let mut left = rank;
        number
            .iter()
            .position(|&count| {
                let found = left < count;
                left = left.saturating_sub(count);
                found
            })
            .unwrap_or(0)
    };
    #[expect(clippy::cast_precision_loss, clippy::cast_possible_truncation, clippy::cast_sign_loss)]
    let quantile = |share: f64| {
        let place = share * pitch.len().saturating_sub(1) as f64;
        let (low, high) = (ranked(place.floor() as usize), ranked(place.ceil() as usize));
        (low as f64 + (high as f64 - low as f64) * place.fract()) as f32
    };
    (quantile(SHARE), quantile(1.0 - SHARE))
}

/// What each event is, every column with mean 0 and deviation 1 over the piece.
///
/// `unit`: about a beat, in seconds; durations and spans are measured in it. Columns: root of the
/// number of notes, whether any is low, root of the number of low ones, minus the lowest pitch, the
/// highest, the longest duration of all, of the low ones, of the high ones, loudness against the
/// events around, log distance to the next event and to the one before, change of the harmony over
/// 1, 2 and 4 units, the same of the low notes alone, whether a low note is of another pitch class
/// than the low note before, log time since the last high note where there is one.
pub(crate) fn table(notes: TimedNotes<'_>, events: &Events, unit: f64) -> Vec<Row> {
    let (low, high) = low_and_high(notes.pitch);
    let mut rows = vec![[0.0f32; COLUMNS]; events.len()];
    #[expect(clippy::cast_possible_truncation)]
    let gap = |from: usize, to: usize| {
        if to >= events.len() || from >= events.len() {
            return 0.1;
        }
        (((events.time[to] - events.time[from]) / unit).clamp(0.0, 2.0) + 0.1).ln() as f32
    };
    let (mut bass, mut last_high) = (12u8, f64::NEG_INFINITY);
    for (e, row) in rows.iter_mut().enumerate() {
        own_columns(row, notes, events.first[e]..events.first[e + 1], unit, (low, high));
        row[9] = gap(e, e + 1);
        row[10] = if e == 0 { 0.1 } else { gap(e - 1, e) };
        let lowest = notes.pitch[events.first[e]..events.first[e + 1]].iter().min().copied();
        if let Some(pitch) = lowest.filter(|&p| f32::from(p) <= low) {
            row[17] = f32::from(u8::from(pitch % 12 != bass));
            bass = pitch % 12;
        }
        if row[7] > 0.0 {
            #[expect(clippy::cast_possible_truncation)]
            let since = ((events.time[e] - last_high) / unit).min(8.0) as f32;
            row[18] = since.ln_1p();
            last_high = events.time[e];
        }
    }
    centre_loudness(&mut rows);
    for (offset, limit) in [(0, f32::INFINITY), (3, low)] {
        let total = struck(notes, events, unit, limit);
        for (k, span) in SPANS.iter().enumerate() {
            let change = changes(&events.time, &total, span * unit);
            rows.iter_mut().zip(change).for_each(|(row, value)| row[11 + offset + k] = value);
        }
    }
    standardise(&mut rows);
    rows
}

/// The columns that a single event's notes decide.
fn own_columns(
    row: &mut Row,
    notes: TimedNotes<'_>,
    range: std::ops::Range<usize>,
    unit: f64,
    (low, high): (f32, f32),
) {
    let (mut number, mut bass) = (0.0f32, 0.0f32);
    let (mut lowest, mut highest, mut loudest) = (f32::INFINITY, 0.0f32, 0.0f32);
    for i in range {
        let pitch = f32::from(notes.pitch[i]);
        #[expect(clippy::cast_possible_truncation)]
        let held = ((notes.offset[i] - notes.onset[i]) / unit).clamp(0.0, 4.0) as f32;
        number += 1.0;
        lowest = lowest.min(pitch);
        highest = highest.max(pitch);
        loudest = loudest.max(f32::from(notes.velocity[i]));
        row[5] = row[5].max(held);
        if pitch <= low {
            bass += 1.0;
            row[6] = row[6].max(held);
        }
        if pitch >= high {
            row[7] = row[7].max(held.max(0.01));
        }
    }
    row[0] = number.sqrt();
    row[1] = bass.min(1.0);
    row[2] = bass.sqrt();
    row[3] = -lowest;
    row[4] = highest;
    row[8] = loudest;
}

/// Takes the mean loudness of the 17 events around off each; the piece's ends are held.
#[expect(clippy::cast_precision_loss)]
fn centre_loudness(rows: &mut [Row]) {
    let size = rows.len();
    let loud: Vec<f32> = rows.iter().map(|row| row[8]).collect();
    let at = |k: usize| loud[k.saturating_sub(LOUD_AROUND).min(size - 1)];
    let width = 2 * LOUD_AROUND + 1;
    let mut sum: f32 = (0..width.min(size + 2 * LOUD_AROUND)).map(at).sum();
    for (e, row) in rows.iter_mut().enumerate() {
        row[8] -= sum / width as f32;
        sum += at(e + width) - at(e);
    }
}

/// Held time of the notes struck before each event, by pitch class.
fn struck(notes: TimedNotes<'_>, events: &Events, unit: f64, limit: f32) -> Vec<[f32; 12]> {
    let mut total = Vec::with_capacity(events.len() + 1);
    let mut sum = [0.0f64; 12];
    total.push([0.0f32; 12]);
    for range in events.first.windows(2) {
        for i in range[0]..range[1] {
            if f32::from(notes.pitch[i]) <= limit {
                let held = ((notes.offset[i] - notes.onset[i]) / unit).clamp(0.0, 2.0);
                sum[usize::from(notes.pitch[i] % 12)] += held;
            }
        }
        #[expect(clippy::cast_possible_truncation)]
        total.push(sum.map(|x| x as f32));
    }
    total
}

/// 1 - cosine between the pitch classes struck in `span` seconds before and after each event.
fn changes(time: &[f64], total: &[[f32; 12]], span: f64) -> Vec<f32> {
    let (mut from, mut to) = (0, 0);
    (0..time.len())
        .map(|e| {
            while from < e && time[from] < time[e] - span - 0.02 {
                from += 1;
            }
            while to < time.len() && time[to] < time[e] + span - 0.02 {
                to += 1;
            }
            one_less_cosine(&total[from], &total[e], &total[to.max(e)])
        })
        .collect()
}

/// 1 - cosine between what is added up to `middle` and after it; a half where one is nothing.
pub(crate) fn one_less_cosine(from: &[f32; 12], middle: &[f32; 12], to: &[f32; 12]) -> f32 {
    // Four lanes each, as vectors have at least.
    let (mut dot, mut left, mut right) = ([0.0f32; 4], [0.0f32; 4], [0.0f32; 4]);
    for part in (0..12).step_by(4) {
        for lane in 0..4 {
            let class = part + lane;
            let (x, y) = (middle[class] - from[class], to[class] - middle[class]);
            dot[lane] += x * y;
            left[lane] += x * x;
            right[lane] += y * y;
        }
    }
    let [dot, left, right] = [dot, left, right].map(|lanes| lanes.iter().sum::<f32>());
    let norm = (left * right).sqrt();
    if norm > 1e-6 { 1.0 - dot / norm } else { 0.5 }
}

/// Makes every column's mean 0 and its deviation 1.
#[expect(clippy::cast_precision_loss)]
pub(crate) fn standardise<const N: usize>(rows: &mut [[f32; N]]) {
    let size = rows.len().max(1) as f32;
    let mut mean = [0.0f32; N];
    let mut square = [0.0f32; N];
    for row in &*rows {
        for (m, x) in mean.iter_mut().zip(row) {
            *m += x;
        }
    }
    let mean = mean.map(|m| m / size);
    for row in &mut *rows {
        for ((x, m), s) in row.iter_mut().zip(mean).zip(&mut square) {
            *x -= m;
            *s += *x * *x;
        }
    }
    let scale = square.map(|s| 1.0 / ((s / size).sqrt() + 1e-6));
    for row in rows {
        row.iter_mut().zip(scale).for_each(|(x, s)| *x *= s);
    }
}
