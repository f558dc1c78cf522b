//! Streams being written side by side, one token of each at a time: the weights are read once for all.

use super::grammar::Grammar;
use super::heads::chain;
use super::layers::{Buffers, LayerState};
use super::matrix::Room;
use super::ops::{self, Memory};
use super::past::{Past, token_key};
use super::request::{Request, placed, sounding};
use super::stage::Stage;
use crate::Result;
use crate::tokens::{BARBEAT, CHORD, END, QUALITY, RHYTHM, ROOT, TYPE, Token, VELOCITY};

/// A bar may not grow past this, so that a piece's length is bounded whatever the weights say.
const MAX_BAR_TOKENS: usize = 160;

/// What cross-attention reads of an encoded source: the bars around the current one.
struct Windows {
    /// Encoder output (S, width), and where each bar's tokens begin.
    memory: Vec<f32>,
    starts: Vec<usize>,
    /// For each layer the previous, current and next bar, and their sum.
    around: Vec<[Memory; 3]>,
    sums: Vec<Memory>,
    bar: Option<usize>,
}

impl Windows {
    /// Reads on to `bar`.
    fn move_to(&mut self, bar: usize, stage: &Stage, room: &mut Room) {
        if self.bar == Some(bar) {
            return;
        }
        let next = self.bar.is_some_and(|before| before + 1 == bar);
        self.bar = Some(bar);
        for (i, layer) in stage.decoder.iter().enumerate() {
            if next {
                self.around[i].rotate_left(1);
                self.read(layer, i, 2, bar + 1, room);
            } else {
                for slot in 0..3 {
                    match (bar + slot).checked_sub(1) {
                        Some(b) => self.read(layer, i, slot, b, room),
                        None => self.around[i][slot].clear(),
                    }
                }
            }
            let [before, here, after] = &self.around[i];
            Memory::sum(room.level, [here, before, after], &mut self.sums[i]);
        }
    }

    fn read(
        &mut self,
        layer: &super::layers::DecoderLayer,
        index: usize,
        slot: usize,
        bar: usize,
        room: &mut Room,
    ) {
        let memory = &mut self.around[index][slot];
        memory.clear();
        let width = self.memory.len() / self.starts.last().copied().unwrap_or(0).max(1);
        if let (Some(&start), Some(&end)) = (self.starts.get(bar), self.starts.get(bar + 1)) {
            layer.read_source(&self.memory[start * width..end * width], memory, room);
        }
    }
}

enum Source {
    None,
    /// The chord stage's video: one memory a layer.
    Video(Vec<Memory>),
    Stream {
        keys: Vec<i64>,
        windows: Windows,
    },
}

/// One stream in the making.
pub(crate) struct Slot {
    request: Request,
    grammar: Grammar,
    pub(crate) past: Past,
    source: Source,
    states: Vec<LayerState>,
    /// The token to be fed next.
    token: Token,
    key: i64,
    in_bar: usize,
}

impl Slot {
    /// Encodes the source and starts.
    pub(crate) fn open(stage: &Stage, request: Request, room: &mut Room) -> Self {
        let width = stage.config.width;
        let new = || Memory::new(width, stage.config.heads);
        let mut source = Source::None;
        let mut given = None;
        if let (Some(encoder), Some(stream)) = (&stage.encoder, &request.source) {
            let tokens = placed(&stream.tokens);
            let told: Vec<_> = tokens
                .iter()
                .map(|&(token, bar, step)| {
                    let chord = sounding(&stream.chords, bar, step);
                    (token, chord, request.sheet.place(bar, step))
                })
                .collect();
            let bars = tokens.last().map_or(0, |(_, bar, _)| bar + 1);
            let starts = (0..=bars).map(|b| tokens.partition_point(|t| t.1 < b)).collect();
            let windows = Windows {
                memory: encoder.apply(&told, room),
                starts,
                around: stage.decoder.iter().map(|_| [new(), new(), new()]).collect(),
                sums: stage.decoder.iter().map(|_| new()).collect(),
                bar: None,
            };
            let keys = tokens.iter().map(|(token, bar, step)| token_key(token, *bar, *step));
            source = Source::Stream { keys: keys.collect(), windows };
            given = Some(tokens);
        } else if let Some(controller) = &stage.controller {
            let seen = controller.see(&request.video, room);
            if !seen.is_empty() {
                let read = |layer: &super::layers::DecoderLayer| {
                    let mut memory = new();
                    layer.read_source(&seen, &mut memory, room);
                    memory
                };
                source = Source::Video(stage.decoder.iter().map(read).collect());
            }
        }
        Self {
            grammar: Grammar::new(stage.config.stage, request.frame, &request.melody),
            past: Past::new(given.as_deref(), request.form.clone()),
            request,
            source,
            states: stage.decoder.iter().map(super::layers::DecoderLayer::start).collect(),
            token: [0; 7],
            key: -1,
            in_bar: 0,
        }
    }

