//! What a note looks like among its neighbours, in small whole numbers: pitch, time, repetition,
//! loudness. Each number picks a row of a table in the network.

use super::notes::{Event, Group, Song};

/// Numbers a note.
pub const FEATURES: usize = 34;
/// How many values each number has.
pub const SIZES: [usize; FEATURES] = [
    88, 20, 16, 25, 26, 26, 26, 26, 20, 64, // pitch, length, place in the bar, what sounds
    34, 50, 34, 50, 34, 50, 34, 50, 25, // neighbouring onsets
    169, 169, 17, 64, // repetition
    16, 16, 16, 16, 17, 32,
    16, // among the pitches of windows and song; density; place in the song
    16, 25, 25, 16, // loudness: the last ones
];
/// The last of them tell of velocities; the same for all notes where every note is equally loud.
pub const VELOCITY_FEATURES: usize = 4;
/// A row of the table a note: the features' values, in order.
pub type Row = [u8; FEATURES];

const LOWEST: usize = 21;
/// Farther than this is as far, in semitones.
const FAR: u32 = 25;
/// A line moves by at most this many semitones between neighbouring notes, mostly.
const STEP: usize = 5;
/// Times without an end count as this many sixteenths.
const LONG: i64 = 64;
const NEIGHBOURS: [isize; 4] = [-2, -1, 1, 2];
const LAGS: [i64; 6] = [-32, -16, -2, 2, 16, 32];
const WINDOWS: [i64; 3] = [8, 32, 128];
const FIRST_WINDOW: usize = 23;
const FIRST_VELOCITY: usize = FEATURES - VELOCITY_FEATURES;

/// The features of each event, in order.
pub(super) fn features(song: &Song) -> Vec<Row> {
    let mut rows = vec![[0; FEATURES]; song.events.len()];
    let sounding = sounding(song);
    let (before, after) = (SeenBefore::forward(song), SeenBefore::backward(song));
    let repeats = repeats(song);
    let around: Vec<Around> = (0..song.groups.len()).map(|g| Around::of(song, g)).collect();
    for (i, (event, row)) in song.events.iter().zip(&mut rows).enumerate() {
        let group = event.group;
        put_chord(row, event, song.groups[group].pitches, sounding[group]);
        put_neighbours(row, event.pitch, &around[group]);
        row[19] = 13 * before.same[i].1 + after.same[i].1;
        row[20] = 13 * before.near[i].1 + after.near[i].1;
        row[21] = byte(after.near[i].0 - event.duration, -8, 8);
        let repeated = repeats.iter().map(|bits| byte_bit(bits[group], event.pitch));
        row[22] = repeated.fold(0, |bits, bit| bits << 1 | bit);
    }
    put_windows(song, &mut rows);
    put_ranks(song, &mut rows);
    put_loudness(song, &mut rows);
    rows
}

/// A number within `low..=high`, counted from `low`; at most 256 values.
fn byte(x: i64, low: i64, high: i64) -> u8 {
    u8::try_from(x.clamp(low, high) - low).unwrap_or(0)
}

fn byte_of(x: usize, most: u8) -> u8 {
    u8::try_from(x).unwrap_or(most).min(most)
}

fn count(pitches: u128) -> u8 {
    u8::try_from(pitches.count_ones().min(4)).unwrap_or(4)
}

fn byte_bit(pitches: u128, pitch: usize) -> u8 {
    u8::from(pitches >> pitch & 1 == 1)
}

/// Exact below 2^53.
#[expect(clippy::cast_precision_loss)]
fn real(x: i64) -> f64 {
    x as f64
}

/// A length of time up to [`LONG`] in steps that grow: 0 for 1 to 12 for [`LONG`].
fn length_class(time: i64) -> u8 {
    const CLASSES: [u8; 65] = {
        let limits = [1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 63];
        let mut classes = [0; 65];
        let mut time = 0;
        while time < classes.len() {
            let mut i = 0;
            while i < limits.len() {
                classes[time] += (time > limits[i]) as u8;
                i += 1;
            }
            time += 1;
        }
        classes
    };
    CLASSES[usize::try_from(time).unwrap_or(0).min(64)]
}

/// Semitones from `pitch` up to the nearest set bit at or above it.
fn up(pitches: u128, pitch: usize) -> u8 {
    semitones((pitches >> pitch).trailing_zeros())
}

/// Semitones from `pitch` down to the nearest set bit at or below it.
fn down(pitches: u128, pitch: usize) -> u8 {
    semitones((pitches << (127 - pitch)).leading_zeros())
}

fn semitones(count: u32) -> u8 {
    u8::try_from(count.min(FAR)).unwrap_or(0)
}

