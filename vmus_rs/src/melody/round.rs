//! One look of the network at the whole song: gates sum up the notes of each half bar, convolutions
//! carry the sums through the song, and every note is judged beside what its half bar then knows and
//! what its neighbours say.

use super::context::{CONTEXT, HOPS, NEAR, Places};
use crate::engine::Level;
use crate::net::{self, Dense, Numbers, Rows};

/// Numbers a note, a half bar, a note that is judged, and what a note says to its neighbours.
pub(super) const NOTE: usize = 32;
const PLACE: usize = 32;
const JUDGE: usize = 32;
const WORD: usize = 12;
/// So many lines are summed up apart, in so many numbers each.
const GATES: usize = 4;
const VALUE: usize = 8;
const VALUES: usize = GATES * VALUE;
/// What a half bar hears of its notes.
const HEARD: usize = VALUES + GATES;
const ROLES: usize = 3;

/// Where a round stands among the rounds.
#[derive(Clone, Copy)]
pub(super) struct Shape {
    /// Half bars from tap to tap of each convolution.
    pub(super) dilations: &'static [usize],
    pub(super) is_first: bool,
    pub(super) is_last: bool,
}

impl Shape {
    const fn heard(self) -> usize {
        HEARD + if self.is_first { 0 } else { PLACE }
    }

    /// How many numbers the round takes.
    pub(super) const fn size(self) -> usize {
        Dense::size(NOTE, VALUES)
            + Dense::size(NOTE, GATES)
            + Dense::size(self.heard(), PLACE)
            + VALUES * PLACE
            + self.dilations.len() * Dense::size(3 * PLACE, PLACE)
            + Dense::size(PLACE, PLACE)
            + PLACE * JUDGE
            + Dense::size(PLACE, JUDGE)
            + Dense::size(NOTE, JUDGE)
            + NOTE * JUDGE
            + HOPS * (Dense::size(NOTE, WORD) + Dense::size(NEAR * WORD, NOTE))
            + if self.is_first { 0 } else { CONTEXT * JUDGE }
            + Dense::size(JUDGE, ROLES)
            + if self.is_last { 0 } else { Dense::size(JUDGE, NOTE) }
    }
}

/// One look at the whole song.
pub(super) struct Round {
    value: Dense,
    gate: Dense,
    enter: Dense,
    song: Dense,
    dilated: Vec<Dilated>,
    mean: Dense,
    add: Dense,
    scale: Dense,
    own: Dense,
    scaled: Dense,
    words: Vec<Dense>,
    hear: Vec<Dense>,
    line: Option<Dense>,
    out: Dense,
    back: Option<Dense>,
}

impl Round {
    pub(super) fn take(numbers: &mut Numbers, shape: Shape) -> Self {
        let dilations = shape.dilations.iter();
        Self {
            value: Dense::take(numbers, NOTE, VALUES),
            gate: Dense::take(numbers, NOTE, GATES),
            enter: Dense::take(numbers, shape.heard(), PLACE),
            song: Dense::take_without_bias(numbers, VALUES, PLACE),
            dilated: dilations.map(|&distance| Dilated::take(numbers, distance)).collect(),
            mean: Dense::take(numbers, PLACE, PLACE),
            add: Dense::take_without_bias(numbers, PLACE, JUDGE),
            scale: Dense::take(numbers, PLACE, JUDGE),
            own: Dense::take(numbers, NOTE, JUDGE),
            scaled: Dense::take_without_bias(numbers, NOTE, JUDGE),
            words: (0..HOPS).map(|_| Dense::take(numbers, NOTE, WORD)).collect(),
            hear: (0..HOPS).map(|_| Dense::take(numbers, NEAR * WORD, NOTE)).collect(),
            line: (!shape.is_first).then(|| Dense::take_without_bias(numbers, CONTEXT, JUDGE)),
            out: Dense::take(numbers, JUDGE, ROLES),
            back: (!shape.is_last).then(|| Dense::take(numbers, JUDGE, NOTE)),
        }
    }

    /// Log odds of being melody, and what the half bars know. The notes become what the next round
    /// sees of them.
    pub(super) fn run(
        &self,
        level: Level,
        notes: &mut Rows,
        places: &Places,
        before: Option<&Rows>,
        context: Option<&Rows>,
    ) -> (Vec<f32>, Rows) {
        for ((word, hear), near) in self.words.iter().zip(&self.hear).zip(&places.near) {
            let mut said = word.apply(level, notes);
            relu(said.flat_mut());
            let heard = hear.apply(level, &words(&said, near));
            for (x, own) in notes.flat_mut().iter_mut().zip(heard.flat()) {
                *x += own.max(0.0);
            }
        }
        let known = self.known(level, notes, &places.cells, before);
        let (add, scale) = (self.add.apply(level, &known), self.scale.apply(level, &known));
        let scaled = self.scaled.apply(level, notes);
        let mut judged = self.own.apply(level, notes);
        if let (Some(layer), Some(context)) = (&self.line, context) {
            layer.add_to(level, &mut judged, context);
        }
        for (i, &cell) in places.cells.iter().enumerate() {
            let place = add.row(cell).iter().zip(scale.row(cell));
            let own = judged.row_mut(i).iter_mut().zip(scaled.row(i));
            for ((z, s), (a, b)) in own.zip(place) {
                *z = (*z + a + b * s).max(0.0);
            }
        }
        let roles = self.out.apply(level, &judged);
        let odds = (0..roles.count()).map(|i| against(roles.row(i))).collect();
        if let Some(back) = &self.back {
            back.add_to(level, notes, &judged);
            add_to_all(notes, back.bias());
            relu(notes.flat_mut());
        }
        (odds, known)
    }

