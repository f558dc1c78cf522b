//! What a note looks like beside the lines that a first guess drew: where melody and second voice
//! run around it, and how like their notes it is in pitch, loudness, length and place in the bar.

use super::features::small;
use super::notes::{Event, Song};

/// Numbers a note for each of the two lines.
const LINE_CONTEXT: usize = 44;
/// Numbers a note.
pub const CONTEXT: usize = 2 * LINE_CONTEXT;

/// Log odds are kept within this.
pub(super) const MOST: f32 = 8.0;

const NEIGHBOURS: [isize; 4] = [-2, -1, 1, 2];
const RADII: [i64; 4] = [4, 16, 64, 256];
/// At these the loudness is compared too.
const LOUD_RADII: [i64; 2] = [16, 256];
/// So far the line is looked at before and after the note, apart.
const SIDES: [i64; 2] = [16, 64];
/// Weight of the note itself in means, so that they exist where no line is.
const OWN: f64 = 1e-3;

/// Puts the context of each event, in order, into its row from column `first` on, given the log odds
/// that it belongs to the melody and to the second voice.
pub(super) fn put_context<const N: usize>(
    song: &Song,
    odds: &[[f32; 2]],
    first: usize,
    rows: &mut [[f32; N]],
) {
    for line in 0..2 {
        let odds: Vec<f32> = odds.iter().map(|o| o[line].clamp(-MOST, MOST)).collect();
        put_line(&Line::new(song, odds), first + line * LINE_CONTEXT, rows);
    }
}

/// One line, softly: every event belongs to it with some weight.
struct Line<'a> {
    song: &'a Song,
    odds: Vec<f32>,
    /// Probabilities.
    weight: Vec<f64>,
    /// Sums of weight, weight * pitch, weight * pitch^2, weight * velocity over the first n events.
    sums: Vec<[f64; 4]>,
    /// The likeliest event of each group.
    best: Vec<usize>,
}

impl<'a> Line<'a> {
    fn new(song: &'a Song, odds: Vec<f32>) -> Self {
        let weight: Vec<f64> = odds.iter().map(|&o| 1.0 / (1.0 + f64::from(-o).exp())).collect();
        let mut sums = Vec::with_capacity(weight.len() + 1);
        let mut sum = [0.0; 4];
        sums.push(sum);
        for (event, w) in song.events.iter().zip(&weight) {
            let (pitch, velocity) = (pitch(event), f64::from(small(event.velocity)));
            for (s, x) in sum.iter_mut().zip([1.0, pitch, pitch * pitch, velocity]) {
                *s += w * x;
            }
            sums.push(sum);
        }
        let likeliest = |a: &usize, b: &usize| odds[*a].total_cmp(&odds[*b]);
        let best = song.groups.iter().map(|g| (g.first..g.end).max_by(likeliest).unwrap_or(0));
        let best = best.collect();
        Self { song, odds, weight, sums, best }
    }

    fn sum(&self, (start, end): (usize, usize)) -> [f64; 4] {
        let (a, b) = (self.sums[start], self.sums[end]);
        [b[0] - a[0], b[1] - a[1], b[2] - a[2], b[3] - a[3]]
    }
}

fn pitch(event: &Event) -> f64 {
    f64::from(small(i64::try_from(event.pitch).unwrap_or(0)))
}

/// Features are small numbers, for which single precision is enough.
#[expect(clippy::cast_possible_truncation)]
fn single(x: f64) -> f32 {
    x as f32
}

fn put_line<const N: usize>(line: &Line, first: usize, rows: &mut [[f32; N]]) {
    put_neighbours(line, first, rows);
    put_density(line, first + 10, rows);
    let mut next = first + 16;
    for radius in RADII {
        put_window(line, radius, next, rows);
        next += if LOUD_RADII.contains(&radius) { 7 } else { 5 };
    }
    put_likeness(line, next, rows);
}

/// The odds, those of the best other note of the group, and the best of the groups around.
fn put_neighbours<const N: usize>(line: &Line, first: usize, rows: &mut [[f32; N]]) {
    let Line { song, odds, weight, best, .. } = line;
    for (g, group) in song.groups.iter().enumerate() {
        let others = (group.first..group.end).filter(|&i| i != best[g]).map(|i| odds[i]);
        let second = others.fold(-MOST, f32::max);
        let around = NEIGHBOURS.map(|k| g.checked_add_signed(k).and_then(|h| best.get(h)));
        for i in group.first..group.end {
            let row = &mut rows[i][first..first + 10];
            row[0] = odds[i];
            row[1] = if i == best[g] { second } else { odds[best[g]] };
            for (pair, &near) in row[2..].chunks_exact_mut(2).zip(&around) {
                let Some(&j) = near else {
                    pair.copy_from_slice(&[-MOST, 0.0]);
                    continue;
                };
                let leap = pitch(&song.events[j]) - pitch(&song.events[i]);
                let leap = leap.clamp(-24.0, 24.0) * weight[j] / 6.0;
                pair.copy_from_slice(&[odds[j], single(leap)]);
            }
        }
    }
}

