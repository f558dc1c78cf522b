//! The functions for tempo, beats and bars that Python sees.

use numpy::ndarray::Ix1;
use numpy::{IntoPyArray, PyArray1, PyArray2, PyArrayMethods, PyReadonlyArray};
use pyo3::prelude::*;

use super::convert::{self, rows};
use crate::quantize::TimedNotes;
use crate::{Error, beats};

type Times<'py> = PyReadonlyArray<'py, f64, Ix1>;
type Bytes<'py> = PyReadonlyArray<'py, u8, Ix1>;
type FoundStretch<'py> =
    (usize, usize, Bound<'py, PyArray1<f64>>, Bound<'py, PyArray1<i64>>, f64, usize);
type FoundPulse<'py> = (Bound<'py, PyArray1<f64>>, Bound<'py, PyArray1<f64>>, f64, f64, f64);
type Features<'py> = Bound<'py, PyArray2<f32>>;

/// The four arrays of notes in time.
struct Notes<'py> {
    onset: Times<'py>,
    offset: Times<'py>,
    pitch: Bytes<'py>,
    velocity: Bytes<'py>,
}

impl<'py> Notes<'py> {
    fn of(
        onset: &Bound<'py, PyAny>,
        offset: &Bound<'py, PyAny>,
        pitch: &Bound<'py, PyAny>,
        velocity: &Bound<'py, PyAny>,
    ) -> Result<Self, Error> {
        let bytes = |value, name| convert::array(value, name, "a uint8 array", "(N,)");
        Ok(Self {
            onset: times(onset, "onset")?,
            offset: times(offset, "offset")?,
            pitch: bytes(pitch, "pitch")?,
            velocity: bytes(velocity, "velocity")?,
        })
    }

    fn view(&self) -> Result<TimedNotes<'_>, Error> {
        Ok(TimedNotes {
            onset: convert::items(&self.onset, "onset")?,
            offset: convert::items(&self.offset, "offset")?,
            pitch: convert::items(&self.pitch, "pitch")?,
            velocity: convert::items(&self.velocity, "velocity")?,
        })
    }
}

fn times<'py>(value: &Bound<'py, PyAny>, name: &'static str) -> Result<Times<'py>, Error> {
    convert::array(value, name, "a float64 array", "(N,)")
}

/// The stretches of one tempo, with their grids.
#[pyfunction]
pub(super) fn find_beats<'py>(
    py: Python<'py>,
    onset: &Bound<'py, PyAny>,
    offset: &Bound<'py, PyAny>,
    pitch: &Bound<'py, PyAny>,
    velocity: &Bound<'py, PyAny>,
) -> PyResult<Vec<FoundStretch<'py>>> {
    let notes = Notes::of(onset, offset, pitch, velocity)?;
    let view = notes.view()?;
    let found = py.detach(|| beats::stretches(view))?;
    let as_python = |s: beats::Stretch| {
        let kept: Vec<i64> = s.kept.iter().filter_map(|&k| i64::try_from(k).ok()).collect();
        let (times, kept) = (s.times.into_pyarray(py), kept.into_pyarray(py));
        (s.notes.start, s.notes.end, times, kept, s.concentration, s.beats_a_bar)
    };
    Ok(found.into_iter().map(as_python).collect())
}

/// The pulses that onsets follow.
#[pyfunction]
pub(super) fn find_pulses<'py>(
    py: Python<'py>,
    onset: &Bound<'py, PyAny>,
) -> PyResult<Vec<FoundPulse<'py>>> {
    let onset = times(onset, "onset")?;
    let onset = convert::items(&onset, "onset")?;
    let none = vec![0u8; onset.len()];
    let notes = TimedNotes { onset, offset: onset, pitch: &none, velocity: &none };
    let found = py.detach(|| beats::pulses(notes))?;
    let as_python = |p: beats::Pulse| {
        (p.times.into_pyarray(py), p.count.into_pyarray(py), p.start, p.end, p.fit)
    };
    Ok(found.into_iter().map(as_python).collect())
}

