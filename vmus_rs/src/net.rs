//! Small dense layers whose numbers are part of the crate.

/// Reads little-endian floats, as the fitting commands write them; a rest of under four bytes is left out.
pub(crate) fn floats(bytes: &[u8]) -> Vec<f32> {
    bytes.chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect()
}

/// Reads the upper halves of floats.
pub(crate) fn upper_halves(bytes: &[u8]) -> Vec<f32> {
    bytes.chunks_exact(2).map(|b| f32::from_le_bytes([0, 0, b[0], b[1]])).collect()
}

/// Numbers of a table, taken one after another; those that are missing are zeros, so that no length
/// can do harm.
pub(crate) struct Numbers<'a>(pub(crate) &'a [f32]);

impl Numbers<'_> {
    pub(crate) fn row<const N: usize>(&mut self) -> [f32; N] {
        let (own, rest) = self.0.split_at(N.min(self.0.len()));
        self.0 = rest;
        let mut row = [0.0; N];
        row[..own.len()].copy_from_slice(own);
        row
    }

    pub(crate) fn rows<const N: usize>(&mut self, count: usize) -> Vec<[f32; N]> {
        (0..count).map(|_| self.row()).collect()
    }
}

/// Affine map of `IN` to `OUT` numbers.
pub(crate) struct Dense<const IN: usize, const OUT: usize> {
    /// One row an input.
    weights: Vec<[f32; OUT]>,
    bias: [f32; OUT],
}

impl<const IN: usize, const OUT: usize> Dense<IN, OUT> {
    /// How many numbers it takes, with biases and without.
    pub(crate) const SIZE: usize = (IN + 1) * OUT;
    pub(crate) const SIZE_WITHOUT_BIAS: usize = IN * OUT;

    /// A row of `OUT` an input, then a row of biases.
    pub(crate) fn take(numbers: &mut Numbers) -> Self {
        Self { weights: numbers.rows(IN), bias: numbers.row() }
    }

    pub(crate) fn take_without_bias(numbers: &mut Numbers) -> Self {
        Self { weights: numbers.rows(IN), bias: [0.0; OUT] }
    }

    pub(crate) fn apply(&self, input: &[f32; IN]) -> [f32; OUT] {
        self.add_to(self.bias, input)
    }

    /// The map without its biases, added to something.
    pub(crate) fn add_to(&self, mut sum: [f32; OUT], input: &[f32; IN]) -> [f32; OUT] {
        for (&x, row) in input.iter().zip(&self.weights) {
            for (s, w) in sum.iter_mut().zip(row) {
                *s += x * w;
            }
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
        let mut numbers = Numbers(&[1.0, 2.0, 3.0, 4.0, 0.5, -20.0, 9.0]);
        let layer = Dense::<2, 2>::take(&mut numbers);
        assert_eq!(numbers.0, [9.0]);
        assert_eq!(layer.apply(&[2.0, 1.0]), [5.5, -12.0]);
        assert_eq!(layer.add_to([1.0, 0.0], &[2.0, 1.0]), [6.0, 8.0]);
    }

    #[test]
    fn missing_numbers_are_zeros() {
        let mut numbers = Numbers(&[2.0]);
        assert_eq!(Dense::<2, 3>::take(&mut numbers).apply(&[1.0, 1.0]), [2.0, 0.0, 0.0]);
    }

    #[test]
    fn floats_are_little_endian() {
        assert_eq!(floats(&[0, 0, 128, 63, 1]), [1.0]);
        assert_eq!(upper_halves(&[128, 63, 1]), [1.0]);
    }
}
