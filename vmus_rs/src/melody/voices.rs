//! Who goes on from whom: the neighbours of each candidate in its voice.

// What is to be compiled for a level must be inlined into it, and closures and iterators are not always:
// hence loops over indices.
#![expect(clippy::inline_always)]
#![expect(clippy::needless_range_loop)]

use super::network::Candidate;
use crate::engine::simd::{Lanes, Work};

/// The voice goes on within so many candidates.
const REACH: usize = 24;
/// Later than all candidates; so many ranks fit beside it into 32 bits.
const NEVER: i32 = 1 << 25;
const RANKS: i32 = 32;
/// Of the candidates before, and after, how near they are in order.
const ORDER: [[i32; REACH]; 2] = {
    let mut order = [[0; REACH]; 2];
    let (mut k, mut rank) = (0, 0);
    while k < REACH {
        order[0][REACH - 1 - k] = rank;
        order[1][k] = rank;
        (k, rank) = (k + 1, rank + 1);
    }
    order
};

/// Finds for each candidate the nearest of the [`REACH`] before it, semitones and sixteenths added, of
/// equals the last, and of those after it, of equals the first; but none that starts with it.
pub(super) struct Voices {
    count: usize,
    /// Onset and pitch, with [`REACH`] candidates at both ends that are too far away. Longer gaps
    /// between onsets than any interval count as one, which changes no order.
    times: Vec<i32>,
    pitches: Vec<i32>,
}

impl Voices {
    pub(super) fn of(candidates: &[Candidate]) -> Self {
        let mut times = vec![-NEVER; REACH];
        let (mut last, mut time) = (candidates.first().map_or(0, |c| c.onset), 0);
        for candidate in candidates {
            time += i32::try_from((candidate.onset - last).min(128)).unwrap_or(0);
            last = candidate.onset;
            times.push(time);
        }
        times.resize(times.len() + REACH, NEVER);
        let mut pitches = vec![0; REACH];
        pitches.extend(candidates.iter().map(|c| i32::from(c.pitch)));
        pitches.resize(times.len(), 0);
        Self { count: candidates.len(), times, pitches }
    }
}

impl Work for Voices {
    /// As many as there are candidates: none.
    type Output = Vec<[usize; 2]>;

    #[inline(always)]
    fn run<S: Lanes>(self, _: S) -> Self::Output {
        let mut found = vec![[self.count; 2]; self.count];
        for i in 0..self.count {
            let (time, pitch) = (self.times[i + REACH], self.pitches[i + REACH]);
            let before = self.least(i, time, pitch, &ORDER[0]);
            let after = self.least(i + REACH + 1, time, pitch, &ORDER[1]);
            let least = [before, after];
            let rank = least.map(|x| usize::try_from(x % RANKS).unwrap_or(0));
            if least[0] < NEVER / 2 * RANKS {
                found[i][0] = i - 1 - rank[0];
            }
            if least[1] < NEVER / 2 * RANKS {
                found[i][1] = i + 1 + rank[1];
            }
        }
        found
    }
}

impl Voices {
    /// The least cost from the `start`-th on, with the rank of where it is.
    #[inline(always)]
    fn least(&self, start: usize, time: i32, pitch: i32, order: &[i32; REACH]) -> i32 {
        let times = self.times[start..].first_chunk::<REACH>();
        let pitches = self.pitches[start..].first_chunk::<REACH>();
        let (Some(times), Some(pitches)) = (times, pitches) else { return i32::MAX };
        let mut least = i32::MAX;
        for k in 0..REACH {
            let apart = (times[k] - time).abs();
            let cost = (apart + (pitches[k] - pitch).abs()) * RANKS + order[k];
            least = least.min(if apart == 0 { i32::MAX } else { cost });
        }
        least
    }
}
