//! Values of attributes: how each type is written and read.

use std::fmt::Write;

use nom::bytes::complete::{tag, take_while1};
use nom::character::complete::{char, digit1, space0};
use nom::combinator::{map_opt, map_res, opt};
use nom::multi::separated_list0;
use nom::sequence::{delimited, preceded, separated_pair};
use nom::{IResult, Parser};

use crate::{
    Activation, Axis, Coordinates, Divisor, NmsKind, Padding, ResizeKind, ShortcutWeights,
    WeightsNormalization,
};

/// The type of an attribute.
pub(super) trait Value: Sized + PartialEq {
    /// Appends the value.
    fn write(&self, text: &mut String);

    /// Reads the value that `text` begins with.
    fn read(text: &str) -> IResult<&str, Self>;

    /// Describes the allowed values, for messages.
    fn allowed() -> String;
}

/// A decimal number.
pub(super) fn number(text: &str) -> IResult<&str, usize> {
    map_res(digit1, str::parse).parse(text)
}

/// `[` items `]` with commas between.
fn list<'t, T>(
    item: impl Parser<&'t str, Output = T, Error = nom::error::Error<&'t str>>,
) -> impl Parser<&'t str, Output = Vec<T>, Error = nom::error::Error<&'t str>> {
    let comma = (space0, char(','), space0);
    delimited((char('['), space0), separated_list0(comma, item), (space0, char(']')))
}

/// Exactly `N` items.
fn array<'t, T, const N: usize>(
    item: impl Parser<&'t str, Output = T, Error = nom::error::Error<&'t str>>,
) -> impl Parser<&'t str, Output = [T; N], Error = nom::error::Error<&'t str>> {
    map_opt(list(item), |items: Vec<T>| items.try_into().ok())
}

fn write_list<T>(items: &[T], text: &mut String, write: impl Fn(&T, &mut String)) {
    text.push('[');
    for (position, item) in items.iter().enumerate() {
        if position > 0 {
            text.push_str(", ");
        }
        write(item, text);
    }
    text.push(']');
}

fn write_number(number: &usize, text: &mut String) {
    write!(text, "{number}").expect("writing to a string");
}

impl Value for usize {
    fn write(&self, text: &mut String) {
        write_number(self, text);
    }

    fn read(text: &str) -> IResult<&str, Self> {
        number(text)
    }

    fn allowed() -> String {
        "a whole number".to_owned()
    }
}

impl Value for f32 {
    /// The shortest text that reads back as the same number.
    fn write(&self, text: &mut String) {
        write!(text, "{self}").expect("writing to a string");
    }

    fn read(text: &str) -> IResult<&str, Self> {
        let digits = take_while1(|c: char| c.is_ascii_digit() || matches!(c, '.' | '-'));
        map_opt(digits, |digits: &str| digits.parse().ok().filter(|value: &f32| value.is_finite()))
            .parse(text)
    }

    fn allowed() -> String {
        "a number such as 0.5".to_owned()
    }
}

/// Rows and columns.
impl Value for [usize; 2] {
    fn write(&self, text: &mut String) {
        let [rows, columns] = self;
        write_number(rows, text);
        if rows != columns {
            text.push('x');
            write_number(columns, text);
        }
    }

    fn read(text: &str) -> IResult<&str, Self> {
        let (rest, rows) = number(text)?;
        let (rest, columns) = opt(preceded(char('x'), number)).parse(rest)?;
        Ok((rest, [rows, columns.unwrap_or(rows)]))
    }

    fn allowed() -> String {
        "ROWSxCOLUMNS, or one number for both".to_owned()
    }
}

impl Value for Padding {
    fn write(&self, text: &mut String) {
        match self.uniform() {
            Some(pad) => write_number(&pad, text),
            None => write_list(&[self.top, self.left, self.bottom, self.right], text, write_number),
        }
    }

    fn read(text: &str) -> IResult<&str, Self> {
        let sides = array(number).map(|[top, left, bottom, right]| Self { top, left, bottom, right });
        number.map(Self::all).or(sides).parse(text)
    }

    fn allowed() -> String {
        "[TOP, LEFT, BOTTOM, RIGHT], or one number for all".to_owned()
    }
}

