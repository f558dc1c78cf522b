//! Many streams on some threads, with progress and a way to stop.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError, mpsc};
use std::thread;
use std::time::Duration;

use super::heads::chain;
use super::matrix::Room;
use super::request::{Request, check_tokens};
use super::simd::Level;
use super::stage::Stage;
use super::writer::{Slot, Work, choose, ends, hidden};
use crate::tokens::{ATTRIBUTES, SIZES, TYPE, Token};
use crate::{Error, Result};

/// How often progress is told.
const PATIENCE: Duration = Duration::from_millis(50);

/// How to share out the work; the result is the same whatever it says.
#[derive(Clone, Copy, Debug)]
pub struct Sharing {
    /// What the machine can do.
    pub level: Level,
    /// Threads, at least 1.
    pub threads: usize,
    /// Streams that a thread writes side by side, at least 1.
    pub together: usize,
}

struct Shared<'a> {
    stage: &'a Stage,
    sharing: Sharing,
    waiting: Mutex<Vec<(usize, Request)>>,
    written: Mutex<Vec<Result<Vec<Token>>>>,
    bars: AtomicUsize,
    stop: AtomicBool,
}

/// Writes streams, without start and end token.
///
/// `progress` is told now and then the share that is done, 0..=1; when it says no, all stops.
///
/// # Errors
///
/// That of the first stream that cannot be written; [`Error::Stopped`] if `progress` said no.
pub fn write(
    stage: &Stage,
    requests: Vec<Request>,
    sharing: Sharing,
    mut progress: impl FnMut(f64) -> bool,
) -> Result<Vec<Vec<Token>>> {
    for request in &requests {
        request.check(stage.name())?;
    }
    let count = requests.len();
    let total: usize = requests.iter().map(|r| r.frame.bars).sum();
    let threads = sharing.threads.clamp(1, count.max(1));
    let together = sharing.together.clamp(1, count.div_ceil(threads).max(1));
    let shared = Shared {
        stage,
        sharing: Sharing { threads, together, ..sharing },
        // Taken from the end: the first first.
        waiting: Mutex::new(requests.into_iter().enumerate().rev().collect()),
        written: Mutex::new(vec![Ok(Vec::new()); count]),
        bars: AtomicUsize::new(0),
        stop: AtomicBool::new(!progress(0.0)),
    };
    let (ended, ends) = mpsc::channel();
    thread::scope(|scope| {
        for _ in 0..threads {
            let (shared, ended) = (&shared, ended.clone());
            scope.spawn(move || {
                work(shared);
                // Nobody listens once all is stopped.
                let _ = ended.send(());
            });
        }
        drop(ended);
        let mut running = threads;
        while running > 0 {
            match ends.recv_timeout(PATIENCE) {
                Ok(()) => running -= 1,
                Err(mpsc::RecvTimeoutError::Disconnected) => break,
                Err(mpsc::RecvTimeoutError::Timeout) => {
                    #[expect(clippy::cast_precision_loss)] // small numbers
                    let share = shared.bars.load(Ordering::Relaxed) as f64 / total.max(1) as f64;
                    if !progress(share.min(1.0)) {
                        shared.stop.store(true, Ordering::Relaxed);
                    }
                }
            }
        }
    });
    if shared.stop.load(Ordering::Relaxed) || !progress(1.0) {
        return Err(Error::Stopped);
    }
    shared.written.into_inner().unwrap_or_else(PoisonError::into_inner).into_iter().collect()
}

fn work(shared: &Shared<'_>) {
    let stage = shared.stage;
    let mut room = Room::new(shared.sharing.level);
    let mut buffers = Work::default();
    let mut slots: Vec<Slot> = Vec::new();
    let mut numbers: Vec<usize> = Vec::new();
    while !shared.stop.load(Ordering::Relaxed) {
        while slots.len() < shared.sharing.together {
            let next = shared.waiting.lock().unwrap_or_else(PoisonError::into_inner).pop();
            let Some((number, request)) = next else { break };
            slots.push(Slot::open(stage, request, &mut room));
            numbers.push(number);
        }
        if slots.is_empty() {
            return;
        }
        hidden(stage, &mut slots, &mut room, &mut buffers);
        let chosen = choose(stage, &mut slots, &mut room, &mut buffers);
        for (i, token) in chosen.into_iter().enumerate().rev() {
            let result = match token {
                Ok(token) if !ends(&token) => {
                    let before = slots[i].bar();
                    slots[i].accept(token);
                    shared.bars.fetch_add(slots[i].bar() - before, Ordering::Relaxed);
                    continue;
                }
                Ok(_) => Ok(std::mem::take(&mut slots[i].past.tokens)),
                Err(error) => Err(error),
            };
            slots.swap_remove(i);
            let number = numbers.swap_remove(i);
            let mut written = shared.written.lock().unwrap_or_else(PoisonError::into_inner);
            written[number] = result;
        }
    }
}

/// Logits of one attribute for those of a stream's tokens that have it: (N, size).
#[derive(Clone, Debug, Default)]
pub struct Logits {
    /// Number of values.
    pub size: usize,
    /// In C order.
    pub values: Vec<f32>,
}

/// The logits of every attribute of a given stream, each given what stands before it.
///
/// Of the type there is one row more than tokens: the last predicts the end.
///
/// # Errors
///
/// [`Error::Value`] if the request or a token is none that the stage knows.
pub fn logits(
    stage: &Stage,
    request: Request,
    tokens: &[Token],
    level: Level,
) -> Result<[Logits; ATTRIBUTES]> {
    request.check(stage.name())?;
    check_tokens("tokens", tokens)?;
    let mut room = Room::new(level);
    let mut work = Work::default();
    let mut out: [Logits; ATTRIBUTES] =
        std::array::from_fn(|a| Logits { size: SIZES[a], values: Vec::new() });
    let mut slots = [Slot::open(stage, request, &mut room)];
    let mut row = Vec::new();
    for i in 0..=tokens.len() {
        hidden(stage, &mut slots, &mut room, &mut work);
        stage.heads.kind.apply(&work.h, &mut room, &mut row);
        out[TYPE].values.append(&mut row);
        let Some(token) = tokens.get(i) else { break };
        for &attribute in chain(token[TYPE]) {
            stage.heads.logits(attribute, &work.h, &[*token], &mut room, &mut row);
            out[attribute].values.append(&mut row);
        }
        slots[0].accept(*token);
    }
    Ok(out)
}
