//! Whittaker's smoother.

/// Least squares plus `stiffness` times squared second differences; `weight` > 0, as many as values.
///
/// The normal equations have two bands beside the diagonal and are solved as L D L', in linear time.
#[expect(clippy::many_single_char_names)] // the decomposition's own letters
pub(crate) fn smooth(value: &[f64], weight: &[f64], stiffness: f64) -> Vec<f64> {
    let n = value.len();
    if n < 3 {
        return value.to_vec();
    }
    let diagonal = |k: usize| match k.min(n - 1 - k) {
        0 => 1.0,
        1 if n == 3 => 4.0,
        1 => 5.0,
        _ => 6.0,
    };
    let first = |k: usize| match k.min((n - 2).wrapping_sub(k)) {
        _ if k + 1 >= n => 0.0,
        0 => -2.0,
        _ => -4.0,
    };
    let (mut d, mut e) = (vec![0.0; n + 2], vec![0.0; n + 2]);
    let (mut f, mut z) = (vec![0.0; n + 2], vec![0.0; n + 2]);
    for k in 0..n {
        let j = k + 2;
        let a = weight[k] + stiffness * diagonal(k);
        let pivot = a - d[j - 1] * e[j - 1] * e[j - 1] - d[j - 2] * f[j - 2] * f[j - 2];
        z[j] = weight[k] * value[k] - e[j - 1] * z[j - 1] - f[j - 2] * z[j - 2];
        e[j] = (stiffness * first(k) - d[j - 1] * e[j - 1] * f[j - 1]) / pivot;
        f[j] = if k + 2 < n { stiffness / pivot } else { 0.0 };
        d[j] = pivot;
    }
    let mut x = vec![0.0; n + 2];
    for k in (0..n).rev() {
        x[k] = z[k + 2] / d[k + 2] - e[k + 2] * x[k + 1] - f[k + 2] * x[k + 2];
    }
    x.truncate(n);
    x
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_stays_and_a_spike_is_spread() {
        let line: Vec<f64> = (0..20).map(f64::from).collect();
        for (a, b) in smooth(&line, &[1.0; 20], 50.0).iter().zip(&line) {
            assert!((a - b).abs() < 1e-9);
        }
        let spike = smooth(&[0.0, 0.0, 1.0, 0.0, 0.0], &[1.0; 5], 1.0);
        assert!(spike[2] > spike[1] && spike[1] > 0.0 && spike[2] < 1.0);
        assert!((spike.iter().sum::<f64>() - 1.0).abs() < 1e-12);
        assert!(smooth(&[1.0, 2.0], &[1.0; 2], 1.0) == [1.0, 2.0]);
    }
}
