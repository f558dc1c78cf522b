//! The stream so far as recall needs it: `python/vmusprod/music/recall.py`, one token at a time.

use std::collections::VecDeque;

use super::config::SLOTS;
use crate::tokens::{BARBEAT, CHORD, NOTE, PITCH, QUALITY, ROOT, TYPE, Token};

const LAGS: [usize; SLOTS - 1] = [1, 2, 4, 8];
/// The free slot looks back this many bars at most.
const MAX_LAG: usize = 64;
const MIN_LIKENESS: f32 = 0.5;
const BINS: usize = 4096;
const WORDS: usize = BINS / 64;
/// Stream keys of consecutive bars lie this far apart.
pub(crate) const KEY_BAR: i64 = 1 << 12;
const KEY_STEP: i64 = 200;

/// Bar and 16th of a stream's tokens; a token before the first bar stands at bar 0.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Walk {
    bars: usize,
    /// The 16th in the bar.
    pub(crate) step: usize,
}

impl Walk {
    /// Moves on to a token.
    pub(crate) fn accept(&mut self, token: &Token) {
        match token[BARBEAT] {
            1 => {
                self.bars += 1;
                self.step = 0;
            }
            2.. => self.step = usize::try_from(token[BARBEAT] - 2).unwrap_or(0),
            _ => {}
        }
    }

    /// The bar.
    pub(crate) fn bar(&self) -> usize {
        self.bars.saturating_sub(1)
    }
}

/// A token's number in its stream; numbers grow strictly along a well-formed stream.
pub(crate) fn token_key(token: &Token, bar: usize, step: usize) -> i64 {
    let bar =
        i64::try_from(bar).unwrap_or(i64::MAX / KEY_BAR).min(i64::MAX / KEY_BAR / 2) * KEY_BAR;
    if token[BARBEAT] == 1 {
        return bar;
    }
    let within = match token[TYPE] {
        NOTE => 1 + i64::from(token[PITCH]),
        CHORD if step == 0 => -1,
        CHORD => 1,
        _ => 0,
    };
    bar + 2 + i64::try_from(step).unwrap_or(0) * KEY_STEP + within
}

/// The marks of a bar, hashed: a set of up to 4096.
#[derive(Clone)]
struct Marks([u64; WORDS]);

impl Marks {
    fn new() -> Self {
        Self([0; WORDS])
    }

    fn add(&mut self, token: &Token, step: usize) {
        let value = |a: usize| i64::from(token[a]);
        let content = value(PITCH) + 131 * (value(ROOT) * 12 + value(QUALITY));
        let step = i64::try_from(step).unwrap_or(0);
        let hash = (content * 16 + step).wrapping_mul(2_654_435_761).rem_euclid(1 << 32) >> 20;
        let bin = usize::try_from(hash).unwrap_or(0) % BINS;
        self.0[bin / 64] |= 1 << (bin % 64);
    }

    fn count(&self) -> u32 {
        self.0.iter().map(|w| w.count_ones()).sum()
    }

    /// Share of marks that two bars have in common.
    #[expect(clippy::cast_precision_loss)] // at most 4096
    fn likeness(&self, other: &Self) -> f32 {
        let shared: u32 = self.0.iter().zip(&other.0).map(|(a, b)| (a & b).count_ones()).sum();
        shared as f32 / self.count().max(other.count()).max(1) as f32
    }
}

/// Likeness of each bar with those before it, by lag 0..=64.
type Alike = Vec<[f32; MAX_LAG + 1]>;

fn alike(bars: &VecDeque<Marks>, last: usize) -> [f32; MAX_LAG + 1] {
    let mut row = [0.0; MAX_LAG + 1];
    for (lag, likeness) in row.iter_mut().enumerate().take(last + 1) {
        *likeness = bars[last].likeness(&bars[last - lag]);
    }
    row
}

/// What was written so far, and what recall says of the next token.
pub(crate) struct Past {
    pub(crate) tokens: Vec<Token>,
    pub(crate) keys: Vec<i64>,
    /// Which token came next at this place some bars ago, by slot.
    pub(crate) hints: [Option<usize>; SLOTS],
    runs: [u32; SLOTS],
    /// Of the last bars, the one being written last.
    marks: VecDeque<Marks>,
    own: Alike,
    given: Option<Alike>,
    free: usize,
    form: Vec<usize>,
}

