//! Values across the boundary, with errors that say which argument is wrong and how.

use numpy::ndarray::{Dimension, Ix2, Ix3};
use numpy::{
    Element, IntoPyArray, PyArray, PyArray2, PyArrayDescrMethods, PyArrayMethods, PyReadonlyArray,
    PyUntypedArray, PyUntypedArrayMethods,
};
use pyo3::exceptions::PyOverflowError;
use pyo3::prelude::*;

use crate::{Error, Note};

/// An array that may be read as one slice in C order; `dtype` and `shape` say in words what is
/// needed, for the error.
///
/// Nothing is copied unless the array is strided or unaligned (a crop, a field of records).
pub(super) fn array<'py, T: Element, D: Dimension>(
    value: &Bound<'py, PyAny>,
    name: &'static str,
    dtype: &'static str,
    shape: &'static str,
) -> Result<PyReadonlyArray<'py, T, D>, Error> {
    let busy = |what: &str| Error::Value {
        name,
        index: None,
        must: "free to read",
        actual: what.to_owned(),
    };
    if let Ok(array) = value.cast::<PyArray<T, D>>() {
        let in_order = array.is_aligned() && array.is_c_contiguous();
        let array = if in_order { array.clone() } else { copied(array).map_err(|e| busy(&e))? };
        return array.try_readonly().map_err(|_| busy("being written to"));
    }
    let Ok(untyped) = value.cast::<PyUntypedArray>() else {
        return Err(Error::Type { name, expected: dtype, actual: type_name(value) });
    };
    if untyped.dtype().is_equiv_to(&numpy::dtype::<T>(value.py())) {
        return Err(Error::Shape { name, expected: shape, actual: untyped.shape().to_vec() });
    }
    Err(Error::Type { name, expected: dtype, actual: format!("an array of {}", untyped.dtype()) })
}

/// numpy's own copy in C order, which alone knows strides that are no multiple of the item size.
fn copied<'py, T: Element, D: Dimension>(
    array: &Bound<'py, PyArray<T, D>>,
) -> Result<Bound<'py, PyArray<T, D>>, String> {
    let copy = array.call_method1("copy", ("C",)).map_err(|error| error.to_string())?;
    copy.cast_into().map_err(|_| "a copy of another type".into())
}

/// The items in C order.
pub(super) fn items<'a, T: Element, D: Dimension>(
    array: &'a PyReadonlyArray<'_, T, D>,
    name: &'static str,
) -> Result<&'a [T], Error> {
    array.as_slice().map_err(|error| Error::Value {
        name,
        index: None,
        must: "in C order",
        actual: error.to_string(),
    })
}

/// A frame of RGB bytes, (H, W, 3).
pub(super) fn frame<'py>(
    value: &Bound<'py, PyAny>,
    name: &'static str,
) -> Result<PyReadonlyArray<'py, u8, Ix3>, Error> {
    let frame = array::<u8, Ix3>(value, name, "a uint8 array", "(H, W, 3)")?;
    let shape = frame.shape();
    if shape.last() != Some(&3) {
        return Err(Error::Shape { name, expected: "(H, W, 3)", actual: shape.to_vec() });
    }
    Ok(frame)
}

/// Notes from an (N, 4) array; the one input that is copied, into a list of structs.
pub(super) fn notes(value: &Bound<'_, PyAny>) -> Result<Vec<Note>, Error> {
    let rows = array::<i32, Ix2>(value, "notes", "an int32 array", "(N, 4)")?;
    if rows.shape().last() != Some(&4) {
        let actual = rows.shape().to_vec();
        return Err(Error::Shape { name: "notes", expected: "(N, 4)", actual });
    }
    let note =
        |row: &[i32]| Note { onset: row[0], duration: row[1], pitch: row[2], velocity: row[3] };
    Ok(items(&rows, "notes")?.chunks_exact(4).map(note).collect())
}

/// Notes as an (N, 4) array.
pub(super) fn notes_to_array<'py>(
    py: Python<'py>,
    notes: &[Note],
) -> PyResult<Bound<'py, PyArray2<i32>>> {
    let flat: Vec<i32> =
        notes.iter().flat_map(|n| [n.onset, n.duration, n.pitch, n.velocity]).collect();
    flat.into_pyarray(py).reshape([notes.len(), 4])
}

/// Rows of numbers as a matrix.
pub(super) fn rows<const N: usize>(
    py: Python<'_>,
    rows: Vec<[f32; N]>,
) -> PyResult<Bound<'_, PyArray2<f32>>> {
    let count = rows.len();
    rows.into_flattened().into_pyarray(py).reshape([count, N])
}

/// An integer, or anything with `__index__`.
pub(super) fn integer(value: &Bound<'_, PyAny>, name: &'static str) -> Result<i64, Error> {
    value.extract().map_err(|error| unfit(&error, value, name, "an integer", "below 2^63"))
}

/// A real number, or anything with `__float__`.
pub(super) fn real(value: &Bound<'_, PyAny>, name: &'static str) -> Result<f64, Error> {
    value.extract().map_err(|error| unfit(&error, value, name, "a number", "within float range"))
}

/// Python reports a number that is too large as an `OverflowError`; here it is a value that is
/// wrong, like any other.
fn unfit(
    error: &PyErr,
    value: &Bound<'_, PyAny>,
    name: &'static str,
    expected: &'static str,
    must: &'static str,
) -> Error {
    if error.is_instance_of::<PyOverflowError>(value.py()) {
        Error::Value { name, index: None, must, actual: "a larger one".into() }
    } else {
        Error::Type { name, expected, actual: type_name(value) }
    }
}

fn type_name(value: &Bound<'_, PyAny>) -> String {
    value.get_type().name().map_or_else(|_| "another type".into(), |name| name.to_string())
}
