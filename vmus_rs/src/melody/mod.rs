//! Melody: which notes of a piano piece are its melody.
//!
//! Every note gets the log odds of being melody, second voice or accompaniment from a small network
//! (`features`); two more networks correct them by what the lines guessed so far look like in this
//! song (`context`); the melody is the one-voiced line of highest score, with rests (`line`). The
//! networks are fitted on POP909 alone, by `python -m vmusprod.dataset.fit_melody`.

mod context;
mod features;
mod line;
mod notes;

use std::sync::OnceLock;

use crate::net::{self, Dense};
use crate::{Error, Note, Result};
pub use context::CONTEXT;
pub use features::{FEATURES, VELOCITY_FEATURES};
use notes::Song;

/// Rounds after the first guess.
const ROUNDS: usize = 2;
const WIDE: usize = 32;
const NARROW: usize = 16;
const FIRST_INPUTS: usize = FEATURES + 1;
/// The first network's last hidden layer, whether it is a solo, and the context.
const LATER_INPUTS: usize = NARROW + 1 + CONTEXT;
/// A note whose odds are no better for either line is left as it is after the first guess.
const UNLIKELY: f32 = -3.5;
const TABLE: &[u8] = include_bytes!("weights.bin");

const fn network_size(inputs: usize) -> usize {
    Dense::<WIDE>::size(inputs) + Dense::<NARROW>::size(WIDE) + Dense::<3>::size(NARROW)
}

// The table must be the one that these shapes were fitted for.
const _: () =
    assert!(TABLE.len() == 4 * (network_size(FIRST_INPUTS) + ROUNDS * network_size(LATER_INPUTS)));

/// True for each note that is melody.
///
/// `is_solo` says that the piece is for one player, with the melody on top, as a piano cover is; else
/// it may lie inside an arrangement. Notes may come in any order.
///
/// # Errors
///
/// [`Error::Value`] for pitches outside 0..=127.
pub fn melody(notes: &[Note], is_solo: bool) -> Result<Vec<bool>> {
    let song = Song::new(notes)?;
    let scores: Vec<f32> = odds(&song, is_solo).iter().map(|odds| odds[0]).collect();
    Ok(song.restore(&line::line(&song, &scores)))
}

/// Log odds of each note being melody, and second voice, each within -8..=8: the `melody`'s basis.
///
/// # Errors
///
/// [`Error::Value`] for pitches outside 0..=127.
pub fn scores(notes: &[Note], is_solo: bool) -> Result<Vec<[f32; 2]>> {
    let song = Song::new(notes)?;
    Ok(song.restore(&odds(&song, is_solo)))
}

/// What the first network sees of each note.
///
/// # Errors
///
/// [`Error::Value`] for pitches outside 0..=127.
pub fn features(notes: &[Note]) -> Result<Vec<[f32; FEATURES]>> {
    let song = Song::new(notes)?;
    let mut rows = vec![[0.0; FEATURES]; notes.len()];
    features::put_features(&song, &mut rows);
    Ok(song.restore(&rows))
}

/// What the later networks see beside that, given log odds as of [`scores`].
///
/// # Errors
///
/// [`Error::Value`] for pitches outside 0..=127, or odds that are not finite;
/// [`Error::LengthMismatch`] if there is not one pair of odds a note.
pub fn context(notes: &[Note], odds: &[[f32; 2]]) -> Result<Vec<[f32; CONTEXT]>> {
    let song = Song::new(notes)?;
    check_odds(notes.len(), odds.as_flattened(), 2)?;
    let mut rows = vec![[0.0; CONTEXT]; notes.len()];
    context::put_context(&song, &song.sort(odds), 0, &mut rows);
    Ok(song.restore(&rows))
}

/// The one-voiced line of highest score: true for its notes. `scores` are log odds, one a note.
///
/// # Errors
///
/// [`Error::Value`] for pitches outside 0..=127, or scores that are not finite;
/// [`Error::LengthMismatch`] if there is not one score a note.
pub fn line(notes: &[Note], scores: &[f32]) -> Result<Vec<bool>> {
    let song = Song::new(notes)?;
    check_odds(notes.len(), scores, 1)?;
    Ok(song.restore(&line::line(&song, &song.sort(scores))))
}

fn check_odds(notes: usize, odds: &[f32], each: usize) -> Result<()> {
    if odds.len() != notes * each {
        let (expected, actual) = (notes, odds.len() / each);
        return Err(Error::LengthMismatch { first: "notes", expected, second: "odds", actual });
    }
    match odds.iter().position(|x| !x.is_finite()) {
        Some(i) => Err(Error::Value {
            name: "odds",
            index: Some(i / each),
            must: "finite",
            actual: odds[i].to_string(),
        }),
        None => Ok(()),
    }
}

/// Two hidden layers and the logits of accompaniment, melody, second voice.
struct Network {
    wide: Dense<WIDE>,
    narrow: Dense<NARROW>,
    out: Dense<3>,
}

impl Network {
    /// The first guess's, and those of the later rounds.
    fn all() -> &'static [Self] {
        static NETWORKS: OnceLock<Vec<Network>> = OnceLock::new();
        NETWORKS.get_or_init(|| {
            let table = net::floats(TABLE);
            let mut numbers = table.as_slice();
            let inputs = [FIRST_INPUTS].into_iter().chain([LATER_INPUTS; ROUNDS]);
            inputs.map(|inputs| Self::take(&mut numbers, inputs)).collect()
        })
    }

    fn take(numbers: &mut &[f32], inputs: usize) -> Self {
        Self {
            wide: Dense::take(numbers, inputs),
            narrow: Dense::take(numbers, WIDE),
            out: Dense::take(numbers, NARROW),
        }
    }

    fn hidden(&self, input: &[f32]) -> [f32; NARROW] {
        self.narrow.apply_relu(&self.wide.apply_relu(input))
    }

    /// Log odds of melody and second voice, from the last hidden layer.
    fn odds(&self, hidden: &[f32; NARROW]) -> [f32; 2] {
        let [accompaniment, melody, second] = self.out.apply(hidden);
        let against = |x: f32, y: f32, z: f32| {
            let most = y.max(z);
            let rest = most + ((y - most).exp() + (z - most).exp()).ln();
            (x - rest).clamp(-context::MOST, context::MOST)
        };
        [against(melody, accompaniment, second), against(second, accompaniment, melody)]
    }
}

/// Log odds of each event of a song, in order.
fn odds(song: &Song, is_solo: bool) -> Vec<[f32; 2]> {
    let solo = if is_solo { 1.0 } else { 0.0 };
    let mut inputs = vec![[0.0; LATER_INPUTS]; song.events.len()];
    let [first, later @ ..] = Network::all() else { return Vec::new() };
    let mut features = vec![[0.0; FIRST_INPUTS]; inputs.len()];
    features::put_features(song, &mut features);
    let mut odds = Vec::with_capacity(inputs.len());
    for (features, input) in features.iter_mut().zip(&mut inputs) {
        features[FEATURES] = solo;
        let hidden = first.hidden(features);
        input[..NARROW].copy_from_slice(&hidden);
        input[NARROW] = solo;
        odds.push(first.odds(&hidden));
    }
    drop(features);
    for network in later {
        context::put_context(song, &odds, NARROW + 1, &mut inputs);
        for (odds, input) in odds.iter_mut().zip(&inputs) {
            if odds[0].max(odds[1]) > UNLIKELY {
                *odds = network.odds(&network.hidden(input));
            }
        }
    }
    odds
}
