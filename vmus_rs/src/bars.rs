//! Which tokens of the source a token may look at: its bar and the two beside it
//! (paper, section 4.2: previous, current and next bar).

use crate::{Error, Result};

/// For each query bar `q` the range `[start, end)` of source tokens in bars `q-1..=q+1`.
///
/// `source` holds the bar of each source token and must not decrease; queries may come in any
/// order. A bar with nothing around it gets an empty range at the place where its tokens would be.
///
/// # Errors
///
/// [`Error::Value`] if `source` decreases, or if it is longer than `i32::MAX`.
pub fn bar_ranges(query: &[i32], source: &[i32]) -> Result<Vec<[i32; 2]>> {
    if let Some(i) = source.windows(2).position(|pair| pair[1] < pair[0]) {
        return Err(Error::Value {
            name: "source_bars",
            index: Some(i + 1),
            must: "no less than the bar before it",
            actual: format!("{} after {}", source[i + 1], source[i]),
        });
    }
    if i32::try_from(source.len()).is_err() {
        return Err(Error::Value {
            name: "source_bars",
            index: None,
            must: "at most 2147483647 long",
            actual: source.len().to_string(),
        });
    }
    // Saturation is exact here: no bar lies beyond the ends of i32. The cast cannot truncate,
    // a place in `source` is at most its length.
    #[expect(clippy::cast_possible_truncation, clippy::cast_possible_wrap)]
    let range = |bar: &i32| {
        let start = source.partition_point(|&b| b < bar.saturating_sub(1));
        let end = source.partition_point(|&b| b <= bar.saturating_add(1));
        [start as i32, end as i32]
    };
    Ok(query.iter().map(range).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn looks_one_bar_each_way() {
        let source = [0, 0, 1, 2, 2, 4];
        let ranges = bar_ranges(&[0, 1, 2, 3, 4, 5, 6, -1, -2], &source);
        let expected = vec![[0, 3], [0, 5], [2, 5], [3, 6], [5, 6], [5, 6], [6, 6], [0, 2], [0, 0]];
        assert_eq!(ranges, Ok(expected));
    }

    #[test]
    fn ends_of_i32_do_not_overflow() {
        let source = [i32::MIN, 0, i32::MAX];
        let ranges = bar_ranges(&[i32::MIN, i32::MAX, i32::MIN + 1], &source);
        assert_eq!(ranges, Ok(vec![[0, 1], [2, 3], [0, 1]]));
    }

    #[test]
    fn falling_source_is_an_error() {
        let error = bar_ranges(&[0], &[1, 0]);
        assert!(matches!(error, Err(Error::Value { index: Some(1), .. })));
    }
}
