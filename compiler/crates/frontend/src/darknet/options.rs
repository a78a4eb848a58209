//! Typed access to one section's options, with Darknet's defaults and errors that point at the value.

use std::ops::RangeInclusive;
use std::str::FromStr;

use super::cfg::{Cfg, Entry, Section, clip};
use secateur_base::{Error, Result};
use secateur_ir::Activation;

pub(super) struct Options<'a> {
    pub(super) cfg: &'a Cfg,
    pub(super) section: &'a Section,
    /// `None` for `[net]`.
    pub(super) layer: Option<usize>,
}

impl<'a> Options<'a> {
    /// An error at the section's header.
    pub(super) fn error(&self, what: impl Into<String>) -> Error {
        self.name(self.cfg.error(what, self.section.line, &self.section.span))
    }

    /// An error at an option's value, or at the header if there is no such option.
    pub(super) fn error_at(&self, key: &str, what: impl Into<String>) -> Error {
        match self.section.entry(key) {
            Some(entry) => self.error_in(entry, what),
            None => self.error(what),
        }
    }

    fn error_in(&self, entry: &Entry, what: impl Into<String>) -> Error {
        self.name(self.cfg.error(what, entry.line, &entry.span))
            .found(clip(&format!("{}={}{}", entry.key, entry.value, entry.comment)))
    }

    /// Gives an error the place of this section.
    pub(super) fn locate(&self, error: Error) -> Error {
        self.name(self.cfg.locate(error, self.section.line, &self.section.span))
    }

    fn name(&self, error: Error) -> Error {
        let error = error.section(&self.section.name);
        match self.layer {
            Some(layer) => error.layer(layer),
            None => error,
        }
    }

    pub(super) fn has(&self, key: &str) -> bool {
        self.section.entry(key).is_some()
    }

    /// A whole number; Darknet's `atoi` would take the leading digits of anything.
    pub(super) fn int(&self, key: &str) -> Result<Option<i64>> {
        self.section.entry(key).map(|entry| self.parse(entry, &entry.value, "a whole number")).transpose()
    }

    /// A count or size within `range`.
    pub(super) fn size(&self, key: &str, default: usize, range: RangeInclusive<usize>) -> Result<usize> {
        let Some(value) = self.int(key)? else { return Ok(default) };
        usize::try_from(value).ok().filter(|value| range.contains(value)).ok_or_else(|| {
            let what = match value {
                ..0 => "must not be negative",
                0 => "must not be zero",
                _ if value as u64 > *range.end() as u64 => "is too large",
                _ => "is too small",
            };
            self.error_at(key, format!("{key} {what}")).allowed(format!(
                "{} to {}",
                range.start(),
                range.end()
            ))
        })
    }

    /// A count or size without which the layer makes no sense, although Darknet has a `fallback`.
    pub(super) fn required(&self, key: &str, fallback: &str, range: RangeInclusive<usize>) -> Result<usize> {
        if !self.has(key) {
            return Err(self.missing(key, fallback));
        }
        self.size(key, 0, range)
    }

    /// The error for a key that this section must have.
    pub(super) fn missing(&self, key: &str, fallback: &str) -> Error {
        let keys = self.section.entries.iter().map(|entry| entry.key.as_str());
        let help = match nearest(key, keys) {
            Some(near) => format!("is {near}= meant?"),
            None if fallback.is_empty() => format!("add {key}= to this section"),
            None => format!("Darknet would go on with {key}={fallback}: write that if it is meant"),
        };
        self.error(format!("{key}= is missing")).help(help)
    }

    pub(super) fn flag(&self, key: &str) -> Result<bool> {
        Ok(self.int(key)?.is_some_and(|value| value != 0))
    }

    pub(super) fn float(&self, key: &str, default: f32) -> Result<f32> {
        let Some(entry) = self.section.entry(key) else { return Ok(default) };
        self.parse_float(entry, &entry.value)
    }

