//! Chord recognition with context: how well each chord fits each beat, by a small network that sees
//! all twelve roots alike, and the best path through the song, by a hidden Markov model whose chords
//! change as chords do, and where in the bar they do. Its numbers are fitted on POP909 alone, by
//! `python -m vmusprod.dataset.fit_chords`.

use std::sync::OnceLock;

use super::chroma::{self, Beat, Chroma};
use super::{NO_CHORD, check};
use crate::net::{self, Dense};
use crate::{Note, Result};

/// The chords, and no chord.
pub const STATES: usize = NO_CHORD as usize + 1;

const QUALITIES: usize = 10;
/// A quality's place, or that of no chord.
const KINDS: usize = QUALITIES + 1;
const HIDDEN: usize = 16;
/// Chromas around a beat: its three registers and bass; all and bass of the one before and the one
/// after; all of the second before and after; the song's mean.
pub const PLANES: usize = 11;
const BEATS_PER_BAR: usize = 4;
const INPUTS: usize = 12 * PLANES + BEATS_PER_BAR;
/// This many chords of a beat are considered.
const CANDIDATES: usize = 12;
const TABLE: &[u8] = include_bytes!("weights.bin");

// The table must be the one that these shapes were fitted for.
const _: () = assert!(
    TABLE.len()
        == 4 * (Dense::<HIDDEN>::size(INPUTS)
            + Dense::<KINDS>::size(HIDDEN)
            + 2 * BEATS_PER_BAR
            + 12 * KINDS * KINDS)
);

type Hidden = [f32; HIDDEN];
type Scores = [f32; STATES];

/// One chord id for each of the first `beats` beats of four sixteenths; beat 0 is a downbeat.
///
/// Ids are those of [`super::recognize`]. Notes may come in any order.
///
/// # Errors
///
/// [`Error::Value`](crate::Error::Value) for pitches outside 0..=127, or `beats` outside
/// 0..=[`super::MAX_BEATS`].
pub fn decode(notes: &[Note], beats: i64) -> Result<Vec<u8>> {
    check(notes, beats, 4)?;
    let (model, beats) = (Model::get(), chroma::beats(notes, usize::try_from(beats).unwrap_or(0)));
    Ok(model.best_path(model.scores(&beats, regular), regular))
}

/// As [`decode`], with the place in the bar of each beat: 0 the downbeat, 2 the other strong one.
///
/// # Errors
///
/// [`Error::Value`](crate::Error::Value) for pitches outside 0..=127, or too many beats.
pub fn decode_at(notes: &[Note], places: &[u8]) -> Result<Vec<u8>> {
    check(notes, i64::try_from(places.len()).unwrap_or(i64::MAX), 4)?;
    let (model, beats) = (Model::get(), chroma::beats(notes, places.len()));
    let place = |b: usize| usize::from(places[b]) % BEATS_PER_BAR;
    Ok(model.best_path(model.scores(&beats, place), place))
}

/// How well each chord fits each beat, before any path is sought: log probabilities up to a constant a beat.
///
/// # Errors
///
/// Those of [`decode`].
pub fn scores(notes: &[Note], beats: i64) -> Result<Vec<Scores>> {
    check(notes, beats, 4)?;
    let beats = chroma::beats(notes, usize::try_from(beats).unwrap_or(0));
    Ok(Model::get().scores(&beats, regular).collect())
}

/// The place of a beat in the bars of a piece that begins with one.
fn regular(beat: usize) -> usize {
    beat % BEATS_PER_BAR
}

/// What the network hears of each beat, seen from C: [`PLANES`] chromas.
///
/// # Errors
///
/// Those of [`decode`].
pub fn features(notes: &[Note], beats: i64) -> Result<Vec<[Chroma; PLANES]>> {
    check(notes, beats, 4)?;
    let beats = chroma::beats(notes, usize::try_from(beats).unwrap_or(0));
    let mean = chroma::mean(&beats);
    let row = |b| {
        let mut row = [mean; PLANES];
        for (copy, chroma) in row.iter_mut().zip(around(&beats, b)) {
            *copy = *chroma;
        }
        row
    };
    Ok((0..beats.len()).map(row).collect())
}

/// The chromas of a beat and of those around it, silent beyond the ends.
fn around(beats: &[Beat], b: usize) -> [&Chroma; PLANES - 1] {
    static SILENCE: Beat = Beat::SILENCE;
    let beat = |b: Option<usize>| b.and_then(|b| beats.get(b)).unwrap_or(&SILENCE);
    let [own, before, after] = [Some(b), b.checked_sub(1), b.checked_add(1)].map(beat);
    let [second_before, second_after] = [b.checked_sub(2), b.checked_add(2)].map(beat);
    let [low, middle, high] = &own.registers;
    [
        low,
        middle,
        high,
        &own.bass,
        &before.all,
        &before.bass,
        &after.all,
        &after.bass,
        &second_before.all,
        &second_after.all,
    ]
}

struct Model {
    /// One row an input, one more of biases.
    inputs: Vec<Hidden>,
    out: Dense<KINDS>,
    /// By place in the bar: log probability, weighted, that the chord stays, and that it changes.
    moves: Vec<[f32; 2]>,
    /// Of a change: by kind before and after, and by how far the root moves up.
    changes: Vec<[f32; 12]>,
}

