//! Melody: which notes of a piano piece are its melody.
//!
//! What each note looks like among its neighbours (`features`) picks rows of a table; a small network
//! judges it beside what its half bar knows of the song (`network`); the melody is the one-voiced
//! line of highest score, with rests (`line`). All numbers are fitted on POP909 alone, by
//! `python -m vmusprod.dataset.fit_melody`.

mod context;
mod features;
mod line;
mod network;
mod notes;
mod round;
mod voices;

use crate::{Error, Note, Result};
pub use features::{FEATURES, Row, SIZES, VELOCITY_FEATURES};
use network::{Candidate, MOST};
use notes::Song;

/// The network looks at so many notes at a time, which bounds its memory.
const AT_ONCE: usize = 1 << 14;

/// Whether a piece is for one player, with the melody on top and a lead in instrumental passages, as
/// a piano cover is; or an arrangement, in which the melody may lie anywhere, and rest for long.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Kind {
    /// The network tells by the notes.
    #[default]
    Unknown,
    /// For one player.
    Solo,
    /// An arrangement.
    Arrangement,
}

/// True for each note that is melody. Notes may come in any order.
///
/// # Errors
///
/// [`Error::Value`] for pitches outside 0..=127.
pub fn melody(notes: &[Note], kind: Kind) -> Result<Vec<bool>> {
    let song = Song::new(notes)?;
    Ok(song.restore(&line::line(&song, &odds(&song, kind))))
}

/// Log odds of each note being melody, within -8..=8: the `melody`'s basis.
///
/// # Errors
///
/// [`Error::Value`] for pitches outside 0..=127.
pub fn scores(notes: &[Note], kind: Kind) -> Result<Vec<f32>> {
    let song = Song::new(notes)?;
    Ok(song.restore(&odds(&song, kind)))
}

/// What each note looks like: the rows of the network's table.
///
/// # Errors
///
/// [`Error::Value`] for pitches outside 0..=127.
pub fn features(notes: &[Note]) -> Result<Vec<Row>> {
    let song = Song::new(notes)?;
    Ok(song.restore(&features::features(&song)))
}

/// The one-voiced line of highest score: true for its notes. `scores` are log odds, one a note.
///
/// # Errors
///
/// [`Error::Value`] for pitches outside 0..=127, or scores that are not finite;
/// [`Error::LengthMismatch`] if there is not one score a note.
pub fn line(notes: &[Note], scores: &[f32]) -> Result<Vec<bool>> {
    let song = Song::new(notes)?;
    if scores.len() != notes.len() {
        let (expected, actual) = (notes.len(), scores.len());
        return Err(Error::LengthMismatch { first: "notes", expected, second: "odds", actual });
    }
    match scores.iter().position(|x| !x.is_finite()) {
        Some(i) => Err(Error::Value {
            name: "odds",
            index: Some(i),
            must: "finite",
            actual: scores[i].to_string(),
        }),
        None => Ok(song.restore(&line::line(&song, &song.sort(scores)))),
    }
}

/// Log odds of each event of a song, in order.
fn odds(song: &Song, kind: Kind) -> Vec<f32> {
    let solo = match kind {
        Kind::Unknown => 0.0,
        Kind::Solo => 1.0,
        Kind::Arrangement => -1.0,
    };
    let rows = features::features(song);
    let kept: Vec<usize> = (0..rows.len()).filter(|&i| network::is_candidate(&rows[i])).collect();
    let mut odds = vec![-MOST; rows.len()];
    for part in kept.chunks(AT_ONCE) {
        let candidate = |&i: &usize| {
            let event = &song.events[i];
            Candidate {
                row: rows[i],
                onset: event.onset,
                pitch: u8::try_from(event.pitch).unwrap_or(0),
                velocity: u8::try_from(event.velocity).unwrap_or(0),
                duration: u8::try_from(event.duration).unwrap_or(0),
            }
        };
        let candidates: Vec<Candidate> = part.iter().map(candidate).collect();
        for (&i, x) in part.iter().zip(network::odds(&candidates, solo)) {
            odds[i] = x;
        }
    }
    odds
}

/// Exact: pitches and lengths lie far below 2^24.
#[expect(clippy::cast_precision_loss)]
fn small(x: i64) -> f32 {
    x as f32
}
