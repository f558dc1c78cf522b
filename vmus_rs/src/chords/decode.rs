//! Chord recognition with context: how well each chord fits each beat, by a small network that sees
//! all twelve roots alike, and the best path through the song, by a hidden Markov model whose chords
//! change as chords do, and where in the bar they do. Its numbers are fitted on POP909 alone, by
//! `python -m vmusprod.dataset.fit_chords`.

use std::array::from_fn;
use std::sync::OnceLock;

use super::chroma::{self, Beat, Chroma};
use super::{NO_CHORD, check};
use crate::net;
use crate::wide::wide;
use crate::{Note, Result};

/// The chords, and no chord.
pub const STATES: usize = NO_CHORD as usize + 1;

const QUALITIES: usize = 10;
/// A quality's place, or that of no chord.
const KINDS: usize = QUALITIES + 1;
const HIDDEN: usize = 16;
/// Hidden units that are summed side by side.
const TOGETHER: usize = 4;
/// Chromas around a beat: its three registers and bass; all and bass of the one before and the one
/// after; all of the second before and after; the song's mean.
pub const PLANES: usize = 11;
const BEATS_PER_BAR: usize = 4;
const INPUTS: usize = 12 * PLANES + BEATS_PER_BAR;
/// Enough bits for a chord.
const LAST_BITS: u64 = 127;
/// This many chords of a beat are considered.
const CANDIDATES: usize = 12;
const TABLE: &[u8] = include_bytes!("weights.bin");

// The table must be the one that these shapes were fitted for.
const _: () = assert!(
    TABLE.len()
        == 4 * ((INPUTS + 1) * HIDDEN
            + (HIDDEN + 1) * KINDS
            + 2 * BEATS_PER_BAR
            + 12 * KINDS * KINDS)
);

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

/// Numbers of a vector: one for each of the twelve roots, and four that mean nothing.
const LANES: usize = 16;
type Roots = [f32; LANES];
/// What each hidden unit hears of the twelve roots.
type Heard = [Roots; HIDDEN];
/// Of a plane and hidden unit, the weights of the intervals 0, 11, 10, ... 1, again and again: seen from
/// pitch class c, those from 12 - c on belong to the roots C, C sharp, ...
type Turned = [f32; 12 + LANES];

struct Model {
    /// By plane.
    turned: Vec<[Turned; HIDDEN]>,
    /// By place in the bar.
    places: Vec<[f32; HIDDEN]>,
    bias: [f32; HIDDEN],
    /// By kind: the weight of each hidden unit, and the bias.
    out: [([f32; HIDDEN], f32); KINDS],
    /// By place in the bar: log probability, weighted, that the chord stays, and that it changes.
    moves: Vec<[f32; 2]>,
    /// Of a change: by kind before and after, and by how far the root moves up, plus an octave.
    changes: Vec<[f32; 24]>,
}

impl Model {
    fn get() -> &'static Self {
        static MODEL: OnceLock<Model> = OnceLock::new();
        MODEL.get_or_init(|| {
            let table = net::floats(TABLE);
            let (inputs, rest) = table.split_at((INPUTS + 1) * HIDDEN);
            let (out, rest) = rest.split_at((HIDDEN + 1) * KINDS);
            let (moves, changes) = rest.split_at(2 * BEATS_PER_BAR);
            let inputs = rows::<HIDDEN>(inputs);
            let turn = |plane: usize, h: usize| from_fn(|k| inputs[12 * plane + (36 - k) % 12][h]);
            Self {
                turned: (0..PLANES).map(|plane| from_fn(|h| turn(plane, h))).collect(),
                places: inputs[12 * PLANES..INPUTS].to_vec(),
                bias: inputs[INPUTS],
                out: from_fn(|k| (from_fn(|h| out[h * KINDS + k]), out[HIDDEN * KINDS + k])),
                moves: rows(moves),
                changes: rows(changes).iter().enumerate().map(twice).collect(),
            }
        })
    }

    fn scores<'a>(
        &'a self,
        beats: &'a [Beat],
        place: impl Fn(usize) -> usize + 'a,
    ) -> impl Iterator<Item = Scores> + 'a {
        let mut song = self.bias.map(|bias| [bias; LANES]);
        let mut sounds = Vec::with_capacity(12 * PLANES);
        list_sounds(&mut sounds, PLANES - 1, &chroma::mean(beats));
        hear(&self.turned, &mut song, &sounds);
        (0..beats.len()).map(move |b| {
            sounds.clear();
            for (plane, chroma) in around(beats, b).into_iter().enumerate() {
                list_sounds(&mut sounds, plane, chroma);
            }
            let mut heard = song;
            hear(&self.turned, &mut heard, &sounds);
            judge(&self.out, heard, &self.places[place(b)])
        })
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
                    let (total, from) = self.best_from(before, step, moves);
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
    fn best_from(&self, before: &[Step; CANDIDATES], to: &Step, moves: [f32; 2]) -> (f32, usize) {
        let [stay, change] = moves;
        let ways: [f32; CANDIDATES] = from_fn(|i| {
            let step = &before[i];
            let ups = &self.changes[step.kind * KINDS + to.kind];
            let way =
                if step.chord == to.chord { stay } else { change + ups[to.root + 12 - step.root] };
            step.total + way
        });
        let better = |best: usize, i: usize| if ways[i] > ways[best] { i } else { best };
        let best = (0..CANDIDATES).fold(0, better);
        (ways[best], best)
    }
}

