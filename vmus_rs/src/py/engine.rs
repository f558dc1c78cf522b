//! The decoding engine as Python sees it.

use std::collections::HashMap;
use std::thread;

use numpy::ndarray::{Ix1, Ix2};
use numpy::{IntoPyArray, PyArray2, PyArrayMethods, PyUntypedArrayMethods};
use pyo3::prelude::*;
use pyo3::types::PyDict;

use super::convert;
use crate::Error;
use crate::engine::{
    ATTRIBUTE_NAMES, Dice, Frame, Level, Precision, Random, Request, Rows, Sharing, Sheet,
    SourceName, SourceStream, Stage, logits, write,
};
use crate::tokens::Token;

#[derive(FromPyObject)]
struct PyFrame {
    bars: usize,
    mode: usize,
    first_step: usize,
    silence: usize,
}

#[derive(FromPyObject)]
struct PySheet<'py> {
    bars: usize,
    tempo: usize,
    mode: usize,
    style: usize,
    density: Bound<'py, PyAny>,
    loudness: Bound<'py, PyAny>,
}

#[derive(FromPyObject)]
struct PyDice {
    temperature: f64,
    top_p: f64,
}

/// `vmusprod.models.task.Task`.
#[derive(FromPyObject)]
struct PyTask<'py> {
    frame: PyFrame,
    sheet: PySheet<'py>,
    dice: HashMap<String, PyDice>,
    source: Option<Bound<'py, PyAny>>,
    chords: Option<Bound<'py, PyAny>>,
    melody: Option<Bound<'py, PyAny>>,
    video: HashMap<String, Bound<'py, PyAny>>,
    form: Bound<'py, PyAny>,
    pull: f32,
    leaning: Bound<'py, PyAny>,
    hold: f32,
    random_state: [u64; 4],
}

impl PyTask<'_> {
    fn request(self) -> PyResult<Request> {
        let dice = |name: &&str| {
            // An attribute that the stage does not write needs no dice.
            let dice = self.dice.get(*name);
            dice.map_or(Dice { temperature: 1.0, top_p: 1.0 }, |d| Dice {
                temperature: d.temperature,
                top_p: d.top_p,
            })
        };
        let mut named = ATTRIBUTE_NAMES.iter().map(dice);
        let dice =
            std::array::from_fn(|_| named.next().unwrap_or(Dice { temperature: 1.0, top_p: 1.0 }));
        let [high, low, more, less] = self.random_state.map(u128::from);
        let source = match (&self.source, &self.chords) {
            (Some(source), Some(chords)) => {
                let chords = convert::array::<u8, Ix1>(chords, "chords", "a uint8 array", "(N,)")?;
                Some(SourceStream {
                    tokens: tokens(source, "source")?,
                    chords: convert::items(&chords, "chords")?.to_vec(),
                })
            }
            _ => None,
        };
        let sheet = &self.sheet;
        Ok(Request {
            frame: Frame {
                bars: self.frame.bars,
                mode: self.frame.mode,
                first_step: self.frame.first_step,
                silence: self.frame.silence,
            },
            sheet: Sheet {
                bars: sheet.bars,
                tempo: sheet.tempo,
                mode: sheet.mode,
                style: sheet.style,
                density: levels(&sheet.density, "density")?,
                loudness: levels(&sheet.loudness, "loudness")?,
            },
            source,
            melody: self.melody.as_ref().map_or(Ok(Vec::new()), convert::notes)?,
            video: self.video.iter().map(video).collect::<PyResult<_>>()?,
            dice,
            form: levels(&self.form, "form")?,
            pull: self.pull,
            leaning: leaning(&self.leaning)?,
            hold: self.hold,
            random: Random::new(high << 64 | low, more << 64 | less),
        })
    }
}

fn levels(value: &Bound<'_, PyAny>, name: &'static str) -> PyResult<Vec<usize>> {
    let array = convert::array::<i64, Ix1>(value, name, "an int64 array", "(N,)")?;
    let level = |&x: &i64| usize::try_from(x).unwrap_or(0);
    Ok(convert::items(&array, name)?.iter().map(level).collect())
}

fn leaning(value: &Bound<'_, PyAny>) -> PyResult<Vec<f32>> {
    let rows = convert::array::<f32, Ix2>(value, "leaning", "a float32 array", "(12, 11)")?;
    if !matches!(rows.shape(), [0 | 12, 11]) {
        let actual = rows.shape().to_vec();
        return Err(Error::Shape { name: "leaning", expected: "(12, 11)", actual }.into());
    }
    Ok(convert::items(&rows, "leaning")?.to_vec())
}

