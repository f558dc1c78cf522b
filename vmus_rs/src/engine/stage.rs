//! A stage: its weights, and what it makes of a source, a place and a past.

use super::config::{Config, StageName};
use super::controller::Controller;
use super::embeddings::{Attributes, Place, Places, Recall};
use super::heads::Heads;
use super::layers::{DecoderLayer, EncoderLayer};
use super::matrix::{Matrix, Precision, Room};
use super::ops::Norm;
use super::weights::Weights;
use crate::Result;
use crate::tokens::Token;

/// The encoder of melody and accompaniment.
pub(crate) struct Encoder {
    attributes: Attributes,
    places: Places,
    layers: Vec<EncoderLayer>,
    norm: Norm,
}

impl Encoder {
    fn read(weights: &Weights<'_>, config: &Config) -> Result<Self> {
        let layer = |i| {
            let name = format!("encoder.{i}");
            EncoderLayer::read(weights, &name, config.width, config.heads, config.feed_forward)
        };
        Ok(Self {
            attributes: Attributes::read(
                weights,
                "source_attributes",
                &config.encoder_sizes,
                config.chroma_size,
                config.width,
            )?,
            places: Places::read(weights, "source_places", config)?,
            layers: (0..config.encoder_layers).map(layer).collect::<Result<_>>()?,
            norm: weights.norm("encoder_norm", config.width)?,
        })
    }

    /// Vectors (S, width) of source tokens, each with its chord (ROOT, QUALITY) and place.
    pub(crate) fn apply(&self, tokens: &[(Token, [usize; 2], Place)], room: &mut Room) -> Vec<f32> {
        let width = self.norm.weight.len();
        let mut x = vec![0.0; tokens.len() * width];
        for (x, (token, chord, place)) in x.chunks_exact_mut(width).zip(tokens) {
            self.attributes.add_to(x, token, Some(*chord));
            self.places.add_to(x, place);
        }
        self.layers.iter().for_each(|layer| layer.apply(&mut x, room));
        let mut out = Vec::new();
        self.norm.apply(room.level, &x, &mut out);
        out
    }
}

/// One transformer stage with its weights.
pub struct Stage {
    pub(crate) config: Config,
    pub(crate) attributes: Attributes,
    pub(crate) places: Places,
    pub(crate) recall: Option<Recall>,
    pub(crate) aligned: Option<Matrix>,
    pub(crate) encoder: Option<Encoder>,
    pub(crate) controller: Option<Controller>,
    pub(crate) decoder: Vec<DecoderLayer>,
    pub(crate) heads: Heads,
}

impl Stage {
    /// Reads a stage from the bytes of a safetensors file.
    ///
    /// `config`: the JSON of `StageConfig.to_dict`; `precision`: how to keep the large matrices.
    ///
    /// # Errors
    ///
    /// [`crate::Error::Weights`] where the configuration, a tensor's name, type or shape is wrong, or a
    /// weight is not finite.
    pub fn read(data: &[u8], config: &str, precision: Precision) -> Result<Self> {
        let config = Config::parse(config)?;
        let weights = Weights::parse(data, precision)?;
        let width = config.width;
        let layer = |i| DecoderLayer::read(&weights, &format!("decoder.{i}"), &config);
        let stage = Self {
            attributes: Attributes::read(&weights, "attributes", &config.decoder_sizes, 0, width)?,
            places: Places::read(&weights, "places", &config)?,
            recall: if config.recall { Some(Recall::read(&weights, width)?) } else { None },
            aligned: if config.aligned {
                Some(weights.matrix("aligned", width, 2 * width)?)
            } else {
                None
            },
            encoder: if config.encoder_layers > 0 {
                Some(Encoder::read(&weights, &config)?)
            } else {
                None
            },
            controller: if config.sources.is_empty() {
                None
            } else {
                Some(Controller::read(&weights, &config)?)
            },
            decoder: (0..config.decoder_layers).map(layer).collect::<Result<_>>()?,
            heads: Heads::read(&weights, &config)?,
            config,
        };
        weights.finish()?;
        Ok(stage)
    }

    /// Which stage it is.
    #[must_use]
    pub fn name(&self) -> StageName {
        self.config.stage
    }
}
