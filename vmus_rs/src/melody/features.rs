//! What a note looks like among its neighbours: pitch, time, repetition, loudness.

use super::notes::{Event, Group, Song};

/// Numbers a note.
pub const FEATURES: usize = 71;
/// The last of them tell of velocities; all 0 where every note is equally loud.
pub const VELOCITY_FEATURES: usize = 4;

/// Farther than this is as far, in semitones.
const FAR: u32 = 24;
/// A line moves by at most this many semitones between neighbouring notes, mostly.
const STEP: usize = 5;
/// Times without an end count as this many sixteenths.
const LONG: i64 = 64;
const NEIGHBOURS: [isize; 4] = [-2, -1, 1, 2];
const LAGS: [i64; 6] = [-32, -16, -2, 2, 16, 32];
const WINDOWS: [i64; 3] = [8, 32, 128];
/// Numbers a window.
const IN_WINDOW: usize = 7;

/// Fills rows from the left.
struct Writer<'a> {
    row: &'a mut [f32],
    next: usize,
}

impl Writer<'_> {
    fn put(&mut self, value: f32) {
        if let Some(place) = self.row.get_mut(self.next) {
            *place = value;
        }
        self.next += 1;
    }
}

/// Puts the features of each event, in order, into the first columns of its row.
pub(super) fn put_features<const N: usize>(song: &Song, rows: &mut [[f32; N]]) {
    let sounding = sounding(song);
    let (before, after) = (SeenBefore::forward(song), SeenBefore::backward(song));
    let repeats = repeats(song);
    for (i, (event, row)) in song.events.iter().zip(&mut *rows).enumerate() {
        let mut out = Writer { row, next: 0 };
        put_chord(&mut out, event, song.groups[event.group].pitches, sounding[event.group]);
        put_times(&mut out, song, event);
        put_neighbours(&mut out, song, event);
        for place in [0, 8] {
            out.put(flag(event.onset.rem_euclid(16) == place));
        }
        for place in [0, 2] {
            out.put(flag(event.onset.rem_euclid(4) == place));
        }
        for seen in [&before, &after] {
            out.put(logarithm(seen.same[i], LONG));
        }
        for seen in [&before, &after] {
            out.put(logarithm(seen.near[i], LONG));
        }
        out.put(small(after.near[i].min(LONG) - event.duration).clamp(-8.0, 8.0) / 8.0);
        put_place(&mut out, song, event);
        for bits in &repeats {
            out.put(flag(bits[event.group] >> event.pitch & 1 == 1));
        }
    }
    let first = FEATURES - VELOCITY_FEATURES - IN_WINDOW * WINDOWS.len();
    for (k, radius) in WINDOWS.into_iter().enumerate() {
        put_window(song, radius, rows, first + k * IN_WINDOW);
    }
    put_velocity(song, rows);
}

fn flag(is: bool) -> f32 {
    if is { 1.0 } else { 0.0 }
}

/// Exact, or near enough: what is given here lies below 2^24, or is only a share of a long song.
#[expect(clippy::cast_precision_loss)]
pub(super) fn small(x: i64) -> f32 {
    x as f32
}

fn logarithm(time: i64, most: i64) -> f32 {
    small(1 + time.clamp(0, most)).log2() / 3.0
}

/// Semitones from `pitch` up to the nearest set bit at or above it.
fn up(pitches: u128, pitch: usize) -> f32 {
    semitones((pitches >> pitch).trailing_zeros())
}

/// Semitones from `pitch` down to the nearest set bit at or below it.
fn down(pitches: u128, pitch: usize) -> f32 {
    semitones((pitches << (127 - pitch)).leading_zeros())
}

/// In octaves.
fn semitones(count: u32) -> f32 {
    small(i64::from(count.min(FAR))) / 12.0
}

/// Up to four things, halved.
fn few(count: u32) -> f32 {
    small(i64::from(count.min(4))) / 2.0
}

/// Bits above, and below, `pitch`.
fn above(pitches: u128, pitch: usize) -> u128 {
    pitches >> pitch >> 1 << pitch << 1
}

