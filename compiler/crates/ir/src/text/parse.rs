//! Text into a graph.

use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use nom::bytes::complete::{tag, take_while1};
use nom::character::complete::{char, space0};
use nom::combinator::{opt, recognize};
use nom::multi::separated_list0;
use nom::sequence::{delimited, preceded, terminated};
use nom::{IResult, Parser};
use secateur_base::{Error, Result, files};

use super::fields::{Fields, OPERATORS, neutral, visit};
use super::values::{Value, number, string};
use crate::{Graph, Node, Origin, Shape, Source, verify};

/// Reads the text that [`dump`](super::dump) writes; `path` is for messages and the layers' origins.
///
/// # Errors
/// Text that does not follow the grammar, unknown operators and attributes, with line and column; graphs that
/// [`verify`](crate::verify()) refuses, with line and layer.
pub fn parse(path: &Path, text: &str) -> Result<Graph> {
    let file: Arc<Path> = path.into();
    let mut graph: Option<Graph> = None;
    let mut start = 0;
    for (index, raw) in text.split_inclusive('\n').enumerate() {
        let line = Line { path, text, start };
        start += raw.len();
        let content = without_comment(raw.strip_suffix('\n').unwrap_or(raw)).trim_end();
        if content.trim_start().is_empty() {
            continue;
        }
        match &mut graph {
            None => graph = Some(line.image(content)?),
            Some(graph) => {
                let mut node = line.node(content, graph)?;
                node.origin = Origin { file: Some(Arc::clone(&file)), line: Some(index + 1), layer: None };
                graph.nodes.push(node);
            }
        }
    }
    let graph = graph.ok_or_else(|| {
        Error::new("a graph's text begins with its image").file(path).allowed("image: [3, 416, 416]")
    })?;
    verify(&graph).map_err(|error| error.file(path))?;
    Ok(graph)
}

/// The line up to a `;` that no string holds.
fn without_comment(line: &str) -> &str {
    let (mut quoted, mut escaped) = (false, false);
    let end = line.find(|character: char| {
        let ends = character == ';' && !quoted;
        quoted ^= character == '"' && !escaped;
        escaped = character == '\\' && !escaped;
        ends
    });
    &line[..end.unwrap_or(line.len())]
}

/// One line, for errors that point into it.
struct Line<'t> {
    path: &'t Path,
    text: &'t str,
    start: usize,
}

/// An attribute and its position in the line.
struct Attribute<'t> {
    key: &'t str,
    /// Empty for a flag.
    value: &'t str,
    span: Range<usize>,
    used: bool,
}

impl<'t> Line<'t> {
    fn error(&self, span: Range<usize>, what: impl Into<String>) -> Error {
        files::at(self.path, self.text, self.start + span.start..self.start + span.end, what)
    }

    /// Applies `parser` to `rest`, a tail of `line`; returns its result and the rest without leading blanks.
    fn expect<T>(
        &self,
        line: &'t str,
        rest: &'t str,
        allowed: &str,
        mut parser: impl Parser<&'t str, Output = T, Error = nom::error::Error<&'t str>>,
    ) -> Result<(&'t str, T)> {
        parser.parse(rest).map(|(rest, found)| (rest.trim_start(), found)).map_err(|_| {
            let at = line.len() - rest.len();
            let end = rest.find(' ').map_or(line.len(), |blank| at + blank);
            self.error(at..end.max(at), "this is not what the grammar has here").allowed(allowed)
        })
    }

    fn image(&self, line: &'t str) -> Result<Graph> {
        let head = (space0, tag("image"), space0, char(':'), space0);
        let (rest, input) =
            self.expect(line, line, "image: [CHANNELS, ROWS, COLUMNS]", preceded(head, shape))?;
        let (rest, letter_box) = self.expect(line, rest, "letter_box", opt(tag("letter_box")))?;
        if !rest.is_empty() {
            let at = line.len() - rest.len();
            return Err(self.error(at..line.len(), "unknown attribute of the image").allowed("letter_box"));
        }
        Ok(Graph { input, nodes: Vec::new(), letter_box: letter_box.is_some() })
    }