/// Bits above, and below, `pitch`.
fn above(pitches: u128, pitch: usize) -> u128 {
    pitches >> pitch >> 1 << pitch << 1
}

fn below(pitches: u128, pitch: usize) -> u128 {
    pitches & ((1 << pitch) - 1)
}

fn put_chord(row: &mut Row, event: &Event, together: u128, sounding: u128) {
    let pitch = event.pitch;
    let (over, under) = (above(together, pitch), below(together, pitch));
    row[0] = byte_of(pitch.saturating_sub(LOWEST), 87);
    let long = event.duration;
    row[1] = if long <= 16 { byte(long, 1, 16) } else { byte((long - 17) / 12, 0, 3) + 16 };
    row[2] = byte(event.onset.rem_euclid(16), 0, 15);
    row[3] = 5 * count(over) + count(under);
    row[4] = up(over, pitch);
    row[5] = down(under, pitch);
    row[6] = up(sounding, pitch);
    row[7] = down(below(sounding, pitch), pitch);
    let octaves = 2 * byte_bit(together << 12, pitch) + byte_bit(together >> 12, pitch);
    row[8] = 4 * count(above(sounding, pitch)) + octaves;
}

/// What lies around a group: the pitches of four neighbours, and the times to the next two.
struct Around {
    pitches: [u128; NEIGHBOURS.len()],
    times: u8,
    counts: u8,
}

impl Around {
    fn of(song: &Song, g: usize) -> Self {
        let near = |k: isize| g.checked_add_signed(k).and_then(|g| song.groups.get(g));
        let onset = song.groups[g].onset;
        let time = |group: Option<&Group>| {
            byte(group.map_or(8, |group| (group.onset - onset).abs()), 1, 8)
        };
        let pitches = NEIGHBOURS.map(|k| near(k).map_or(0, |group| group.pitches));
        Self {
            times: 8 * time(near(-1)) + time(near(1)),
            counts: 5 * count(pitches[1]) + count(pitches[2]),
            pitches,
        }
    }
}

fn put_neighbours(row: &mut Row, pitch: usize, around: &Around) {
    row[9] = around.times;
    let own = i64::try_from(pitch).unwrap_or(0);
    for (pair, &pitches) in row[10..18].chunks_exact_mut(2).zip(&around.pitches) {
        if pitches == 0 {
            pair.copy_from_slice(&[33, 49]);
            continue;
        }
        let (rise, fall) = (up(pitches, pitch), down(pitches, pitch));
        let nearest = if rise <= fall { i64::from(rise) } else { -i64::from(fall) };
        let top = i64::from(pitches.ilog2());
        pair.copy_from_slice(&[byte(nearest, -16, 16), byte(top - own, -24, 24)]);
    }
    row[18] = around.counts;
}

/// For each group, the pitches that sound on from earlier onsets.
fn sounding(song: &Song) -> Vec<u128> {
    let mut ends = [i64::MIN; 128];
    let mut all: u128 = 0;
    let mut result = Vec::with_capacity(song.groups.len());
    for group in &song.groups {
        let mut rest = all;
        while rest != 0 {
            let pitch = rest.trailing_zeros();
            rest &= rest - 1;
            if ends[pitch as usize] <= group.onset {
                all &= !(1 << pitch);
            }
        }
        result.push(all);
        for event in &song.events[group.first..group.end] {
            ends[event.pitch] = ends[event.pitch].max(event.onset + event.duration);
            all |= 1 << event.pitch;
        }
    }
    result
}

/// How long ago each event's pitch, and a pitch near it, was struck, [`LONG`] if never; and the
/// time's class.
struct SeenBefore {
    same: Vec<(i64, u8)>,
    near: Vec<(i64, u8)>,
}

impl SeenBefore {
    fn forward(song: &Song) -> Self {
        Self::scan(song, &mut song.groups.iter())
    }

    /// The same, with time running the other way.
    fn backward(song: &Song) -> Self {
        Self::scan(song, &mut song.groups.iter().rev())
    }

    fn scan(song: &Song, groups: &mut dyn Iterator<Item = &Group>) -> Self {
        let count = song.events.len();
        let mut result = Self { same: vec![(0, 0); count], near: vec![(0, 0); count] };
        // onsets lie within 32 bits
        let mut last = [i64::MIN / 2; 128];
        for group in groups {
            let ago = |time: &i64| (group.onset - time).abs().min(LONG);
            for i in group.first..group.end {
                let pitch = song.events[i].pitch;
                let around = &last[pitch.saturating_sub(STEP)..=(pitch + STEP).min(127)];
                let (same, near) = (ago(&last[pitch]), around.iter().map(ago).min());
                let near = near.unwrap_or(LONG);
                result.same[i] = (same, length_class(same));
                result.near[i] = (near, length_class(near));
            }
            for event in &song.events[group.first..group.end] {
                last[event.pitch] = group.onset;
            }
        }
        result
    }
}

