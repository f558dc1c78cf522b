//! How long the hot functions take on inputs of real size: `cargo bench`.

// criterion's macros write public functions without docs.
#![expect(missing_docs)]

use std::hint::black_box;

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use vmus_rs::quantize::{TimedNotes, quantize};
use vmus_rs::{Note, bars, chords, skyline, video};

/// A small linear congruential generator: the same inputs on every run, no dependency.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: u32) -> u32 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        u32::try_from(self.0 >> 33).unwrap_or(0) % bound
    }

    fn byte(&mut self) -> u8 {
        u8::try_from(self.below(256)).unwrap_or(0)
    }
}

/// A song of about four minutes: 2000 notes over 500 beats.
fn song() -> Vec<Note> {
    let mut random = Random(1);
    let mut number = |low: i32, bound: u32| low + i32::try_from(random.below(bound)).unwrap_or(0);
    (0..2000)
        .map(|_| Note {
            onset: number(0, 2000),
            duration: number(1, 16),
            pitch: number(36, 48),
            velocity: number(40, 60),
        })
        .collect()
}

fn pixels(width: usize, height: usize) -> Vec<u8> {
    let mut random = Random(2);
    (0..3 * width * height).map(|_| random.byte()).collect()
}

fn music(criterion: &mut Criterion) {
    let notes = song();
    let onset: Vec<f64> = notes.iter().map(|n| 0.125 * f64::from(n.onset) + 0.02).collect();
    let offset: Vec<f64> =
        notes.iter().zip(&onset).map(|(n, o)| o + 0.125 * f64::from(n.duration)).collect();
    let pitch: Vec<u8> = notes.iter().map(|n| u8::try_from(n.pitch).unwrap_or(0)).collect();
    let timed = TimedNotes { onset: &onset, offset: &offset, pitch: &pitch, velocity: &pitch };
    let source: Vec<i32> = (0..4000).map(|i| i / 32).collect();

    let mut group = criterion.benchmark_group("music");
    group.bench_function("quantize 2000 notes", |b| {
        b.iter(|| quantize(black_box(timed), 0.125, 0.0, 64));
    });
    group.bench_function("skyline 2000 notes", |b| {
        b.iter(|| skyline::skyline(black_box(&notes)));
    });
    group.bench_function("chords 500 beats", |b| {
        b.iter(|| chords::recognize(black_box(&notes), 500, 4));
    });
    group.bench_function("bar ranges 4000 x 4000", |b| {
        b.iter(|| bars::bar_ranges(black_box(&source), black_box(&source)));
    });
    group.finish();
}

fn frames(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("video");
    let (a, b) = (pixels(640, 360), pixels(360, 640));
    group.throughput(Throughput::Bytes(a.len() as u64));
    group.bench_function("difference 640x360", |bench| {
        bench.iter(|| video::rgb_difference(black_box(&a), black_box(&b)));
    });
    for size in [64, 150] {
        group.throughput(Throughput::Elements((size * size) as u64));
        group.bench_function(format!("histogram {size}x{size}"), |bench| {
            bench.iter_batched_ref(
                || pixels(size, size),
                |frame| video::color_histogram(frame),
                BatchSize::SmallInput,
            );
        });
    }
    group.finish();
}

criterion_group!(benches, music, frames);
criterion_main!(benches);
