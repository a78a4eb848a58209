//! A prototxt as a list of layers in their present form: V0 and V1 are upgraded as Caffe does, and the layers that a
//! phase leaves out are gone.
//!
//! Source: Caffe, src/caffe/util/upgrade_proto.cpp (upgrades) and net.cpp (`FilterNet`, `StateMeetsRule`).

use std::collections::HashMap;

use secateur_base::{Error, Result};

use crate::text_format::{Document, View};

use super::legacy;

/// For which part of a training run a net is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Phase {
    Train,
    #[default]
    Test,
}

/// What `include` and `exclude` rules of layers are held against (Caffe's NetState).
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct State {
    pub phase: Phase,
    pub level: i64,
    pub stages: Vec<String>,
}

/// The layers of a net in the order of the file, which is the order of execution.
#[derive(Debug, Clone)]
pub struct Net<'a> {
    pub name: String,
    pub layers: Vec<Layer<'a>>,
}

/// One layer.
#[derive(Debug, Clone)]
pub struct Layer<'a> {
    pub name: String,
    /// The type as today's Caffe spells it: `Convolution`.
    pub kind: String,
    /// Names of the blobs that it reads.
    pub bottoms: Vec<String>,
    /// Names of the blobs that it writes; one of `bottoms` again where it works in place.
    pub tops: Vec<String>,
    /// `pad` of V0's padding layers in front of it.
    pub padding: Option<i64>,
    /// The layer in the file.
    pub view: View<'a>,
    /// V0 has the parameters of every layer in one message, under names of its own.
    flat: Option<View<'a>>,
    /// Shapes of an `input:` of the net, by top; empty for every other layer.
    pub input_shapes: Vec<Vec<i64>>,
}

/// The parameters of a layer, by their present names; those of a missing message are all absent.
#[derive(Debug, Clone, Copy)]
pub struct Params<'a> {
    view: Option<View<'a>>,
    is_flat: bool,
    layer: View<'a>,
}

impl<'a> Net<'a> {
    /// Reads the layers that `state` has.
    ///
    /// # Errors
    /// Names the line of a layer without a type, of an unknown enum, or of rules that contradict each other.
    pub fn read(document: &'a Document, state: &State) -> Result<Self> {
        let root = document.root();
        let mut layers = inputs(root)?;
        let has_old = root.has("layers");
        if has_old && root.has("layer") {
            return Err(root
                .error("the net has both layer and layers")
                .allowed("one of them")
                .file(root.path()));
        }
        for view in root.messages(if has_old { "layers" } else { "layer" })? {
            let layer = if has_old { legacy::layer(view)? } else { current(view)? };
            if is_included(view, state)? {
                layers.push(layer);
            }
        }
        if layers.is_empty() {
            return Err(root.error("the net has no layers").help(
                "give a prototxt of a network, not of a solver; a file of layers for another phase is empty",
            ));
        }
        legacy::fold_padding(&mut layers)?;
        Ok(Self { name: root.text("name")?.unwrap_or_default(), layers })
    }
}

impl<'a> Layer<'a> {
    pub(super) fn new(name: String, kind: String, view: View<'a>, flat: Option<View<'a>>) -> Result<Self> {
        Ok(Self {
            name,
            kind,
            bottoms: view.texts("bottom")?,
            tops: view.texts("top")?,
            padding: None,
            view,
            flat,
            input_shapes: Vec::new(),
        })
    }

