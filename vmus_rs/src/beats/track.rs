//! Beats of a piece whose tempo drifts: the likeliest path of beats through its events.
//!
//! Each event has a strength; events of each class of strength fall on the places of a beat with
//! known frequencies (POP909's). The beats are those that make the events likeliest, where a change
//! of the beat's length costs by its square: a semi-Markov form of the bar pointer model (Whiteley
//! et al. 2006), exact by dynamic programming.

use super::events::{COLUMNS, Row};
use super::model::{CLASSES, Model, PARTS};
use crate::wide::wide;

/// Frames a beat, of the time axis.
const FRAMES: usize = 20;
/// Beats of 13 to 30 frames are found: 0.65 to 1.5 of the usual.
const SHORTEST: usize = 13;
const LENGTHS: usize = 18;
const LONGEST: usize = SHORTEST + LENGTHS - 1;
/// Neighbouring beats differ by at most so many frames.
const STEP: usize = 4;
/// A squared log ratio of neighbouring beats, and one to the usual beat.
const CHANGE_COST: f64 = 150.0;
const DISTANCE_COST: f64 = 1.0;
/// Frames that are kept behind: a power of two over the longest beat.
const RING: usize = 32;
/// Frames whose gains are found together.
const BATCH: usize = 2048;
/// Columns that neighbours lend, their distances in beats, and how near one must be, in seconds.
const NEIGHBOUR: usize = 9;
const DISTANCES: [f64; 6] = [-0.25, 0.25, -0.5, 0.5, -1.0, 1.0];
const NEAR: f64 = 0.06;
/// Standardised values below this are not told apart in the second half of the features.
const KNEE: f32 = 0.5;
/// What [`describe`] gives for an event.
pub const FEATURES: usize = 2 * COLUMNS + DISTANCES.len() * (NEIGHBOUR + 1) + 1;

/// What decides an event's strength: its columns, their large values, its neighbours' columns.
///
/// `rows`: of `events::table`; `beat`: the usual beat in seconds.
pub(crate) fn describe(time: &[f64], rows: &[Row], beat: f64) -> Vec<[f32; FEATURES]> {
    let mut result = vec![[0.0f32; FEATURES]; rows.len()];
    for (out, row) in result.iter_mut().zip(rows) {
        out[..COLUMNS].copy_from_slice(row);
        for (o, x) in out[COLUMNS..].iter_mut().zip(row) {
            *o = x.max(KNEE);
        }
        out[FEATURES - 1] = 1.0;
    }
    for (k, distance) in DISTANCES.iter().enumerate() {
        let start = 2 * COLUMNS + k * (NEIGHBOUR + 1);
        let mut at = 0;
        for (out, &t) in result.iter_mut().zip(time) {
            let aim = t + distance * beat;
            while at + 1 < time.len() && time[at] < aim - NEAR {
                at += 1;
            }
            if (time[at] - aim).abs() < NEAR {
                out[start..start + NEIGHBOUR].copy_from_slice(&rows[at][..NEIGHBOUR]);
                out[start + NEIGHBOUR] = 1.0;
            }
        }
    }
    result
}

/// The beats, in seconds, from one before the first event to one behind the last.
///
/// `strength`: class of each event; `beat`: the usual beat, of which 0.65 to 1.5 are found.
#[expect(clippy::cast_precision_loss, clippy::cast_possible_truncation, clippy::cast_sign_loss)]
pub(crate) fn track(time: &[f64], strength: &[u8], beat: f64, model: &Model) -> Vec<f64> {
    let frame = beat / FRAMES as f64;
    let start = time[0] - 1.5 * beat;
    let size = ((time[time.len() - 1] - start) / frame) as usize + 2 * FRAMES;
    let at: Vec<usize> = time.iter().map(|t| ((t - start) / frame + 0.5) as usize).collect();
    let kernels = model.kernels();
    let cost = costs();
    let unusual: Vec<f32> =
        (0..LENGTHS).map(|l| (DISTANCE_COST * log_length(l).powi(2)) as f32).collect();
    // coming[t % RING][l]: the best path whose last beat ends at t, less what a next beat of length
    // l costs; the first may begin anywhere.
    let mut coming = [[0.0f32; LENGTHS]; RING];
    let mut back: Vec<[u8; LENGTHS]> = vec![[0; LENGTHS]; size];
    let mut gains = Gains { rows: vec![[0.0; LENGTHS]; BATCH], event: 0 };
    let kept = size.min(LONGEST);
    let mut last = vec![[f32::NEG_INFINITY; LENGTHS]; kept];
    for t in 0..size {
        if t % BATCH == 0 {
            gains.fill(t, &at, strength, kernels);
        }
        let mut ending = [0.0f32; LENGTHS];
        if t >= LONGEST {
            let gain = &gains.rows[t % BATCH];
            for l in 0..LENGTHS {
                ending[l] = coming[(t - SHORTEST - l) % RING][l] + gain[l] - unusual[l];
            }
        }
        if t + LONGEST >= size {
            let place = t + kept - size;
            last[place] = ending;
        }
        let (next, from) = onward(&ending, &cost);
        coming[t % RING] = next;
        back[t] = from;
    }
    path(&last, &back).iter().map(|&t| start + frame * t as f64).collect()
}

