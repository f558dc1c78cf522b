//! Output heads: the type first, then its attributes, each given the ones before (`models/heads.py`).

use super::config::{Config, StageName};
use super::matrix::{Matrix, Room};
use super::ops::{self, Norm};
use super::weights::Weights;
use crate::Result;
use crate::tokens::{
    ATTRIBUTES, BARBEAT, CHORD, DURATION, NOTE, PITCH, QUALITY, RHYTHM, ROOT, SIZES, TYPE, Token,
    VELOCITY,
};

/// Names of the attributes.
pub const NAMES: [&str; ATTRIBUTES] =
    ["type", "barbeat", "pitch", "duration", "velocity", "root", "quality"];

/// Attributes of a type in the order in which they are predicted.
pub(crate) fn chain(kind: i16) -> &'static [usize] {
    match kind {
        RHYTHM => &[BARBEAT],
        NOTE => &[PITCH, DURATION, VELOCITY],
        CHORD => &[ROOT, QUALITY],
        _ => &[],
    }
}

/// Logits of one attribute from the hidden state and the attributes already chosen.
struct Attribute {
    map: Matrix,
    /// The attributes before it in the chain, and a table of vectors for each.
    given: Vec<(usize, Vec<f32>)>,
    logits: Matrix,
}

/// All heads of a stage.
pub(crate) struct Heads {
    pub(crate) norm: Norm,
    pub(crate) kind: Matrix,
    attributes: [Option<Attribute>; ATTRIBUTES],
}

impl Heads {
    pub(crate) fn read(weights: &Weights<'_>, config: &Config) -> Result<Self> {
        let (width, hidden) = (config.width, config.head_size);
        let kinds = match config.stage {
            StageName::Chord => [RHYTHM, CHORD],
            StageName::Melody | StageName::Accompaniment => [RHYTHM, NOTE],
        };
        let mut attributes = [const { None }; ATTRIBUTES];
        for chain in kinds.map(chain) {
            for (i, &a) in chain.iter().enumerate() {
                let name = format!("heads.attributes.{}", NAMES[a]);
                let table = |(j, b): (usize, &usize)| -> Result<(usize, Vec<f32>)> {
                    let key = format!("{name}.given.{j}.weight");
                    Ok((*b, weights.numbers(&key, &[SIZES[*b], hidden])?))
                };
                attributes[a] = Some(Attribute {
                    map: weights.affine(&format!("{name}.map"), hidden, width, false)?,
                    given: chain[..i].iter().enumerate().map(table).collect::<Result<_>>()?,
                    logits: weights.affine(&format!("{name}.logits"), SIZES[a], hidden, true)?,
                });
            }
        }
        Ok(Self {
            norm: weights.norm("heads.norm", width)?,
            kind: weights.affine("heads.kind", SIZES[TYPE], width, true)?,
            attributes,
        })
    }

    /// Logits (N, size) of one attribute: `h` (N, width) after the norm, and the tokens so far.
    pub(crate) fn logits(
        &self,
        attribute: usize,
        h: &[f32],
        tokens: &[Token],
        room: &mut Room,
        out: &mut Vec<f32>,
    ) {
        out.clear();
        let Some(head) = &self.attributes[attribute] else { return };
        let mut inner = Vec::new();
        head.map.apply(h, room, &mut inner);
        let hidden = head.map.rows;
        for (z, token) in inner.chunks_exact_mut(hidden).zip(tokens) {
            for (given, table) in &head.given {
                let value = usize::try_from(token[*given]).unwrap_or(0);
                if let Some(row) = table.chunks_exact(hidden).nth(value) {
                    ops::add(z, row);
                }
            }
        }
        ops::gelu(room.level, &mut inner);
        head.logits.apply(&inner, room, out);
    }
}
