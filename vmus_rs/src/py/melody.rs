//! The melody's functions that Python sees.

use numpy::ndarray::Ix1;
use numpy::{IntoPyArray, PyArray1, PyArray2, PyArrayMethods};
use pyo3::prelude::*;

use super::convert;
use crate::melody::{self, Kind};

/// Which notes are the melody.
#[pyfunction]
#[pyo3(signature = (notes, solo = None))]
pub(super) fn melody_notes<'py>(
    py: Python<'py>,
    notes: &Bound<'py, PyAny>,
    solo: Option<bool>,
) -> PyResult<Bound<'py, PyArray1<bool>>> {
    let notes = convert::notes(notes)?;
    Ok(py.detach(|| melody::melody(&notes, kind(solo)))?.into_pyarray(py))
}

/// Log odds of each note being melody.
#[pyfunction]
#[pyo3(signature = (notes, solo = None))]
pub(super) fn melody_odds<'py>(
    py: Python<'py>,
    notes: &Bound<'py, PyAny>,
    solo: Option<bool>,
) -> PyResult<Bound<'py, PyArray1<f32>>> {
    let notes = convert::notes(notes)?;
    Ok(py.detach(|| melody::scores(&notes, kind(solo)))?.into_pyarray(py))
}

/// What each note looks like.
#[pyfunction]
pub(super) fn melody_features<'py>(
    py: Python<'py>,
    notes: &Bound<'py, PyAny>,
) -> PyResult<Bound<'py, PyArray2<u8>>> {
    let notes = convert::notes(notes)?;
    let rows = py.detach(|| melody::features(&notes))?;
    let count = rows.len();
    rows.into_flattened().into_pyarray(py).reshape([count, melody::FEATURES])
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

fn kind(solo: Option<bool>) -> Kind {
    match solo {
        None => Kind::Unknown,
        Some(true) => Kind::Solo,
        Some(false) => Kind::Arrangement,
    }
}