impl Model {
    fn get() -> &'static Self {
        static MODEL: OnceLock<Model> = OnceLock::new();
        MODEL.get_or_init(|| {
            let table = net::floats(TABLE);
            let (inputs, mut rest) = table.split_at(Dense::<HIDDEN>::size(INPUTS));
            let out = Dense::take(&mut rest, HIDDEN);
            let (moves, changes) = rest.split_at(2 * BEATS_PER_BAR);
            Self { inputs: rows(inputs), out, moves: rows(moves), changes: rows(changes) }
        })
    }

    fn scores<'a>(
        &'a self,
        beats: &'a [Beat],
        place: impl Fn(usize) -> usize + 'a,
    ) -> impl Iterator<Item = Scores> + 'a {
        let mut song = [self.inputs[INPUTS]; 12];
        self.hear(&mut song, PLANES - 1, &chroma::mean(beats));
        (0..beats.len()).map(move |b| {
            let mut hidden = song;
            for (plane, chroma) in around(beats, b).into_iter().enumerate() {
                self.hear(&mut hidden, plane, chroma);
            }
            self.judge(&hidden, &self.inputs[12 * PLANES + place(b)])
        })
    }

    /// Adds one chroma to what each of the twelve roots hears: pitch classes as intervals above it.
    fn hear(&self, hidden: &mut [Hidden; 12], plane: usize, chroma: &Chroma) {
        let weights = &self.inputs[12 * plane..12 * (plane + 1)];
        for (c, &x) in chroma.iter().enumerate().filter(|(_, x)| **x != 0.0) {
            for (root, sum) in hidden.iter_mut().enumerate() {
                for (s, w) in sum.iter_mut().zip(&weights[(c + 12 - root) % 12]) {
                    *s += x * w;
                }
            }
        }
    }

    /// Scores of the ten qualities over each root; no chord has the mean of what the roots give it.
    fn judge(&self, hidden: &[Hidden; 12], place: &Hidden) -> Scores {
        let mut scores = [0.0; STATES];
        let mut none = 0.0;
        for (hidden, scores) in hidden.iter().zip(scores.chunks_exact_mut(QUALITIES)) {
            let mut own = *hidden;
            for (x, p) in own.iter_mut().zip(place) {
                *x = (*x + p).max(0.0);
            }
            let out = self.out.apply(&own);
            scores.copy_from_slice(&out[..QUALITIES]);
            none += out[QUALITIES] / 12.0;
        }
        scores[STATES - 1] = none;
        scores
    }

    /// The Viterbi path through the likeliest chords of each beat.
    fn best_path(
        &self,
        scores: impl Iterator<Item = Scores>,
        place: impl Fn(usize) -> usize,
    ) -> Vec<u8> {
        // Of each beat's candidates, the chord and where it comes from.
        let mut ways: Vec<[(u8, u8); CANDIDATES]> = Vec::new();
        let mut last: Option<[Step; CANDIDATES]> = None;
        for (b, scores) in scores.enumerate() {
            let mut now = likeliest(&scores);
            if let Some(before) = &last {
                let moves = self.moves[place(b)];
                for step in &mut now {
                    let (total, from) = self.best_from(before, step.chord, moves);
                    step.total += total;
                    step.from = from;
                }
            }
            // Only differences count: kept near 0, they stay exact however long the song.
            let most = now[best_of(&now)].total;
            for step in &mut now {
                step.total -= most;
            }
            let byte = |x: usize| u8::try_from(x).unwrap_or(0);
            ways.push(now.map(|step| (byte(step.chord), byte(step.from))));
            last = Some(now);
        }
        let mut path = vec![0; ways.len()];
        let mut at = last.as_ref().map_or(0, best_of);
        for (id, ways) in path.iter_mut().zip(&ways).rev() {
            let (chord, from) = ways[at];
            (*id, at) = (chord, usize::from(from));
        }
        path
    }

    /// The best way to come to a chord: its score, and the place of the candidate it comes from.
    fn best_from(
        &self,
        before: &[Step; CANDIDATES],
        chord: usize,
        moves: [f32; 2],
    ) -> (f32, usize) {
        let [stay, change] = moves;
        let mut best = (f32::NEG_INFINITY, 0);
        for (i, step) in before.iter().enumerate() {
            let way =
                if step.chord == chord { stay } else { change + self.change(step.chord, chord) };
            if step.total + way > best.0 {
                best = (step.total + way, i);
            }
        }
        best
    }

    fn change(&self, from: usize, to: usize) -> f32 {
        let kind = |chord: usize| if chord == STATES - 1 { QUALITIES } else { chord % QUALITIES };
        let up = if from.max(to) == STATES - 1 {
            0
        } else {
            (to / QUALITIES + 12 - from / QUALITIES) % 12
        };
        self.changes[kind(from) * KINDS + kind(to)][up]
    }
}

/// A chord that a beat may have.
#[derive(Clone, Copy, Default)]
struct Step {
    chord: usize,
    /// Score of the best path that ends in it.
    total: f32,
    /// Which of the last beat's candidates that path comes from.
    from: usize,
}

/// The candidates of one beat, best first; of equals, the lower ids.
fn likeliest(scores: &Scores) -> [Step; CANDIDATES] {
    let mut best = [Step { total: f32::NEG_INFINITY, ..Step::default() }; CANDIDATES];
    for (chord, &total) in scores.iter().enumerate() {
        if total > best[CANDIDATES - 1].total {
            let place = best.iter().take_while(|step| step.total >= total).count();
            best[place..].rotate_right(1);
            best[place] = Step { chord, total, from: 0 };
        }
    }
    best
}

/// The first of the steps with the highest total.
fn best_of(steps: &[Step; CANDIDATES]) -> usize {
    let better = |best: usize, i: usize| if steps[i].total > steps[best].total { i } else { best };
    (0..CANDIDATES).fold(0, better)
}

fn rows<const N: usize>(numbers: &[f32]) -> Vec<[f32; N]> {
    numbers.chunks_exact(N).map(|row| row.try_into().unwrap_or([0.0; N])).collect()
}
