//! The three stages on a CPU: what `python/vmusprod/models` does in torch, token by token.
//!
//! Recurrent linear attention, cross-attention to the bars around, the rules of the grammar, recall and the
//! dice, in one loop. Given the same weights and seed, the result is the same on any number of threads, with
//! any number of streams side by side, and at any of the machine's SIMD levels: every number is computed in
//! one fixed order, see `matrix` and `simd`.

mod config;
mod controller;
mod dice;
mod embeddings;
mod grammar;
mod heads;
mod layers;
mod matrix;
pub(crate) mod ops;
mod past;
mod product;
mod request;
mod run;
pub(crate) mod simd;
mod stage;
mod weights;
mod writer;

pub use config::{Config, SourceName, StageName};
pub use controller::Rows;
pub use dice::{Dice, Random};
pub use grammar::Frame;
pub use heads::NAMES as ATTRIBUTE_NAMES;
pub use matrix::Precision;
pub use request::{Request, Sheet, SourceStream};
pub use run::{Logits, Sharing, logits, write};
pub use simd::Level;
pub use stage::Stage;
