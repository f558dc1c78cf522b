//! The video controller: `python/vmusprod/models/controller.py`. It runs once a piece, always in floats.

use super::config::{Config, SourceName};
use super::embeddings::TIMING_LEVELS;
use super::embeddings::timing_table;
use super::layers::EncoderLayer;
use super::matrix::{Matrix, Room};
use super::ops::{self, Norm};
use super::weights::Weights;
use crate::{Error, Result};

const SEMANTIC_SIZE: usize = 512;

/// One row a second of a source: (S, size).
pub struct Rows {
    /// Which source.
    pub source: SourceName,
    /// Raw values in C order.
    pub values: Vec<f32>,
}

struct Branch {
    source: SourceName,
    maps: Vec<Matrix>,
    layers: Vec<EncoderLayer>,
    mark: Vec<f32>,
}

/// Raw rows to the vectors that the chord stage reads.
pub(crate) struct Controller {
    width: usize,
    branches: Vec<Branch>,
    fusion: Vec<EncoderLayer>,
    norm: Norm,
    timing: Vec<f32>,
}

impl Controller {
    pub(crate) fn read(weights: &Weights<'_>, config: &Config) -> Result<Self> {
        let width = config.controller_width;
        let encoder = |name: &str, layers: usize| -> Result<Vec<EncoderLayer>> {
            let layer = |i| {
                let name = format!("controller.{name}.{i}");
                EncoderLayer::read(weights, &name, width, config.heads, 4 * width)
            };
            (0..layers).map(layer).collect()
        };
        let marks = weights.numbers("controller.marks", &[config.sources.len(), width])?;
        let mut branches = Vec::new();
        for (&source, mark) in config.sources.iter().zip(marks.chunks_exact(width.max(1))) {
            let name = format!("controller.maps.{}", source.name());
            let size = source.size();
            let maps = if source == SourceName::Semantic {
                vec![
                    weights.matrix(&format!("{name}.0"), SEMANTIC_SIZE, size)?,
                    weights.affine(&format!("{name}.1"), width, SEMANTIC_SIZE, true)?,
                ]
            } else {
                vec![weights.affine(&name, width, size, true)?]
            };
            let layers = encoder(&format!("encoders.{}", source.name()), config.controller_layers)?;
            branches.push(Branch { source, maps, layers, mark: mark.to_vec() });
        }
        Ok(Self {
            width,
            branches,
            fusion: encoder("fusion", config.fusion_layers)?,
            norm: weights.norm("controller.norm", width)?,
            timing: timing_table(weights, "controller.timing", config.timing_size, width)?,
        })
    }

    /// Vectors (N, width) of the sources at hand, in the model's order; none if it knows none of them.
    pub(crate) fn see(&self, video: &[Rows], room: &mut Room) -> Vec<f32> {
        let mut joined = Vec::new();
        for branch in &self.branches {
            let Some(rows) = video.iter().find(|rows| rows.source == branch.source) else {
                continue;
            };
            let mut x = scaled(rows);
            let mut out = Vec::new();
            for map in &branch.maps {
                map.apply(&x, room, &mut out);
                std::mem::swap(&mut x, &mut out);
            }
            self.add_timing(&mut x);
            branch.layers.iter().for_each(|layer| layer.apply(&mut x, room));
            x.chunks_exact_mut(self.width).for_each(|row| ops::add(row, &branch.mark));
            joined.append(&mut x);
        }
        self.fusion.iter().for_each(|layer| layer.apply(&mut joined, room));
        let mut out = Vec::new();
        self.norm.apply(room.level, &joined, &mut out);
        out
    }

    fn add_timing(&self, x: &mut [f32]) {
        let count = x.len() / self.width;
        for (i, row) in x.chunks_exact_mut(self.width).enumerate() {
            let level = i * (TIMING_LEVELS - 1) / count.max(1);
            ops::add(row, &self.timing[level * self.width..][..self.width]);
        }
    }
}

/// Fails unless all sources have whole rows, as many as each other, of finite numbers.
pub(crate) fn check(video: &[Rows]) -> Result<()> {
    let wrong = |must: &'static str, actual: String| {
        Err(Error::Value { name: "video", index: None, must, actual })
    };
    let mut seconds = None;
    for rows in video {
        let size = rows.source.size();
        let count = rows.values.len() / size;
        if rows.values.len() % size != 0 || count == 0 || *seconds.get_or_insert(count) != count {
            return wrong("as many rows of each source", rows.source.name().to_owned());
        }
        if rows.values.iter().any(|x| !x.is_finite()) {
            return wrong("finite", rows.source.name().to_owned());
        }
    }
    Ok(())
}

/// Brings a source's raw values to about unit size.
fn scaled(rows: &Rows) -> Vec<f32> {
    let mut x = rows.values.clone();
    match rows.source {
        SourceName::Semantic => {
            let size = SourceName::Semantic.size();
            #[expect(clippy::cast_precision_loss)] // 768
            let root = (size as f32).sqrt();
            for row in x.chunks_exact_mut(size) {
                let length = row.iter().map(|x| x * x).sum::<f32>().sqrt().max(1e-12);
                for x in row {
                    *x = *x / length * root;
                }
            }
        }
        SourceName::Color => {
            #[expect(clippy::cast_precision_loss)] // 3072
            let root = (SourceName::Color.size() as f32).sqrt();
            for x in &mut x {
                *x = x.max(0.0).sqrt() * root;
            }
        }
        SourceName::Motion => {
            for row in x.chunks_exact_mut(2) {
                row[0] = row[0].max(0.0).ln_1p() - 2.0;
            }
        }
        SourceName::Affect => {}
    }
    x
}
