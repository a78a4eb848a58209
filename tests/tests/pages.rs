//! The pages agree with the repository: links lead somewhere, and paths in backticks exist.

use std::collections::{HashMap, HashSet};
use std::path::{Component, Path, PathBuf};
use std::process::Command;

use secateur_tests::root;

/// Every file of the repository, by its path from the root.
fn repository() -> Vec<String> {
    let listed = Command::new("git").arg("ls-files").current_dir(root()).output().expect("git runs");
    assert!(listed.status.success(), "the tests run in a clone");
    String::from_utf8(listed.stdout).unwrap().lines().map(str::to_owned).collect()
}

/// The page without its blocks of code.
fn prose(text: &str) -> String {
    text.split("```").step_by(2).collect()
}

/// The anchor that renderers give a heading: lower case, no punctuation, hyphens for spaces.
fn anchor(heading: &str) -> String {
    let kept = heading.trim().chars().filter(|&c| c.is_alphanumeric() || matches!(c, '-' | '_' | ' '));
    kept.flat_map(char::to_lowercase).map(|c| if c == ' ' { '-' } else { c }).collect()
}

fn anchors(text: &str) -> HashSet<String> {
    let prose = prose(text);
    prose
        .lines()
        .filter_map(|line| line.strip_prefix('#'))
        .map(|rest| anchor(rest.trim_start_matches('#')))
        .collect()
}

/// What stands between `open` and the next `close`, all over the text.
fn between<'t>(text: &'t str, open: &str, close: char) -> Vec<&'t str> {
    text.split(open).skip(1).filter_map(|rest| rest.split_once(close)).map(|(inner, _)| inner).collect()
}

/// `path` relative to the folder of `page`, without `.` and `..`.
fn resolved(page: &str, path: &str) -> String {
    let mut parts: Vec<String> = Vec::new();
    for part in PathBuf::from(page).parent().unwrap().join(path).components() {
        match part {
            Component::ParentDir => drop(parts.pop()),
            Component::Normal(name) => parts.push(name.to_string_lossy().into_owned()),
            _ => {}
        }
    }
    parts.join("/")
}

#[test]
fn links_and_anchors_lead_somewhere() {
    let files = repository();
    let pages: HashMap<&String, String> = files
        .iter()
        .filter(|file| file.ends_with(".md"))
        .map(|file| (file, std::fs::read_to_string(root().join(file)).unwrap()))
        .collect();
    let anchors: HashMap<&String, HashSet<String>> =
        pages.iter().map(|(page, text)| (*page, anchors(text))).collect();
    let mut broken = Vec::new();
    let mut links = 0;
    for (page, text) in &pages {
        for link in between(&prose(text), "](", ')').iter().filter(|link| !link.contains("://")) {
            links += 1;
            let (path, anchor) = link.split_once('#').unwrap_or((link, ""));
            let target = if path.is_empty() { (*page).clone() } else { resolved(page, path) };
            let known = anchors.get(&target).is_none_or(|known| anchor.is_empty() || known.contains(anchor));
            if !root().join(&target).exists() || !known {
                broken.push(format!("{page}: {link}"));
            }
        }
    }
    assert!(links > 50, "{links} links: the test looks at nothing");
    assert!(broken.is_empty(), "broken links:\n{}", broken.join("\n"));
}

/// A path in backticks with a known folder or ending is a file or folder, from the root or as the end of a path.
#[test]
fn paths_in_backticks_exist() {
    const FOLDERS: [&str; 7] = ["compiler/", "runtime-nostd/", "hw/", "tests/", "fuzz/", "configs/", "docs/"];
    const ENDINGS: [&str; 4] = [".rs", ".sv", ".py", ".md"];
    let files = repository();
    let mut missing = Vec::new();
    let mut paths = 0;
    for page in files.iter().filter(|file| file.ends_with(".md") && *file != "CHANGELOG.md") {
        let text = prose(&std::fs::read_to_string(root().join(page)).unwrap());
        for code in text.split('`').skip(1).step_by(2) {
            let plain = code.chars().all(|c| c.is_ascii_alphanumeric() || "./_-".contains(c));
            let named = FOLDERS.iter().any(|folder| code.starts_with(folder))
                || ENDINGS.iter().any(|ending| code.ends_with(ending) && code.len() > ending.len());
            // Placeholders, and what commands write.
            let example = code.contains("NAME") || code.contains("TARGET") || code.starts_with("out/");
            if !plain || !named || example {
                continue;
            }
            paths += 1;
            let path = code.trim_end_matches('/');
            let found = root().join(path).exists()
                || files
                    .iter()
                    .any(|file| Path::new(file).ends_with(path) || file.contains(&format!("/{path}/")));
            if !found {
                missing.push(format!("{page}: {code}"));
            }
        }
    }
    assert!(paths > 50, "{paths} paths: the test looks at nothing");
    assert!(missing.is_empty(), "no such files:\n{}", missing.join("\n"));
}
