//! The fitted numbers: what a likely reading, a strong event and a downbeat look like.

use std::sync::OnceLock;

use super::dense::Dense;
use super::{level, metre, track};
use crate::net;

/// Classes of an event's strength.
pub const CLASSES: usize = 8;
/// Places in a beat: 16ths and triplets both fall on them.
pub const PARTS: usize = 24;
/// Four networks of sixteen, their scores averaged.
const LEVEL_HIDDEN: usize = 64;
/// Width of the downbeat network.
pub(crate) const WIDE: usize = 16;
/// Beats to either side that its layers look at: so many taps, so far apart.
pub(crate) const TAPS: usize = 5;
pub(crate) const DILATIONS: [usize; 4] = [1, 2, 4, 8];
/// Share of the events that lie anywhere: ornaments, mistakes.
const FLOOR: f32 = 0.15;
const TABLE: &[u8] = include_bytes!("weights.bin");

const SIZE: usize = Dense::<LEVEL_HIDDEN>::size(level::FEATURES)
    + Dense::<1>::size(LEVEL_HIDDEN)
    + track::FEATURES
    + (CLASSES - 1)
    + CLASSES * PARTS
    + Dense::<WIDE>::size(metre::FEATURES)
    + DILATIONS.len() * Dense::<WIDE>::size(TAPS * WIDE)
    + Dense::<1>::size(WIDE);

// The table must be the one that these shapes were fitted for.
const _: () = assert!(TABLE.len() == 4 * SIZE);

/// The fitted numbers.
pub(crate) struct Model {
    level: (Dense<LEVEL_HIDDEN>, Dense<1>),
    strength: Vec<f32>,
    edges: Vec<f32>,
    kernels: Vec<track::Kernel>,
    pub(crate) first: Dense<WIDE>,
    pub(crate) layers: Vec<Dense<WIDE>>,
    pub(crate) last: Dense<1>,
}

impl Model {
    /// The one that the crate carries.
    pub(crate) fn fitted() -> &'static Self {
        static MODEL: OnceLock<Model> = OnceLock::new();
        MODEL.get_or_init(|| {
            let numbers = net::floats(TABLE);
            let rest = &mut &numbers[..];
            let level = (Dense::take(rest, level::FEATURES), Dense::take(rest, LEVEL_HIDDEN));
            let strength = take(rest, track::FEATURES);
            let edges = take(rest, CLASSES - 1);
            let places = take(rest, CLASSES * PARTS);
            let first = Dense::take(rest, metre::FEATURES);
            let layers = DILATIONS.iter().map(|_| Dense::take(rest, TAPS * WIDE)).collect();
            let last = Dense::take(rest, WIDE);
            let kernels = track::kernels(&evidence(&places));
            Self { level, strength, edges, kernels, first, layers, last }
        })
    }

    /// How likely a reading is.
    pub(crate) fn level(&self, features: &[f32; level::FEATURES]) -> f32 {
        self.level.1.apply(&self.level.0.apply_relu(features))[0]
    }

    /// The class of an event's strength.
    pub(crate) fn strength(&self, features: &[f32; track::FEATURES]) -> u8 {
        let mut lanes = [0.0f32; 8];
        for (k, (x, w)) in features.iter().zip(&self.strength).enumerate() {
            lanes[k % 8] += x * w;
        }
        let sum: f32 = lanes.iter().sum();
        u8::try_from(self.edges.partition_point(|&edge| edge < sum)).unwrap_or(0)
    }

    /// What an event of each class says for the beats around it.
    pub(crate) fn kernels(&self) -> &[track::Kernel] {
        &self.kernels
    }
}

/// Takes numbers off the front.
fn take(numbers: &mut &[f32], count: usize) -> Vec<f32> {
    let (own, rest) = numbers.split_at(count.min(numbers.len()));
    *numbers = rest;
    own.to_vec()
}

/// Log of how much likelier than chance each class is at each place: from counts of events of each class at each place.
#[expect(clippy::cast_precision_loss)]
fn evidence(places: &[f32]) -> Vec<[f32; PARTS]> {
    // Players miss a place by about a 24th of a beat.
    let blur: Vec<f32> = (-4i8..=4).map(|k| (-0.5 * f32::from(k).powi(2)).exp()).collect();
    let total: f32 = blur.iter().sum();
    let parts = PARTS as f32;
    places
        .chunks_exact(PARTS)
        .map(|row| {
            let all = row.iter().sum::<f32>().max(1.0);
            std::array::from_fn(|k| {
                let share = |j: usize| row[(k + PARTS + 4 - j) % PARTS] / all;
                let spread: f32 = blur.iter().enumerate().map(|(j, b)| b / total * share(j)).sum();
                (((1.0 - FLOOR) * spread + FLOOR / parts) * parts).ln()
            })
        })
        .collect()
}