fn below(pitches: u128, pitch: usize) -> u128 {
    pitches & ((1 << pitch) - 1)
}

fn put_chord(out: &mut Writer, event: &Event, together: u128, sounding: u128) {
    let pitch = event.pitch;
    out.put((small(i64::try_from(pitch).unwrap_or(0)) - 60.0) / 12.0);
    out.put(few(above(together, pitch).count_ones()));
    out.put(few(below(together, pitch).count_ones()));
    out.put(up(above(together, pitch), pitch));
    out.put(down(below(together, pitch), pitch));
    out.put(up(sounding, pitch));
    out.put(few(above(sounding, pitch).count_ones()));
    out.put(logarithm(event.duration, LONG));
}

fn put_times(out: &mut Writer, song: &Song, event: &Event) {
    let onset = |group: Option<&Group>| group.map(|group| group.onset);
    let before = event.group.checked_sub(1).and_then(|g| onset(song.groups.get(g)));
    let after = onset(song.groups.get(event.group + 1));
    out.put(logarithm(before.map_or(16, |time| event.onset - time), 16));
    out.put(logarithm(after.map_or(16, |time| time - event.onset), 16));
}

/// Whether the octave below or above starts too, and how far into the song the note is.
fn put_place(out: &mut Writer, song: &Song, event: &Event) {
    let together = song.groups[event.group].pitches;
    out.put(flag(event.pitch >= 12 && together >> (event.pitch - 12) & 1 == 1));
    out.put(flag(event.pitch < 116 && together >> (event.pitch + 12) & 1 == 1));
    let first = song.groups.first().map_or(0, |group| group.onset);
    let last = song.groups.last().map_or(0, |group| group.onset);
    out.put(small(event.onset - first) / small((last - first).max(1)));
    out.put(logarithm(event.onset - first, 1023));
    out.put(logarithm(last - event.onset, 1023));
}

fn put_neighbours(out: &mut Writer, song: &Song, event: &Event) {
    for offset in NEIGHBOURS {
        let group = event.group.checked_add_signed(offset).and_then(|g| song.groups.get(g));
        let pitches = group.map_or(0, |group| group.pitches);
        out.put(up(pitches, event.pitch));
        out.put(down(pitches, event.pitch));
        let top = i64::from(127 - pitches.leading_zeros().min(127));
        let far = i64::from(FAR);
        let leap = (top - i64::try_from(event.pitch).unwrap_or(0)).clamp(-far, far);
        out.put(if pitches == 0 { 0.0 } else { small(leap) / 12.0 });
        out.put(few(pitches.count_ones()));
    }
}

/// For each group, the pitches that sound on from earlier onsets.
fn sounding(song: &Song) -> Vec<u128> {
    let mut ends = [i64::MIN; 128];
    let mut result = Vec::with_capacity(song.groups.len());
    for group in &song.groups {
        let bits = ends.iter().enumerate().map(|(p, &end)| u128::from(end > group.onset) << p);
        result.push(bits.fold(0, |all, bit| all | bit));
        for event in &song.events[group.first..group.end] {
            ends[event.pitch] = ends[event.pitch].max(event.onset + event.duration);
        }
    }
    result
}

