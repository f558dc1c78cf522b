//! Downbeats: a small network over what the notes do at each beat and around it, and the bars that
//! its odds make.

use super::events::{low_and_high, one_less_cosine, standardise};
use super::model::{DILATIONS, Model, TAPS, WIDE};
use crate::quantize::TimedNotes;

/// Sixteenths a beat.
const SLOTS: usize = 4;
/// What is known of each sixteenth, and of its beat alone.
const SLOT_COLUMNS: usize = 8;
const SOUNDING_SPANS: [usize; 6] = [2, 4, 8, 16, 32, 64];
const BASS_SPANS: [usize; 3] = [4, 8, 16];
const STRUCK_SPANS: [usize; 3] = [4, 8, 16];
const CHANGES: usize = SOUNDING_SPANS.len() + BASS_SPANS.len() + STRUCK_SPANS.len();
/// What is known of a beat, of which the last is not standardised.
pub const FEATURES: usize = SLOTS * SLOT_COLUMNS + 2 + CHANGES + 1;
const STANDARDISED: usize = FEATURES - 1;
/// Notes count as at most so many sixteenths long, and struck ones as so many.
const LONGEST: f64 = 32.0;
const STRUCK: f64 = 4.0;
/// What a bar of another length costs: half bars are common in pop, odd ones are mistakes.
const EVEN_COST: f32 = 8.0;
const ODD_COST: f32 = 11.0;
/// Bars of three beats must be so much likelier a beat than bars of four.
const TRIPLE_MARGIN: f32 = 0.15;

pub(crate) type Row = [f32; FEATURES];
type Chroma = [f32; 12];

/// The notes in sixteenths: onsets (nearest), lengths.
struct Placed<'a> {
    at: Vec<usize>,
    length: Vec<f64>,
    pitch: &'a [u8],
    velocity: &'a [u8],
    slots: usize,
}

/// Describes each of `beats` beats; onsets and offsets in sixteenths from the first.
pub(crate) fn describe(
    onset: &[f64],
    offset: &[f64],
    notes: TimedNotes<'_>,
    beats: usize,
) -> Vec<Row> {
    let slots = SLOTS * beats;
    if beats == 0 {
        return Vec::new();
    }
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, clippy::cast_precision_loss)]
    let at = onset.iter().map(|x| (x + 0.5).floor().clamp(0.0, (slots - 1) as f64) as usize);
    let length = onset.iter().zip(offset).map(|(on, off)| (off - on).clamp(0.25, LONGEST));
    let placed = Placed {
        at: at.collect(),
        length: length.collect(),
        pitch: notes.pitch,
        velocity: notes.velocity,
        slots,
    };
    let (low, high) = low_and_high(notes.pitch);
    let mut rows = vec![[0.0f32; FEATURES]; beats];
    slot_columns(&placed, low, high, &mut rows);
    let mut column = SLOTS * SLOT_COLUMNS + 2;
    let sounding = sounding(&placed, f32::INFINITY);
    let bass = self::sounding(&placed, low);
    let struck = struck(&placed);
    for (total, spans) in
        [(&sounding, &SOUNDING_SPANS[..]), (&bass, &BASS_SPANS[..]), (&struck, &STRUCK_SPANS[..])]
    {
        for &span in spans {
            for (beat, row) in rows.iter_mut().enumerate() {
                let k = SLOTS * beat;
                let (from, to) = (k.saturating_sub(span), (k + span).min(slots));
                row[column] = one_less_cosine(&total[from], &total[k], &total[to]);
            }
            column += 1;
        }
    }
    let mut whole: Vec<[f32; STANDARDISED]> =
        rows.iter().map(|row| std::array::from_fn(|k| row[k])).collect();
    standardise(&mut whole);
    let first = placed.at.iter().min().map_or(0, |at| at / SLOTS);
    for (beat, (row, values)) in rows.iter_mut().zip(&whole).enumerate() {
        row[..STANDARDISED].copy_from_slice(values);
        row[STANDARDISED] = f32::from(u8::from(beat == first));
    }
    rows
}

/// Root of the number of notes; root of the length of the low ones, and of their number; loudest;
/// longest, all and high; how long no high note has started, and how long none will. Of each beat,
/// minus its lowest pitch (up to 64), and its highest.
fn slot_columns(placed: &Placed<'_>, low: f32, high: f32, rows: &mut [Row]) {
    let mut table = vec![[0.0f32; SLOT_COLUMNS]; placed.slots];
    let mut edges = vec![(-64.0f32, 0.0f32); placed.slots];
    let (mean, deviation) = moments(placed.velocity);
    for (i, &at) in placed.at.iter().enumerate() {
        let row = &mut table[at];
        let pitch = f32::from(placed.pitch[i]);
        #[expect(clippy::cast_possible_truncation)]
        let length = placed.length[i] as f32;
        if row[0] == 0.0 {
            row[3] = f32::NEG_INFINITY;
        }
        row[0] += 1.0;
        row[3] = row[3].max((f32::from(placed.velocity[i]) - mean) / deviation);
        row[4] = row[4].max(length.ln_1p());
        if pitch <= low {
            row[1] += length;
            row[2] += 1.0;
        }
        if pitch >= high {
            row[5] = row[5].max(length.min(16.0).sqrt());
        }
        edges[at] = (edges[at].0.max(-pitch), edges[at].1.max(pitch));
    }
    let (mut since, mut until) = (16.0f32, 32.0f32);
    for row in &mut table {
        row[0] = row[0].sqrt();
        row[1] = row[1].sqrt();
        row[2] = row[2].sqrt();
        if row[5] > 0.0 {
            row[6] = since.min(32.0).ln_1p();
            since = 0.0;
        }
        since += 1.0;
    }
    for row in table.iter_mut().rev() {
        if row[0] > 0.0 {
            row[7] = until.min(32.0).ln_1p();
            until = 0.0;
        }
        until += 1.0;
    }
    for (beat, row) in rows.iter_mut().enumerate() {
        let own = table[SLOTS * beat..SLOTS * (beat + 1)].as_flattened();
        row[..own.len()].copy_from_slice(own);
        row[own.len()] = edges[SLOTS * beat].0;
        row[own.len() + 1] = edges[SLOTS * beat].1;
    }
}

