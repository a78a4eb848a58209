//! What must hold for any bytes that reach a parser, and for what runs behind it once they are accepted.
//!
//! A [`Target`] is a function of bytes that panics where a promise is broken. The same functions run under
//! libFuzzer (`fuzz/libfuzzer`), under the mutator of this crate's command, which needs no nightly compiler,
//! and over the committed corpora on every `cargo test`.

mod corpus;
pub mod mutate;
mod targets;

use std::fmt::Display;
use std::hash::{DefaultHasher, Hash, Hasher};

pub use corpus::{committed, seeds};
pub use targets::TARGETS;

/// A function of any bytes.
#[derive(Debug, Clone, Copy)]
pub struct Target {
    pub name: &'static str,
    /// Panics where a promise is broken.
    pub run: fn(&[u8]) -> Outcome,
    /// Words of the format, for the mutator.
    pub words: &'static [&'static [u8]],
}

/// What came of an input, as a number that is equal for inputs that took the same way as far as can be seen
/// from outside. The mutator keeps inputs with new numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Outcome(pub u64);

impl Outcome {
    /// Of an input that was refused: the message without its numbers and quotations.
    ///
    /// # Panics
    /// Where the message is empty.
    pub fn refused(error: &impl Display) -> Self {
        let message = error.to_string();
        assert!(!message.is_empty(), "an error without a message");
        let words = message.split_whitespace().filter(|word| word.chars().all(char::is_alphabetic));
        Self::of(&words.take(12).collect::<Vec<_>>())
    }

    /// Of an input that was accepted, with some property of it.
    pub fn of(property: &impl Hash) -> Self {
        let mut hasher = DefaultHasher::new();
        property.hash(&mut hasher);
        Self(hasher.finish())
    }
}

/// The target of this name.
pub fn target(name: &str) -> Option<&'static Target> {
    TARGETS.iter().find(|target| target.name == name)
}

/// Runs one input of a target by name, for libFuzzer.
///
/// # Panics
/// Where there is no such target, and where the target panics.
pub fn run(name: &str, bytes: &[u8]) {
    let target = target(name).unwrap_or_else(|| panic!("no target {name}"));
    (target.run)(bytes);
}