/// How long ago each event's pitch, and a pitch near it, was struck; [`LONG`] if never.
struct SeenBefore {
    same: Vec<i64>,
    near: Vec<i64>,
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
        let mut result = Self { same: vec![LONG; count], near: vec![LONG; count] };
        let mut last: [Option<i64>; 128] = [None; 128];
        for group in groups {
            let ago = |time: &Option<i64>| time.map_or(LONG, |time| (group.onset - time).abs());
            for i in group.first..group.end {
                let pitch = song.events[i].pitch;
                let around = &last[pitch.saturating_sub(STEP)..=(pitch + STEP).min(127)];
                result.same[i] = ago(&last[pitch]);
                result.near[i] = around.iter().map(ago).min().unwrap_or(LONG);
            }
            for event in &song.events[group.first..group.end] {
                last[event.pitch] = Some(group.onset);
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

/// How a note lies among all notes within `radius` sixteenths.
fn put_window<const N: usize>(song: &Song, radius: i64, rows: &mut [[f32; N]], first: usize) {
    let mut histogram = [0_u32; 128];
    let (mut total, mut squares) = (0_i64, 0_i64);
    let (mut low, mut high) = (0, 0);
    for (group, range) in song.groups.iter().zip(song.near(radius)) {
        let (start, end) = song.events_of(range);
        for event in &song.events[high..end] {
            let pitch = i64::try_from(event.pitch).unwrap_or(0);
            histogram[event.pitch] += 1;
            total += pitch;
            squares += pitch * pitch;
        }
        for event in &song.events[low..start] {
            let pitch = i64::try_from(event.pitch).unwrap_or(0);
            histogram[event.pitch] -= 1;
            total -= pitch;
            squares -= pitch * pitch;
        }
        (low, high) = (start, end);
        let (count, mean, deviation) = moments(end - start, total, squares);
        let density = (count / small(2 * radius + 1) * 4.0 + 0.25).log2() / 2.0;
        for (event, row) in song.events[group.first..group.end].iter().zip(&mut rows[group.first..])
        {
            let pitch = event.pitch;
            let share = |bins: &[u32]| small(bins.iter().sum::<u32>().into()) / count;
            let near = &histogram[pitch.saturating_sub(3)..=(pitch + 3).min(127)];
            let octaves = histogram[pitch % 12..].iter().step_by(12);
            let numbers = [
                density,
                (small(i64::try_from(pitch).unwrap_or(0)) - mean) / 12.0,
                deviation / 12.0,
                share(&histogram[pitch + 1..]),
                share(&histogram[pitch..=pitch]) * 8.0,
                share(near) * 2.0,
                small(octaves.sum::<u32>().into()) / count * 4.0,
            ];
            row[first..first + IN_WINDOW].copy_from_slice(&numbers);
        }
    }
}

/// Count, mean and standard deviation, from exact sums.
#[expect(clippy::cast_precision_loss, clippy::cast_possible_truncation)] // sums far below 2^53
fn moments(count: usize, total: i64, squares: i64) -> (f32, f32, f32) {
    let n = count as f64;
    let mean = total as f64 / n;
    let variance = (squares as f64 / n - mean * mean).max(0.0);
    (n as f32, mean as f32, variance.sqrt() as f32)
}

/// Loudness against the notes within 8 and 64 sixteenths, and against those that start together.
fn put_velocity<const N: usize>(song: &Song, rows: &mut [[f32; N]]) {
    let mut sums = vec![(0_i64, 0_i64)];
    let (mut total, mut squares) = (0, 0);
    for event in &song.events {
        total += event.velocity;
        squares += event.velocity * event.velocity;
        sums.push((total, squares));
    }
    let around = |(start, end): (usize, usize)| {
        let ((t0, s0), (t1, s1)) = (sums[start], sums[end]);
        moments(end - start, t1 - t0, s1 - s0)
    };
    for ((group, near), wide) in song.groups.iter().zip(song.near(8)).zip(song.near(64)) {
        let (_, near_mean, near_deviation) = around(song.events_of(near));
        let (_, mean, deviation) = around(song.events_of(wide));
        let (count, own_mean, _) = around((group.first, group.end));
        let scale = deviation + 3.0;
        let together = &song.events[group.first..group.end];
        let loudest = small(together.iter().map(|event| event.velocity).max().unwrap_or(0));
        for (event, row) in together.iter().zip(&mut rows[group.first..]) {
            let v = small(event.velocity);
            // v minus the mean of the others, from the mean of all
            let to_others = if count > 1.0 { (v - own_mean) * count / (count - 1.0) } else { 0.0 };
            let numbers = [
                (v - near_mean) / (near_deviation + 3.0),
                (v - mean) / scale,
                to_others / scale,
                (v - loudest) / scale,
            ]
            .map(|x| x.clamp(-3.0, 3.0));
            row[FEATURES - VELOCITY_FEATURES..FEATURES].copy_from_slice(&numbers);
        }
    }
}