    fn node(&self, line: &'t str, graph: &Graph) -> Result<Node> {
        let rest = line.trim_start();
        let expected = format!("v{}", graph.nodes.len());
        let (rest, _) = self.expect(line, rest, &expected, tag(&expected[..]))?;
        let (rest, name) = self.expect(line, rest, "a name in quotes", opt(string))?;
        let (rest, _) = self.expect(line, rest, ":", char(':'))?;
        let (rest, shape) = self.expect(line, rest, "[CHANNELS, ROWS, COLUMNS]", shape)?;
        let (rest, _) = self.expect(line, rest, "=", char('='))?;
        let at = line.len() - rest.len();
        let (rest, operator) = self.expect(line, rest, "an operator's name", word)?;
        let mut op = neutral(operator, shape).ok_or_else(|| {
            self.error(at..at + operator.len(), "unknown operator").allowed(OPERATORS.join(", "))
        })?;
        let comma = (space0, char(','), space0);
        let (rest, inputs) =
            self.expect(line, rest, "operands such as image or v0", separated_list0(comma, operand))?;
        let mut attributes = Attributes { line: self, list: self.attributes(line, rest)?, known: Vec::new() };
        visit(&mut op, shape, &mut attributes).map_err(|error| error.section(operator))?;
        attributes.finish().map_err(|error| error.section(operator))?;
        Ok(Node { name, ..Node::new(op, inputs, shape) })
    }

    fn attributes(&self, line: &'t str, mut rest: &'t str) -> Result<Vec<Attribute<'t>>> {
        let mut list: Vec<Attribute<'t>> = Vec::new();
        let bracket = || recognize((char('['), take_while0(|c| c != ']'), char(']')));
        while !rest.is_empty() {
            let at = line.len() - rest.len();
            let value = bracket().or(take_while1(|c: char| !c.is_whitespace()));
            let pair = (word, opt(preceded((space0, char('='), space0), value)));
            let (after, (key, value)) = self.expect(line, rest, "KEY or KEY=VALUE", pair)?;
            let span = at..line.len() - after.len();
            if list.iter().any(|attribute| attribute.key == key) {
                return Err(self.error(span, "the attribute is given twice"));
            }
            list.push(Attribute { key, value: value.unwrap_or_default(), span, used: false });
            rest = after;
        }
        Ok(list)
    }
}

fn take_while0<'t>(
    condition: impl Fn(char) -> bool,
) -> impl Parser<&'t str, Output = &'t str, Error = nom::error::Error<&'t str>> {
    nom::bytes::complete::take_while(condition)
}

fn word(text: &str) -> IResult<&str, &str> {
    take_while1(|c: char| c.is_ascii_alphanumeric() || c == '_').parse(text)
}

fn shape(text: &str) -> IResult<&str, Shape> {
    let item = |after| terminated(delimited(space0, number, space0), char(after));
    let (rest, (_, c, h, w)) = (char('['), item(','), item(','), item(']')).parse(text)?;
    Ok((rest, Shape::new(c, h, w)))
}

fn operand(text: &str) -> IResult<&str, Source> {
    // A key may begin like an operand: only a whole word is one.
    let (rest, found) = word(text)?;
    let layer = found.strip_prefix('v').and_then(|digits| digits.parse().ok()).map(Source::Layer);
    match layer.or((found == "image").then_some(Source::Image)) {
        Some(source) => Ok((rest, source)),
        None => Err(nom::Err::Error(nom::error::make_error(text, nom::error::ErrorKind::Tag))),
    }
}

/// Sets an operator's attributes from a line.
struct Attributes<'l, 't> {
    line: &'l Line<'t>,
    list: Vec<Attribute<'t>>,
    known: Vec<&'static str>,
}

impl Attributes<'_, '_> {
    /// Refuses what no attribute of the operator has taken.
    fn finish(self) -> Result<()> {
        match self.list.iter().find(|attribute| !attribute.used) {
            Some(unknown) => {
                let allowed = if self.known.is_empty() { "none".to_owned() } else { self.known.join(", ") };
                Err(self.line.error(unknown.span.clone(), "unknown attribute").allowed(allowed))
            }
            None => Ok(()),
        }
    }

    fn take(&mut self, key: &'static str) -> Option<&Attribute<'_>> {
        self.known.push(key);
        let attribute = self.list.iter_mut().find(|attribute| attribute.key == key)?;
        attribute.used = true;
        Some(attribute)
    }
}

impl Fields for Attributes<'_, '_> {
    fn field<T: Value>(&mut self, key: &'static str, value: &mut T, neutral: Option<T>) -> Result<()> {
        let line = self.line;
        match self.take(key) {
            Some(attribute) => match T::read(attribute.value) {
                Ok(("", read)) => *value = read,
                _ => {
                    let error = line.error(attribute.span.clone(), format!("{key} has no such value"));
                    return Err(error.allowed(T::allowed()));
                }
            },
            None => {
                let whole = 0..0;
                *value = neutral
                    .ok_or_else(|| line.error(whole, format!("{key}= is missing")).allowed(T::allowed()))?;
            }
        }
        Ok(())
    }

    fn flag(&mut self, key: &'static str, value: &mut bool) -> Result<()> {
        let line = self.line;
        match self.take(key) {
            Some(attribute) if !attribute.value.is_empty() => {
                Err(line.error(attribute.span.clone(), format!("{key} is a flag without a value")))
            }
            attribute => {
                *value = attribute.is_some();
                Ok(())
            }
        }
    }
}
