//! The one-voiced line of highest score.

use super::notes::Song;
use super::small;

/// Added to every note's score: how gladly a line takes a note in.
const READY: f32 = 0.4;
/// A note below this is never taken in.
const LEAST: f32 = -3.0;
/// How many notes back the line looks at the cost of going on from one to the next.
const REACH: usize = 10;
/// Cost of cutting the note before off at once; of less, in proportion.
const CUT: f32 = 1.0;
/// Cost of a leap of an octave beyond [`FREE_LEAP`] semitones, within [`LEAP_TIME`] sixteenths.
const LEAP: f32 = 1.0;
const FREE_LEAP: f32 = 7.0;
const LEAP_TIME: i64 = 16;

/// A line up to its last note.
#[derive(Clone, Copy)]
struct Path {
    score: f32,
    /// The candidate before the last.
    before: Option<usize>,
    /// The best path that ends here or earlier: its score and last candidate.
    best: (f32, Option<usize>),
}

/// Which events make the line, one at a time at most, by dynamic programming over `scores`.
pub(super) fn line(song: &Song, scores: &[f32]) -> Vec<bool> {
    let is_candidate = |&i: &usize| scores[i] + READY > LEAST;
    let candidates: Vec<usize> = (0..scores.len()).filter(is_candidate).collect();
    let mut paths: Vec<Path> = Vec::with_capacity(candidates.len());
    let mut together = 0; // the first candidate of this onset
    for (a, &i) in candidates.iter().enumerate() {
        if song.events[candidates[together]].onset < song.events[i].onset {
            together = a;
        }
        let near = a.saturating_sub(REACH).min(together);
        let far = near.checked_sub(1).and_then(|c| paths.get(c));
        let mut from = far.map_or((0.0, None), |path| path.best);
        for c in near..together {
            let score = paths[c].score - cost(song, candidates[c], i);
            if score > from.0 {
                from = (score, Some(c));
            }
        }
        let score = scores[i] + READY + from.0;
        let best = paths.last().map_or((0.0, None), |path| path.best);
        let best = if score > best.0 { (score, Some(a)) } else { best };
        paths.push(Path { score, before: from.1, best });
    }
    let mut is_melody = vec![false; scores.len()];
    let mut at = paths.last().and_then(|path| path.best.1);
    while let Some(a) = at {
        is_melody[candidates[a]] = true;
        at = paths[a].before;
    }
    is_melody
}

/// What it costs to go on from one event to another.
fn cost(song: &Song, from: usize, to: usize) -> f32 {
    let (a, b) = (song.events[from], song.events[to]);
    let apart = b.onset - a.onset;
    let cut = CUT * small((a.duration - apart).max(0)) / small(a.duration);
    let interval = i64::try_from(a.pitch.abs_diff(b.pitch)).unwrap_or(0);
    let leap = LEAP * (small(interval) - FREE_LEAP).max(0.0) / 12.0;
    if apart <= LEAP_TIME { cut + leap } else { cut }
}
