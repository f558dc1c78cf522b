//! Transformer layers: `python/vmusprod/models/layers.py`, encoders whole, decoders token by token.

use super::config::Config;
use super::matrix::{Matrix, Room};
use super::ops::{self, Memory, Norm};
use super::weights::Weights;
use crate::Result;

/// Tokens of an encoder that are computed at a time.
const CHUNK: usize = 64;

struct FeedForward {
    norm: Norm,
    up: Matrix,
    down: Matrix,
}

impl FeedForward {
    fn read(weights: &Weights<'_>, name: &str, width: usize, hidden: usize) -> Result<Self> {
        Ok(Self {
            norm: weights.norm(&format!("{name}.norm2"), width)?,
            up: weights.matrix(&format!("{name}.ffn.up"), hidden, width)?,
            down: weights.matrix(&format!("{name}.ffn.down"), width, hidden)?,
        })
    }

    /// Adds to each vector of `x` what the two maps make of it.
    fn add_to(&self, x: &mut [f32], room: &mut Room, buffers: &mut Buffers) {
        let Buffers { normed, wide, out, .. } = buffers;
        self.norm.apply(room.level, x, normed);
        self.up.apply(normed, room, wide);
        ops::gelu(room.level, wide);
        self.down.apply(wide, room, out);
        ops::add(x, out);
    }
}

/// What is computed in between, kept so that it need not be allocated anew.
#[derive(Default)]
pub(crate) struct Buffers {
    normed: Vec<f32>,
    wide: Vec<f32>,
    mixed: Vec<f32>,
    out: Vec<f32>,
}

/// Pre-norm, unmasked linear self-attention, feed-forward.
pub(crate) struct EncoderLayer {
    width: usize,
    heads: usize,
    norm: Norm,
    qkv: Matrix,
    out: Matrix,
    ffn: FeedForward,
}

impl EncoderLayer {
    pub(crate) fn read(
        weights: &Weights<'_>,
        name: &str,
        width: usize,
        heads: usize,
        hidden: usize,
    ) -> Result<Self> {
        Ok(Self {
            width,
            heads,
            norm: weights.norm(&format!("{name}.norm1"), width)?,
            qkv: weights.matrix(&format!("{name}.qkv"), 3 * width, width)?,
            out: weights.matrix(&format!("{name}.out"), width, width)?,
            ffn: FeedForward::read(weights, name, width, hidden)?,
        })
    }

    /// The layer's output in place of its input, (S, width).
    pub(crate) fn apply(&self, x: &mut [f32], room: &mut Room) {
        let mut buffers = Buffers::default();
        let width = self.width;
        let mut memory = Memory::new(width, self.heads);
        let mut queries = Vec::with_capacity(x.len());
        for part in x.chunks(CHUNK * width) {
            self.norm.apply(room.level, part, &mut buffers.normed);
            self.qkv.apply(&buffers.normed, room, &mut buffers.wide);
            for qkv in buffers.wide.chunks_exact_mut(3 * width) {
                let (qk, v) = qkv.split_at_mut(2 * width);
                ops::feature_map(room.level, qk);
                memory.add(room.level, &qk[width..], v);
                queries.extend_from_slice(&qk[..width]);
            }
        }
        for (part, q) in x.chunks_mut(CHUNK * width).zip(queries.chunks(CHUNK * width)) {
            buffers.mixed.resize(q.len(), 0.0);
            let rows = buffers.mixed.chunks_exact_mut(width).zip(q.chunks_exact(width));
            rows.for_each(|(out, q)| memory.read(room.level, q, out));
            self.out.apply(&buffers.mixed, room, &mut buffers.out);
            ops::add(part, &buffers.out);
            self.ffn.add_to(part, room, &mut buffers);
        }
    }
}

struct Cross {
    norm: Norm,
    q: Matrix,
    kv: Matrix,
    out: Matrix,
}

/// Pre-norm, causal linear self-attention, perhaps cross-attention, feed-forward.
pub(crate) struct DecoderLayer {
    width: usize,
    heads: usize,
    norm: Norm,
    /// Taps of the short causal convolution, newest first, each of the layer's width.
    shift: Vec<f32>,
    qkv: Matrix,
    out: Matrix,
    cross: Option<Cross>,
    ffn: FeedForward,
}

/// What a decoder layer keeps of one sequence.
pub(crate) struct LayerState {
    memory: Memory,
    /// The convolution's last inputs, newest first.
    past: Vec<f32>,
}