/// Candidates for the length before, of each length.
const STEPS: usize = 2 * STEP + 1;

wide! {
    /// For each length of the next beat the best way to come, and by which length.
    #[expect(clippy::cast_possible_truncation, clippy::cast_possible_wrap, clippy::cast_sign_loss)]
    fn onward['a]['a](
        best: &'a [f32; LENGTHS],
        cost: &'a [[f32; LENGTHS]; STEPS],
    ) -> ([f32; LENGTHS], [u8; LENGTHS]) {
        let mut padded = [f32::NEG_INFINITY; LENGTHS + 2 * STEP];
        padded[STEP..STEP + LENGTHS].copy_from_slice(best);
        let (mut most, mut move_) = ([f32::NEG_INFINITY; LENGTHS], [0i32; LENGTHS]);
        for m in 0..STEPS {
            for l in 0..LENGTHS {
                let value = padded[m + l] - cost[m][l];
                // Without a branch: vectors have no other way.
                let better = -i32::from(value > most[l]);
                move_[l] = (move_[l] & !better) | (m as i32 & better);
                most[l] = if value > most[l] { value } else { most[l] };
            }
        }
        let mut from = [0u8; LENGTHS];
        for l in 0..LENGTHS {
            from[l] = (move_[l] + l as i32 - STEP as i32).max(0) as u8;
        }
        (most, from)
    }
}

/// Frames of the beats, in order.
fn path(last: &[[f32; LENGTHS]], back: &[[u8; LENGTHS]]) -> Vec<usize> {
    let (mut t, mut l, mut most) = (0, 0, f32::NEG_INFINITY);
    for (k, row) in last.iter().enumerate() {
        for (length, &value) in row.iter().enumerate() {
            if value > most {
                (t, l, most) = (back.len() - last.len() + k, length, value);
            }
        }
    }
    let mut path = vec![t];
    while t >= LONGEST {
        t -= SHORTEST + l;
        l = usize::from(back[t][l]);
        path.push(t);
    }
    path.reverse();
    path
}

#[expect(clippy::cast_precision_loss)]
fn log_length(l: usize) -> f64 {
    ((SHORTEST + l) as f64 / FRAMES as f64).ln()
}

/// `[m][l]`: cost of a beat of length `l` behind one of length `l + m - STEP`.
#[expect(clippy::cast_possible_truncation)]
fn costs() -> [[f32; LENGTHS]; STEPS] {
    std::array::from_fn(|m| {
        std::array::from_fn(|l| {
            let before = (l + m).saturating_sub(STEP).min(LENGTHS - 1);
            (CHANGE_COST * (log_length(l) - log_length(before)).powi(2)) as f32
        })
    })
}

/// Evidence for a beat of each length of an event of a class so many frames before the beat's end.
pub(crate) type Kernel = Vec<[f32; LENGTHS]>;

/// `[class][ahead][l]`: the [`Kernel`]s; `evidence`: of classes at places of a beat.
#[expect(clippy::cast_precision_loss, clippy::cast_possible_truncation, clippy::cast_sign_loss)]
pub(crate) fn kernels(evidence: &[[f32; PARTS]]) -> Vec<Kernel> {
    evidence
        .iter()
        .map(|row| {
            // ahead: frames from the event to the beat's end, 1..=length.
            (0..=LONGEST)
                .map(|ahead| {
                    std::array::from_fn(|l| {
                        let length = SHORTEST + l;
                        if ahead == 0 || ahead > length {
                            return 0.0;
                        }
                        let place = (length - ahead) as f32 / length as f32 * PARTS as f32;
                        let (left, part) = (place as usize, place.fract());
                        row[left % PARTS] * (1.0 - part) + row[(left + 1) % PARTS] * part
                    })
                })
                .collect()
        })
        .collect()
}

/// Sums of the evidence of the events in a beat of each length that ends at a frame.
struct Gains {
    rows: Vec<[f32; LENGTHS]>,
    /// The first event that may still lie in a beat.
    event: usize,
}

impl Gains {
    /// Fills the rows of frames `from..from + BATCH`.
    fn fill(&mut self, from: usize, at: &[usize], strength: &[u8], kernels: &[Kernel]) {
        self.rows.fill([0.0; LENGTHS]);
        while self.event < at.len() && at[self.event] + LONGEST < from {
            self.event += 1;
        }
        for (&frame, &class) in at.iter().zip(strength).skip(self.event) {
            if frame >= from + BATCH {
                break;
            }
            let kernel = &kernels[usize::from(class).min(CLASSES - 1)];
            // The frames after the event that lie in the batch.
            let first = (frame + 1).max(from);
            let last = (frame + kernel.len()).min(from + BATCH);
            if first < last {
                let rows = &mut self.rows[first - from..last - from];
                add(rows.as_flattened_mut(), kernel[first - frame..last - frame].as_flattened());
            }
        }
    }
}

wide! {
    fn add['a]['a](sums: &'a mut [f32], parts: &'a [f32]) {
        let parts = &parts[..sums.len()];
        for k in 0..sums.len() {
            sums[k] += parts[k];
        }
    }
}