    /// The parameters in the message of this name, `convolution_param` for example.
    pub fn params(&self, message: &'a str) -> Result<Params<'a>> {
        let view = match self.flat {
            Some(flat) => Some(flat),
            None => self.view.message(message)?,
        };
        Ok(Params { view, is_flat: self.flat.is_some(), layer: self.view })
    }

    /// A mistake in this layer.
    pub fn error(&self, what: impl Into<String>) -> Error {
        self.view.error(what).section(self.name.clone())
    }
}

/// A layer of today's form.
fn current(view: View<'_>) -> Result<Layer<'_>> {
    let name = view.text("name")?.unwrap_or_default();
    let kind = view.text("type")?.ok_or_else(|| {
        view.error("the layer has no type").section(name.clone()).allowed("type: \"Convolution\" for example")
    })?;
    Layer::new(name, kind, view, None)
}

/// The net's own `input` fields, as a layer in front.
fn inputs(root: View<'_>) -> Result<Vec<Layer<'_>>> {
    let tops = root.texts("input")?;
    if tops.is_empty() {
        return Ok(Vec::new());
    }
    let dims = root.integers("input_dim")?;
    let mut shapes = Vec::new();
    for shape in root.messages("input_shape")? {
        shapes.push(shape.integers("dim")?);
    }
    if shapes.is_empty() {
        shapes = dims.chunks(4).map(<[i64]>::to_vec).collect();
    }
    if shapes.len() != tops.len() {
        return Err(root
            .error("the net's inputs and their shapes differ in number")
            .found(format!("{} inputs, {} shapes", tops.len(), shapes.len()))
            .allowed("four input_dim or one input_shape for each input"));
    }
    let mut layer = Layer::new("input".to_owned(), "Input".to_owned(), root, None)?;
    layer.tops = tops;
    layer.bottoms = Vec::new();
    layer.input_shapes = shapes;
    Ok(vec![layer])
}

/// Whether the layer's rules let it into the net (Caffe's `FilterNet`).
fn is_included(layer: View<'_>, state: &State) -> Result<bool> {
    let (include, exclude) = (layer.messages("include")?, layer.messages("exclude")?);
    if !include.is_empty() && !exclude.is_empty() {
        return Err(layer.error("the layer has include and exclude rules").allowed("one kind of them"));
    }
    let mut meets = Vec::new();
    for rule in include.iter().chain(&exclude) {
        meets.push(meets_rule(*rule, state)?);
    }
    let meets_one = meets.contains(&true);
    Ok(if include.is_empty() { !meets_one } else { meets_one })
}

/// Whether every condition of a rule holds (Caffe's `StateMeetsRule`).
fn meets_rule(rule: View<'_>, state: &State) -> Result<bool> {
    if let Some(field) = rule.field("phase") {
        let phase = match rule.text_of(field)?.as_str() {
            "TRAIN" | "0" => Phase::Train,
            "TEST" | "1" => Phase::Test,
            _ => return Err(rule.mistake(field, "TRAIN or TEST")),
        };
        if phase != state.phase {
            return Ok(false);
        }
    }
    let above = rule.integer("min_level")?.is_none_or(|least| state.level >= least);
    let below = rule.integer("max_level")?.is_none_or(|most| state.level <= most);
    let has = |stage: &String| state.stages.contains(stage);
    let stages = rule.texts("stage")?.iter().all(has) && !rule.texts("not_stage")?.iter().any(has);
    Ok(above && below && stages)
}

impl<'a> Params<'a> {
    fn name(&self, name: &'a str) -> &'a str {
        if self.is_flat { legacy::flat_name(name) } else { name }
    }

    /// The field in the file, for messages.
    pub fn view(&self) -> Option<View<'a>> {
        self.view
    }

    /// Whether the parameter is there.
    pub fn has(&self, name: &'a str) -> bool {
        self.view.is_some_and(|view| view.has(self.name(name)))
    }

    fn read<T>(
        &self,
        name: &'a str,
        read: impl FnOnce(View<'a>, &'a str) -> Result<Option<T>>,
    ) -> Result<Option<T>> {
        self.view.map_or(Ok(None), |view| read(view, self.name(name)))
    }

    /// An integer, or what holds without one.
    pub fn integer(&self, name: &'a str, default: i64) -> Result<i64> {
        Ok(self.read(name, |view, name| view.integer(name))?.unwrap_or(default))
    }

    /// An integer that may be absent.
    pub fn maybe_integer(&self, name: &'a str) -> Result<Option<i64>> {
        self.read(name, |view, name| view.integer(name))
    }

    /// A size or count from `least` on.
    pub fn size(&self, name: &'a str, default: usize, least: usize) -> Result<usize> {
        self.maybe_size(name, least).map(|size| size.unwrap_or(default))
    }

    /// A size or count from `least` on that may be absent.
    pub fn maybe_size(&self, name: &'a str, least: usize) -> Result<Option<usize>> {
        let Some(value) = self.maybe_integer(name)? else { return Ok(None) };
        match usize::try_from(value).ok().filter(|value| (least..=MAX_SIZE).contains(value)) {
            Some(value) => Ok(Some(value)),
            None => Err(self.mistake(name, format!("{least} to {MAX_SIZE}"))),
        }
    }

    /// Every value of a repeated size.
    pub fn sizes(&self, name: &'a str, least: usize) -> Result<Vec<usize>> {
        let values = self.integers(name)?;
        let size =
            |value: &i64| usize::try_from(*value).ok().filter(|value| (least..=MAX_SIZE).contains(value));
        values
            .iter()
            .map(|value| size(value).ok_or_else(|| self.mistake(name, format!("{least} to {MAX_SIZE}"))))
            .collect()
    }

    /// Every value of a repeated integer.
    pub fn integers(&self, name: &'a str) -> Result<Vec<i64>> {
        Ok(self.read(name, |view, name| view.integers(name).map(Some))?.unwrap_or_default())
    }

    /// A number.
    pub fn float(&self, name: &'a str, default: f32) -> Result<f32> {
        Ok(self.read(name, |view, name| view.float(name))?.unwrap_or(default))
    }

    /// A number that may be absent.
    pub fn maybe_float(&self, name: &'a str) -> Result<Option<f32>> {
        self.read(name, |view, name| view.float(name))
    }

    /// Every value of a repeated number.
    pub fn floats(&self, name: &'a str) -> Result<Vec<f32>> {
        Ok(self.read(name, |view, name| view.floats(name).map(Some))?.unwrap_or_default())
    }

    /// A truth value.
    pub fn boolean(&self, name: &'a str, default: bool) -> Result<bool> {
        Ok(self.read(name, |view, name| view.boolean(name))?.unwrap_or(default))
    }

    /// A message in these parameters.
    pub fn inner(&self, name: &'a str) -> Result<Params<'a>> {
        let view = self.read(name, |view, name| view.message(name))?;
        Ok(Self { view, is_flat: false, layer: self.layer })
    }

    /// An enum: one of `values` by name or by its number there.
    pub fn choice<T: Copy>(&self, name: &'a str, values: &[(&str, i64, T)], default: T) -> Result<T> {
        let Some(word) = self.read(name, |view, name| view.text(name))? else { return Ok(default) };
        let number: Option<i64> = word.parse().ok();
        values
            .iter()
            .find(|(known, value, _)| *known == word || number == Some(*value))
            .map(|(.., value)| *value)
            .ok_or_else(|| {
                self.mistake(name, values.iter().map(|(name, ..)| *name).collect::<Vec<_>>().join(", "))
            })
    }

    /// The error that a parameter has a value that is not allowed.
    pub fn mistake(&self, name: &'a str, allowed: impl Into<String>) -> Error {
        let field = self.view.and_then(|view| Some((view, view.field(self.name(name))?)));
        match field {
            Some((view, field)) => view.mistake(field, allowed),
            None => self.layer.error(format!("{name} is missing")).allowed(allowed),
        }
    }
}

/// Sizes above are refused before anything is computed with them.
const MAX_SIZE: usize = 1 << 24;

/// How often each blob is written and by which layer last, for messages about dead ends.
pub fn writers<'n>(layers: &'n [Layer<'_>]) -> HashMap<&'n str, usize> {
    let tops = layers
        .iter()
        .enumerate()
        .flat_map(|(at, layer)| layer.tops.iter().map(move |top| (top.as_str(), at)));
    tops.collect()
}
