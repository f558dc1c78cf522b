//! Motion and colour of video frames (paper, section 4.1).

use crate::{Error, Result};

/// Bins along each axis of the colour histogram.
pub const BINS: usize = 32;
/// Numbers in a colour histogram: channels, bins of u, bins of v.
pub const HISTOGRAM: usize = 3 * BINS * BINS;

/// Pixels that are summed in f32 before they go to the f64 totals.
const BLOCK: usize = 128;
/// Width of the kernel, `HistoGAN`'s sigma.
const SIGMA: f64 = 0.02;
/// What `HistoGAN` adds to intensities, so that black has a logarithm.
const EPSILON: f64 = 1e-6;
/// The histogram covers log ratios of -`LIMIT`..=`LIMIT`.
const LIMIT: f64 = 3.0;

type Kernel = [f32; BINS];
type Plane = [[f64; BINS]; BINS];

/// Mean absolute difference of two frames, 0..=255, over all bytes.
///
/// # Errors
///
/// [`Error`] if the frames differ in length or are empty.
pub fn rgb_difference(a: &[u8], b: &[u8]) -> Result<f64> {
    if a.len() != b.len() {
        return Err(Error::LengthMismatch {
            first: "a",
            expected: a.len(),
            second: "b",
            actual: b.len(),
        });
    }
    if a.is_empty() {
        return Err(no_pixels("a"));
    }
    // A chunk's sum fits u32 (65536 * 255), which is what the compiler needs to use psadbw.
    let chunk_sum = |(a, b): (&[u8], &[u8])| -> u64 {
        let sum: u32 = a.iter().zip(b).map(|(&a, &b)| u32::from(a.abs_diff(b))).sum();
        u64::from(sum)
    };
    let total: u64 = a.chunks(65536).zip(b.chunks(65536)).map(chunk_sum).sum();
    #[expect(clippy::cast_precision_loss)] // exact below 2^53, that is 35 terabytes of white
    let mean = total as f64 / a.len() as f64;
    Ok(mean)
}

/// `HistoGAN`'s RGB-uv histogram of packed RGB pixels: [`HISTOGRAM`] numbers that sum to 1.
///
/// For each channel the log ratios to the other two (red: r/g, r/b; green: g/r, g/b; blue: b/r,
/// b/g) are spread over bins in -3..=3 with an inverse-quadratic kernel, weighted by the pixel's
/// intensity sqrt(r^2 + g^2 + b^2).
///
/// # Errors
///
/// [`Error`] if there is no pixel, or bytes are left over.
pub fn color_histogram(pixels: &[u8]) -> Result<Vec<f32>> {
    if pixels.is_empty() {
        return Err(no_pixels("frame"));
    }
    if !pixels.len().is_multiple_of(3) {
        return Err(Error::Shape {
            name: "frame",
            expected: "(H, W, 3)",
            actual: vec![pixels.len()],
        });
    }
    let level = |byte: usize| f64::from(u8::try_from(byte).unwrap_or(u8::MAX)) / 255.0;
    let log: [f64; 256] = std::array::from_fn(|byte| (level(byte) + EPSILON).ln());
    let square: [f64; 256] = std::array::from_fn(|byte| level(byte).powi(2));
    // r/g x r/b, r/g x g/b and r/b x g/b; the kernel is even and the bins are symmetric, so the
    // reciprocal ratios that green and blue need are these planes read backwards.
    let mut planes = vec![[[0.0_f64; BINS]; BINS]; 3];
    for block in pixels.chunks(3 * BLOCK) {
        let mut weighted = [[0.0_f32; BINS]; BLOCK];
        let (mut rg, mut rb, mut gb) = (weighted, weighted, weighted);
        let mut weighted_rb = weighted;
        for (p, rgb) in block.chunks_exact(3).enumerate() {
            let [r, g, b] = [0, 1, 2].map(|c| usize::from(rgb[c]));
            #[expect(clippy::cast_possible_truncation)]
            let intensity = (square[r] + square[g] + square[b] + EPSILON).sqrt() as f32;
            rg[p] = kernel(log[r] - log[g]);
            rb[p] = kernel(log[r] - log[b]);
            gb[p] = kernel(log[g] - log[b]);
            weighted[p] = rg[p].map(|k| k * intensity);
            weighted_rb[p] = rb[p].map(|k| k * intensity);
        }
        add_products(&mut planes[0], &weighted, &rb);
        add_products(&mut planes[1], &weighted, &gb);
        add_products(&mut planes[2], &weighted_rb, &gb);
    }
    Ok(normalised(&planes))
}

