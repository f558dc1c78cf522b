//! Standard MIDI files of a piece on its meter: its tempo map, its bars, one part a file.

use super::meter::Meter;
use crate::Note;

/// Ticks a sixteenth: 220 a quarter note, as in `SymMV`.
pub(super) const TICKS_PER_LINE: i32 = 55;
const TICKS_PER_QUARTER: u16 = 220;
/// The tempo stays as it is while the clock is off by less than this, in microseconds.
const TOLERANCE: f64 = 100.0;

/// What comes first at one tick.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Rank {
    Conductor,
    NoteOff,
    NoteOn,
}

#[derive(Clone, Copy)]
struct Event {
    tick: i32,
    rank: Rank,
    size: u8,
    bytes: [u8; 7],
}

impl Event {
    fn new(tick: i32, rank: Rank, bytes: &[u8]) -> Self {
        let mut own = [0; 7];
        let size = bytes.len().min(own.len());
        own[..size].copy_from_slice(&bytes[..size]);
        Self { tick, rank, size: u8::try_from(size).unwrap_or(0), bytes: own }
    }
}

/// Tempo, bars and key, which all parts of a piece share.
pub(super) struct Conductor {
    events: Vec<Event>,
    end: i32,
}

impl Conductor {
    pub(super) fn new(meter: &Meter<'_>, tonic: u8, is_minor: bool) -> Self {
        let mut events = Vec::new();
        put_tempi(&mut events, meter);
        put_bars(&mut events, meter);
        // Along the circle of fifths: C 0, G 1, ..., F# 6, Db -5, ..., F -1.
        let above = i16::from(tonic) + if is_minor { 3 } else { 0 };
        let sharps = (above * 7 + 5).rem_euclid(12) - 5;
        let sharps = u8::try_from(sharps.rem_euclid(256)).unwrap_or(0);
        let signature = [0xFF, 0x59, 2, sharps, u8::from(is_minor)];
        events.push(Event::new(0, Rank::Conductor, &signature));
        Self { events, end: TICKS_PER_LINE * meter.last_line() }
    }

    /// A file of type 1 with one track of one piano.
    pub(super) fn file(&self, name: &str, notes: &[Note]) -> Vec<u8> {
        let mut events = Vec::with_capacity(self.events.len() + 2 * notes.len());
        events.extend_from_slice(&self.events);
        for note in notes {
            let (start, stop) =
                (TICKS_PER_LINE * note.onset, TICKS_PER_LINE * (note.onset + note.duration));
            let (pitch, velocity) = (byte(note.pitch), byte(note.velocity));
            events.push(Event::new(start, Rank::NoteOn, &[0x90, pitch, velocity]));
            events.push(Event::new(stop, Rank::NoteOff, &[0x80, pitch, 0]));
        }
        events.sort_by_key(|event| (event.tick, event.rank));
        let mut body = Vec::with_capacity(32 + 5 * events.len());
        put_meta(&mut body, 0x03, name.as_bytes());
        body.extend([0, 0xC0, 0]);
        let mut now = 0;
        for event in &events {
            put_varint(&mut body, event.tick - now);
            body.extend_from_slice(&event.bytes[..usize::from(event.size)]);
            now = event.tick;
        }
        put_varint(&mut body, self.end - now);
        body.extend([0xFF, 0x2F, 0]);
        let mut file = Vec::with_capacity(body.len() + 22);
        file.extend_from_slice(b"MThd\0\0\0\x06\0\x01\0\x01");
        file.extend(TICKS_PER_QUARTER.to_be_bytes());
        file.extend_from_slice(b"MTrk");
        file.extend(u32::try_from(body.len()).unwrap_or(u32::MAX).to_be_bytes());
        file.extend(body);
        file
    }
}

/// One tempo while it holds; after that, the one that brings the next beat to its time. A beat
/// whose sixteenths are squeezed at the beginning has one a sixteenth.
fn put_tempi(events: &mut Vec<Event>, meter: &Meter<'_>) {
    let is_squeezed = meter.raw_seconds(0) < 0.0;
    let mut clock = 0.0; // microseconds at `from`, as the file has it
    let mut tempo = 0_i32;
    for beat in 0..meter.count() {
        let (first, last) = meter.span(beat);
        let step = if is_squeezed && beat == 0 { 1 } else { last - first };
        let mut from = first;
        while from < last {
            let to = (from + step).min(last);
            let quarters = f64::from(to - from) / 4.0;
            let aim = 1e6 * meter.seconds(to);
            if tempo == 0 || (clock + quarters * f64::from(tempo) - aim).abs() > TOLERANCE {
                #[expect(clippy::cast_possible_truncation)] // clamped before
                let next =
                    ((aim - clock) / quarters).round().clamp(1.0, f64::from(0xFF_FFFF)) as i32;
                if next != tempo {
                    let [_, a, b, c] = next.to_be_bytes();
                    let tick = TICKS_PER_LINE * from;
                    events.push(Event::new(tick, Rank::Conductor, &[0xFF, 0x51, 3, a, b, c]));
                }
                tempo = next;
            }
            clock += quarters * f64::from(tempo);
            from = to;
        }
    }
}

/// A time signature where bars of another length begin.
fn put_bars(events: &mut Vec<Event>, meter: &Meter<'_>) {
    let mut last = (0, 0);
    for pair in meter.bars().windows(2) {
        let (from, to) = (meter.span(pair[0]).0, meter.span(pair[1] - 1).1);
        let beats = i32::try_from(pair[1] - pair[0]).unwrap_or(1);
        let own = signature(to - from, beats);
        if own != last {
            let (number, power) = own;
            let bytes = [0xFF, 0x58, 4, number, power, 24, 8];
            events.push(Event::new(TICKS_PER_LINE * from, Rank::Conductor, &bytes));
            last = own;
        }
    }
}

/// Numerator and power of two of the denominator, of a bar by its sixteenths and beats.
fn signature(lines: i32, beats: i32) -> (u8, u8) {
    let fitting = |number: i32, power| u8::try_from(number).ok().map(|number| (number, power));
    let found = if lines == 4 * beats {
        fitting(beats, 2)
    } else if lines % 2 == 0 {
        fitting(lines / 2, 3)
    } else {
        fitting(lines, 4)
    };
    found.unwrap_or((4, 2))
}

fn byte(value: i32) -> u8 {
    u8::try_from(value & 127).unwrap_or(0)
}

fn put_meta(out: &mut Vec<u8>, kind: u8, text: &[u8]) {
    out.extend([0, 0xFF, kind]);
    put_varint(out, i32::try_from(text.len()).unwrap_or(0));
    out.extend_from_slice(text);
}

/// A variable-length quantity: seven bits a byte, most significant first.
fn put_varint(out: &mut Vec<u8>, value: i32) {
    let value = u32::try_from(value).unwrap_or(0);
    for shift in [21, 14, 7] {
        if value >> shift != 0 {
            out.push(u8::try_from(value >> shift & 0x7F).unwrap_or(0) | 0x80);
        }
    }
    out.push(u8::try_from(value & 0x7F).unwrap_or(0));
}
