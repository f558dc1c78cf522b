//! One look of the network at the whole song: gates sum up the notes of each half bar, convolutions
//! carry the sums through the song, and every note is judged beside what its half bar then knows.

use crate::net::{Dense, Numbers};

/// Numbers a note, a half bar, and a note in a half bar.
pub(super) const NOTE: usize = 32;
pub(super) const PLACE: usize = 32;
const JUDGE: usize = 24;
/// So many lines are summed up apart, in so many numbers each.
const GATES: usize = 4;
const VALUE: usize = 8;
const VALUES: usize = GATES * VALUE;
/// What a half bar hears of its notes.
pub(super) const HEARD: usize = VALUES + GATES;
/// Numbers a note that tell of the line around it.
pub(super) const LINE: usize = 6;

pub(super) type Note = [f32; NOTE];
pub(super) type Place = [f32; PLACE];

/// How many numbers a round takes.
pub(super) const fn size(heard: usize, dilations: usize, is_first: bool) -> usize {
    Dense::<NOTE, VALUES>::SIZE
        + Dense::<NOTE, GATES>::SIZE
        + (heard + 1) * PLACE
        + Dense::<VALUES, PLACE>::SIZE_WITHOUT_BIAS
        + dilations * (3 * PLACE + 1) * PLACE
        + Dense::<PLACE, PLACE>::SIZE
        + Dense::<PLACE, JUDGE>::SIZE_WITHOUT_BIAS
        + Dense::<PLACE, JUDGE>::SIZE
        + Dense::<NOTE, JUDGE>::SIZE
        + Dense::<NOTE, JUDGE>::SIZE_WITHOUT_BIAS
        + Dense::<JUDGE, 3>::SIZE
        + if is_first {
            Dense::<JUDGE, NOTE>::SIZE
        } else {
            Dense::<LINE, JUDGE>::SIZE_WITHOUT_BIAS
        }
}

pub(super) fn sigmoid(x: f32) -> f32 {
    1.0 / (1.0 + (-x).exp())
}

/// One look at the whole song; `IN` numbers come into each half bar.
pub(super) struct Round<const IN: usize> {
    value: Dense<NOTE, VALUES>,
    gate: Dense<NOTE, GATES>,
    enter: Dense<IN, PLACE>,
    song: Dense<VALUES, PLACE>,
    dilated: Vec<Dilated>,
    mean: Dense<PLACE, PLACE>,
    add: Dense<PLACE, JUDGE>,
    scale: Dense<PLACE, JUDGE>,
    own: Dense<NOTE, JUDGE>,
    scaled: Dense<NOTE, JUDGE>,
    line: Option<Dense<LINE, JUDGE>>,
    out: Dense<JUDGE, 3>,
    back: Option<Dense<JUDGE, NOTE>>,
}

impl<const IN: usize> Round<IN> {
    pub(super) fn take(numbers: &mut Numbers, dilations: &[usize], is_first: bool) -> Self {
        Self {
            value: Dense::take(numbers),
            gate: Dense::take(numbers),
            enter: Dense::take(numbers),
            song: Dense::take_without_bias(numbers),
            dilated: dilations.iter().map(|&distance| Dilated::take(numbers, distance)).collect(),
            mean: Dense::take(numbers),
            add: Dense::take_without_bias(numbers),
            scale: Dense::take(numbers),
            own: Dense::take(numbers),
            scaled: Dense::take_without_bias(numbers),
            line: (!is_first).then(|| Dense::take_without_bias(numbers)),
            out: Dense::take(numbers),
            back: is_first.then(|| Dense::take(numbers)),
        }
    }

    /// Log odds of being melody, and what the half bars know. The notes become what the next round sees of them.
    pub(super) fn run(
        &self,
        notes: &mut [Note],
        cells: &[usize],
        before: &[Place],
        lines: &[[f32; LINE]],
    ) -> (Vec<f32>, Vec<Place>) {
        let places = self.places(notes, cells, before);
        let known = places.iter().map(|x| (self.add.apply(x), self.scale.apply(x)));
        let known: Vec<_> = known.collect();
        let mut odds = Vec::with_capacity(notes.len());
        for (i, (note, &cell)) in notes.iter_mut().zip(cells).enumerate() {
            let (add, scale) = &known[cell];
            let scaled = self.scaled.apply(note);
            let mut z = self.own.apply(note);
            for (((z, a), b), s) in z.iter_mut().zip(add).zip(scale).zip(scaled) {
                *z += a + b * s;
            }
            if let (Some(layer), Some(line)) = (&self.line, lines.get(i)) {
                z = layer.add_to(z, line);
            }
            let z = z.map(|x| x.max(0.0));
            odds.push(against(self.out.apply(&z)));
            if let Some(back) = &self.back {
                for (x, y) in note.iter_mut().zip(back.apply(&z)) {
                    *x = (*x + y).max(0.0);
                }
            }
        }
        (odds, places)
    }

