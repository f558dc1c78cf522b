//! How well each rate of pulses explains the onsets around each moment, and the likeliest path of
//! rates through a piece.

use std::collections::VecDeque;
use std::sync::OnceLock;

use crate::wide::wide;

/// Seconds from one window's centre to the next; events are summed in blocks of that length.
pub(crate) const HOP: f64 = 2.0;
/// Deviation of the Gaussian windows, in seconds, and how many blocks they reach to either side.
const SIGMA: f32 = 3.0;
const REACH: usize = 4;
/// Slowest and fastest pulse, a second.
const MIN_RATE: f64 = 2.0;
const MAX_RATE: f64 = 12.5;
/// Rates an octave: a step is 0.6 %. Octaves are found by squaring the phasors.
const OCTAVE: usize = 115;
/// Of rates from 2 to 12.5 a second.
pub(crate) const RATES: usize = 305;
/// A window says no more than this.
const STRONG: f32 = 80.0;
/// A squared step between neighbouring windows costs this; so many steps are drift, and not a jump.
const DRIFT_COST: f32 = 0.8;
const MAX_DRIFT: usize = 3;
const JUMP_COST: f32 = 60.0;
const LEAP: i8 = i8::MIN;
/// Places of an event in its block that are told apart, a second: to 2.5 ms, a 32nd of a pulse.
const FINE: f64 = 200.0;

/// The rates, a second.
#[expect(clippy::cast_precision_loss)]
pub(crate) fn rates() -> Vec<f64> {
    (0..RATES).map(|k| MIN_RATE * (k as f64 / OCTAVE as f64).exp2().min(MAX_RATE)).collect()
}

/// Sine and cosine of whole turns in [-2^21, 2^21], to 1e-5; fit for vectors.
// Into loops of whatever width.
#[inline(always)]
pub(crate) fn cis(turns: f32) -> (f32, f32) {
    const ROUND: f32 = 12_582_912.0; // 1.5 * 2^23: adding it leaves no fraction
    let x = (turns - ((turns + ROUND) - ROUND)) * std::f32::consts::TAU;
    let y = x * x;
    let sin = x
        * (1.0
            + y * (-1.0 / 6.0
                + y * (1.0 / 120.0
                    + y * (-1.0 / 5040.0
                        + y * (1.0 / 362_880.0
                            + y * (-1.0 / 39_916_800.0 + y * (1.0 / 6_227_020_800.0)))))));
    let cos = 1.0
        + y * (-0.5
            + y * (1.0 / 24.0
                + y * (-1.0 / 720.0
                    + y * (1.0 / 40_320.0
                        + y * (-1.0 / 3_628_800.0
                            + y * (1.0 / 479_001_600.0 - y * (1.0 / 87_178_291_200.0)))))));
    (sin, cos)
}

/// Sines and cosines of turns of any size, `scale` times the positions.
pub(crate) fn phasors(position: &[f64], scale: f64) -> (Vec<f32>, Vec<f32>) {
    let (mut sin, mut cos) = (vec![0.0; position.len()], vec![0.0; position.len()]);
    turn(position, scale, &mut sin, &mut cos);
    (sin, cos)
}

wide! {
    #[expect(clippy::cast_possible_truncation)]
    fn turn['a]['a](position: &'a [f64], scale: f64, sin: &'a mut [f32], cos: &'a mut [f32]) {
        let size = position.len();
        let (sin, cos) = (&mut sin[..size], &mut cos[..size]);
        for k in 0..size {
            let turns = scale * position[k];
            (sin[k], cos[k]) = cis((turns - turns.floor()) as f32);
        }
    }
}

/// Sine and cosine of turns of any size.
#[expect(clippy::cast_possible_truncation)]
pub(crate) fn cis_of(turns: f64) -> (f64, f64) {
    let (sin, cos) = cis((turns - turns.floor()) as f32);
    (f64::from(sin), f64::from(cos))
}

