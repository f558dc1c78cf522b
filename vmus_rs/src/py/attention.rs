//! Causal linear attention for training, as Python sees it.

use numpy::ndarray::{Ix1, Ix2};
use numpy::{
    Element, IntoPyArray, PyArray2, PyArrayMethods, PyReadonlyArray1, PyReadonlyArray2,
    PyUntypedArrayMethods,
};
use pyo3::prelude::*;

use super::convert;
use crate::Error;
use crate::attention::{Means, Number, Packed, backward, forward};
use crate::engine::Level;

type Pair<'py> = (Bound<'py, PyArray2<f32>>, Bound<'py, PyArray2<f32>>);

fn means(threads: usize) -> Means {
    Means { level: Level::best(), threads }
}

/// Whether an array holds the bits of bfloat16, and not floats.
fn is_half(array: &Bound<'_, PyAny>) -> bool {
    array.cast::<PyArray2<u16>>().is_ok()
}

fn table<'py, N: Element>(
    value: &Bound<'py, PyAny>,
    name: &'static str,
) -> Result<PyReadonlyArray2<'py, N>, Error> {
    convert::array::<N, Ix2>(value, name, "a float32 or uint16 array", "(T, columns)")
}

fn checked<'a, N: Element>(
    array: &'a PyReadonlyArray2<'_, N>,
    name: &'static str,
    valid: &PyReadonlyArray1<'_, f32>,
) -> Result<&'a [N], Error> {
    if array.shape().first() != Some(&valid.len()) {
        let actual = array.shape().to_vec();
        return Err(Error::Shape { name, expected: "(T, columns), T as of valid", actual });
    }
    convert::items(array, name)
}

/// Attention of each token to itself and those before it in its sequence.
#[pyfunction]
#[expect(clippy::needless_pass_by_value)] // as PyO3 makes it
pub(super) fn causal_attention<'py>(
    py: Python<'py>,
    qkv: &Bound<'py, PyAny>,
    valid: &Bound<'py, PyAny>,
    lengths: Vec<usize>,
    heads: usize,
    threads: usize,
) -> PyResult<Pair<'py>> {
    if is_half(qkv) {
        run_forward::<u16>(py, qkv, valid, &lengths, heads, threads)
    } else {
        run_forward::<f32>(py, qkv, valid, &lengths, heads, threads)
    }
}

fn run_forward<'py, N: Number + Element>(
    py: Python<'py>,
    qkv: &Bound<'py, PyAny>,
    valid: &Bound<'py, PyAny>,
    lengths: &[usize],
    heads: usize,
    threads: usize,
) -> PyResult<Pair<'py>> {
    let valid = convert::array::<f32, Ix1>(valid, "valid", "a float32 array", "(T,)")?;
    let qkv = table::<N>(qkv, "qkv")?;
    let items = checked(&qkv, "qkv", &valid)?;
    let packed = Packed { lengths, valid: convert::items(&valid, "valid")?, heads };
    let mixed = py.detach(|| forward(&packed, items, means(threads)))?;
    let (rows, width) = (valid.len(), qkv.shape().last().map_or(0, |n| n / 3));
    let out = mixed.out.into_pyarray(py).reshape([rows, width])?;
    Ok((out, mixed.weight.into_pyarray(py).reshape([rows, heads])?))
}

/// The gradient of `causal_attention` with respect to its first argument.
#[pyfunction]
#[expect(clippy::too_many_arguments, clippy::needless_pass_by_value)] // Python's, as PyO3 makes them
pub(super) fn causal_attention_backward<'py>(
    py: Python<'py>,
    qkv: &Bound<'py, PyAny>,
    valid: &Bound<'py, PyAny>,
    lengths: Vec<usize>,
    heads: usize,
    grad: &Bound<'py, PyAny>,
    out: &Bound<'py, PyAny>,
    weight: &Bound<'py, PyAny>,
    threads: usize,
) -> PyResult<Bound<'py, PyAny>> {
    let call = Call { qkv, valid, lengths: &lengths, heads, grad, out, weight, threads };
    Ok(if is_half(qkv) { call.run::<u16>(py)?.into_any() } else { call.run::<f32>(py)?.into_any() })
}

struct Call<'a, 'py> {
    qkv: &'a Bound<'py, PyAny>,
    valid: &'a Bound<'py, PyAny>,
    lengths: &'a [usize],
    heads: usize,
    grad: &'a Bound<'py, PyAny>,
    out: &'a Bound<'py, PyAny>,
    weight: &'a Bound<'py, PyAny>,
    threads: usize,
}

impl<'py> Call<'_, 'py> {
    fn run<N: Number + Element>(self, py: Python<'py>) -> PyResult<Bound<'py, PyArray2<N>>> {
        let valid = convert::array::<f32, Ix1>(self.valid, "valid", "a float32 array", "(T,)")?;
        let (qkv, grad) = (table::<N>(self.qkv, "qkv")?, table::<N>(self.grad, "grad")?);
        let (out, weight) = (table::<f32>(self.out, "out")?, table::<f32>(self.weight, "weight")?);
        let packed = Packed {
            lengths: self.lengths,
            valid: convert::items(&valid, "valid")?,
            heads: self.heads,
        };
        let (x, grad) = (checked(&qkv, "qkv", &valid)?, checked(&grad, "grad", &valid)?);
        let held = (checked(&out, "out", &valid)?, checked(&weight, "weight", &valid)?);
        let gradient = py.detach(|| backward(&packed, x, grad, held, means(self.threads)))?;
        let shape = [valid.len(), qkv.shape().last().copied().unwrap_or(0)];
        gradient.into_pyarray(py).reshape(shape)
    }
}