/// The readings of a pulse, and what describes them.
#[pyfunction]
pub(super) fn beat_readings<'py>(
    py: Python<'py>,
    onset: &Bound<'py, PyAny>,
    offset: &Bound<'py, PyAny>,
    pitch: &Bound<'py, PyAny>,
    velocity: &Bound<'py, PyAny>,
    times: &Bound<'py, PyAny>,
    count: &Bound<'py, PyAny>,
) -> PyResult<(Bound<'py, PyArray2<i32>>, Features<'py>)> {
    let notes = Notes::of(onset, offset, pitch, velocity)?;
    let (times, count) = (self::times(times, "times")?, self::times(count, "count")?);
    let pulse = beats::Pulse {
        times: convert::items(&times, "times")?.to_vec(),
        count: convert::items(&count, "count")?.to_vec(),
        start: 0.0,
        end: 0.0,
        fit: 0.0,
    };
    let view = notes.view()?;
    let (readings, features): (Vec<_>, Vec<_>) =
        py.detach(|| beats::readings(view, &pulse))?.into_iter().unzip();
    let pairs: Vec<i32> = readings.iter().flat_map(|r| [r.pulses, r.phase]).collect();
    let pairs = pairs.into_pyarray(py).reshape([readings.len(), 2])?;
    Ok((pairs, rows(py, features)?))
}

/// The events and what decides their strength.
#[pyfunction]
pub(super) fn event_features<'py>(
    py: Python<'py>,
    onset: &Bound<'py, PyAny>,
    offset: &Bound<'py, PyAny>,
    pitch: &Bound<'py, PyAny>,
    velocity: &Bound<'py, PyAny>,
    beat: &Bound<'py, PyAny>,
) -> PyResult<(Bound<'py, PyArray1<f64>>, Features<'py>)> {
    let notes = Notes::of(onset, offset, pitch, velocity)?;
    let beat = convert::real(beat, "beat")?;
    let view = notes.view()?;
    let (time, features) = py.detach(|| beats::event_features(view, beat))?;
    Ok((time.into_pyarray(py), rows(py, features)?))
}

/// What the notes do at each beat.
#[pyfunction]
pub(super) fn beat_features<'py>(
    py: Python<'py>,
    onset: &Bound<'py, PyAny>,
    offset: &Bound<'py, PyAny>,
    pitch: &Bound<'py, PyAny>,
    velocity: &Bound<'py, PyAny>,
    beats: &Bound<'py, PyAny>,
) -> PyResult<Features<'py>> {
    let notes = Notes::of(onset, offset, pitch, velocity)?;
    let beats = times(beats, "beats")?;
    let (view, beats) = (notes.view()?, convert::items(&beats, "beats")?);
    rows(py, py.detach(|| beats::beat_features(view, beats))?)
}

/// Log odds of each beat being a downbeat.
#[pyfunction]
pub(super) fn downbeat_odds<'py>(
    py: Python<'py>,
    onset: &Bound<'py, PyAny>,
    offset: &Bound<'py, PyAny>,
    pitch: &Bound<'py, PyAny>,
    velocity: &Bound<'py, PyAny>,
    beats: &Bound<'py, PyAny>,
) -> PyResult<Bound<'py, PyArray1<f32>>> {
    let notes = Notes::of(onset, offset, pitch, velocity)?;
    let beats = times(beats, "beats")?;
    let (view, beats) = (notes.view()?, convert::items(&beats, "beats")?);
    Ok(py.detach(|| beats::downbeat_odds(view, beats))?.into_pyarray(py))
}

/// Which beats begin bars, and of how many beats.
#[pyfunction]
pub(super) fn find_downbeats<'py>(
    py: Python<'py>,
    onset: &Bound<'py, PyAny>,
    offset: &Bound<'py, PyAny>,
    pitch: &Bound<'py, PyAny>,
    velocity: &Bound<'py, PyAny>,
    beats: &Bound<'py, PyAny>,
) -> PyResult<(Bound<'py, PyArray1<i64>>, usize)> {
    let notes = Notes::of(onset, offset, pitch, velocity)?;
    let beats = times(beats, "beats")?;
    let (view, beats) = (notes.view()?, convert::items(&beats, "beats")?);
    let (starts, size) = py.detach(|| beats::downbeats(view, beats))?;
    let starts: Vec<i64> = starts.iter().filter_map(|&k| i64::try_from(k).ok()).collect();
    Ok((starts.into_pyarray(py), size))
}
