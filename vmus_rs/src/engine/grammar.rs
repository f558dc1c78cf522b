//! What may come next: `python/vmusprod/models/grammar.py`, which tells the rules.

use std::collections::HashMap;

use super::config::StageName;
use super::embeddings::chord_has;
use crate::Note;
use crate::tokens::{
    BARBEAT, CHORD, DURATION, END, MAX_DURATION, NOTE, PITCH, QUALITY, RHYTHM, ROOT, SIZES,
    STEPS_PER_BAR, STEPS_PER_BEAT, TYPE, Token, VELOCITY,
};

/// Root and quality of the closing chord in C major and A minor.
const TONIC: [(usize, usize); 2] = [(0, 0), (9, 1)];
const CADENCE: [&[(usize, usize)]; 2] = [
    &[(5, 0), (5, 3), (7, 0), (7, 2), (7, 9), (2, 1), (2, 4)],
    &[(4, 0), (4, 2), (7, 0), (7, 2), (2, 1), (2, 4), (5, 0), (5, 3)],
];
const BASS_CEILING: usize = 52;
const MIN_CLOSING_NOTES: usize = 3;
const MAX_CLOSING_NOTES: usize = 4;
const LOWEST_TUNE: usize = 55;
const NO_CEILING: usize = 128;
const LOWEST: usize = 21;
const HIGHEST: usize = 108;

/// Which values may be chosen.
pub(crate) type Mask = Vec<bool>;

/// What a piece is written into.
#[derive(Clone, Copy, Debug)]
pub struct Frame {
    /// Its length.
    pub bars: usize,
    /// 0 C major, 1 A minor.
    pub mode: usize,
    /// 16ths of bar 0 that lie before the video's start.
    pub first_step: usize,
    /// Most 16ths that may pass without a note.
    pub silence: usize,
}

impl Frame {
    fn closing(&self) -> usize {
        let last = (self.bars - 1) * STEPS_PER_BAR;
        if self.bars >= 3 { last } else { (last + STEPS_PER_BAR / 2).max(self.first_step) }
    }

    fn steps(&self) -> usize {
        self.bars * STEPS_PER_BAR
    }

    fn minor(&self) -> usize {
        self.mode.min(1)
    }
}

/// Follows a stream as it grows.
pub(crate) struct Grammar {
    stage: StageName,
    frame: Frame,
    /// Bars opened so far.
    opened: usize,
    pub(crate) step: usize,
    last: Token,
    closed: bool,
    closing_notes: usize,
    sounding: Vec<bool>,
    struck: HashMap<usize, Vec<usize>>,
    /// Of each 16th: the pitch of the melody, below which the rest stays.
    ceiling: Vec<usize>,
}

impl Grammar {
    /// `melody`: the finished melody, for the accompaniment.
    pub(crate) fn new(stage: StageName, frame: Frame, melody: &[Note]) -> Self {
        let mut sounding = vec![false; frame.steps() + 1];
        let mut struck: HashMap<usize, Vec<usize>> = HashMap::new();
        let mut ceiling = vec![NO_CEILING; frame.steps() + 1];
        let clamp = |x: i64| usize::try_from(x).unwrap_or(0).min(frame.steps() + 1);
        for note in melody {
            let (start, end) = (clamp(i64::from(note.onset)), clamp(note.end()));
            if let Some(heard) = sounding.get_mut(start..end) {
                heard.fill(true);
            }
            if let (Some(under), Ok(pitch)) =
                (ceiling.get_mut(start..end), usize::try_from(note.pitch))
                && pitch >= LOWEST_TUNE
            {
                under.fill(pitch);
            }
            if let (Ok(onset), Ok(pitch)) =
                (usize::try_from(note.onset), usize::try_from(note.pitch))
            {
                struck.entry(onset).or_default().push(pitch);
            }
        }
        Self {
            stage,
            frame,
            opened: 0,
            step: 0,
            last: [0; 7],
            closed: false,
            closing_notes: 0,
            sounding,
            struck,
            ceiling,
        }
    }

    /// The bar, 0 before the first.
    pub(crate) fn bar(&self) -> usize {
        self.opened.saturating_sub(1)
    }