/// Sum of phasors at each rate, and of the squared weights.
struct Block {
    re: Vec<f32>,
    im: Vec<f32>,
    square: f32,
}

impl Block {
    /// Events at `offset` seconds from the block's centre.
    fn of(events: impl Iterator<Item = (f64, f32)>, phasors: &Phasors) -> Self {
        let mut block = Self { re: vec![0.0; RATES], im: vec![0.0; RATES], square: 0.0 };
        for (offset, weight) in events {
            block.square += weight * weight;
            let (cos, sin) = phasors.at(offset);
            add_event(weight, cos, sin, &mut block.re, &mut block.im);
        }
        block
    }
}

wide! {
    /// Adds an event's phasors at all rates, given those of the lowest octave.
    fn add_event['a]['a](
        weight: f32,
        cos: &'a [f32; OCTAVE],
        sin: &'a [f32; OCTAVE],
        re: &'a mut [f32],
        im: &'a mut [f32],
    ) {
        let (low, rest) = re.split_at_mut(OCTAVE);
        let (middle, high) = rest.split_at_mut(OCTAVE);
        let (low_im, rest) = im.split_at_mut(OCTAVE);
        let (middle_im, high_im) = rest.split_at_mut(OCTAVE);
        let high = &mut high[..RATES - 2 * OCTAVE];
        let high_im = &mut high_im[..RATES - 2 * OCTAVE];
        let mut twice = ([0.0f32; OCTAVE], [0.0f32; OCTAVE]);
        for k in 0..OCTAVE {
            low[k] += weight * cos[k];
            low_im[k] += weight * sin[k];
            // Twice the angle: the octave above.
            let (c, s) = (cos[k] * cos[k] - sin[k] * sin[k], 2.0 * cos[k] * sin[k]);
            middle[k] += weight * c;
            middle_im[k] += weight * s;
            (twice.0[k], twice.1[k]) = (c, s);
        }
        for k in 0..RATES - 2 * OCTAVE {
            let (c, s) = (twice.0[k], twice.1[k]);
            high[k] += weight * (c * c - s * s);
            high_im[k] += weight * 2.0 * c * s;
        }
    }
}

/// Phasors of the lowest octave's rates at each place in a block.
struct Phasors {
    places: usize,
    cos: Vec<[f32; OCTAVE]>,
    sin: Vec<[f32; OCTAVE]>,
}

impl Phasors {
    fn shared() -> &'static Self {
        static TABLE: OnceLock<Phasors> = OnceLock::new();
        TABLE.get_or_init(|| {
            let rate = rates();
            #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
            let places = (HOP * FINE) as usize + 1;
            #[expect(clippy::cast_precision_loss, clippy::cast_possible_truncation)]
            let row = |place: usize, f: fn((f32, f32)) -> f32| -> [f32; OCTAVE] {
                let offset = place as f64 / FINE - HOP / 2.0;
                std::array::from_fn(|k| f(cis((rate[k] * offset) as f32)))
            };
            let cos = (0..places).map(|place| row(place, |x| x.1)).collect();
            let sin = (0..places).map(|place| row(place, |x| x.0)).collect();
            Self { places, cos, sin }
        })
    }

    /// Cosines and sines at `offset` seconds from a block's centre.
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
    fn at(&self, offset: f64) -> (&[f32; OCTAVE], &[f32; OCTAVE]) {
        let place = ((offset + HOP / 2.0) * FINE + 0.5) as usize;
        let place = place.min(self.places - 1);
        (&self.cos[place], &self.sin[place])
    }
}

/// Turns by which a block `d` hops away is seen, times the window's weight there.
struct Taps {
    weight: Vec<f32>,
    re: Vec<Vec<f32>>,
    im: Vec<Vec<f32>>,
}

