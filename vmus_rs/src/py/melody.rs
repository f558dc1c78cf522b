//! The melody's functions that Python sees.

use numpy::ndarray::{Ix1, Ix2};
use numpy::{IntoPyArray, PyArray1, PyArray2, PyUntypedArrayMethods};
use pyo3::prelude::*;

use super::convert::{self, rows};
use crate::{Error, melody};

/// Which notes are the melody.
#[pyfunction]
#[pyo3(signature = (notes, solo = false))]
pub(super) fn melody_notes<'py>(
    py: Python<'py>,
    notes: &Bound<'py, PyAny>,
    solo: bool,
) -> PyResult<Bound<'py, PyArray1<bool>>> {
    let notes = convert::notes(notes)?;
    Ok(py.detach(|| melody::melody(&notes, solo))?.into_pyarray(py))
}

/// Log odds of each note being melody, and second voice.
#[pyfunction]
#[pyo3(signature = (notes, solo = false))]
pub(super) fn melody_odds<'py>(
    py: Python<'py>,
    notes: &Bound<'py, PyAny>,
    solo: bool,
) -> PyResult<Bound<'py, PyArray2<f32>>> {
    let notes = convert::notes(notes)?;
    rows(py, py.detach(|| melody::scores(&notes, solo))?)
}

/// What the first network sees of each note.
#[pyfunction]
pub(super) fn melody_features<'py>(
    py: Python<'py>,
    notes: &Bound<'py, PyAny>,
) -> PyResult<Bound<'py, PyArray2<f32>>> {
    let notes = convert::notes(notes)?;
    rows(py, py.detach(|| melody::features(&notes))?)
}

/// What the later networks see beside that.
#[pyfunction]
pub(super) fn melody_context<'py>(
    py: Python<'py>,
    notes: &Bound<'py, PyAny>,
    odds: &Bound<'py, PyAny>,
) -> PyResult<Bound<'py, PyArray2<f32>>> {
    let notes = convert::notes(notes)?;
    let odds = convert::array::<f32, Ix2>(odds, "odds", "a float32 array", "(N, 2)")?;
    if odds.shape().last() != Some(&2) {
        let actual = odds.shape().to_vec();
        return Err(Error::Shape { name: "odds", expected: "(N, 2)", actual }.into());
    }
    let pairs: Vec<[f32; 2]> =
        convert::items(&odds, "odds")?.chunks_exact(2).map(|o| [o[0], o[1]]).collect();
    rows(py, py.detach(|| melody::context(&notes, &pairs))?)
}

/// The one-voiced line of highest score.
#[pyfunction]
pub(super) fn melody_line<'py>(
    py: Python<'py>,
    notes: &Bound<'py, PyAny>,
    odds: &Bound<'py, PyAny>,
) -> PyResult<Bound<'py, PyArray1<bool>>> {
    let notes = convert::notes(notes)?;
    let odds = convert::array::<f32, Ix1>(odds, "odds", "a float32 array", "(N,)")?;
    let odds = convert::items(&odds, "odds")?;
    Ok(py.detach(|| melody::line(&notes, odds))?.into_pyarray(py))
}
