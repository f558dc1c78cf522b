//! A decode step of the shipped weights, by precision and SIMD level, and pieces side by side:
//! `cargo bench --bench engine`.

// criterion's macros write public functions without docs.
#![expect(missing_docs)]

use std::hint::black_box;
use std::path::Path;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use vmus_rs::engine::{
    Dice, Frame, Level, Precision, Random, Request, Sharing, Sheet, SourceStream, Stage, logits,
    write,
};
use vmus_rs::tokens::{Token, encode};

const BARS: usize = 16;

/// A melody over chords that change every bar.
fn request() -> Request {
    let chords: Vec<u8> = (0..4 * BARS).map(|beat| [0, 91, 50, 70][beat / 4 % 4]).collect();
    let dice = Dice { temperature: 1.0, top_p: 0.995 };
    Request {
        frame: Frame { bars: BARS, mode: 0, first_step: 0, silence: 24 },
        sheet: Sheet {
            bars: BARS,
            tempo: 15,
            mode: 1,
            style: 1,
            density: vec![0; BARS],
            loudness: vec![0; BARS],
        },
        source: Some(SourceStream {
            tokens: encode(16, Some(&chords), None).unwrap_or_default(),
            chords,
        }),
        melody: Vec::new(),
        video: Vec::new(),
        dice: [dice; 7],
        form: vec![0; BARS],
        pull: 0.0,
        leaning: Vec::new(),
        hold: 0.0,
        random: Random::new(1, 3),
    }
}

/// Four notes a bar: what the steps are given.
fn quarters() -> Vec<Token> {
    let bar = || {
        let beat = |b: i16| [[1, 2 + 4 * b, 0, 0, 0, 0, 0], [2, 0, 61 + b, 4, 4, 0, 0]];
        std::iter::once([1, 1, 0, 0, 0, 0, 0]).chain((0..4).flat_map(beat))
    };
    (0..BARS).flat_map(|_| bar()).collect()
}

/// The melody stage that lies in the Python package.
fn stage(precision: Precision) -> Option<Stage> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../python/vmusprod/weights/small");
    let data = std::fs::read(folder.join("melody.safetensors")).ok()?;
    let size = usize::try_from(u64::from_le_bytes(data.get(..8)?.try_into().ok()?)).ok()?;
    let header: serde_json::Value = serde_json::from_slice(data.get(8..8 + size)?).ok()?;
    let config = header.get("__metadata__")?.get("config")?.as_str()?;
    Stage::read(&data, config, precision).ok()
}

fn decoding(criterion: &mut Criterion) {
    let alone = Sharing { level: Level::best(), threads: 1, together: 8 };
    let mut group = criterion.benchmark_group("engine");
    group.sample_size(20);
    for precision in [Precision::F32, Precision::F16, Precision::I8] {
        let Some(stage) = stage(precision) else { continue };
        let Ok(written) = write(&stage, vec![request()], alone, |_| true) else { continue };
        let tokens = written.into_iter().next().unwrap_or_default();
        let count = u64::try_from(tokens.len()).unwrap_or(1);
        let given = quarters();
        let steps = u64::try_from(given.len()).unwrap_or(1);
        group.throughput(Throughput::Elements(steps));
        for level in Level::available() {
            // Without fused multiplication in hardware floats take seconds.
            if level.name() == "plain" && precision != Precision::I8 {
                continue;
            }
            group.bench_function(format!("{steps} steps {precision:?} {}", level.name()), |b| {
                b.iter(|| logits(&stage, request(), black_box(&given), level));
            });
        }
        for pieces in [1, 8] {
            group.throughput(Throughput::Elements(count * pieces));
            group.bench_function(format!("{pieces} pieces {precision:?}"), |b| {
                b.iter(|| {
                    let requests = (0..pieces).map(|_| request()).collect();
                    write(&stage, requests, alone, |_| true)
                });
            });
        }
    }
    group.finish();
}

criterion_group!(benches, decoding);
criterion_main!(benches);
