//! Tensors out of a safetensors file, by name, each with the shape that the model needs.

use std::cell::RefCell;
use std::collections::HashSet;

use safetensors::{Dtype, SafeTensors};

use super::matrix::{Matrix, Precision};
use super::ops::Norm;
use super::simd::widen_half;
use crate::{Error, Result};

/// The tensors of a file; each may be taken once, and at the end none may be left.
pub(crate) struct Weights<'a> {
    file: SafeTensors<'a>,
    left: RefCell<HashSet<String>>,
    precision: Precision,
}

impl<'a> Weights<'a> {
    pub(crate) fn parse(data: &'a [u8], precision: Precision) -> Result<Self> {
        let file = SafeTensors::deserialize(data)
            .map_err(|e| Error::Weights(format!("not a safetensors file: {e}")))?;
        let left = file.names().into_iter().map(ToOwned::to_owned).collect();
        Ok(Self { file, left: RefCell::new(left), precision })
    }

    /// Fails if a tensor was not taken.
    pub(crate) fn finish(&self) -> Result<()> {
        match self.left.borrow().iter().min() {
            Some(name) => Err(Error::Weights(format!("{name} is not of this model"))),
            None => Ok(()),
        }
    }

    /// A tensor's numbers in C order.
    pub(crate) fn numbers(&self, name: &str, shape: &[usize]) -> Result<Vec<f32>> {
        let view =
            self.file.tensor(name).map_err(|_| Error::Weights(format!("{name} is missing")))?;
        self.left.borrow_mut().remove(name);
        if view.shape() != shape {
            let text = format!("{name} has shape {:?}, not {shape:?}", view.shape());
            return Err(Error::Weights(text));
        }
        let data = view.data();
        let numbers: Vec<f32> = match view.dtype() {
            Dtype::F16 => halves(data),
            Dtype::BF16 => data
                .chunks_exact(2)
                .map(|b| half::bf16::from_le_bytes([b[0], b[1]]).to_f32())
                .collect(),
            Dtype::F32 => crate::net::floats(data),
            other => return Err(Error::Weights(format!("{name} is of type {other:?}"))),
        };
        if numbers.iter().all(|x| x.is_finite()) {
            Ok(numbers)
        } else {
            Err(Error::Weights(format!("{name} holds weights that are not finite")))
        }
    }

    /// A linear map without bias, `name.weight`, kept as `precision` says.
    pub(crate) fn matrix(&self, name: &str, rows: usize, cols: usize) -> Result<Matrix> {
        let numbers = self.numbers(&format!("{name}.weight"), &[rows, cols])?;
        Ok(Matrix::new(&numbers, rows, None, self.precision))
    }

    /// A linear map with bias. `exact`: not in bytes, whatever `precision` says.
    pub(crate) fn affine(
        &self,
        name: &str,
        rows: usize,
        cols: usize,
        exact: bool,
    ) -> Result<Matrix> {
        let numbers = self.numbers(&format!("{name}.weight"), &[rows, cols])?;
        let bias = self.numbers(&format!("{name}.bias"), &[rows])?;
        let bytes = exact && self.precision == Precision::I8;
        let precision = if bytes { Precision::F16 } else { self.precision };
        Ok(Matrix::new(&numbers, rows, Some(bias), precision))
    }

    /// A layer normalisation.
    pub(crate) fn norm(&self, name: &str, width: usize) -> Result<Norm> {
        Ok(Norm {
            weight: self.numbers(&format!("{name}.weight"), &[width])?,
            bias: self.numbers(&format!("{name}.bias"), &[width])?,
        })
    }
}

/// Half-precision numbers; those that are not finite become NaN.
fn halves(data: &[u8]) -> Vec<f32> {
    const EXPONENT: u16 = 0x7c00;
    let number = |b: &[u8]| {
        let half = u16::from_le_bytes([b[0], b[1]]);
        if half & EXPONENT == EXPONENT { f32::NAN } else { widen_half(half) }
    };
    data.chunks_exact(2).map(number).collect()
}
