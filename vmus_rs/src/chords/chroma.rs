//! What each beat sounds like: which pitch classes, in which register, over which bass.

use crate::{Note, SIXTEENTHS_PER_BEAT};

/// A number a pitch class.
pub type Chroma = [f32; 12];

/// Notes below the first pitch are low, from the second on high.
const REGISTERS: [i32; 2] = [52, 67];
/// Longer notes count as this long, in sixteenths: it bounds the work that one note makes.
const LONGEST: i64 = 64;

/// Square roots of the beats (time) that each pitch class sounds within one beat.
#[derive(Clone, Copy)]
pub(super) struct Beat {
    /// Low, middle, high.
    pub(super) registers: [Chroma; 3],
    /// All registers together.
    pub(super) all: Chroma,
    /// The lowest note that sounds, sixteenth by sixteenth.
    pub(super) bass: Chroma,
}

impl Beat {
    /// Nothing sounds.
    pub(super) const SILENCE: Self =
        Self { registers: [[0.0; 12]; 3], all: [0.0; 12], bass: [0.0; 12] };
}

/// The first `count` beats. Pitches are within 0..=127.
pub(super) fn beats(notes: &[Note], count: usize) -> Vec<Beat> {
    let mut beats = vec![Beat::SILENCE; count];
    let beat = i64::from(SIXTEENTHS_PER_BEAT);
    let end = i64::try_from(count).unwrap_or(i64::MAX / beat).saturating_mul(beat);
    // The lowest pitch in each sixteenth, 128 where there is none.
    let mut lowest = vec![[128_u8; SIXTEENTHS_PER_BEAT as usize]; count];
    for note in notes {
        let start = i64::from(note.onset);
        let stop = (start + i64::from(note.duration).clamp(0, LONGEST)).min(end);
        let pitch = u8::try_from(note.pitch).unwrap_or(0);
        let register = REGISTERS.iter().filter(|&&pitch| note.pitch >= pitch).count();
        for time in start.max(0)..stop {
            let (Ok(b), Ok(part)) = (usize::try_from(time / beat), usize::try_from(time % beat))
            else {
                continue;
            };
            beats[b].registers[register][usize::from(pitch % 12)] += 0.25;
            lowest[b][part] = lowest[b][part].min(pitch);
        }
    }
    for (beat, lowest) in beats.iter_mut().zip(&lowest) {
        for &pitch in lowest.iter().filter(|&&pitch| pitch < 128) {
            beat.bass[usize::from(pitch % 12)] += 0.25;
        }
        let Beat { registers: [low, middle, high], all, bass } = beat;
        for c in 0..12 {
            all[c] = low[c] + middle[c] + high[c];
        }
        for x in [low, middle, high, all, bass].into_iter().flatten() {
            *x = x.sqrt();
        }
    }
    beats
}

/// The mean of `all` over a song.
pub(super) fn mean(beats: &[Beat]) -> Chroma {
    let mut sum = [0.0_f64; 12];
    for (s, x) in beats.iter().flat_map(|beat| &beat.all).enumerate().map(|(i, x)| (i % 12, x)) {
        sum[s] += f64::from(*x);
    }
    #[expect(clippy::cast_precision_loss, clippy::cast_possible_truncation)]
    sum.map(|s| (s / beats.len().max(1) as f64) as f32)
}
