//! What one round of the network tells the next of the song: how each note stands in its surroundings,
//! by the round's log odds and their probabilities. `dataset/melody_context.py` has the same in torch.

use super::network::{Candidate, MOST};
use super::voices::Voices;
use crate::engine::Level;
use crate::net::{self, Rows};

/// Numbers a note.
pub(super) const CONTEXT: usize = 29;
/// Neighbours a note: in its voice and in order, before and after.
pub(super) const NEAR: usize = 4;
/// Each looks twice as far as the one before.
pub(super) const HOPS: usize = 3;
/// Sixteenths from a note to where its pitch may start again.
const AGAIN: [i64; 8] = [-128, -64, -32, -16, 16, 32, 64, 128];
/// Onsets before and after.
const STEPS: [isize; 4] = [-2, -1, 1, 2];
/// Half bars before and after.
const WINDOWS: [usize; 2] = [2, 8];
/// So many half bars are a full measure of notes.
const FULL: f32 = 4.0;
/// Leaps are kept within this, in semitones.
const FARTHEST: f32 = 24.0;
const FIRST_NEAR: usize = 2 + 2 * STEPS.len();
const FIRST_WINDOW: usize = FIRST_NEAR + 2 + AGAIN.len();
const FIRST_HABIT: usize = FIRST_WINDOW + 3 * WINDOWS.len();

/// Who is whose neighbour among some candidates, sorted by onset and pitch.
pub(super) struct Places {
    /// The half bar of each, from the first on.
    pub(super) cells: Vec<usize>,
    /// Its neighbours, theirs, and those of these; as many as there are candidates: none.
    pub(super) near: [Vec<[usize; NEAR]>; HOPS],
    /// Where its pitch starts one to eight bars away; one more than there are candidates: nowhere.
    again: Vec<[usize; AGAIN.len()]>,
    /// Where each onset begins, and the end.
    onsets: Vec<usize>,
}

impl Places {
    pub(super) fn of(level: Level, candidates: &[Candidate], cells: Vec<usize>) -> Self {
        let count = candidates.len();
        let is_first = |&i: &usize| i == 0 || candidates[i - 1].onset < candidates[i].onset;
        let mut onsets: Vec<usize> = (0..count).filter(is_first).collect();
        onsets.push(count);
        let voices = level.run(Voices::of(candidates));
        let near = voices.into_iter().enumerate().map(|(i, [earlier, later])| {
            [earlier, later, i.checked_sub(1).unwrap_or(count), i + 1]
        });
        let near = near.collect();
        let (second, third) = (twice(&near), twice(&twice(&near)));
        Self { cells, near: [near, second, third], again: again(candidates), onsets }
    }
}

/// Twice as far.
fn twice(near: &Vec<[usize; NEAR]>) -> Vec<[usize; NEAR]> {
    let hop = |k: usize, i: usize| near.get(i).map_or(near.len(), |near| near[k]);
    near.iter().map(|own| std::array::from_fn(|k| hop(k, own[k]))).collect()
}

fn again(candidates: &[Candidate]) -> Vec<[usize; AGAIN.len()]> {
    let key = |c: &Candidate| 128 * c.onset + i64::from(c.pitch);
    let count = candidates.len();
    let mut again = vec![[count + 1; AGAIN.len()]; count];
    for (k, lag) in AGAIN.into_iter().enumerate() {
        let mut at = 0;
        for (i, own) in candidates.iter().enumerate() {
            let wanted = key(own) + 128 * lag;
            while at < count && key(&candidates[at]) < wanted {
                at += 1;
            }
            if at < count && key(&candidates[at]) == wanted {
                again[i][k] = at;
            }
        }
    }
    again
}

/// How each candidate stands, by log odds within -[`MOST`]..=[`MOST`]: a row of [`CONTEXT`] numbers.
pub(super) fn context(
    level: Level,
    candidates: &[Candidate],
    places: &Places,
    mut odds: Vec<f32>,
) -> Rows {
    let count = candidates.len();
    let mut rows = Rows::zeros(count, CONTEXT);
    let mut share = odds.clone();
    net::logistic(level, &mut share);
    put_line(&mut rows, candidates, places, &odds, &share);
    odds.extend([-MOST, 0.0]);
    for i in 0..count {
        let row = &mut rows.row_mut(i)[FIRST_NEAR..FIRST_WINDOW];
        let near = places.near[0][i][..2].iter().chain(&places.again[i]);
        for (x, &other) in row.iter_mut().zip(near) {
            *x = odds[other] / 4.0;
        }
    }
    put_register(&mut rows, candidates, &places.cells, &share);
    put_habit(&mut rows, FIRST_HABIT, candidates, &share, |c| c.velocity);
    put_habit(&mut rows, FIRST_HABIT + 1, candidates, &share, |c| c.pitch);
    put_habit(&mut rows, FIRST_HABIT + 2, candidates, &share, |c| c.duration);
    rows
}