impl DecoderLayer {
    pub(crate) fn read(weights: &Weights<'_>, name: &str, config: &Config) -> Result<Self> {
        let width = config.width;
        let memory_width = config.memory_width();
        let cross = || -> Result<Cross> {
            Ok(Cross {
                norm: weights.norm(&format!("{name}.norm_cross"), width)?,
                q: weights.matrix(&format!("{name}.cross_q"), width, width)?,
                kv: weights.matrix(&format!("{name}.cross_kv"), 2 * width, memory_width)?,
                out: weights.matrix(&format!("{name}.cross_out"), width, width)?,
            })
        };
        let shift = match config.shift {
            0 => Vec::new(),
            taps => weights.numbers(&format!("{name}.shift.weight"), &[taps - 1, width])?,
        };
        Ok(Self {
            width,
            heads: config.heads,
            norm: weights.norm(&format!("{name}.norm1"), width)?,
            shift,
            qkv: weights.matrix(&format!("{name}.qkv"), 3 * width, width)?,
            out: weights.matrix(&format!("{name}.out"), width, width)?,
            cross: if memory_width > 0 { Some(cross()?) } else { None },
            ffn: FeedForward::read(weights, name, width, config.feed_forward)?,
        })
    }

    /// The state before the first token.
    pub(crate) fn start(&self) -> LayerState {
        LayerState {
            memory: Memory::new(self.width, self.heads),
            past: vec![0.0; self.shift.len()],
        }
    }

    /// Reads source vectors (S, memory width) into what cross-attention reads.
    pub(crate) fn read_source(&self, source: &[f32], into: &mut Memory, room: &mut Room) {
        let Some(cross) = &self.cross else { return };
        let mut kv = Vec::new();
        cross.kv.apply(source, room, &mut kv);
        for kv in kv.chunks_exact_mut(2 * self.width) {
            let (k, v) = kv.split_at_mut(self.width);
            ops::feature_map(room.level, k);
            into.add(room.level, k, v);
        }
    }

    /// One token of each sequence: x (N, width); for each its state and what cross-attention reads.
    pub(crate) fn step(
        &self,
        x: &mut [f32],
        states: &mut [&mut LayerState],
        sources: &[Option<&Memory>],
        room: &mut Room,
        buffers: &mut Buffers,
    ) {
        let width = self.width;
        self.norm.apply(room.level, x, &mut buffers.normed);
        for (h, state) in buffers.normed.chunks_exact_mut(width).zip(states.iter_mut()) {
            self.convolve(h, &mut state.past);
        }
        self.qkv.apply(&buffers.normed, room, &mut buffers.wide);
        buffers.mixed.resize(x.len(), 0.0);
        let rows = buffers.wide.chunks_exact_mut(3 * width).zip(states.iter_mut());
        for (mixed, (qkv, state)) in buffers.mixed.chunks_exact_mut(width).zip(rows) {
            let (qk, v) = qkv.split_at_mut(2 * width);
            ops::feature_map(room.level, qk);
            let (q, k) = qk.split_at(width);
            state.memory.add(room.level, k, v);
            state.memory.read(room.level, q, mixed);
        }
        self.out.apply(&buffers.mixed, room, &mut buffers.out);
        ops::add(x, &buffers.out);
        if let Some(cross) = &self.cross {
            cross.add_to(x, sources, room, buffers);
        }
        self.ffn.add_to(x, room, buffers);
    }

    fn convolve(&self, h: &mut [f32], past: &mut [f32]) {
        if self.shift.is_empty() {
            return;
        }
        let width = self.width;
        let mut sum = vec![0.0; width];
        for (tap, weight) in past.chunks_exact(width).zip(self.shift.chunks_exact(width)) {
            for ((s, p), w) in sum.iter_mut().zip(tap).zip(weight) {
                *s += p * w;
            }
        }
        let kept = past.len() - width;
        past.copy_within(..kept, width);
        past[..width].copy_from_slice(h);
        ops::add(h, &sum);
    }
}

impl Cross {
    fn add_to(
        &self,
        x: &mut [f32],
        sources: &[Option<&Memory>],
        room: &mut Room,
        buffers: &mut Buffers,
    ) {
        let width = self.norm.weight.len();
        self.norm.apply(room.level, x, &mut buffers.normed);
        self.q.apply(&buffers.normed, room, &mut buffers.wide);
        ops::feature_map(room.level, &mut buffers.wide);
        buffers.mixed.resize(x.len(), 0.0);
        let rows = buffers.mixed.chunks_exact_mut(width).zip(buffers.wide.chunks_exact(width));
        for ((mixed, q), source) in rows.zip(sources) {
            match source {
                Some(memory) => memory.read(room.level, q, mixed),
                None => mixed.fill(0.0),
            }
        }
        self.out.apply(&buffers.mixed, room, &mut buffers.out);
        let outs = buffers.out.chunks_exact(width).zip(sources);
        for (x, (out, source)) in x.chunks_exact_mut(width).zip(outs) {
            if source.is_some() {
                ops::add(x, out);
            }
        }
    }
}
