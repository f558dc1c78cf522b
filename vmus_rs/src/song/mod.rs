//! The annotation of one piece on its own grid: melody and accompaniment, chords, beats, how well
//! they fit, and the files that say so (paper, section 3.2).

mod fit;
mod meter;
mod midi;
mod text;

use crate::quantize::{self, MAX_DURATION, TimedNotes};
use crate::{Error, Note, Result, chords, melody, skyline};
pub use fit::Fit;
pub use melody::Kind;
pub use meter::{MAX_LINES, Meter};

/// Which notes are the melody.
#[derive(Clone, Copy, Debug)]
pub enum Melody<'a> {
    /// The paper's skyline.
    Skyline,
    /// [`melody::melody`].
    Learned(Kind),
    /// Known: true for the notes of the melody, one a note in time.
    Given(&'a [bool]),
}

/// How the chords are found.
#[derive(Clone, Copy, Debug)]
pub enum Chords<'a> {
    /// [`chords::decode`], on the beats and bars.
    Decoded,
    /// [`chords::recognize`], which annotated `SymMV`.
    Recognized,
    /// Known: one id a beat.
    Given(&'a [u8]),
}

/// One piece, annotated.
#[derive(Clone, Debug)]
pub struct Song {
    /// Notes on the sixteenths of the meter, sorted by (onset, pitch).
    pub notes: Vec<Note>,
    /// Which of them are the melody.
    pub is_melody: Vec<bool>,
    /// One chord id a beat.
    pub chords: Vec<u8>,
    /// The beat that begins the bar of the first note.
    pub first_beat: usize,
    /// How well the beats fit.
    pub fit: Fit,
    /// `melody.mid`.
    pub melody_midi: Vec<u8>,
    /// `accompaniment.mid`.
    pub accompaniment_midi: Vec<u8>,
    /// `chord.lab`: start and end in seconds, name in `mir_eval`'s syntax.
    pub chord_lab: String,
    /// `chord.txt`: start and end in ticks of the two MIDI files, name in `SymMV`'s.
    pub chord_txt: String,
    /// `beats.txt`: seconds, place in the bar.
    pub beats_txt: String,
}

/// Annotate notes in seconds on a meter; `key` (tonic 0..=11, whether minor) is for the MIDI files.
///
/// # Errors
///
/// [`Error`] for what [`quantize::quantize`] refuses, an onset behind the last line, a melody or
/// chords that are not one a note or one a beat, chord ids above 120, a tonic above 11.
pub fn annotate(
    timed: TimedNotes<'_>,
    meter: &Meter<'_>,
    melody: Melody<'_>,
    chords: Chords<'_>,
    (tonic, is_minor): (u8, bool),
) -> Result<Song> {
    if tonic > 11 {
        let (name, actual) = ("key", tonic.to_string());
        return Err(Error::Value { name, index: None, must: "of tonic 0 to 11", actual });
    }
    let (position, end) = meter.positions(timed.onset, timed.offset);
    let placed = TimedNotes { onset: &position, offset: &end, ..timed };
    let mut notes = quantize::quantize(placed, 1.0, 0.0, MAX_DURATION)?;
    let last = meter.last_line();
    if let Some(late) = notes.iter().position(|n| n.onset >= last) {
        let (name, must) = ("notes", "before the last line of the meter");
        let actual = format!("sixteenth {}", notes[late].onset);
        return Err(Error::Value { name, index: None, must, actual });
    }
    for note in &mut notes {
        note.duration = note.duration.min(last - note.onset);
    }
    let is_melody = melody_of(melody, &notes, &position, timed.pitch, meter)?;
    let first_beat = meter.bar_of(notes.first().map_or(0, |n| n.onset));
    let chords = chords_of(chords, &notes, meter, first_beat)?;
    let conductor = midi::Conductor::new(meter, tonic, is_minor);
    let part = |wanted: bool| {
        let own = notes.iter().zip(&is_melody).filter(|&(_, &own)| own == wanted);
        own.map(|(note, _)| *note).collect::<Vec<_>>()
    };
    let duration = timed.offset.iter().copied().fold(0.0, f64::max);
    Ok(Song {
        melody_midi: conductor.file("MELODY", &part(true)),
        accompaniment_midi: conductor.file("ACCOMPANIMENT", &part(false)),
        chord_lab: text::chord_lab(meter, &chords, duration),
        chord_txt: text::chord_txt(meter, &chords),
        beats_txt: text::beats_txt(meter, first_beat, duration),
        fit: Fit::new(timed.onset, &position, meter),
        notes,
        is_melody,
        chords,
        first_beat,
    })
}

