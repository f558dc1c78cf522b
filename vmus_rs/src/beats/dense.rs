//! Dense layers of any number of inputs.

use crate::wide::wide;

/// Affine map to `OUT` numbers.
///
/// A row that is missing from the table counts as zeros, so that no length can do harm.
pub(super) struct Dense<const OUT: usize> {
    /// One row an input.
    weights: Vec<[f32; OUT]>,
    bias: [f32; OUT],
}

impl<const OUT: usize> Dense<OUT> {
    /// How many numbers a layer of `inputs` inputs takes.
    pub(super) const fn size(inputs: usize) -> usize {
        (inputs + 1) * OUT
    }

    /// Takes this layer's numbers off the front: a row of `OUT` an input, then a row of biases.
    pub(super) fn take(numbers: &mut &[f32], inputs: usize) -> Self {
        let (own, rest) = numbers.split_at(Self::size(inputs).min(numbers.len()));
        *numbers = rest;
        let row = |row: &[f32]| row.try_into().unwrap_or([0.0; OUT]);
        let mut weights: Vec<[f32; OUT]> = own.chunks_exact(OUT).map(row).collect();
        let bias = if weights.len() > inputs { weights.pop() } else { None };
        Self { weights, bias: bias.unwrap_or([0.0; OUT]) }
    }

    /// The map itself.
    pub(super) fn apply(&self, input: &[f32]) -> [f32; OUT] {
        affine(self.bias, &self.weights, input)
    }

    /// The map, negative results made 0.
    pub(super) fn apply_relu(&self, input: &[f32]) -> [f32; OUT] {
        self.apply(input).map(|x| x.max(0.0))
    }
}

wide! {
    fn affine['a, const OUT: usize]['a, OUT](
        bias: [f32; OUT],
        weights: &'a [[f32; OUT]],
        input: &'a [f32],
    ) -> [f32; OUT] {
        let mut sum = bias;
        let size = input.len().min(weights.len());
        let mut k = 0;
        // Four rows at a time: the next sum waits for the last.
        while k + 4 <= size {
            let (x, rows) = (&input[k..k + 4], &weights[k..k + 4]);
            for o in 0..OUT {
                sum[o] += (x[0] * rows[0][o] + x[1] * rows[1][o])
                    + (x[2] * rows[2][o] + x[3] * rows[3][o]);
            }
            k += 4;
        }
        while k < size {
            for o in 0..OUT {
                sum[o] += input[k] * weights[k][o];
            }
            k += 1;
        }
        sum
    }
}

#[cfg(test)]
#[expect(clippy::float_cmp)] // small whole numbers and halves are exact
mod tests {
    use super::*;

    #[test]
    fn takes_its_numbers_in_order() {
        let mut numbers: &[f32] = &[1.0, 2.0, 3.0, 4.0, 0.5, -20.0, 9.0];
        let layer = Dense::<2>::take(&mut numbers, 2);
        assert_eq!(numbers, [9.0]);
        assert_eq!(layer.apply(&[2.0, 1.0]), [5.5, -12.0]);
        assert_eq!(layer.apply_relu(&[2.0, 1.0]), [5.5, 0.0]);
    }

    #[test]
    fn missing_numbers_are_zeros() {
        let mut none: &[f32] = &[];
        assert_eq!(Dense::<3>::take(&mut none, 2).apply(&[1.0, 1.0]), [0.0; 3]);
    }
}