impl Past {
    /// `source`: what the encoder reads, with the place of each token. `form`: the free slot's lag
    /// by bar, where it is not the likest's.
    pub(crate) fn new(source: Option<&[(Token, usize, usize)]>, form: Vec<usize>) -> Self {
        Self {
            tokens: Vec::new(),
            keys: Vec::new(),
            hints: [None; SLOTS],
            runs: [0; SLOTS],
            marks: VecDeque::from([Marks::new()]),
            own: Vec::new(),
            given: source.map(source_likeness),
            free: 0,
            form,
        }
    }

    /// Levels of the runs of right hints, 0..=7.
    pub(crate) fn run_levels(&self) -> [usize; SLOTS] {
        self.runs.map(|run| match run {
            0 => 0,
            run => ((32 - (run - 1).leading_zeros()) as usize + 1).min(7),
        })
    }

    /// Appends a token that stands at (bar, step).
    pub(crate) fn add(&mut self, token: Token, bar: usize, step: usize) {
        for (run, hint) in self.runs.iter_mut().zip(self.hints) {
            let hinted = hint.and_then(|h| self.tokens.get(h));
            let same = |a: usize| hinted.is_some_and(|h| h[a] == token[a]);
            let hit = [TYPE, BARBEAT, PITCH, ROOT, QUALITY].into_iter().all(same);
            *run = if hit { run.saturating_add(1) } else { 0 };
        }
        if token[BARBEAT] == 1 {
            if bar > 0 {
                self.close();
                self.free = match self.planned(bar) {
                    0 => self.likest_lag(bar),
                    lag => lag,
                };
            }
        } else if let Some(marks) = self.marks.back_mut() {
            marks.add(&token, step);
        }
        let key = token_key(&token, bar, step);
        self.tokens.push(token);
        self.keys.push(key);
        for slot in 0..SLOTS {
            let lag = LAGS.get(slot).copied().unwrap_or(self.free);
            self.hints[slot] = (0 < lag && lag <= bar).then(|| {
                let then = key - i64::try_from(lag).unwrap_or(0) * KEY_BAR;
                self.keys.partition_point(|&k| k <= then)
            });
        }
    }

    fn planned(&self, bar: usize) -> usize {
        self.form.get(bar).copied().unwrap_or(0)
    }

    /// The token that came next in the bar that the form says is to be heard again.
    pub(crate) fn recalled(&self, bar: usize) -> Option<&Token> {
        let hint = self.hints[SLOTS - 1].filter(|_| self.planned(bar) > 0)?;
        self.tokens.get(hint)
    }

    fn close(&mut self) {
        self.own.push(alike(&self.marks, self.marks.len() - 1));
        self.marks.push_back(Marks::new());
        if self.marks.len() > MAX_LAG + 2 {
            self.marks.pop_front();
        }
    }

    /// The lag whose preceding bars resemble the bars before `bar` most; 0 where none does.
    fn likest_lag(&self, bar: usize) -> usize {
        let given = self.given.as_ref();
        let full: f32 = if given.is_some() { 2.5 } else { 1.5 };
        let mut best = (0, f32::NEG_INFINITY);
        for lag in 1..=bar.min(MAX_LAG) {
            let past = bar - lag;
            let mut score = 0.0f32;
            for (back, weight) in [(1, 1.0f32), (2, 0.5)] {
                if past >= back {
                    score += weight * self.own.get(bar - back).map_or(0.0, |row| row[lag]);
                }
            }
            score += given.and_then(|rows| rows.get(bar)).map_or(0.0, |row| row[lag]);
            if score > best.1 {
                best = (lag, score);
            }
        }
        if best.1 >= MIN_LIKENESS * full { best.0 } else { 0 }
    }
}

fn source_likeness(source: &[(Token, usize, usize)]) -> Alike {
    let mut rows = Vec::new();
    let mut marks = VecDeque::from([Marks::new()]);
    let mut open = 0;
    let last = source.iter().map(|(_, bar, _)| *bar).max().unwrap_or(0);
    let mut tokens = source.iter().peekable();
    while open <= last {
        while let Some((token, _, step)) = tokens.next_if(|(_, bar, _)| *bar <= open) {
            if let Some(marks) = marks.back_mut().filter(|_| token[BARBEAT] != 1) {
                marks.add(token, *step);
            }
        }
        rows.push(alike(&marks, marks.len() - 1));
        marks.push_back(Marks::new());
        if marks.len() > MAX_LAG + 1 {
            marks.pop_front();
        }
        open += 1;
    }
    rows
}