fn melody_of(
    melody: Melody<'_>,
    notes: &[Note],
    position: &[f64],
    pitch: &[u8],
    meter: &Meter<'_>,
) -> Result<Vec<bool>> {
    match melody {
        Melody::Skyline => Ok(skyline::skyline(notes)),
        Melody::Learned(kind) => {
            let bars = meter.in_long_bars();
            // A bar of its own length is laid out in sixteenths from a multiple of 16.
            let place = |note: &Note| Note { onset: bars[index(note.onset)], ..*note };
            let laid: Vec<Note> = notes.iter().map(place).collect();
            melody::melody(&laid, kind)
        }
        Melody::Given(mask) => {
            if mask.len() != position.len() {
                let (first, expected) = ("notes", position.len());
                let (second, actual) = ("melody", mask.len());
                return Err(Error::LengthMismatch { first, expected, second, actual });
            }
            let own = mask.iter().zip(position.iter().zip(pitch)).filter(|&(&own, _)| own);
            let mut places: Vec<(i64, i32)> =
                own.map(|(_, (&at, &pitch))| (meter::nearest(at), i32::from(pitch))).collect();
            places.sort_unstable();
            let is_own = |n: &Note| places.binary_search(&(i64::from(n.onset), n.pitch)).is_ok();
            Ok(notes.iter().map(is_own).collect())
        }
    }
}

/// One id a beat; no chord before the first beat.
fn chords_of(way: Chords<'_>, notes: &[Note], meter: &Meter<'_>, first: usize) -> Result<Vec<u8>> {
    if let Chords::Given(ids) = way {
        if ids.len() != meter.places.len() {
            let (expected, actual) = (meter.places.len(), ids.len());
            return Err(Error::LengthMismatch {
                first: "places",
                expected,
                second: "chords",
                actual,
            });
        }
        if let Some(i) = ids.iter().position(|&id| id > chords::NO_CHORD) {
            let (name, actual) = ("chords", ids[i].to_string());
            return Err(Error::Value { name, index: Some(i), must: "0 to 120", actual });
        }
        return Ok(ids.to_vec());
    }
    let quarters = meter.in_equal_beats();
    let origin = 4 * i32::try_from(first).unwrap_or(0);
    let place = |note: &Note| {
        let start = quarters[index(note.onset)];
        let stop = quarters[index(note.onset + note.duration)].max(start + 1);
        Note { onset: start - origin, duration: stop - start, ..*note }
    };
    let laid: Vec<Note> = notes.iter().map(place).collect();
    let places = meter.chord_places(first);
    let found = match way {
        Chords::Decoded => chords::decode_at(&laid, &places)?,
        _ => chords::recognize(&laid, i64::try_from(places.len()).unwrap_or(0), 4)?,
    };
    let mut ids = vec![chords::NO_CHORD; first];
    ids.extend(found);
    Ok(ids)
}

/// A line's number, which is never negative, as an index.
fn index(line: i32) -> usize {
    usize::try_from(line).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    const PITCH: [u8; 4] = [48, 64, 67, 72];

    fn sample(melody: Melody<'_>, chords: Chords<'_>) -> Result<Song> {
        let lines: Vec<f64> = (0..33).map(|k| f64::from(k) * 0.125).collect();
        let beats: Vec<i32> = (0..9).map(|b| 4 * b).collect();
        let places: Vec<u8> = (0..8).map(|b| b % 4 + 1).collect();
        let meter = Meter::new(&lines, &beats, &places)?;
        let timed = TimedNotes {
            onset: &[0.01, 0.02, 0.0, 2.0],
            offset: &[2.0, 2.0, 2.0, 4.0],
            pitch: &PITCH,
            velocity: &[80; 4],
        };
        annotate(timed, &meter, melody, chords, (0, false))
    }

    #[test]
    fn says_everything_of_a_small_piece() -> crate::Result<()> {
        let song = sample(Melody::Skyline, Chords::Recognized)?;
        assert_eq!(song.is_melody, [false, false, true, true]);
        assert_eq!(song.chords[..4], [0; 4]);
        assert!(song.chord_lab.starts_with("0.0000\t4.0000\tC:maj\n"), "{}", song.chord_lab);
        assert!(song.chord_txt.starts_with("0 1760 CM\n"), "{}", song.chord_txt);
        assert!(song.beats_txt.starts_with("0.0000\t1\n0.5000\t2\n"), "{}", song.beats_txt);
        assert_eq!(song.melody_midi[..4], *b"MThd");
        assert!(song.fit.concentration > 0.9 && song.fit.most_moved < 0.021);
        Ok(())
    }

    #[test]
    fn takes_what_is_given_and_refuses_what_does_not_fit() -> crate::Result<()> {
        let mask = [true, false, false, false];
        let song = sample(Melody::Given(&mask), Chords::Given(&[120; 8]))?;
        assert_eq!(song.is_melody, mask);
        assert_eq!(song.chord_txt, "");
        assert!(sample(Melody::Given(&[true]), Chords::Decoded).is_err());
        assert!(sample(Melody::Skyline, Chords::Given(&[121; 8])).is_err());
        assert!(sample(Melody::Skyline, Chords::Given(&[0])).is_err());
        Ok(())
    }
}
