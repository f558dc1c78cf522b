//! The annotation of a song as Python sees it.

use numpy::ndarray::Ix1;
use numpy::{IntoPyArray, PyArray1, PyArray2, PyReadonlyArray1};
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyString};

use super::convert;
use crate::quantize::TimedNotes;
use crate::song::{self, Chords, Kind, Melody, Meter};
use crate::{Error, Result};

/// One song, annotated; `_vmus_rs.pyi` has its members.
#[pyclass(frozen, get_all, module = "vmusprod._vmus_rs")]
pub(super) struct SongAnnotation {
    notes: Py<PyArray2<i32>>,
    is_melody: Py<PyArray1<bool>>,
    chords: Py<PyArray1<u8>>,
    first_beat: usize,
    concentration: f64,
    windows: usize,
    good_windows: usize,
    mean_moved: f64,
    most_moved: f64,
    melody_midi: Py<PyBytes>,
    accompaniment_midi: Py<PyBytes>,
    chord_lab: Py<PyBytes>,
    chord_txt: Py<PyBytes>,
    beats_txt: Py<PyBytes>,
}

/// Melody, chords, beats and the files of a song.
#[pyfunction]
#[pyo3(signature = (onset, offset, pitch, velocity, lines, beats, places, *, melody, chords, key))]
#[expect(clippy::too_many_arguments)] // Python's keyword arguments
pub(super) fn annotate_song(
    py: Python<'_>,
    onset: &Bound<'_, PyAny>,
    offset: &Bound<'_, PyAny>,
    pitch: &Bound<'_, PyAny>,
    velocity: &Bound<'_, PyAny>,
    lines: &Bound<'_, PyAny>,
    beats: &Bound<'_, PyAny>,
    places: &Bound<'_, PyAny>,
    melody: &Bound<'_, PyAny>,
    chords: &Bound<'_, PyAny>,
    key: (i64, i64),
) -> PyResult<SongAnnotation> {
    let seconds = |value, name| convert::array::<f64, Ix1>(value, name, "a float64 array", "(N,)");
    let bytes = |value, name| convert::array::<u8, Ix1>(value, name, "a uint8 array", "(N,)");
    let (onset, offset) = (seconds(onset, "onset")?, seconds(offset, "offset")?);
    let (pitch, velocity) = (bytes(pitch, "pitch")?, bytes(velocity, "velocity")?);
    let (lines, places) = (seconds(lines, "lines")?, bytes(places, "places")?);
    let beats = convert::array::<i32, Ix1>(beats, "beats", "an int32 array", "(B + 1,)")?;
    let timed = TimedNotes {
        onset: convert::items(&onset, "onset")?,
        offset: convert::items(&offset, "offset")?,
        pitch: convert::items(&pitch, "pitch")?,
        velocity: convert::items(&velocity, "velocity")?,
    };
    let meter = Meter::new(
        convert::items(&lines, "lines")?,
        convert::items(&beats, "beats")?,
        convert::items(&places, "places")?,
    )?;
    let mask: PyReadonlyArray1<'_, bool>;
    let melody = if let Ok(name) = melody.cast::<PyString>() {
        melody_named(&name.to_string())?
    } else {
        mask = convert::array(melody, "melody", "a bool array", "(N,)")?;
        Melody::Given(convert::items(&mask, "melody")?)
    };
    let ids: PyReadonlyArray1<'_, u8>;
    let chords = if let Ok(name) = chords.cast::<PyString>() {
        chords_named(&name.to_string())?
    } else {
        ids = convert::array(chords, "chords", "a uint8 array", "(beats,)")?;
        Chords::Given(convert::items(&ids, "chords")?)
    };
    let key = key_of(key)?;
    let song = py.detach(|| song::annotate(timed, &meter, melody, chords, key))?;
    Ok(SongAnnotation {
        notes: convert::notes_to_array(py, &song.notes)?.unbind(),
        is_melody: song.is_melody.into_pyarray(py).unbind(),
        chords: song.chords.into_pyarray(py).unbind(),
        first_beat: song.first_beat,
        concentration: song.fit.concentration,
        windows: song.fit.windows,
        good_windows: song.fit.good_windows,
        mean_moved: song.fit.mean_moved,
        most_moved: song.fit.most_moved,
        melody_midi: PyBytes::new(py, &song.melody_midi).unbind(),
        accompaniment_midi: PyBytes::new(py, &song.accompaniment_midi).unbind(),
        chord_lab: PyBytes::new(py, song.chord_lab.as_bytes()).unbind(),
        chord_txt: PyBytes::new(py, song.chord_txt.as_bytes()).unbind(),
        beats_txt: PyBytes::new(py, song.beats_txt.as_bytes()).unbind(),
    })
}

fn melody_named(name: &str) -> Result<Melody<'static>> {
    match name {
        "skyline" => Ok(Melody::Skyline),
        "learned" => Ok(Melody::Learned(Kind::Unknown)),
        "solo" => Ok(Melody::Learned(Kind::Solo)),
        "arrangement" => Ok(Melody::Learned(Kind::Arrangement)),
        _ => Err(unknown("melody", "skyline, learned, solo, arrangement or a bool array", name)),
    }
}

fn chords_named(name: &str) -> Result<Chords<'static>> {
    match name {
        "hmm" => Ok(Chords::Decoded),
        "chorder" => Ok(Chords::Recognized),
        _ => Err(unknown("chords", "hmm, chorder or a uint8 array", name)),
    }
}

fn unknown(name: &'static str, must: &'static str, actual: &str) -> Error {
    Error::Value { name, index: None, must, actual: format!("{actual:?}") }
}

fn key_of((tonic, mode): (i64, i64)) -> PyResult<(u8, bool)> {
    if let (Ok(tonic), 0 | 1) = (u8::try_from(tonic), mode) {
        return Ok((tonic, mode == 1));
    }
    let (name, must) = ("key", "a tonic of 0 to 11 and a mode of 0 or 1");
    let actual = format!("({tonic}, {mode})");
    Err(Error::Value { name, index: None, must, actual }.into())
}