    /// What each half bar knows of its notes and, through dilated convolutions, of the song.
    fn known(&self, level: Level, notes: &Rows, cells: &[usize], before: Option<&Rows>) -> Rows {
        let sums = self.sums(level, notes, cells);
        let mut total = [0.0; HEARD];
        for i in 0..sums.count() {
            for (t, s) in total.iter_mut().zip(sums.row(i)) {
                *t += s;
            }
        }
        let mut over_all = Rows::zeros(1, VALUES);
        put_means(over_all.row_mut(0), &total, 1.0);
        let width = HEARD + before.map_or(0, |_| PLACE);
        let mut heard = Rows::zeros(sums.count(), width);
        for i in 0..sums.count() {
            let (row, sum) = (heard.row_mut(i), sums.row(i));
            put_means(row, sum, 0.3);
            row[VALUES..HEARD].copy_from_slice(&sum[VALUES..HEARD]);
            if let Some(before) = before {
                row[HEARD..width].copy_from_slice(&before.row(i)[..PLACE]);
            }
        }
        let mut known = self.enter.apply(level, &heard);
        add_to_all(&mut known, self.song.apply(level, &over_all).row(0));
        for (i, layer) in self.dilated.iter().enumerate() {
            if i == self.dilated.len() / 2 {
                let mean = mean(&known);
                add_to_all(&mut known, self.mean.apply(level, &mean).row(0));
            }
            layer.apply(level, &mut known);
        }
        known
    }

    /// Of each half bar, the gated values of its notes, and the gates.
    fn sums(&self, level: Level, notes: &Rows, cells: &[usize]) -> Rows {
        let mut gates = self.gate.apply(level, notes);
        net::logistic(level, gates.flat_mut());
        let values = self.value.apply(level, notes);
        let mut sums = Rows::zeros(cells.last().map_or(0, |last| last + 1), HEARD);
        for (i, &cell) in cells.iter().enumerate() {
            let gates = &gates.row(i)[..GATES];
            let (own, own_gates) = sums.row_mut(cell).split_at_mut(VALUES);
            let lines = own.chunks_exact_mut(VALUE).zip(values.row(i).chunks_exact(VALUE));
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
}

/// What each note's neighbours say.
fn words(said: &Rows, near: &[[usize; NEAR]]) -> Rows {
    let count = near.len();
    let mut words = Rows::zeros(count, NEAR * WORD);
    for (i, near) in near.iter().enumerate() {
        for (own, &other) in words.row_mut(i).chunks_exact_mut(WORD).zip(near) {
            if other < count {
                own.copy_from_slice(&said.row(other)[..WORD]);
            }
        }
    }
    words
}

fn relu(numbers: &mut [f32]) {
    for x in numbers {
        *x = x.max(0.0);
    }
}

fn add_to_all(rows: &mut Rows, own: &[f32]) {
    for i in 0..rows.count() {
        for (x, own) in rows.row_mut(i).iter_mut().zip(own) {
            *x += own;
        }
    }
}

fn mean(rows: &Rows) -> Rows {
    let mut mean = Rows::zeros(1, PLACE);
    let own = mean.row_mut(0);
    for i in 0..rows.count() {
        for (m, x) in own.iter_mut().zip(rows.row(i)) {
            *m += x;
        }
    }
    #[expect(clippy::cast_precision_loss)]
    let count = rows.count().max(1) as f32;
    for m in own {
        *m /= count;
    }
    mean
}

/// The mean value of each line, drawn to 0 where its gates let little through.
fn put_means(values: &mut [f32], sum: &[f32], more: f32) {
    let (own, gates) = sum.split_at(VALUES);
    let lines = values[..VALUES].chunks_exact_mut(VALUE).zip(own.chunks_exact(VALUE));
    for ((values, own), gate) in lines.zip(gates) {
        for (v, s) in values.iter_mut().zip(own) {
            *v = s / (gate + more);
        }
    }
}

/// A convolution of three taps, added to what goes in.
struct Dilated {
    /// Half bars from tap to tap.
    distance: usize,
    taps: Dense,
}

impl Dilated {
    fn take(numbers: &mut Numbers, distance: usize) -> Self {
        Self { distance, taps: Dense::take(numbers, 3 * PLACE, PLACE) }
    }

    /// Beyond the ends nothing is heard.
    fn apply(&self, level: Level, known: &mut Rows) {
        let mut heard = Rows::zeros(known.count(), 3 * PLACE);
        for i in 0..known.count() {
            let places = [i.checked_sub(self.distance), Some(i), i.checked_add(self.distance)];
            for (own, place) in heard.row_mut(i).chunks_exact_mut(PLACE).zip(places) {
                if let Some(place) = place.filter(|&i| i < known.count()) {
                    own.copy_from_slice(known.row(place));
                }
            }
        }
        let found = self.taps.apply(level, &heard);
        for (x, own) in known.flat_mut().iter_mut().zip(found.flat()) {
            *x += own.max(0.0);
        }
    }
}

/// Log odds of melody against the other two, accompaniment and second.
fn against(roles: &[f32]) -> f32 {
    let most = roles[0].max(roles[2]);
    roles[1] - most - (-(roles[0] - roles[2]).abs()).exp().ln_1p()
}