/// How much of the line sounds on when the note starts, starts while it sounds, and starts in the
/// times before and after it.
fn put_density<const N: usize>(line: &Line, first: usize, rows: &mut [[f32; N]]) {
    let events = &line.song.events;
    let mut last = [(i64::MIN, 0.0); 128];
    for group in &line.song.groups {
        let sounding: f64 = last.iter().filter(|(end, _)| *end > group.onset).map(|x| x.1).sum();
        let place = |onset: i64| events.partition_point(|e| e.onset < onset);
        let mut sides = [0.0; 4];
        for (pair, radius) in sides.chunks_exact_mut(2).zip(SIDES) {
            let density = |range| single(line.sum(range)[0] * 4.0) / small(radius);
            pair[0] = density((place(group.onset - radius), group.first));
            pair[1] = density((group.end, place(group.onset + radius + 1)));
        }
        for i in group.first..group.end {
            let end = group.onset + events[i].duration;
            // at most LONGEST onsets lie within the note
            let until = events.partition_point(|e| e.onset < end);
            let over = line.sum((group.end, until))[0];
            let row = &mut rows[i][first..first + 6];
            row[0] = single(sounding.min(3.0));
            row[1] = single(over.min(4.0));
            row[2..].copy_from_slice(&sides);
        }
        for i in group.first..group.end {
            last[events[i].pitch] = (group.onset + events[i].duration, line.weight[i]);
        }
    }
}

/// How the note lies to the line within `radius` sixteenths, and how much of a line there is.
fn put_window<const N: usize>(line: &Line, radius: i64, first: usize, rows: &mut [[f32; N]]) {
    let song = line.song;
    let is_loud = LOUD_RADII.contains(&radius);
    let length = f64::from(small(2 * radius + 1));
    for (group, range) in song.groups.iter().zip(song.near(radius)) {
        let [weight, pitches, squares, velocities] = line.sum(song.events_of(range));
        let weight = weight + OWN;
        let groups = f64::from(small(i64::try_from(range.1 - range.0).unwrap_or(1)));
        let own = group.first..group.end;
        for (event, row) in song.events[own.clone()].iter().zip(&mut rows[own]) {
            let (pitch, velocity) = (pitch(event), f64::from(small(event.velocity)));
            let mean = (pitches + OWN * pitch) / weight;
            let variance = (squares + OWN * pitch * pitch) / weight - mean * mean;
            let away = (pitch - mean).clamp(-24.0, 24.0) / 6.0;
            let row = &mut row[first..];
            row[0] = single(away);
            row[1] = single(away.abs());
            row[2] = single(variance.max(0.0).sqrt().min(12.0) / 6.0);
            row[3] = single(weight / length * 4.0);
            row[4] = single(weight / groups);
            if is_loud {
                let louder = velocity - (velocities + OWN * velocity) / weight;
                let louder = louder.clamp(-30.0, 30.0) / 8.0;
                row[5] = single(louder);
                row[6] = single(louder.abs());
            }
        }
    }
}

/// Log likelihood ratios of the note's velocity, pitch, duration and place in the bar, by this
/// song's own histograms: what sets the line apart here, whatever that is.
fn put_likeness<const N: usize>(line: &Line, first: usize, rows: &mut [[f32; N]]) {
    let sixteenth = |x: i64| usize::try_from(x.rem_euclid(16)).unwrap_or(0);
    let length = |x: i64| usize::try_from(x).unwrap_or(0);
    put_ratio(line, 128, 5, first, rows, &|e| length(e.velocity));
    put_ratio(line, 128, 3, first + 1, rows, &|e| e.pitch);
    put_ratio(line, 65, 1, first + 2, rows, &|e| length(e.duration));
    put_ratio(line, 16, 1, first + 3, rows, &|e| sixteenth(e.onset));
}

fn put_ratio<const N: usize>(
    line: &Line,
    bins: usize,
    width: usize,
    column: usize,
    rows: &mut [[f32; N]],
    bin: &dyn Fn(&Event) -> usize,
) {
    const SHRINK: f64 = 2.0;
    let (mut inside, mut outside) = (vec![0.0; bins], vec![0.0; bins]);
    for (event, w) in line.song.events.iter().zip(&line.weight) {
        inside[bin(event)] += w;
        outside[bin(event)] += 1.0 - w;
    }
    for histogram in [&mut inside, &mut outside] {
        *histogram = smooth(&smooth(histogram, width), width);
    }
    let (all_in, all_out) = (inside.iter().sum::<f64>(), outside.iter().sum::<f64>());
    let ratio = |(a, b): (f64, f64)| {
        let share = SHRINK * (a + b) / (all_in + all_out);
        let log = |x: f64, all: f64| ((x + share) / (all + SHRINK) + 1e-9).ln();
        single((log(a, all_in) - log(b, all_out)).clamp(-4.0, 4.0))
    };
    let table: Vec<f32> = inside.into_iter().zip(outside).map(ratio).collect();
    for (event, row) in line.song.events.iter().zip(rows) {
        row[column] = table[bin(event)];
    }
}

/// The mean of the `width` (odd) values around each, zeros beyond the ends.
fn smooth(values: &[f64], width: usize) -> Vec<f64> {
    let half = width / 2;
    let last = values.len() - 1;
    let around = |i: usize| &values[i.saturating_sub(half)..=(i + half).min(last)];
    #[expect(clippy::cast_precision_loss)] // a small number
    (0..values.len()).map(|i| around(i).iter().sum::<f64>() / width as f64).collect()
}