impl Taps {
    fn shared() -> &'static Self {
        static TABLE: OnceLock<Taps> = OnceLock::new();
        TABLE.get_or_init(|| Self::new(&rates()))
    }

    #[expect(clippy::cast_precision_loss, clippy::cast_possible_truncation)]
    fn new(rate: &[f64]) -> Self {
        let weight: Vec<f32> =
            (0..=REACH).map(|d| (-0.5 * (d as f32 * HOP as f32 / SIGMA).powi(2)).exp()).collect();
        let part = |d: usize, f: fn(f64) -> f64| -> Vec<f32> {
            let angle = |r: &f64| std::f64::consts::TAU * (r * HOP * d as f64).fract();
            rate.iter().map(|r| weight[d] * f(angle(r)) as f32).collect()
        };
        let re = (0..=REACH).map(|d| part(d, f64::cos)).collect();
        let im = (0..=REACH).map(|d| part(d, f64::sin)).collect();
        Self { weight, re, im }
    }
}

/// The path of rates: for each window its centre and an index into [`rates`].
pub(crate) struct Path {
    pub(crate) centre: Vec<f64>,
    pub(crate) rate: Vec<usize>,
    /// Times at which the rate jumps.
    pub(crate) jumps: Vec<f64>,
}

/// The likeliest path of rates. `time`: increasing, at least one; `weight`: as many.
#[expect(clippy::cast_precision_loss, clippy::cast_possible_truncation, clippy::cast_sign_loss)]
pub(crate) fn ridge(time: &[f64], weight: &[f32]) -> Path {
    let (phasors, taps) = (Phasors::shared(), Taps::shared());
    let start = time[0];
    let count = ((time[time.len() - 1] - start) / HOP).ceil() as usize + 1;
    let mut near: VecDeque<Block> = VecDeque::with_capacity(2 * REACH + 1);
    let (mut made, mut event) = (0usize, 0usize);
    let mut dp = Ridge::new(count);
    let mut score = vec![0.0f32; RATES];
    for window in 0..count {
        while made <= (window + REACH).min(count - 1) {
            let centre = start + HOP * made as f64;
            let from = event;
            while event < time.len() && (time[event] < centre + HOP / 2.0 || made + 1 == count) {
                event += 1;
            }
            let own = time[from..event].iter().zip(&weight[from..event]);
            near.push_back(Block::of(own.map(|(t, &w)| (t - centre, w)), phasors));
            made += 1;
        }
        while near.len() > made - window.saturating_sub(REACH) {
            near.pop_front();
        }
        let first = made - near.len();
        statistic(&near, window - first, taps, &mut score);
        dp.step(&score);
    }
    let path = dp.path();
    let centre: Vec<f64> = (0..count).map(|k| start + HOP * k as f64).collect();
    let jumps = path
        .windows(2)
        .enumerate()
        .filter(|(_, pair)| pair[0].abs_diff(pair[1]) > MAX_DRIFT)
        .map(|(k, _)| centre[k] + HOP / 2.0)
        .collect();
    Path { centre, rate: path, jumps }
}

/// Rayleigh statistic n R^2 of the window around block `middle` of `near`, mean 1 for noise.
fn statistic(near: &VecDeque<Block>, middle: usize, taps: &Taps, score: &mut [f32]) {
    let (mut re, mut im, mut square) = ([0.0f32; RATES], [0.0f32; RATES], 0.0f32);
    for (k, block) in near.iter().enumerate() {
        let gap = k.abs_diff(middle);
        if gap > REACH || block.square == 0.0 {
            continue;
        }
        square += taps.weight[gap] * taps.weight[gap] * block.square;
        let side = if k < middle { -1.0f32 } else { 1.0 };
        let (cos, sin) = (&taps.re[gap][..RATES], &taps.im[gap][..RATES]);
        let (x, y) = (&block.re[..RATES], &block.im[..RATES]);
        add_turned(side, cos, sin, x, y, &mut re, &mut im);
    }
    let scale = 1.0 / square.max(1e-3);
    for i in 0..RATES {
        score[i] = ((re[i] * re[i] + im[i] * im[i]) * scale).min(STRONG);
    }
}

