//! The one error type of the crate.

use std::fmt;

/// Why an input cannot be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Error {
    /// Two arrays that go together differ in length.
    LengthMismatch {
        /// The array whose length counts.
        first: &'static str,
        /// Its length.
        expected: usize,
        /// The array that does not fit.
        second: &'static str,
        /// The other length.
        actual: usize,
    },
    /// An array has another number of dimensions or another extent than needed.
    Shape {
        /// Which argument.
        name: &'static str,
        /// The shape that is needed, in words.
        expected: &'static str,
        /// The shape that came.
        actual: Vec<usize>,
    },
    /// Two pictures that are compared differ in size.
    ShapeMismatch {
        /// The shape of the first.
        first: Vec<usize>,
        /// The shape of the second.
        second: Vec<usize>,
    },
    /// An array holds another type of number, or is no array at all.
    Type {
        /// Which argument.
        name: &'static str,
        /// The type that is needed.
        expected: &'static str,
        /// What came.
        actual: String,
    },
    /// A value lies outside what it may be.
    Value {
        /// Which argument.
        name: &'static str,
        /// Its place in the array, if it is one of many.
        index: Option<usize>,
        /// What it must be.
        must: &'static str,
        /// The value that came, as text.
        actual: String,
    },
    /// A weights file is damaged, or of another model.
    Weights(String),
    /// A model predicts what is no number.
    NotFinite,
    /// The caller asked to stop.
    Stopped,
}

/// What every fallible function of the crate returns.
pub type Result<T> = std::result::Result<T, Error>;

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::LengthMismatch { first, expected, second, actual } => write!(
                f,
                "{second} has {actual} items, but {first} has {expected}: they must be as many"
            ),
            Self::Shape { name, expected, actual } => {
                write!(f, "{name} must have shape {expected}, not {actual:?}")
            }
            Self::ShapeMismatch { first, second } => {
                write!(f, "the two frames differ in shape: {first:?} and {second:?}")
            }
            Self::Type { name, expected, actual } => {
                write!(f, "{name} must be {expected}, not {actual}")
            }
            Self::Value { name, index: Some(index), must, actual } => {
                write!(f, "{name}[{index}] must be {must}, not {actual}")
            }
            Self::Value { name, index: None, must, actual } => {
                write!(f, "{name} must be {must}, not {actual}")
            }
            Self::Weights(cause) => f.write_str(cause),
            Self::NotFinite => f.write_str("the model's predictions are not finite"),
            Self::Stopped => f.write_str("stopped"),
        }
    }
}

impl std::error::Error for Error {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn says_what_and_where() {
        let error =
            Error::Value { name: "onset", index: Some(3), must: "finite", actual: "NaN".into() };
        assert_eq!(error.to_string(), "onset[3] must be finite, not NaN");
        let error = Error::LengthMismatch { first: "a", expected: 2, second: "b", actual: 1 };
        assert_eq!(error.to_string(), "b has 1 items, but a has 2: they must be as many");
    }
}