#[expect(clippy::cast_precision_loss, clippy::cast_possible_truncation)]
fn moments(values: &[u8]) -> (f32, f32) {
    let size = values.len().max(1) as f64;
    let mean = values.iter().map(|&v| f64::from(v)).sum::<f64>() / size;
    let square = values.iter().map(|&v| (f64::from(v) - mean).powi(2)).sum::<f64>() / size;
    (mean as f32, (square.sqrt() + 1e-6) as f32)
}

/// Sums, up to each sixteenth, of the notes up to pitch `limit` that sound, by pitch class.
fn sounding(placed: &Placed<'_>, limit: f32) -> Vec<Chroma> {
    let mut edges = vec![[0.0f32; 12]; placed.slots + 1];
    for (i, &at) in placed.at.iter().enumerate() {
        if f32::from(placed.pitch[i]) <= limit {
            #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
            let length = (placed.length[i].round() as usize).max(1);
            let class = usize::from(placed.pitch[i] % 12);
            edges[at][class] += 1.0;
            edges[(at + length).min(placed.slots)][class] -= 1.0;
        }
    }
    let (mut now, mut total) = ([0.0f32; 12], [0.0f32; 12]);
    for edge in &mut edges {
        let passed = total;
        for ((n, t), e) in now.iter_mut().zip(&mut total).zip(edge.iter()) {
            *n += e;
            *t += *n;
        }
        *edge = passed;
    }
    edges
}

/// Sums, up to each sixteenth, of the lengths of the notes struck, by pitch class.
fn struck(placed: &Placed<'_>) -> Vec<Chroma> {
    let mut total = vec![[0.0f32; 12]; placed.slots + 1];
    for (i, &at) in placed.at.iter().enumerate() {
        #[expect(clippy::cast_possible_truncation)]
        let length = placed.length[i].min(STRUCK) as f32;
        total[at + 1][usize::from(placed.pitch[i] % 12)] += length;
    }
    let mut sum = [0.0f32; 12];
    for row in &mut total {
        sum.iter_mut().zip(&*row).for_each(|(s, x)| *s += x);
        *row = sum;
    }
    total
}

/// Log odds of each beat being a downbeat.
pub(crate) fn odds(rows: &[Row], model: &Model) -> Vec<f32> {
    let mut now: Vec<[f32; WIDE]> = rows.iter().map(|row| model.first.apply_relu(row)).collect();
    for (layer, dilation) in model.layers.iter().zip(DILATIONS) {
        let reach = TAPS / 2 * dilation;
        let next = (0..now.len()).map(|k| {
            let mut input = [[0.0f32; WIDE]; TAPS];
            for (tap, place) in input.iter_mut().enumerate() {
                if let Some(row) = (k + tap * dilation).checked_sub(reach).and_then(|i| now.get(i))
                {
                    *place = *row;
                }
            }
            let mut out = layer.apply_relu(input.as_flattened());
            out.iter_mut().zip(now[k]).for_each(|(o, x)| *o += x);
            out
        });
        now = next.collect();
    }
    now.iter().map(|row| model.last.apply(row)[0]).collect()
}

/// The downbeats and how many beats a bar has: three where that is clearly likelier, else four.
#[expect(clippy::cast_precision_loss)]
pub(crate) fn bars(odds: &[f32]) -> (Vec<usize>, usize) {
    let (four, most) = bar_starts(odds, 4);
    let (three, value) = bar_starts(odds, 3);
    if value > most + TRIPLE_MARGIN * odds.len() as f32 { (three, 3) } else { (four, 4) }
}

/// The likeliest bars, nearly all of `size` beats: their first beats, and the path's score.
///
/// The first lies within the first two bars, the last within the last two.
pub(crate) fn bar_starts(odds: &[f32], size: usize) -> (Vec<usize>, f32) {
    if odds.is_empty() {
        return (vec![0], 0.0);
    }
    let cost = |n: usize| match n {
        n if n == size => 0.0,
        n if n % 2 == 0 => EVEN_COST,
        _ => ODD_COST,
    };
    let costs: Vec<f32> = (0..2 * size).map(cost).collect();
    let mut best: Vec<f32> = odds.to_vec();
    let mut back = vec![0usize; odds.len()];
    for k in 0..odds.len() {
        let mut most = if k < 2 * size { best[k] } else { f32::NEG_INFINITY };
        for n in 2..(2 * size).min(k + 1) {
            let value = best[k - n] + odds[k] - costs[n];
            if value > most {
                (most, back[k]) = (value, n);
            }
        }
        best[k] = most;
    }
    let low = odds.len().saturating_sub(2 * size);
    let mut at = low;
    for k in low..odds.len() {
        if best[k] > best[at] {
            at = k;
        }
    }
    let value = best[at];
    let mut path = vec![at];
    while back[at] > 0 {
        at -= back[at];
        path.push(at);
    }
    path.reverse();
    (path, value)
}