    fn place(&self) -> usize {
        self.bar() * STEPS_PER_BAR + self.step
    }

    fn closing(&self) -> usize {
        let place = self.frame.closing();
        if self.stage == StageName::Chord { place - place % STEPS_PER_BEAT } else { place }
    }

    fn last_is(&self, kind: i16) -> bool {
        self.last[TYPE] == kind
    }

    /// Moves on past a token.
    pub(crate) fn accept(&mut self, token: &Token) {
        match token[BARBEAT] {
            1 => {
                self.opened += 1;
                self.step = 0;
            }
            2.. => self.step = usize::try_from(token[BARBEAT] - 2).unwrap_or(0),
            _ => {}
        }
        let place = self.place();
        if token[TYPE] == NOTE {
            let end = place + usize::try_from(token[DURATION]).unwrap_or(0);
            let size = self.sounding.len();
            if let Some(heard) = self.sounding.get_mut(place.min(size)..end.min(size)) {
                heard.fill(true);
            }
        }
        if matches!(token[TYPE], NOTE | CHORD) && place == self.closing() {
            self.closing_notes += 1;
            let chordal = self.stage == StageName::Accompaniment;
            self.closed = self.closing_notes >= if chordal { MIN_CLOSING_NOTES } else { 1 };
        }
        self.last = *token;
    }

    /// The allowed types.
    pub(crate) fn types(&self) -> Mask {
        let mut allowed = vec![false; SIZES[TYPE]];
        let [rhythm, note, chord] = [RHYTHM, NOTE, CHORD].map(|kind| kind.unsigned_abs() as usize);
        if self.opened == 0 {
            allowed[rhythm] = true;
        } else if self.stage == StageName::Chord {
            allowed[chord] = self.last_is(RHYTHM);
            allowed[rhythm] = self.last_is(CHORD) && any(&self.barbeats());
        } else if self.last_is(RHYTHM) && self.last[BARBEAT] > 1 {
            allowed[note] = true;
        } else {
            allowed[rhythm] = any(&self.barbeats());
            let chordal = self.stage == StageName::Accompaniment && self.last_is(NOTE);
            allowed[note] = chordal && any(&self.pitches());
        }
        if self.finished() {
            allowed.fill(false);
        }
        allowed[END.unsigned_abs() as usize] = self.closed || !any(&allowed);
        allowed
    }

    /// Nothing but the end may follow.
    fn finished(&self) -> bool {
        let chordal =
            self.stage == StageName::Accompaniment && self.closing_notes < MAX_CLOSING_NOTES;
        self.closed && !(chordal && any(&self.pitches()))
    }

    /// The allowed BARBEAT values.
    fn barbeats(&self) -> Mask {
        let mut allowed = vec![false; SIZES[BARBEAT]];
        if self.opened == 0 {
            allowed[1] = true;
            return allowed;
        }
        let last = self.opened >= self.frame.bars;
        let start = self.bar() * STEPS_PER_BAR;
        let opened = self.last[BARBEAT] == 1;
        let chord = self.stage == StageName::Chord;
        let mut first = if opened && !chord { 0 } else { self.step + 1 };
        if self.opened == 1 {
            first = first.max(self.frame.first_step.min(self.closing()));
        }
        let mut stop =
            if last { (self.closing() + 1).saturating_sub(start) } else { STEPS_PER_BAR };
        let mut due = STEPS_PER_BAR;
        if self.stage == StageName::Accompaniment {
            due = self.latest_onset().saturating_sub(start);
            stop = stop.min(due + 1);
        }
        for step in first..stop.min(STEPS_PER_BAR) {
            allowed[2 + step] = !chord || step % STEPS_PER_BEAT == 0;
        }
        allowed[1] = !last && due >= STEPS_PER_BAR;
        allowed
    }

    /// The last 16th of this bar at which a note may come without too long a silence before it; the next
    /// bar's first if there is no haste.
    fn latest_onset(&self) -> usize {
        let frame = &self.frame;
        let heard = |k: usize| self.sounding.get(k).copied().unwrap_or(false);
        let place = self.place().max(frame.first_step);
        let since = place.saturating_sub(frame.silence).max(frame.first_step);
        let mut quiet = (since..place).rev().take_while(|&k| !heard(k)).count();
        let end = (self.bar() + 1) * STEPS_PER_BAR;
        for k in place..end {
            if heard(k) {
                quiet = 0;
            } else if quiet >= frame.silence {
                return k;
            } else {
                quiet += 1;
            }
        }
        end
    }