wide! {
    /// Adds sounds to what each of the twelve roots hears: pitch classes as intervals above it.
    fn hear['a]['a](turned: &'a [[Turned; HIDDEN]], heard: &'a mut Heard, sounds: &'a [Sound]) {
        // Several units at a time, as each sum waits for the one before; in names of their own, or
        // they would lie in memory.
        for (h, sums) in heard.as_chunks_mut::<TOGETHER>().0.iter_mut().enumerate() {
            let [mut s0, mut s1, mut s2, mut s3] = *sums;
            for &(plane, class, x) in sounds {
                let from = 12 - class;
                let units = &turned[plane][h * TOGETHER..(h + 1) * TOGETHER];
                let [w0, w1, w2, w3] = [0, 1, 2, 3].map(|k| &units[k][from..from + LANES]);
                for l in 0..LANES {
                    s0[l] += x * w0[l];
                    s1[l] += x * w1[l];
                    s2[l] += x * w2[l];
                    s3[l] += x * w3[l];
                }
            }
            *sums = [s0, s1, s2, s3];
        }
    }
}

wide! {
    /// Scores of the ten qualities over each root; no chord has the mean of what the roots give it.
    fn judge['a]['a](out: &'a [([f32; HIDDEN], f32); KINDS], heard: Heard, place: &'a [f32; HIDDEN]) -> Scores {
        let mut heard = heard;
        for (roots, p) in heard.iter_mut().zip(place) {
            for x in roots {
                *x = (*x + p).max(0.0);
            }
        }
        let mut scores = [0.0; STATES];
        for (kind, (weights, bias)) in out.iter().enumerate() {
            let mut sum = [*bias; LANES];
            for (roots, w) in heard.iter().zip(weights) {
                add_scaled(&mut sum, *w, roots);
            }
            for (root, s) in sum[..12].iter().enumerate() {
                match scores.get_mut(root * QUALITIES + kind) {
                    Some(score) if kind < QUALITIES => *score = *s,
                    _ => scores[STATES - 1] += s / 12.0,
                }
            }
        }
        scores
    }
}

#[inline]
fn add_scaled(sum: &mut Roots, scale: f32, numbers: &Roots) {
    for (s, x) in sum.iter_mut().zip(numbers) {
        *s += scale * x;
    }
}

/// The changes between two kinds, over two octaves; from and to no chord the root does not count.
fn twice((kinds, ups): (usize, &[f32; 12])) -> [f32; 24] {
    let is_none = kinds / KINDS == QUALITIES || kinds % KINDS == QUALITIES;
    from_fn(|k| if is_none { ups[0] } else { ups[k % 12] })
}

/// A plane, a pitch class, and how much of it sounds.
type Sound = (usize, usize, f32);

fn list_sounds(sounds: &mut Vec<Sound>, plane: usize, chroma: &Chroma) {
    let heard = chroma.iter().enumerate().filter(|(_, x)| **x != 0.0);
    sounds.extend(heard.map(|(c, &x)| (plane, c, x)));
}

/// A chord that a beat may have.
#[derive(Clone, Copy, Default)]
struct Step {
    chord: usize,
    /// Its quality's place, or that of no chord.
    kind: usize,
    /// 0 for no chord too, whose changes don't depend on it.
    root: usize,
    /// Score of the best path that ends in it.
    total: f32,
    /// Which of the last beat's candidates that path comes from.
    from: usize,
}

impl Step {
    fn new(chord: usize, total: f32) -> Self {
        let is_none = chord == STATES - 1;
        let kind = if is_none { QUALITIES } else { chord % QUALITIES };
        Self { chord, kind, root: if is_none { 0 } else { chord / QUALITIES }, total, from: 0 }
    }
}

/// The candidates of one beat, best first; of equals, the lower ids.
fn likeliest(scores: &Scores) -> [Step; CANDIDATES] {
    highest(scores).map(|key| {
        let chord = chord_of(key);
        Step::new(chord, scores[chord])
    })
}

wide! {
    /// The keys of the candidates, greatest first.
    fn highest['a]['a](scores: &'a Scores) -> [f64; CANDIDATES] {
        let mut best = [f64::NEG_INFINITY; CANDIDATES];
        for (chord, &score) in scores.iter().enumerate() {
            let key = key(score, chord);
            if key > best[CANDIDATES - 1] {
                insert(&mut best, key);
            }
        }
        best
    }
}

/// A score as a longer number, in whose last bits, which are 0, the chord is written so that of equal
/// scores the lower id's is greater.
#[inline]
fn key(score: f32, chord: usize) -> f64 {
    // -0 would be taken for a negative number
    let bits = (f64::from(score) + 0.0).to_bits();
    f64::from_bits(bits | if score < 0.0 { chord as u64 } else { LAST_BITS - chord as u64 })
}

fn chord_of(key: f64) -> usize {
    let bits = key.to_bits() & LAST_BITS;
    let chord = if key < 0.0 { bits } else { LAST_BITS - bits };
    usize::try_from(chord).unwrap_or(0).min(STATES - 1)
}

/// Puts a key in its place among sorted ones, greatest first; the least goes.
#[inline]
fn insert(best: &mut [f64; CANDIDATES], key: f64) {
    let old = *best;
    best[0] = if key > old[0] { key } else { old[0] };
    for i in 1..CANDIDATES {
        let low = if old[i - 1] < key { old[i - 1] } else { key };
        best[i] = if old[i] > low { old[i] } else { low };
    }
}

/// The first of the steps with the highest total.
fn best_of(steps: &[Step; CANDIDATES]) -> usize {
    let better = |best: usize, i: usize| if steps[i].total > steps[best].total { i } else { best };
    (0..CANDIDATES).fold(0, better)
}

fn rows<const N: usize>(numbers: &[f32]) -> Vec<[f32; N]> {
    numbers.chunks_exact(N).map(|row| row.try_into().unwrap_or([0.0; N])).collect()
}