fn tokens(value: &Bound<'_, PyAny>, name: &'static str) -> PyResult<Vec<Token>> {
    let rows = convert::array::<i16, Ix2>(value, name, "an int16 array", "(T, 7)")?;
    if rows.shape().last() != Some(&7) {
        let actual = rows.shape().to_vec();
        return Err(Error::Shape { name, expected: "(T, 7)", actual }.into());
    }
    let token = |row: &[i16]| row.try_into().unwrap_or_default();
    Ok(convert::items(&rows, name)?.chunks_exact(7).map(token).collect())
}

fn video((name, value): (&String, &Bound<'_, PyAny>)) -> PyResult<Rows> {
    let wrong = |must, actual| Error::Value { name: "video", index: None, must, actual };
    let source = SourceName::find(name)
        .ok_or_else(|| wrong("of sources that the controller knows", name.clone()))?;
    let rows = convert::array::<f32, Ix2>(value, "video", "a float32 array", "(S, size)")?;
    if rows.shape().last() != Some(&source.size()) {
        let actual = rows.shape().to_vec();
        return Err(Error::Shape { name: "video", expected: "(S, size)", actual }.into());
    }
    Ok(Rows { source, values: convert::items(&rows, "video")?.to_vec() })
}

fn tokens_to_array(py: Python<'_>, tokens: Vec<Token>) -> PyResult<Bound<'_, PyArray2<i16>>> {
    let count = tokens.len();
    tokens.into_flattened().into_pyarray(py).reshape([count, 7])
}

/// A stage with its weights, ready to write.
#[pyclass(frozen, module = "vmusprod._vmus_rs")]
pub(super) struct StageEngine {
    stage: Stage,
    level: Level,
}

#[pymethods]
impl StageEngine {
    #[new]
    #[pyo3(signature = (data, config, precision = "f16", level = None))]
    fn new(
        py: Python<'_>,
        data: &[u8],
        config: &str,
        precision: &str,
        level: Option<&str>,
    ) -> PyResult<Self> {
        let precision = Precision::find(precision)?;
        let level = level.map_or_else(|| Ok(Level::best()), Level::find)?;
        let stage = py.detach(|| Stage::read(data, config, precision))?;
        Ok(Self { stage, level })
    }

    /// The SIMD level in use.
    #[getter]
    fn level(&self) -> &'static str {
        self.level.name()
    }

    /// Names of this machine's SIMD levels, the fastest first.
    #[staticmethod]
    fn levels() -> Vec<&'static str> {
        Level::available().into_iter().map(Level::name).collect()
    }

    /// Write the streams of some tasks.
    #[pyo3(signature = (tasks, progress = None, threads = None, together = 8))]
    fn write<'py>(
        &self,
        py: Python<'py>,
        tasks: Vec<PyTask<'py>>,
        progress: Option<&Bound<'py, PyAny>>,
        threads: Option<usize>,
        together: usize,
    ) -> PyResult<Vec<Bound<'py, PyArray2<i16>>>> {
        let requests = tasks.into_iter().map(PyTask::request).collect::<PyResult<Vec<_>>>()?;
        let threads =
            threads.unwrap_or_else(|| thread::available_parallelism().map_or(1, usize::from));
        let sharing = Sharing { level: self.level, threads, together };
        let progress = progress.map(|progress| progress.clone().unbind());
        let mut raised = None;
        let written = py.detach(|| {
            write(&self.stage, requests, sharing, |share| {
                let told = Python::attach(|py| -> PyResult<()> {
                    py.check_signals()?;
                    match &progress {
                        Some(progress) => progress.call1(py, (share,)).map(drop),
                        None => Ok(()),
                    }
                });
                match told {
                    Ok(()) => true,
                    Err(error) => {
                        raised.get_or_insert(error);
                        false
                    }
                }
            })
        });
        if let Some(error) = raised {
            return Err(error);
        }
        written?.into_iter().map(|tokens| tokens_to_array(py, tokens)).collect()
    }

    /// Logits of every attribute of a given stream.
    fn logits<'py>(
        &self,
        py: Python<'py>,
        task: PyTask<'py>,
        tokens: &Bound<'py, PyAny>,
    ) -> PyResult<Bound<'py, PyDict>> {
        let tokens = self::tokens(tokens, "tokens")?;
        let request = task.request()?;
        let all = py.detach(|| logits(&self.stage, request, &tokens, self.level))?;
        let out = PyDict::new(py);
        for (name, logits) in ATTRIBUTE_NAMES.iter().zip(all) {
            let rows = logits.values.len() / logits.size.max(1);
            if rows > 0 {
                out.set_item(name, logits.values.into_pyarray(py).reshape([rows, logits.size])?)?;
            }
        }
        Ok(out)
    }
}