impl Value for Vec<usize> {
    fn write(&self, text: &mut String) {
        write_list(self, text, write_number);
    }

    fn read(text: &str) -> IResult<&str, Self> {
        list(number).parse(text)
    }

    fn allowed() -> String {
        "whole numbers in brackets".to_owned()
    }
}

/// Width and height of anchors.
impl Value for Vec<(f32, f32)> {
    fn write(&self, text: &mut String) {
        write_list(self, text, |(width, height), text| {
            write!(text, "{width}x{height}").expect("writing to a string");
        });
    }

    fn read(text: &str) -> IResult<&str, Self> {
        list(separated_pair(f32::read, char('x'), f32::read)).parse(text)
    }

    fn allowed() -> String {
        "WIDTHxHEIGHT pairs in brackets".to_owned()
    }
}

impl Value for [Axis; 3] {
    fn write(&self, text: &mut String) {
        write_list(self, text, Axis::write);
    }

    fn read(text: &str) -> IResult<&str, Self> {
        array(Axis::read).parse(text)
    }

    fn allowed() -> String {
        format!("three of {} in brackets", Axis::allowed())
    }
}

impl<T: Value> Value for Option<T> {
    /// Nothing, where there is no value: it is then the neutral one.
    fn write(&self, text: &mut String) {
        if let Some(value) = self {
            value.write(text);
        }
    }

    fn read(text: &str) -> IResult<&str, Self> {
        T::read.map(Some).parse(text)
    }

    fn allowed() -> String {
        T::allowed()
    }
}

/// An enumeration whose variants have names.
trait Named: Copy + PartialEq + 'static {
    fn names() -> Vec<(&'static str, Self)>;
}

impl<T: Named> Value for T {
    fn write(&self, text: &mut String) {
        let names = T::names();
        let (name, _) = names.iter().find(|(_, value)| value == self).expect("every variant has a name");
        text.push_str(name);
    }

    fn read(text: &str) -> IResult<&str, Self> {
        let word = take_while1(|c: char| c.is_ascii_alphanumeric() || c == '_');
        let find = |word: &str| T::names().into_iter().find(|(name, _)| *name == word);
        map_opt(word, find).map(|(_, value)| value).parse(text)
    }

    fn allowed() -> String {
        T::names().iter().map(|(name, _)| *name).collect::<Vec<_>>().join(", ")
    }
}

macro_rules! named {
    ($type:ident: $($name:literal $variant:ident),+) => {
        impl Named for $type {
            fn names() -> Vec<(&'static str, Self)> {
                vec![$(($name, Self::$variant)),+]
            }
        }
    };
}

named!(Axis: "channels" Channels, "rows" Rows, "columns" Columns);
named!(Coordinates: "asymmetric" Asymmetric, "half_pixel" HalfPixel, "align_corners" AlignCorners);
named!(Divisor: "inside" Inside, "padded" Padded);
named!(NmsKind: "default" Default, "greedynms" Greedy, "diounms" Diou, "cornersnms" Corners);
named!(ResizeKind: "nearest" Nearest, "bilinear" Bilinear);
named!(ShortcutWeights: "none" None, "per_feature" PerFeature, "per_channel" PerChannel);
named!(WeightsNormalization: "none" None, "relu" Relu, "softmax" Softmax);

impl Named for Activation {
    fn names() -> Vec<(&'static str, Self)> {
        Self::ALL.map(|activation| (activation.name(), activation)).into()
    }
}

/// A name in quotes with its escapes undone.
pub(super) fn string(text: &str) -> IResult<&str, String> {
    let escape = preceded(
        char('\\'),
        char('"').or(char('\\')).or(map_opt(
            delimited(tag("u{"), take_while1(|c: char| c.is_ascii_hexdigit()), char('}')),
            |hex: &str| u32::from_str_radix(hex, 16).ok().and_then(char::from_u32),
        )),
    );
    let plain = nom::character::complete::none_of("\"\\\n");
    delimited(
        char('"'),
        nom::multi::fold(0.., escape.or(plain), String::new, |mut name, character| {
            name.push(character);
            name
        }),
        char('"'),
    )
    .parse(text)
}
