//! What a stage is asked to write, checked before it is written.

use super::config::StageName;
use super::controller::{self, Rows};
use super::dice::{Dice, Random};
use super::embeddings::Place;
use super::grammar::Frame;
use super::past::Walk;
use crate::tokens::{
    ATTRIBUTES, BEATS_PER_BAR, MAX_BARS, QUALITY, ROOT, SIZES, STEPS_PER_BAR, STEPS_PER_BEAT, Token,
};
use crate::{Error, Note, Result};

const ROOTS: usize = 12;
/// A root's own leaning, and those of its ten qualities.
const LEANING_ROW: usize = 11;
const LEANINGS: usize = ROOTS * LEANING_ROW;

/// The controls of a stream; levels as in `python/vmusprod/models/task.py`.
#[derive(Clone, Debug)]
pub struct Sheet {
    /// Bars of the stream.
    pub bars: usize,
    /// Tempo level.
    pub tempo: usize,
    /// 0 unknown, 1 major, 2 minor.
    pub mode: usize,
    /// Whose way of playing.
    pub style: usize,
    /// Level by bar, 0: free.
    pub density: Vec<usize>,
    /// Level by bar, 0: free.
    pub loudness: Vec<usize>,
}

impl Sheet {
    /// What the model is told of a place.
    pub(crate) fn place(&self, bar: usize, step: usize) -> Place {
        let bar = bar.min(self.bars - 1);
        #[expect(clippy::cast_precision_loss)] // far below 2^52
        let share = 100.0 * (bar as f64 + step as f64 / STEPS_PER_BAR as f64) / self.bars as f64;
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // within 0..=100
        let timing = share.floor() as usize;
        let level = |levels: &[usize]| levels.get(bar).copied().unwrap_or(0);
        Place {
            bar,
            step,
            timing,
            tempo: self.tempo,
            mode: self.mode,
            style: self.style,
            density: level(&self.density),
            loudness: level(&self.loudness),
        }
    }
}

/// A source stream and the chords under it, one id a beat.
pub struct SourceStream {
    /// The encoder's tokens.
    pub tokens: Vec<Token>,
    /// One id a beat.
    pub chords: Vec<u8>,
}

/// One stream to be written.
pub struct Request {
    /// What it is written into.
    pub frame: Frame,
    /// Its controls.
    pub sheet: Sheet,
    /// What melody and accompaniment read.
    pub source: Option<SourceStream>,
    /// The finished melody, for the accompaniment.
    pub melody: Vec<Note>,
    /// What the chord stage sees.
    pub video: Vec<Rows>,
    /// One for each attribute.
    pub dice: [Dice; ATTRIBUTES],
    /// By bar: how many bars ago is what is to be heard again, 0: nothing.
    pub form: Vec<usize>,
    /// Nats by which what was heard there is likelier.
    pub pull: f32,
    /// Nats for each chord of the chord stage: 12 rows, by root, of the root's own and then those
    /// of its qualities; or empty.
    pub leaning: Vec<f32>,
    /// Nats by which holding the chord is likelier.
    pub hold: f32,
    /// Decides the draws.
    pub random: Random,
}

impl Request {
    /// Nats that the leaning adds to a value of an attribute, of a chord that has this root.
    pub(crate) fn lean(&self, attribute: usize, root: usize, value: usize) -> f32 {
        let cell = match attribute {
            ROOT => value.checked_sub(1).map(|row| (row, 0)),
            QUALITY => root.checked_sub(1).map(|row| (row, value)),
            _ => None,
        };
        // Neither the value 0, which is none, nor no chord, which is last, has a cell.
        let cell = cell.filter(|&(row, column)| row < ROOTS && column < LEANING_ROW);
        let cell = cell.filter(|&(_, column)| attribute == ROOT || column > 0);
        let nats = cell.and_then(|(row, column)| self.leaning.get(row * LEANING_ROW + column));
        nats.copied().unwrap_or(0.0)
    }

    /// Fails on what no stage could write.
    ///
    /// # Errors
    ///
    /// [`Error::Value`] that says what is wrong.
    pub fn check(&self, stage: StageName) -> Result<()> {
        let bars = |name, bars: usize| {
            if (1..=MAX_BARS as usize).contains(&bars) {
                return Ok(());
            }
            let must = "within 1..=65536";
            Err(Error::Value { name, index: None, must, actual: bars.to_string() })
        };
        bars("frame.bars", self.frame.bars)?;
        bars("sheet.bars", self.sheet.bars)?;
        if self.frame.first_step >= STEPS_PER_BAR || self.frame.silence == 0 {
            return Err(Error::Value {
                name: "frame",
                index: None,
                must: "a first step within 0..=15 and a silence of at least 1",
                actual: format!("{} and {}", self.frame.first_step, self.frame.silence),
            });
        }
        if let Some(bar) = self.form.iter().enumerate().position(|(bar, &lag)| lag > bar) {
            return Err(Error::Value {
                name: "form",
                index: Some(bar),
                must: "no more than the bars before",
                actual: self.form[bar].to_string(),
            });
        }
        for (name, value) in [("pull", self.pull), ("hold", self.hold)] {
            if !value.is_finite() {
                let actual = value.to_string();
                return Err(Error::Value { name, index: None, must: "finite", actual });
            }
        }
        let fits = self.leaning.is_empty() || self.leaning.len() == LEANINGS;
        if !fits || self.leaning.iter().any(|x| !x.is_finite()) {
            return Err(Error::Value {
                name: "leaning",
                index: None,
                must: "empty or 12 rows of 11 finite numbers",
                actual: format!("{} numbers", self.leaning.len()),
            });
        }
        if (stage == StageName::Chord) != self.source.is_none() {
            return Err(Error::Value {
                name: "source",
                index: None,
                must: "given to melody and accompaniment, and only to them",
                actual: format!("that of the stage {stage:?}"),
            });
        }
        if let Some(source) = &self.source {
            check_tokens("source", &source.tokens)?;
            if source.chords.is_empty() {
                return Err(Error::Value {
                    name: "chords",
                    index: None,
                    must: "one a beat",
                    actual: "none".into(),
                });
            }
        }
        controller::check(&self.video)
    }
}

/// Fails where a token's attribute is none that the model knows.
pub(crate) fn check_tokens(name: &'static str, tokens: &[Token]) -> Result<()> {
    let fits = |token: &Token| {
        token.iter().zip(SIZES).all(|(&v, size)| usize::try_from(v).is_ok_and(|v| v < size))
    };
    match tokens.iter().position(|token| !fits(token)) {
        None => Ok(()),
        Some(i) => Err(Error::Value {
            name,
            index: Some(i),
            must: "within the attributes' sizes",
            actual: format!("{:?}", tokens[i]),
        }),
    }
}

/// A source token with its bar and 16th.
pub(crate) type Placed = (Token, usize, usize);

/// Source tokens with bar and 16th.
pub(crate) fn placed(tokens: &[Token]) -> Vec<Placed> {
    let mut walk = Walk::default();
    let place = |token: &Token| {
        walk.accept(token);
        (*token, walk.bar(), walk.step)
    };
    tokens.iter().map(place).collect()
}

/// ROOT and QUALITY of the chord at a place; `chords`: one id a beat, the last holds on.
pub(crate) fn sounding(chords: &[u8], bar: usize, step: usize) -> [usize; 2] {
    let beat = bar * BEATS_PER_BAR + step / STEPS_PER_BEAT;
    let id = usize::from(chords.get(beat).or(chords.last()).copied().unwrap_or(u8::MAX));
    if id >= 120 { [13, 11] } else { [id / 10 + 1, id % 10 + 1] }
}
