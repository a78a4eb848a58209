//! A graph as text and back: for reading, for `--dump-after`, for tests that hold a stage's input and output.
//!
//! One line for the input image, then one for every layer, in execution order:
//!
//! ```text
//! image: [3, 32, 32]
//! v0: [8, 16, 16] = convolutional image kernel=3 stride=2 padding=1 batch_norm activation=leaky
//! v1 "block/pool": [8, 8, 8] = maxpool v0 kernel=2 stride=2
//! v2: [8, 16, 16] = upsample v1 stride=2
//! v3: [8, 16, 16] = shortcut v2, v0    ; the sum of both
//! ```
//!
//! Grammar, blanks free except for the ends of lines:
//!
//! ```text
//! graph     = image newline { node newline }
//! image     = "image" ":" shape [ "letter_box" ]
//! node      = "v" number [ string ] ":" shape "=" operator [ operand { "," operand } ] { attribute }
//! shape     = "[" number "," number "," number "]"        (channels, rows, columns)
//! operand   = "image" | "v" number
//! attribute = key [ "=" value ]
//! value     = number | word | pair | list
//! pair      = number [ "x" number ]                       (rows, columns; one number stands for both)
//! list      = "[" [ value { "," value } ] "]"
//! string    = '"' { character | "\\" | "\"" | "\u{" hex "}" } '"'
//! comment   = ";" to the end of the line; lines may be empty
//! ```
//!
//! Layers are numbered from 0. An attribute at its neutral value is left out; flags have no value. What the
//! output's shape says already (filters, outputs, sizes of a resize or crop) is no attribute. Where a layer
//! was read from is not part of the text: a parsed layer's [`Origin`](crate::Origin) is its line here.
//!
//! [`parse`] of [`dump`] gives the same graph for every graph that [`verify`](crate::verify()) accepts.

mod fields;
mod parse;
mod values;

use std::fmt::Write;

use crate::{Graph, Shape, Source};
use fields::{Fields, visit};
use values::Value;

pub use parse::parse;

/// The whole graph as text.
pub fn dump(graph: &Graph) -> String {
    let mut text = format!("image: {}", shape(graph.input));
    if graph.letter_box {
        text.push_str(" letter_box");
    }
    text.push('\n');
    for (layer, node) in graph.nodes.iter().enumerate() {
        write!(text, "v{layer}").expect("writing to a string");
        if let Some(name) = &node.name {
            text.push(' ');
            quote(name, &mut text);
        }
        write!(text, ": {} = {}", shape(node.shape), node.op.name()).expect("writing to a string");
        for (position, input) in node.inputs.iter().enumerate() {
            text.push_str(if position == 0 { " " } else { ", " });
            match input {
                Source::Image => text.push_str("image"),
                Source::Layer(from) => write!(text, "v{from}").expect("writing to a string"),
            }
        }
        visit(&mut node.op.clone(), node.shape, &mut Writer(&mut text)).expect("writing never fails");
        text.push('\n');
    }
    text
}

fn shape(shape: Shape) -> String {
    format!("[{}, {}, {}]", shape.c, shape.h, shape.w)
}

/// A string in quotes. What does not print, and what leaves the line or the text's direction, is escaped.
fn quote(name: &str, text: &mut String) {
    text.push('"');
    for character in name.chars() {
        match character {
            '"' | '\\' => text.extend(['\\', character]),
            ' '..='~' => text.push(character),
            _ if character.is_alphanumeric() => text.push(character),
            _ => write!(text, "\\u{{{:x}}}", u32::from(character)).expect("writing to a string"),
        }
    }
    text.push('"');
}

/// Appends attributes to a line.
struct Writer<'t>(&'t mut String);

impl Fields for Writer<'_> {
    fn field<T: Value>(
        &mut self,
        key: &'static str,
        value: &mut T,
        neutral: Option<T>,
    ) -> secateur_base::Result<()> {
        if neutral.as_ref() != Some(value) {
            write!(self.0, " {key}=").expect("writing to a string");
            value.write(self.0);
        }
        Ok(())
    }

    fn flag(&mut self, key: &'static str, value: &mut bool) -> secateur_base::Result<()> {
        if *value {
            write!(self.0, " {key}").expect("writing to a string");
        }
        Ok(())
    }
}
