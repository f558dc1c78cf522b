//! The functions that Python sees; `_vmus_rs.pyi` tells their shapes and errors.

use numpy::ndarray::Ix1;
use numpy::{IntoPyArray, PyArray1, PyArray2, PyArray3, PyArrayMethods, PyUntypedArrayMethods};
use pyo3::prelude::*;

use super::convert;
use crate::{Error, bars, chords, quantize as grid, skyline as melody, tokens, video};

/// Put notes in time onto the grid of 16ths.
#[pyfunction]
#[pyo3(signature = (onset, offset, pitch, velocity, step, phase, max_duration = None))]
#[expect(clippy::too_many_arguments)] // Python's keyword arguments
pub(super) fn quantize<'py>(
    py: Python<'py>,
    onset: &Bound<'py, PyAny>,
    offset: &Bound<'py, PyAny>,
    pitch: &Bound<'py, PyAny>,
    velocity: &Bound<'py, PyAny>,
    step: &Bound<'py, PyAny>,
    phase: &Bound<'py, PyAny>,
    max_duration: Option<&Bound<'py, PyAny>>,
) -> PyResult<Bound<'py, PyArray2<i32>>> {
    let times = |value, name| convert::array::<f64, Ix1>(value, name, "a float64 array", "(N,)");
    let bytes = |value, name| convert::array::<u8, Ix1>(value, name, "a uint8 array", "(N,)");
    let (onset, offset) = (times(onset, "onset")?, times(offset, "offset")?);
    let (pitch, velocity) = (bytes(pitch, "pitch")?, bytes(velocity, "velocity")?);
    let (step, phase) = (convert::real(step, "step")?, convert::real(phase, "phase")?);
    let max_duration =
        max_duration.map_or(Ok(64), |value| convert::integer(value, "max_duration"))?;
    let song = grid::TimedNotes {
        onset: convert::items(&onset, "onset")?,
        offset: convert::items(&offset, "offset")?,
        pitch: convert::items(&pitch, "pitch")?,
        velocity: convert::items(&velocity, "velocity")?,
    };
    let notes = py.detach(|| grid::quantize(song, step, phase, max_duration))?;
    convert::notes_to_array(py, &notes)
}

/// Which notes carry the melody.
#[pyfunction]
pub(super) fn skyline<'py>(
    py: Python<'py>,
    notes: &Bound<'py, PyAny>,
) -> PyResult<Bound<'py, PyArray1<bool>>> {
    let notes = convert::notes(notes)?;
    Ok(py.detach(|| melody::skyline(&notes)).into_pyarray(py))
}

/// One chord id a beat.
#[pyfunction]
#[pyo3(signature = (notes, beats, beat = None))]
pub(super) fn recognize_chords<'py>(
    py: Python<'py>,
    notes: &Bound<'py, PyAny>,
    beats: &Bound<'py, PyAny>,
    beat: Option<&Bound<'py, PyAny>>,
) -> PyResult<Bound<'py, PyArray1<u8>>> {
    let notes = convert::notes(notes)?;
    let beats = convert::integer(beats, "beats")?;
    let beat = beat.map_or(Ok(4), |value| convert::integer(value, "beat"))?;
    Ok(py.detach(|| chords::recognize(&notes, beats, beat))?.into_pyarray(py))
}

/// Mean absolute difference of two frames.
#[pyfunction]
pub(super) fn rgb_difference(
    py: Python<'_>,
    a: &Bound<'_, PyAny>,
    b: &Bound<'_, PyAny>,
) -> PyResult<f64> {
    let (a, b) = (convert::frame(a, "a")?, convert::frame(b, "b")?);
    if a.shape() != b.shape() {
        let (first, second) = (a.shape().to_vec(), b.shape().to_vec());
        return Err(Error::ShapeMismatch { first, second }.into());
    }
    let (a, b) = (convert::items(&a, "a")?, convert::items(&b, "b")?);
    Ok(py.detach(|| video::rgb_difference(a, b))?)
}

/// RGB-uv histogram of a frame.
#[pyfunction]
pub(super) fn color_histogram<'py>(
    py: Python<'py>,
    frame: &Bound<'py, PyAny>,
) -> PyResult<Bound<'py, PyArray3<f32>>> {
    let frame = convert::frame(frame, "frame")?;
    let pixels = convert::items(&frame, "frame")?;
    let histogram = py.detach(|| video::color_histogram(pixels))?;
    histogram.into_pyarray(py).reshape([3, video::BINS, video::BINS])
}

/// Source tokens in the bars around each query bar.
#[pyfunction]
pub(super) fn bar_ranges<'py>(
    py: Python<'py>,
    query_bars: &Bound<'py, PyAny>,
    source_bars: &Bound<'py, PyAny>,
) -> PyResult<Bound<'py, PyArray2<i32>>> {
    let query = convert::array::<i32, Ix1>(query_bars, "query_bars", "an int32 array", "(T,)")?;
    let source = convert::array::<i32, Ix1>(source_bars, "source_bars", "an int32 array", "(S,)")?;
    let query = convert::items(&query, "query_bars")?;
    let source = convert::items(&source, "source_bars")?;
    let ranges = py.detach(|| bars::bar_ranges(query, source))?;
    let rows = ranges.len();
    ranges.into_flattened().into_pyarray(py).reshape([rows, 2])
}

/// The compound tokens of chords, notes or both.
#[pyfunction]
#[pyo3(signature = (bars, chords = None, notes = None))]
pub(super) fn encode_tokens<'py>(
    py: Python<'py>,
    bars: &Bound<'py, PyAny>,
    chords: Option<&Bound<'py, PyAny>>,
    notes: Option<&Bound<'py, PyAny>>,
) -> PyResult<Bound<'py, PyArray2<i16>>> {
    let bars = convert::integer(bars, "bars")?;
    let chords = chords
        .map(|value| convert::array::<u8, Ix1>(value, "chords", "a uint8 array", "(beats,)"))
        .transpose()?;
    let chords = chords.as_ref().map(|array| convert::items(array, "chords")).transpose()?;
    let notes = notes.map(convert::notes).transpose()?;
    let rows = py.detach(|| tokens::encode(bars, chords, notes.as_deref()))?;
    let count = rows.len();
    rows.into_flattened().into_pyarray(py).reshape([count, 7])
}