    /// A word. Darknet takes a comment at its end for a part of it, so there must be none.
    pub(super) fn word(&self, key: &str) -> Result<Option<&'a str>> {
        let Some(entry) = self.section.entry(key) else { return Ok(None) };
        if !entry.comment.is_empty() {
            return Err(self
                .error_in(entry, "comment after a word")
                .allowed("nothing: Darknet would take it for a part of the word")
                .help("put the comment on a line of its own"));
        }
        Ok(Some(&entry.value))
    }

    /// A comma-separated list of whole numbers.
    pub(super) fn ints(&self, key: &str) -> Result<Option<Vec<i64>>> {
        self.list(key, |entry, item| self.parse(entry, item, "whole numbers with commas between"))
    }

    /// A comma-separated list of numbers.
    pub(super) fn floats(&self, key: &str) -> Result<Option<Vec<f32>>> {
        self.list(key, |entry, item| self.parse_float(entry, item))
    }

    fn list<T>(&self, key: &str, item: impl Fn(&Entry, &str) -> Result<T>) -> Result<Option<Vec<T>>> {
        let Some(entry) = self.section.entry(key) else { return Ok(None) };
        // Only [yolo] stops at '#'; elsewhere Darknet counts the comment's commas as items.
        if entry.comment.contains(',') && !(self.section.name == "yolo" && entry.comment.starts_with('#')) {
            return Err(self
                .error_in(entry, "comma in the comment after a list")
                .allowed("no comment: Darknet would read on in it")
                .help("put the comment on a line of its own"));
        }
        let text = entry.value.strip_suffix(',').unwrap_or(&entry.value);
        text.split(',').map(|text| item(entry, text)).collect::<Result<_>>().map(Some)
    }

    /// An activation by its Darknet name.
    pub(super) fn activation(&self, default: Activation) -> Result<Activation> {
        let Some(word) = self.word("activation")? else { return Ok(default) };
        Activation::from_name(word).ok_or_else(|| {
            let names = Activation::ALL.map(Activation::name);
            let help = match nearest(word, names) {
                Some(near) => format!("is {near} meant? Darknet would go on with relu"),
                None => "Darknet would go on with relu: write that if it is meant".to_owned(),
            };
            self.error_at("activation", "unknown activation").allowed(names.join(", ")).help(help)
        })
    }

    /// Refuses options that would change the result and are not supported; 0 turns them off.
    pub(super) fn refuse(&self, keys: &[&str]) -> Result<()> {
        let is_on = |key: &str| self.section.entry(key).is_some_and(|entry| entry.value.parse() != Ok(0.0));
        match keys.iter().find(|key| is_on(key)) {
            Some(key) => Err(self.unsupported(key).allowed(format!("no {key}=, or {key}=0"))),
            None => Ok(()),
        }
    }

    /// Refuses an option that means something with any value.
    pub(super) fn refuse_any(&self, key: &str) -> Result<()> {
        if self.has(key) { Err(self.unsupported(key).allowed(format!("no {key}="))) } else { Ok(()) }
    }

    fn unsupported(&self, key: &str) -> Error {
        self.error_at(key, format!("{key} is not supported"))
            .help("train the network without it, or remove it if the weights do not depend on it")
    }

    fn parse<T: FromStr>(&self, entry: &Entry, text: &str, allowed: &str) -> Result<T> {
        text.parse()
            .map_err(|_| self.error_in(entry, format!("{} is not a number", entry.key)).allowed(allowed))
    }

    /// Through a double, as Darknet's `atof` does.
    fn parse_float(&self, entry: &Entry, text: &str) -> Result<f32> {
        let value: f64 = self.parse(entry, text, "a number such as 0.1")?;
        let value = value as f32;
        if !value.is_finite() {
            return Err(self
                .error_in(entry, format!("{} is not finite", entry.key))
                .allowed("a finite number"));
        }
        Ok(value)
    }
}

/// The candidate that `word` is a likely misspelling of.
pub(super) fn nearest<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    candidates
        .into_iter()
        .filter(|candidate| candidate.len().abs_diff(word.len()) <= 2)
        .map(|candidate| (edit_distance(word, candidate), candidate))
        .filter(|&(distance, _)| distance > 0 && distance <= 2 && distance < word.len())
        .min_by_key(|&(distance, _)| distance)
        .map(|(_, candidate)| candidate)
}

/// Levenshtein's distance in bytes.
fn edit_distance(a: &str, b: &str) -> usize {
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, from) in a.bytes().enumerate() {
        let mut diagonal = i;
        row[0] = i + 1;
        for (j, to) in b.bytes().enumerate() {
            let replaced = diagonal + usize::from(from != to);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}
