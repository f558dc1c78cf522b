//! The sizes of a stage: `python/vmusprod/models/config.py` as the engine reads it.

use serde::Deserialize;

use crate::tokens::ATTRIBUTES;
use crate::{Error, Result};

/// Slots of recall: fixed lags and a free one (`music/recall.py`).
pub(crate) const SLOTS: usize = 5;
/// Levels of the runs of right hints.
pub(crate) const RUN_LEVELS: usize = 8;
/// No size of a model may pass this.
const MAX_SIZE: usize = 8192;
const MAX_LAYERS: usize = 128;
const MAX_SHIFT: usize = 4;

/// Which of the three transformers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum StageName {
    /// Writes rhythm and chord tokens.
    Chord,
    /// Writes rhythm and note tokens to chords.
    Melody,
    /// Writes rhythm and note tokens to chords and melody.
    Accompaniment,
}

/// What the video controller can look at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SourceName {
    /// CLIP's features.
    Semantic,
    /// RGB-uv histograms.
    Color,
    /// Valence and arousal.
    Affect,
    /// Mean motion and cuts.
    Motion,
}

impl SourceName {
    /// Its name in Python and in weight files.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Semantic => "semantic",
            Self::Color => "color",
            Self::Affect => "affect",
            Self::Motion => "motion",
        }
    }

    /// Numbers a second.
    #[must_use]
    pub fn size(self) -> usize {
        match self {
            Self::Semantic => 768,
            Self::Color => 3072,
            Self::Affect | Self::Motion => 2,
        }
    }

    /// The source of that name.
    #[must_use]
    pub fn find(name: &str) -> Option<Self> {
        [Self::Semantic, Self::Color, Self::Affect, Self::Motion]
            .into_iter()
            .find(|s| s.name() == name)
    }
}

/// Sizes of a stage; the fields are `StageConfig`'s. What only training needs is left out.
#[derive(Clone, Debug, Deserialize)]
pub struct Config {
    pub(crate) stage: StageName,
    pub(crate) width: usize,
    pub(crate) feed_forward: usize,
    pub(crate) heads: usize,
    pub(crate) decoder_layers: usize,
    pub(crate) encoder_layers: usize,
    pub(crate) decoder_sizes: [usize; ATTRIBUTES],
    pub(crate) encoder_sizes: [usize; ATTRIBUTES],
    pub(crate) chroma_size: usize,
    pub(crate) timing_size: usize,
    pub(crate) head_size: usize,
    pub(crate) max_bars: usize,
    pub(crate) shift: usize,
    pub(crate) recall: bool,
    pub(crate) aligned: bool,
    pub(crate) sources: Vec<SourceName>,
    pub(crate) controller_width: usize,
    pub(crate) controller_layers: usize,
    pub(crate) fusion_layers: usize,
}

impl Config {
    /// Reads the JSON of `StageConfig.to_dict`.
    ///
    /// # Errors
    ///
    /// [`Error::Weights`] where a field is missing, ill-typed or out of range.
    pub fn parse(json: &str) -> Result<Self> {
        let config: Self = serde_json::from_str(json)
            .map_err(|e| Error::Weights(format!("bad model configuration: {e}")))?;
        config.check()?;
        Ok(config)
    }

    fn check(&self) -> Result<()> {
        let bad = |what: &str| Err(Error::Weights(format!("{what} in the model configuration")));
        let sizes = [self.width, self.feed_forward, self.heads, self.head_size, self.max_bars];
        let free = [self.chroma_size, self.timing_size, self.controller_width];
        let all = sizes.iter().chain(&free).chain(&self.decoder_sizes).chain(&self.encoder_sizes);
        if sizes.contains(&0)
            || all.copied().any(|n| n > MAX_SIZE)
            || !self.timing_size.is_multiple_of(2)
        {
            return bad("sizes out of range");
        }
        let layers =
            [self.decoder_layers, self.encoder_layers, self.controller_layers, self.fusion_layers];
        if layers.into_iter().any(|n| n > MAX_LAYERS) {
            return bad("too many layers");
        }
        if !self.width.is_multiple_of(self.heads)
            || !self.controller_width.is_multiple_of(self.heads)
        {
            return bad("widths that do not divide into the heads");
        }
        let chord = self.stage == StageName::Chord;
        let shift = self.shift == 1 || self.shift > MAX_SHIFT;
        if chord != (self.encoder_layers == 0) || shift || (chord && self.aligned) {
            return bad("contradictions");
        }
        Ok(())
    }

    /// Width of what cross-attention reads, 0 where there is none.
    pub(crate) fn memory_width(&self) -> usize {
        match (self.encoder_layers > 0, self.sources.is_empty()) {
            (true, _) => self.width,
            (false, false) => self.controller_width,
            (false, true) => 0,
        }
    }
}
