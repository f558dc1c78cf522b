//! The chord functions with context that Python sees.

use numpy::{IntoPyArray, PyArray1, PyArray2, PyArray3, PyArrayMethods};
use pyo3::prelude::*;

use super::convert;
use crate::chords;

/// One chord id a beat, the beats seen together.
#[pyfunction]
pub(super) fn decode_chords<'py>(
    py: Python<'py>,
    notes: &Bound<'py, PyAny>,
    beats: &Bound<'py, PyAny>,
) -> PyResult<Bound<'py, PyArray1<u8>>> {
    let notes = convert::notes(notes)?;
    let beats = convert::integer(beats, "beats")?;
    Ok(py.detach(|| chords::decode(&notes, beats))?.into_pyarray(py))
}

/// How well each chord fits each beat.
#[pyfunction]
pub(super) fn chord_scores<'py>(
    py: Python<'py>,
    notes: &Bound<'py, PyAny>,
    beats: &Bound<'py, PyAny>,
) -> PyResult<Bound<'py, PyArray2<f32>>> {
    let notes = convert::notes(notes)?;
    let beats = convert::integer(beats, "beats")?;
    let scores = py.detach(|| chords::scores(&notes, beats))?;
    let rows = scores.len();
    scores.into_flattened().into_pyarray(py).reshape([rows, chords::STATES])
}

/// What the network hears of each beat.
#[pyfunction]
pub(super) fn chord_features<'py>(
    py: Python<'py>,
    notes: &Bound<'py, PyAny>,
    beats: &Bound<'py, PyAny>,
) -> PyResult<Bound<'py, PyArray3<f32>>> {
    let notes = convert::notes(notes)?;
    let beats = convert::integer(beats, "beats")?;
    let rows = py.detach(|| chords::features(&notes, beats))?;
    let count = rows.len();
    let numbers = rows.into_flattened().into_flattened();
    numbers.into_pyarray(py).reshape([count, chords::PLANES, 12])
}
