//! The hot paths of vmusprod, in pure Rust.
//!
//! Each module is one step of the method and knows nothing of Python; `py` alone speaks `PyO3`
//! and is built only with the feature `python`. No function panics, whatever it is given.

pub mod attention;
pub mod bars;
pub mod beats;
pub mod chords;
pub mod engine;
pub mod error;
pub mod melody;
mod net;
#[cfg(feature = "python")]
mod py;
pub mod quantize;
pub mod skyline;
pub mod song;
pub mod tokens;
pub mod video;
mod wide;

pub use error::{Error, Result};

/// Sixteenths in a bar: everything is 4/4.
pub const SIXTEENTHS_PER_BAR: i32 = 16;
/// Sixteenths in a beat (a quarter note).
pub const SIXTEENTHS_PER_BEAT: i32 = 4;

/// A note on the grid; onset and duration in sixteenths from the downbeat of bar 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Note {
    /// Sixteenths from the downbeat of bar 0.
    pub onset: i32,
    /// Sixteenths that it sounds.
    pub duration: i32,
    /// MIDI pitch, 0..=127.
    pub pitch: i32,
    /// MIDI velocity, 1..=127.
    pub velocity: i32,
}

impl Note {
    /// Where the note ends, in sixteenths; in 64 bits, so that no input overflows.
    #[must_use]
    pub fn end(&self) -> i64 {
        i64::from(self.onset) + i64::from(self.duration)
    }
}