    /// The bar being written.
    pub(crate) fn bar(&self) -> usize {
        self.grammar.bar()
    }

    /// Appends a token, which is fed next.
    pub(crate) fn accept(&mut self, token: Token) {
        self.grammar.accept(&token);
        self.in_bar = if token[BARBEAT] == 1 { 0 } else { self.in_bar + 1 };
        self.past.add(token, self.grammar.bar(), self.grammar.step);
        self.key = self.past.keys.last().copied().unwrap_or(-1);
        self.token = token;
    }

    /// Makes the chords that suit the video likelier, and holding them or changing them.
    fn lean(&self, attribute: usize, chosen: &Token, logits: &mut [f32]) {
        let request = &self.request;
        if !request.leaning.is_empty() && (attribute == ROOT || attribute == QUALITY) {
            let root = usize::try_from(chosen[ROOT]).unwrap_or(0);
            for (value, logit) in logits.iter_mut().enumerate() {
                *logit += request.lean(attribute, root, value);
            }
        }
        if request.hold == 0.0 {
            return;
        }
        let held = match attribute {
            // No other chord within this bar.
            BARBEAT if self.token[TYPE] == CHORD => Some(1),
            // The chord that a bar begins with is told anew, held or not.
            ROOT if self.grammar.step == 0 => {
                self.past.tokens.iter().rev().find(|t| t[TYPE] == CHORD).map(|t| t[ROOT])
            }
            _ => None,
        };
        let held = held.and_then(|value| usize::try_from(value).ok());
        if let Some(logit) = held.and_then(|value| logits.get_mut(value)) {
            *logit += request.hold;
        }
    }

    /// Makes what the form recalls likelier, as far as the new token is like it up to here.
    fn pull(&self, attribute: usize, chosen: &Token, logits: &mut [f32]) {
        let Some(hint) = self.past.recalled(self.grammar.bar()) else { return };
        let mut before = chain(chosen[TYPE]).iter().take_while(|&&a| a != attribute);
        let alike = hint[TYPE] == chosen[TYPE] && before.all(|&a| hint[a] == chosen[a]);
        // How loud it is, is the video's.
        if attribute == VELOCITY || (attribute != TYPE && !alike) {
            return;
        }
        let value = usize::try_from(hint[attribute]).ok();
        if let Some(logit) = value.and_then(|value| logits.get_mut(value)) {
            *logit += self.request.pull;
        }
    }

    /// The source tokens last before and next after this place.
    fn aligned(keys: &[i64], key: i64) -> [Option<usize>; 2] {
        let after = keys.partition_point(|&k| k <= key);
        [after.checked_sub(1), (after < keys.len()).then_some(after)]
    }
}

/// Feeds each slot's token; the normed hidden states (N, width) that predict the next ones.
pub(crate) fn hidden(stage: &Stage, slots: &mut [Slot], room: &mut Room, work: &mut Work) {
    embed(stage, slots, room, work);
    for slot in slots.iter_mut() {
        let bar = slot.grammar.bar();
        if let Source::Stream { windows, .. } = &mut slot.source {
            windows.move_to(bar.min(slot.request.sheet.bars - 1), stage, room);
        }
    }
    for (i, layer) in stage.decoder.iter().enumerate() {
        let mut states = Vec::with_capacity(slots.len());
        let mut sources = Vec::with_capacity(slots.len());
        for slot in slots.iter_mut() {
            states.push(&mut slot.states[i]);
            sources.push(match &slot.source {
                Source::None => None,
                Source::Video(memories) => Some(&memories[i]),
                Source::Stream { windows, .. } => Some(&windows.sums[i]),
            });
        }
        layer.step(&mut work.x, &mut states, &sources, room, &mut work.buffers);
    }
    stage.heads.norm.apply(room.level, &work.x, &mut work.h);
}

/// What is computed in between, kept from token to token.
#[derive(Default)]
pub(crate) struct Work {
    x: Vec<f32>,
    pub(crate) h: Vec<f32>,
    wide: Vec<f32>,
    out: Vec<f32>,
    buffers: Buffers,
}