wide! {
    /// Adds `x + iy` turned by an angle, or back by it (`side` -1), to `re + i im`.
    fn add_turned['a]['a](
        side: f32,
        cos: &'a [f32],
        sin: &'a [f32],
        x: &'a [f32],
        y: &'a [f32],
        re: &'a mut [f32; RATES],
        im: &'a mut [f32; RATES],
    ) {
        let (cos, sin, x, y) = (&cos[..RATES], &sin[..RATES], &x[..RATES], &y[..RATES]);
        for i in 0..RATES {
            let turn = side * sin[i];
            re[i] += cos[i] * x[i] - turn * y[i];
            im[i] += cos[i] * y[i] + turn * x[i];
        }
    }
}

/// Dynamic programming over rates, window by window.
struct Ridge {
    best: Vec<f32>,
    /// How far the rate was away a window before, or that it leapt.
    back: Vec<i8>,
    /// From where it leapt.
    leaps: Vec<usize>,
}

impl Ridge {
    fn new(windows: usize) -> Self {
        Self {
            best: Vec::new(),
            back: Vec::with_capacity(windows * RATES),
            leaps: Vec::with_capacity(windows),
        }
    }

    fn step(&mut self, score: &[f32]) {
        if self.best.is_empty() {
            self.best = score.to_vec();
            return;
        }
        let leap = argmax(&self.best);
        let top = self.best[leap];
        let mut from = [0i8; RATES];
        onward(top, score, &mut self.best, &mut from);
        self.back.extend_from_slice(&from);
        self.leaps.push(leap);
    }

    /// Rate indices, window by window.
    fn path(&self) -> Vec<usize> {
        let mut at = argmax(&self.best);
        let mut path = vec![at];
        for (k, &leap) in self.leaps.iter().enumerate().rev() {
            let back = self.back[k * RATES + at];
            at = if back == LEAP { leap } else { at.saturating_add_signed(isize::from(back)) };
            path.push(at);
        }
        path.reverse();
        path
    }
}

wide! {
    /// The best scores a window on, and how far the rate was away before, or that it leapt.
    ///
    /// `top`: the best of all before.
    #[expect(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        clippy::cast_possible_wrap
    )]
    fn onward['a]['a](
        top: f32,
        score: &'a [f32],
        best: &'a mut [f32],
        from: &'a mut [i8; RATES],
    ) {
        let (score, best) = (&score[..RATES], &mut best[..RATES]);
        let mut padded = [f32::NEG_INFINITY; RATES + 2 * MAX_DRIFT];
        // Scores are kept small, so that single precision holds for hours.
        for i in 0..RATES {
            padded[MAX_DRIFT + i] = best[i] - top;
        }
        let (mut stay, mut move_) = ([f32::NEG_INFINITY; RATES], [0i32; RATES]);
        let mut mark = 0;
        while mark <= 2 * MAX_DRIFT {
            let drift = mark as f32 - MAX_DRIFT as f32;
            let cost = DRIFT_COST * drift * drift;
            let shifted = &padded[mark..mark + RATES];
            for i in 0..RATES {
                let value = shifted[i] - cost;
                // Without a branch: vectors have no other way.
                let better = -i32::from(value > stay[i]);
                move_[i] = (move_[i] & !better) | (mark as i32 & better);
                stay[i] = if value > stay[i] { value } else { stay[i] };
            }
            mark += 1;
        }
        for i in 0..RATES {
            let leaps = -JUMP_COST > stay[i];
            best[i] = score[i] + if leaps { -JUMP_COST } else { stay[i] };
            from[i] = if leaps { LEAP } else { move_[i] as i8 - MAX_DRIFT as i8 };
        }
    }
}

/// Index of the first largest value; 0 for none.
pub(crate) fn argmax(values: &[f32]) -> usize {
    let mut best = 0;
    for (k, value) in values.iter().enumerate() {
        if *value > values[best] {
            best = k;
        }
    }
    best
}