/// The kernel around log ratio `u` at each bin.
fn kernel(u: f64) -> Kernel {
    #[expect(clippy::cast_precision_loss, clippy::cast_possible_truncation)]
    let at = |bin: usize| {
        let center = 2.0 * LIMIT * bin as f64 / (BINS - 1) as f64 - LIMIT;
        let distance = (u - center) / SIGMA;
        (1.0 / (1.0 + distance * distance)) as f32
    };
    std::array::from_fn(at)
}

/// Add the sum over pixels of the outer products `u[p] x v[p]`.
fn add_products(plane: &mut Plane, u: &[Kernel; BLOCK], v: &[Kernel; BLOCK]) {
    for (i, totals) in plane.iter_mut().enumerate() {
        let mut row = [0.0_f32; BINS]; // stays in registers over the block
        for (u, v) in u.iter().zip(v) {
            for (sum, k) in row.iter_mut().zip(v) {
                *sum += u[i] * k;
            }
        }
        for (total, sum) in totals.iter_mut().zip(row) {
            *total += f64::from(sum);
        }
    }
}

/// The three channels from the three planes, divided by their sum.
fn normalised(planes: &[Plane]) -> Vec<f32> {
    let total: f64 = planes.iter().flatten().flatten().sum();
    let last = BINS - 1;
    let mut histogram = Vec::with_capacity(HISTOGRAM);
    for channel in 0..3 {
        for u in 0..BINS {
            for v in 0..BINS {
                let value = match channel {
                    0 => planes[0][u][v],
                    1 => planes[1][last - u][v],
                    _ => planes[2][last - u][last - v],
                };
                #[expect(clippy::cast_possible_truncation)]
                histogram.push((value / total) as f32);
            }
        }
    }
    histogram
}

fn no_pixels(name: &'static str) -> Error {
    Error::Value { name, index: None, must: "at least one pixel", actual: "empty".into() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn difference_is_a_mean() {
        assert_eq!(rgb_difference(&[0, 10, 255], &[3, 10, 249]), Ok(3.0));
        let (black, white) = (vec![0; 200_001], vec![255; 200_001]);
        assert_eq!(rgb_difference(&black, &white), Ok(255.0));
        assert!(rgb_difference(&[], &[]).is_err());
        assert!(rgb_difference(&[1], &[]).is_err());
    }

    #[test]
    fn histogram_sums_to_one() -> Result<()> {
        let pixels: Vec<u8> = (0..=255).cycle().take(3 * 300).collect();
        let histogram = color_histogram(&pixels)?;
        assert_eq!(histogram.len(), HISTOGRAM);
        let sum: f64 = histogram.iter().copied().map(f64::from).sum();
        assert!((sum - 1.0).abs() < 1e-5, "{sum}");
        Ok(())
    }

    #[test]
    fn grey_lies_in_the_middle_of_each_channel() -> Result<()> {
        let histogram = color_histogram(&[128; 3])?;
        for channel in histogram.chunks(BINS * BINS) {
            let top = (0..channel.len()).max_by(|&a, &b| channel[a].total_cmp(&channel[b]));
            // Ratio 1 falls between bins 15 and 16.
            assert!(
                top.is_some_and(
                    |t| [15, 16].contains(&(t / BINS)) && [15, 16].contains(&(t % BINS))
                )
            );
        }
        Ok(())
    }

    #[test]
    fn no_pixel_and_half_a_pixel_are_errors() {
        assert!(color_histogram(&[]).is_err());
        assert!(color_histogram(&[1, 2]).is_err());
    }
}