/// For each lag and group, the pitches that start that much later.
fn repeats(song: &Song) -> [Vec<u128>; LAGS.len()] {
    LAGS.map(|lag| {
        let mut at = 0;
        let groups = song.groups.iter();
        groups
            .map(|group| {
                while song.groups.get(at).is_some_and(|g| g.onset < group.onset + lag) {
                    at += 1;
                }
                let there = song.groups.get(at).filter(|g| g.onset == group.onset + lag);
                there.map_or(0, |g| g.pitches)
            })
            .collect()
    })
}

/// Which share of the notes within three radii lie above; how many onsets are near, and notes.
fn put_windows(song: &Song, rows: &mut [Row]) {
    for (k, radius) in WINDOWS.into_iter().enumerate() {
        let mut histogram = [0_u32; 128];
        let (mut low, mut high) = (0, 0);
        for (group, range) in song.groups.iter().zip(song.near(radius)) {
            let (start, end) = song.events_of(range);
            for event in &song.events[high..end] {
                histogram[event.pitch] += 1;
            }
            for event in &song.events[low..start] {
                histogram[event.pitch] -= 1;
            }
            (low, high) = (start, end);
            let mut over = 0;
            let mut pitch = 127;
            for i in (group.first..group.end).rev() {
                let own = song.events[i].pitch;
                over += histogram[own + 1..=pitch].iter().sum::<u32>();
                pitch = own;
                rows[i][FIRST_WINDOW + k] = byte_of(16 * over as usize / (end - start), 15);
                match radius {
                    8 => rows[i][27] = byte_of(range.1 - range.0 - 1, 16),
                    32 => rows[i][28] = byte_of((end - start) / 8, 31),
                    _ => {}
                }
            }
        }
    }
}

/// Of each value, in sixteenths, which share of all lies below it, its equals counted half.
fn ranks(values: impl Iterator<Item = usize>) -> [u8; 128] {
    let mut histogram = [0_usize; 128];
    let mut all = 0;
    for value in values {
        histogram[value] += 1;
        all += 1;
    }
    let mut under = 0;
    histogram.map(|own| {
        let rank = (2 * under + own) * 8 / all.max(1);
        under += own;
        byte_of(rank, 15)
    })
}

fn velocity(event: &Event) -> usize {
    usize::try_from(event.velocity).unwrap_or(0)
}

/// Pitch and velocity among those of the song, and how far into the song the note is.
fn put_ranks(song: &Song, rows: &mut [Row]) {
    let pitches = ranks(song.events.iter().map(|event| event.pitch));
    let velocities = ranks(song.events.iter().map(velocity));
    let first = song.groups.first().map_or(0, |group| group.onset);
    let last = song.groups.last().map_or(0, |group| group.onset);
    for (event, row) in song.events.iter().zip(rows) {
        row[26] = pitches[event.pitch];
        row[29] = byte(16 * (event.onset - first) / (last - first).max(1), 0, 15);
        row[FIRST_VELOCITY + 3] = velocities[velocity(event)];
    }
}

/// Loudness against the loudest of those that start together, and against the notes within 8 and
/// 64 sixteenths, in quarters of their deviation.
fn put_loudness(song: &Song, rows: &mut [Row]) {
    let mut sums = vec![(0_i64, 0_i64)];
    let (mut total, mut squares) = (0, 0);
    for event in &song.events {
        total += event.velocity;
        squares += event.velocity * event.velocity;
        sums.push((total, squares));
    }
    let around = |range: (usize, usize)| {
        let (start, end) = song.events_of(range);
        let n = real(i64::try_from(end - start).unwrap_or(1));
        let mean = real(sums[end].0 - sums[start].0) / n;
        let variance = real(sums[end].1 - sums[start].1) / n - mean * mean;
        (mean, 4.0 / (variance.max(0.0).sqrt() + 3.0))
    };
    for ((group, near), wide) in song.groups.iter().zip(song.near(8)).zip(song.near(64)) {
        let places = [around(near), around(wide)];
        let together = &song.events[group.first..group.end];
        let loudest = together.iter().map(|event| event.velocity).max().unwrap_or(0);
        for (event, row) in together.iter().zip(&mut rows[group.first..]) {
            let row = &mut row[FIRST_VELOCITY..];
            row[0] = byte(loudest - event.velocity, 0, 15);
            for (value, (mean, scale)) in row[1..].iter_mut().zip(places) {
                #[expect(clippy::cast_possible_truncation)] // within -12..=12
                let steps = ((real(event.velocity) - mean) * scale).round() as i64;
                *value = byte(steps, -12, 12);
            }
        }
    }
}
