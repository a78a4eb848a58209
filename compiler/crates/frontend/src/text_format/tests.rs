use std::path::Path;

use proptest::prelude::*;

use super::*;

fn parse(text: &str) -> Result<Document> {
    Document::parse(Path::new("net.prototxt"), text.as_bytes().to_vec())
}

#[test]
fn values_of_every_spelling() {
    let text = "a: 1 b: -0x10, c: 017; d: 1.5f e: -inf f: TRAIN g: 'it''s' g: \"\\101\\x42\\n\"\n\
        h { i: t } h < i: 0 > h: { i: true }\nk: [1, 2,3] k: [] k: 4 [an.extension]: 5 # the end";
    let document = parse(text).unwrap();
    let root = document.root();
    assert_eq!(root.integer("a").unwrap(), Some(1));
    assert_eq!(root.integer("b").unwrap(), Some(-16));
    assert_eq!(root.integer("c").unwrap(), Some(15));
    assert_eq!(root.float("d").unwrap(), Some(1.5));
    assert_eq!(root.float("e").unwrap(), Some(f32::NEG_INFINITY));
    assert_eq!(root.text("f").unwrap().as_deref(), Some("TRAIN"));
    assert_eq!(root.texts("g").unwrap(), ["its", "AB\n"]);
    let truths: Vec<_> = root.messages("h").unwrap().iter().map(|h| h.boolean("i").unwrap()).collect();
    assert_eq!(truths, [Some(true), Some(false), Some(true)]);
    assert_eq!(root.integers("k").unwrap(), [1, 2, 3, 4]);
    assert_eq!(root.integer("[an.extension]").unwrap(), Some(5));
    assert_eq!(document.to_bytes(), text.as_bytes());
}

#[test]
fn strings_join_over_lines_and_comments() {
    let document = parse("s: \"a\" # one\n  'b'\nt: 1").unwrap();
    assert_eq!(document.root().text("s").unwrap().as_deref(), Some("ab"));
    assert_eq!(document.root().integer("t").unwrap(), Some(1));
}

#[test]
fn mistakes_name_their_line() {
    for (text, line, word) in [
        ("a: 1\nb", 2, "end of the file"),
        ("a {\n\n", 3, "end of the file"),
        ("a: 1\n}\n", 2, "}"),
        ("a: \"open\nb: 1", 1, "open"),
        ("a: [1 2]", 1, "2"),
        ("a 1", 1, "1"),
    ] {
        let error = parse(text).unwrap_err();
        assert_eq!(error.at_line(), Some(line), "{text}: {error}");
        assert!(error.to_string().contains(word), "{text}: {error}");
    }
    let document = parse("l {\n  n: 1.5\n  s: \"\\q\"\n}").unwrap();
    let layer = document.root().message("l").unwrap().unwrap();
    assert_eq!(layer.integer("n").unwrap_err().at_line(), Some(2));
    assert_eq!(layer.text("s").unwrap_err().at_line(), Some(3));
    assert!(layer.message("n").is_err());
}

#[test]
fn deep_nesting_is_refused() {
    let nested = |depth: usize| format!("{}{}", "a{".repeat(depth), "}".repeat(depth));
    assert!(parse(&nested(MAX_DEPTH)).is_ok());
    assert!(parse(&nested(MAX_DEPTH + 1)).unwrap_err().to_string().contains("too deep"));
    assert!(parse(&"a{".repeat(1 << 20)).is_err());
}

#[test]
fn edits_leave_the_rest_alone() {
    let mut document = parse("layer {\n  n: 64 # wide\n  name: \"a\"\n}\n").unwrap();
    let layer = document.root().message("layer").unwrap().unwrap();
    let width = layer.field("n").unwrap().span.clone();
    document.set_value(width.clone(), "48");
    document.set_value(width.clone(), "32");
    document.insert_after(&width, "group: 2");
    assert_eq!(
        String::from_utf8(document.to_bytes()).unwrap(),
        "layer {\n  n: 32\n  group: 2 # wide\n  name: \"a\"\n}\n"
    );
}

#[derive(Debug, Clone)]
enum Tree {
    Text(Vec<u8>),
    Integer(i64),
    Message(Vec<(String, Tree)>),
}

fn trees() -> impl Strategy<Value = Vec<(String, Tree)>> {
    let leaf = prop_oneof![
        proptest::collection::vec(any::<u8>(), 0..12).prop_map(Tree::Text),
        any::<i64>().prop_map(Tree::Integer),
    ];
    let tree = leaf.prop_recursive(4, 40, 5, |inner| {
        proptest::collection::vec(("[a-z_][a-z0-9_]{0,5}", inner), 0..5).prop_map(Tree::Message)
    });
    proptest::collection::vec(("[a-z_][a-z0-9_]{0,5}", tree), 0..6)
}

fn print(fields: &[(String, Tree)], style: u8, into: &mut String) {
    for (at, (name, tree)) in fields.iter().enumerate() {
        into.push_str(name);
        match tree {
            Tree::Text(bytes) => into.push_str(&format!(": {}", quote(bytes))),
            Tree::Integer(value) => into.push_str(&format!(" : {value}")),
            Tree::Message(inner) => {
                let (open, close) =
                    if (usize::from(style) + at).is_multiple_of(2) { ("{", "}") } else { (": <", ">") };
                into.push_str(open);
                print(inner, style, into);
                into.push_str(close);
            }
        }
        into.push_str([" ", "\n", ", ", "; # a comment }\n"][usize::from(style) % 4]);
    }
}

fn same(fields: &[(String, Tree)], view: View<'_>) -> bool {
    fields.len() == view.fields().len()
        && fields.iter().zip(view.fields()).all(|((name, tree), field)| {
            *name == field.name
                && match tree {
                    Tree::Text(bytes) => view.bytes_of(field).unwrap() == *bytes,
                    Tree::Integer(value) => view.integer_of(field).unwrap() == *value,
                    Tree::Message(inner) => same(inner, view.inner(field).unwrap()),
                }
        })
}

proptest! {
    #[test]
    fn what_is_written_is_read(fields in trees(), style in any::<u8>()) {
        let mut text = String::new();
        print(&fields, style, &mut text);
        let document = parse(&text).unwrap();
        prop_assert!(same(&fields, document.root()));
        prop_assert_eq!(document.to_bytes(), text.as_bytes());
    }

    #[test]
    fn any_bytes_are_read_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        if let Ok(document) = Document::parse(Path::new("f"), bytes.clone()) {
            prop_assert_eq!(document.to_bytes(), bytes);
        }
    }
}