    /// The allowed PITCH values.
    fn pitches(&self) -> Mask {
        let mut allowed = vec![false; SIZES[PITCH]];
        allowed[1 + LOWEST..=1 + HIGHEST].fill(true);
        if self.last_is(NOTE) {
            let below = usize::try_from(self.last[PITCH]).unwrap_or(0) + 1;
            allowed[..below.min(SIZES[PITCH])].fill(false);
        }
        let mut free = allowed.clone();
        for &pitch in self.struck.get(&self.place()).into_iter().flatten() {
            if let Some(allowed) = free.get_mut(1 + pitch) {
                *allowed = false;
            }
        }
        let ceiling = self.ceiling.get(self.place()).copied().unwrap_or(NO_CEILING);
        if let Some(above) = free.get_mut(1 + ceiling..) {
            above.fill(false);
        }
        let closing = self.place() == self.closing();
        if closing {
            self.keep_closing_tones(&mut allowed);
            self.keep_closing_tones(&mut free);
        }
        let needed = !self.last_is(NOTE) || (closing && !self.closed);
        if any(&free) || !needed { free } else { allowed }
    }

    /// Leaves those of the pitches that close the piece and leave room for the notes above.
    fn keep_closing_tones(&self, tones: &mut Mask) {
        let (root, quality) = TONIC[self.frame.minor()];
        for (i, tone) in tones.iter_mut().enumerate().skip(1) {
            *tone &= chord_has(root + 1, quality + 1, (i - 1) % 12);
        }
        if self.stage != StageName::Accompaniment {
            return;
        }
        let above = MIN_CLOSING_NOTES.saturating_sub(self.closing_notes + 1);
        tones.iter_mut().rev().filter(|tone| **tone).take(above).for_each(|tone| *tone = false);
        if self.closing_notes == 0 {
            for (i, tone) in tones.iter_mut().enumerate().skip(1) {
                *tone &= (i - 1) % 12 == root && i <= BASS_CEILING;
            }
        }
    }

    /// The allowed values of an attribute, given those of `token` that were chosen before.
    pub(crate) fn mask(&self, attribute: usize, token: &Token) -> Mask {
        match attribute {
            BARBEAT => self.barbeats(),
            PITCH => self.pitches(),
            DURATION => self.durations(),
            ROOT | QUALITY => self.chords(attribute, token),
            _ => {
                let mut allowed = vec![true; SIZES[VELOCITY]];
                allowed[0] = false;
                allowed
            }
        }
    }

    fn durations(&self) -> Mask {
        let mut allowed = vec![false; SIZES[DURATION]];
        let left = self.frame.steps().saturating_sub(self.place()).min(MAX_DURATION.into());
        let first = if self.place() == self.closing() { left } else { 1 };
        if let Some(some) = allowed.get_mut(first..=left) {
            some.fill(true);
        }
        allowed
    }

    fn chords(&self, attribute: usize, token: &Token) -> Mask {
        let tonic = [TONIC[self.frame.minor()]];
        let pairs: &[(usize, usize)] = if self.place() >= self.closing() {
            &tonic
        } else if self.frame.bars >= 3 && self.opened + 1 == self.frame.bars {
            CADENCE[self.frame.minor()]
        } else {
            let mut allowed = vec![true; SIZES[attribute]];
            let last = SIZES[attribute] - 1;
            allowed[0] = false;
            allowed[last] = false;
            return allowed;
        };
        let mut allowed = vec![false; SIZES[attribute]];
        for &(root, quality) in pairs {
            if attribute == ROOT {
                allowed[root + 1] = true;
            } else if usize::try_from(token[ROOT]).is_ok_and(|chosen| chosen == root + 1) {
                allowed[quality + 1] = true;
            }
        }
        allowed
    }
}

/// Whether anything is allowed.
fn any(mask: &[bool]) -> bool {
    mask.contains(&true)
}