/// Its odds, those of the best other one of its onset, those of the best of two onsets before and
/// after, and the ways to them.
fn put_line(
    rows: &mut Rows,
    candidates: &[Candidate],
    places: &Places,
    odds: &[f32],
    share: &[f32],
) {
    struct Best {
        at: usize,
        second: f32,
    }
    let ranges = || places.onsets.windows(2).map(|w| w[0]..w[1]);
    let best = ranges().map(|range| {
        let (mut at, mut second) = (range.start, -MOST);
        for i in range.skip(1) {
            if odds[i] >= odds[at] {
                second = second.max(odds[at]);
                at = i;
            } else {
                second = second.max(odds[i]);
            }
        }
        Best { at, second }
    });
    let best: Vec<Best> = best.collect();
    for (g, range) in ranges().enumerate() {
        let near = STEPS.map(|step| {
            let best = g.checked_add_signed(step).and_then(|g| best.get(g));
            best.map_or((-MOST, 0.0, NOTHING), |b| {
                (odds[b.at], f32::from(candidates[b.at].pitch), share[b.at])
            })
        });
        for i in range {
            let row = rows.row_mut(i);
            let other = if i == best[g].at { best[g].second } else { odds[best[g].at] };
            row[0] = odds[i] / 4.0;
            row[1] = other / 4.0;
            for (k, (odds, pitch, share)) in near.into_iter().enumerate() {
                let leap = (pitch - f32::from(candidates[i].pitch)).clamp(-FARTHEST, FARTHEST);
                row[2 + k] = odds / 4.0;
                row[2 + STEPS.len() + k] = leap / 8.0 * share;
            }
        }
    }
}

/// The logistic function of -[`MOST`].
const NOTHING: f32 = 3.353_501e-4;

/// The melody's pitch around a note, its amount and its loudness.
fn put_register(rows: &mut Rows, candidates: &[Candidate], cells: &[usize], share: &[f32]) {
    let mut sums = vec![[0.0_f32; 3]; cells.last().map_or(0, |last| last + 1)];
    for ((own, &cell), &share) in candidates.iter().zip(cells).zip(share) {
        let sum = &mut sums[cell];
        sum[0] += share;
        sum[1] += share * f32::from(own.pitch);
        sum[2] += share * f32::from(own.velocity);
    }
    for (k, radius) in WINDOWS.into_iter().enumerate() {
        let near = (0..sums.len()).map(|cell| {
            let range = cell.saturating_sub(radius)..sums.len().min(cell + radius + 1);
            let mut near = [0.0; 3];
            for sum in &sums[range] {
                for (x, s) in near.iter_mut().zip(sum) {
                    *x += s;
                }
            }
            near
        });
        let near: Vec<[f32; 3]> = near.collect();
        let width = f32::from(u8::try_from(2 * radius + 1).unwrap_or(u8::MAX));
        for (i, (own, &cell)) in candidates.iter().zip(cells).enumerate() {
            let [mass, pitch, velocity] = near[cell];
            let row = &mut rows.row_mut(i)[FIRST_WINDOW + 3 * k..];
            let scale = 1.0 / (mass + 0.5) / 8.0;
            row[0] = (pitch - f32::from(own.pitch) * mass) * scale;
            row[1] = mass / width / FULL;
            row[2] = (velocity - f32::from(own.velocity) * mass) * scale;
        }
    }
}

/// How likely the notes of a value, and those next to it, are.
fn put_habit(
    rows: &mut Rows,
    column: usize,
    candidates: &[Candidate],
    share: &[f32],
    value: impl Fn(&Candidate) -> u8,
) {
    let mut sums = [[0.0_f32; 2]; 130];
    let place = |c: &Candidate| usize::from(value(c).min(127)) + 1;
    for (own, &share) in candidates.iter().zip(share) {
        let sum = &mut sums[place(own)];
        sum[0] += share;
        sum[1] += 1.0 - share;
    }
    let mut habits = [0.0; 130];
    for (habit, near) in habits[1..].iter_mut().zip(sums.windows(3)) {
        let [own, rest] = [0, 1].map(|k| near[0][k] + 2.0 * near[1][k] + near[2][k] + 0.5);
        *habit = (own / rest).ln() / 2.0;
    }
    for (i, own) in candidates.iter().enumerate() {
        rows.row_mut(i)[column] = habits[place(own)];
    }
}