    /// What each half bar knows of its notes and, through dilated convolutions, of the song.
    fn places(&self, notes: &[Note], cells: &[usize], before: &[Place]) -> Vec<Place> {
        let sums = self.sums(notes, cells);
        let mut total = [0.0; HEARD];
        for sum in &sums {
            for (t, s) in total.iter_mut().zip(sum) {
                *t += s;
            }
        }
        let over_all = divided::<VALUES>(&total, 1.0);
        let song = self.song.add_to([0.0; PLACE], &over_all);
        let enter = |(cell, sum): (usize, &[f32; HEARD])| {
            let mut heard = [0.0; IN];
            heard[..VALUES].copy_from_slice(&divided::<VALUES>(sum, 0.3));
            heard[VALUES..HEARD].copy_from_slice(&sum[VALUES..]);
            if let Some(place) = before.get(cell) {
                heard[HEARD..].copy_from_slice(place);
            }
            let mut x = self.enter.apply(&heard);
            for (x, s) in x.iter_mut().zip(&song) {
                *x += s;
            }
            x
        };
        let mut places: Vec<Place> = sums.iter().enumerate().map(enter).collect();
        for (i, layer) in self.dilated.iter().enumerate() {
            if i == self.dilated.len() / 2 {
                self.add_mean(&mut places);
            }
            places = layer.apply(&places);
        }
        places
    }

    /// Of each half bar, the gated values of its notes, and the gates.
    fn sums(&self, notes: &[Note], cells: &[usize]) -> Vec<[f32; HEARD]> {
        let mut sums = vec![[0.0; HEARD]; cells.last().map_or(0, |last| last + 1)];
        for (note, &cell) in notes.iter().zip(cells) {
            let gates = self.gate.apply(note).map(sigmoid);
            let values = self.value.apply(note);
            let (own, own_gates) = sums[cell].split_at_mut(VALUES);
            let lines = own.chunks_exact_mut(VALUE).zip(values.chunks_exact(VALUE));
            for ((sum, values), gate) in lines.zip(gates) {
                for (s, v) in sum.iter_mut().zip(values) {
                    *s += v * gate;
                }
            }
            for (s, gate) in own_gates.iter_mut().zip(gates) {
                *s += gate;
            }
        }
        sums
    }

    fn add_mean(&self, places: &mut [Place]) {
        let mut mean = [0.0; PLACE];
        for place in &*places {
            for (m, x) in mean.iter_mut().zip(place) {
                *m += x;
            }
        }
        #[expect(clippy::cast_precision_loss)]
        let count = places.len().max(1) as f32;
        let add = self.mean.apply(&mean.map(|m| m / count));
        for place in places {
            for (x, a) in place.iter_mut().zip(&add) {
                *x += a;
            }
        }
    }
}

/// The mean value of each line, drawn to 0 where its gates let little through.
fn divided<const N: usize>(sum: &[f32; HEARD], more: f32) -> [f32; N] {
    let mut values = [0.0; N];
    let (own, gates) = sum.split_at(VALUES);
    let lines = values.chunks_exact_mut(VALUE).zip(own.chunks_exact(VALUE));
    for ((values, own), gate) in lines.zip(gates) {
        for (v, s) in values.iter_mut().zip(own) {
            *v = s / (gate + more);
        }
    }
    values
}

/// A convolution of three taps, added to what goes in.
struct Dilated {
    /// Half bars from tap to tap.
    distance: usize,
    taps: [Dense<PLACE, PLACE>; 3],
    bias: Place,
}

impl Dilated {
    fn take(numbers: &mut Numbers, distance: usize) -> Self {
        let taps = [0; 3].map(|_| Dense::take_without_bias(numbers));
        Self { distance, taps, bias: numbers.row() }
    }

    /// Beyond the ends nothing is heard.
    fn apply(&self, places: &[Place]) -> Vec<Place> {
        let [first, middle, last] = &self.taps;
        let heard = |(i, own): (usize, &Place)| {
            let mut sum = middle.add_to(self.bias, own);
            if let Some(place) = i.checked_sub(self.distance).and_then(|i| places.get(i)) {
                sum = first.add_to(sum, place);
            }
            if let Some(place) = i.checked_add(self.distance).and_then(|i| places.get(i)) {
                sum = last.add_to(sum, place);
            }
            for (s, x) in sum.iter_mut().zip(own) {
                *s = s.max(0.0) + x;
            }
            sum
        };
        places.iter().enumerate().map(heard).collect()
    }
}

/// Log odds of melody against the other two.
fn against([accompaniment, melody, second]: [f32; 3]) -> f32 {
    let most = accompaniment.max(second);
    melody - most - ((accompaniment - most).exp() + (second - most).exp()).ln()
}
