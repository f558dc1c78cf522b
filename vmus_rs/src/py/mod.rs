//! The `PyO3` layer: numpy arrays in, numpy arrays out, the GIL released in between.

mod attention;
mod beats;
mod convert;
mod engine;
mod functions;
mod harmony;
mod melody;
mod song;

use pyo3::prelude::*;

use crate::Error;

impl From<Error> for PyErr {
    /// The one map from the crate's errors to Python's exceptions; exhaustive on purpose.
    fn from(error: Error) -> Self {
        use pyo3::exceptions::{
            PyFloatingPointError, PyInterruptedError, PyTypeError, PyValueError,
        };
        let text = error.to_string();
        match error {
            Error::Type { .. } => PyTypeError::new_err(text),
            Error::LengthMismatch { .. }
            | Error::Shape { .. }
            | Error::ShapeMismatch { .. }
            | Error::Value { .. }
            | Error::Weights(_) => PyValueError::new_err(text),
            Error::NotFinite => PyFloatingPointError::new_err(text),
            Error::Stopped => PyInterruptedError::new_err(text),
        }
    }
}

/// The Rust core of vmusprod; `_vmus_rs.pyi` has its types.
#[pymodule]
mod _vmus_rs {
    #[pymodule_export]
    use super::attention::{causal_attention, causal_attention_backward};
    #[pymodule_export]
    use super::beats::{
        beat_features, beat_readings, downbeat_odds, event_features, find_beats, find_downbeats,
        find_pulses,
    };
    #[pymodule_export]
    use super::engine::StageEngine;
    #[pymodule_export]
    use super::functions::{
        bar_ranges, color_histogram, encode_tokens, quantize, recognize_chords, rgb_difference,
        skyline,
    };
    #[pymodule_export]
    use super::harmony::{chord_features, chord_scores, decode_chords};
    #[pymodule_export]
    use super::melody::{melody_features, melody_line, melody_notes, melody_odds};
    #[pymodule_export]
    use super::song::{SongAnnotation, annotate_song};
}