fn embed(stage: &Stage, slots: &[Slot], room: &mut Room, work: &mut Work) {
    let width = stage.config.width;
    work.x.clear();
    work.x.resize(slots.len() * width, 0.0);
    for (x, slot) in work.x.chunks_exact_mut(width).zip(slots) {
        stage.attributes.add_to(x, &slot.token, None);
        let place = slot.request.sheet.place(slot.grammar.bar(), slot.grammar.step);
        stage.places.add_to(x, &place);
    }
    if let Some(recall) = &stage.recall {
        let inner = recall.slots_width();
        work.wide.clear();
        work.wide.resize(slots.len() * inner, 0.0);
        for (wide, slot) in work.wide.chunks_exact_mut(inner).zip(slots) {
            for (part, hint) in wide.chunks_exact_mut(width).zip(slot.past.hints) {
                if let Some(token) = hint.and_then(|h| slot.past.tokens.get(h)) {
                    stage.attributes.add_to(part, token, None);
                }
            }
        }
        recall.map.apply(&work.wide, room, &mut work.out);
        for ((x, out), slot) in
            work.x.chunks_exact_mut(width).zip(work.out.chunks_exact_mut(width)).zip(slots)
        {
            recall.add_runs(out, slot.past.run_levels());
            ops::add(x, out);
        }
    }
    if let Some(aligned) = &stage.aligned {
        work.wide.clear();
        work.wide.resize(slots.len() * 2 * width, 0.0);
        for (wide, slot) in work.wide.chunks_exact_mut(2 * width).zip(slots) {
            let Source::Stream { keys, windows } = &slot.source else { continue };
            let pair = Slot::aligned(keys, slot.key);
            for (part, row) in wide.chunks_exact_mut(width).zip(pair) {
                if let Some(row) = row {
                    part.copy_from_slice(&windows.memory[row * width..][..width]);
                }
            }
        }
        aligned.apply(&work.wide, room, &mut work.out);
        ops::add(&mut work.x, &work.out);
    }
}

/// Draws the next token of each slot from the hidden states of `hidden`.
pub(crate) fn choose(
    stage: &Stage,
    slots: &mut [Slot],
    room: &mut Room,
    work: &mut Work,
) -> Vec<Result<Token>> {
    let mut chosen: Vec<Result<Token>> = Vec::with_capacity(slots.len());
    stage.heads.kind.apply(&work.h, room, &mut work.out);
    for (slot, logits) in slots.iter_mut().zip(work.out.chunks_exact_mut(stage.heads.kind.rows)) {
        let mut types = slot.grammar.types();
        let rhythm = RHYTHM.unsigned_abs() as usize;
        if slot.in_bar >= MAX_BAR_TOKENS && types[rhythm] {
            types.fill(false);
            types[rhythm] = true;
        }
        slot.pull(TYPE, &[0; 7], logits);
        let kind = draw(slot, TYPE, logits, &types);
        chosen.push(kind.map(|kind| [kind, 0, 0, 0, 0, 0, 0]));
    }
    for place in 0..3 {
        for attribute in [1, 2, 3, 4, 5, 6] {
            let wants = |token: &Result<Token>| {
                token.as_ref().is_ok_and(|t| chain(t[TYPE]).get(place) == Some(&attribute))
            };
            let rows: Vec<usize> = (0..slots.len()).filter(|&i| wants(&chosen[i])).collect();
            choose_attribute(stage, slots, &mut chosen, attribute, &rows, room, work);
        }
    }
    chosen
}

fn choose_attribute(
    stage: &Stage,
    slots: &mut [Slot],
    chosen: &mut [Result<Token>],
    attribute: usize,
    rows: &[usize],
    room: &mut Room,
    work: &mut Work,
) {
    if rows.is_empty() {
        return;
    }
    let width = stage.config.width;
    let h: Vec<f32> = rows.iter().flat_map(|&i| &work.h[i * width..][..width]).copied().collect();
    let given: Vec<Token> =
        rows.iter().map(|&i| chosen[i].as_ref().copied().unwrap_or_default()).collect();
    stage.heads.logits(attribute, &h, &given, room, &mut work.out);
    let size = work.out.len() / rows.len();
    for ((&i, token), logits) in rows.iter().zip(&given).zip(work.out.chunks_exact_mut(size.max(1)))
    {
        let slot = &mut slots[i];
        slot.lean(attribute, token, logits);
        slot.pull(attribute, token, logits);
        let mut allowed = slot.grammar.mask(attribute, token);
        if slot.in_bar >= MAX_BAR_TOKENS && attribute == BARBEAT && allowed[1] {
            allowed[2..].fill(false);
        }
        match draw(slot, attribute, logits, &allowed) {
            Ok(value) => {
                if let Ok(token) = &mut chosen[i] {
                    token[attribute] = value;
                }
            }
            Err(error) => chosen[i] = Err(error),
        }
    }
}

fn draw(slot: &mut Slot, attribute: usize, logits: &[f32], allowed: &[bool]) -> Result<i16> {
    let dice = slot.request.dice[attribute];
    let value = dice.draw(logits, allowed, &mut slot.request.random)?;
    Ok(i16::try_from(value).unwrap_or(0))
}

/// Whether a token ends its stream.
pub(crate) fn ends(token: &Token) -> bool {
    token[TYPE] == END
}
