//! The command and its terminal: foreign text is shown and never obeyed, and output that cannot be written neither
//! panics nor stops work.
#![cfg(target_os = "linux")]

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::process::{Command, Output};

use secateur_tests::{TINY_CFG, done, secateur, secateur_path, tiny_project};

/// Colour, title, bell, an 8-bit control sequence and a character that reorders text.
const HOSTILE: &str = "x\x1b[31m\x1b]0;t\x07\u{9b}2J\u{202e}y";

/// Runs a shell line with `secateur` on the path, in `folder`.
fn shell(folder: &Path, line: &str) -> Output {
    let tool = secateur_path().parent().expect("a program lies in a folder");
    let path = format!("{}:{}", tool.display(), std::env::var("PATH").unwrap_or_default());
    let mut bash = Command::new("bash");
    bash.args(["-c", line]).current_dir(folder).env("PATH", path).env("NO_COLOR", "1").output().unwrap()
}

/// The control characters of a text that a terminal would obey.
fn controls(text: &[u8]) -> Vec<char> {
    let text = String::from_utf8_lossy(text);
    let obeyed = |c: &char| (c.is_control() && !"\n\t".contains(*c)) || *c == '\u{202e}';
    text.chars().filter(obeyed).collect()
}

#[track_caller]
fn harmless(folder: &Path, arguments: &[&OsStr], code: i32, shows: &str) -> Output {
    let output = secateur().current_dir(folder).args(arguments).output().unwrap();
    let shown = [output.stdout.clone(), output.stderr.clone()].concat();
    assert_eq!(output.status.code(), Some(code), "{arguments:?}: {}", String::from_utf8_lossy(&shown));
    assert!(controls(&shown).is_empty(), "{arguments:?}: {}", String::from_utf8_lossy(&shown));
    assert!(
        String::from_utf8_lossy(&shown).contains(shows),
        "{arguments:?}: {}",
        String::from_utf8_lossy(&shown)
    );
    output
}

#[test]
fn foreign_text_is_shown_and_not_obeyed() {
    let project = tiny_project();
    let path = project.path();
    let write = |name: &str, text: &str| std::fs::write(path.join(name), text).unwrap();
    write("names", &format!("{HOSTILE}\ndisc\n"));
    done(
        path,
        &["quantize", "net.cfg", "net.weights", "--list", "list.txt", "--names", "names", "-o", "net.int8"],
    );
    done(path, &["compile", "net.int8", "-o", "net.sct"]);

    write("section.cfg", &TINY_CFG.replace("[shortcut]", &format!("[{HOSTILE}]")));
    write("value.cfg", &TINY_CFG.replace("filters=8", &format!("filters={HOSTILE}")));
    write("lost.txt", &format!("pictures/{HOSTILE}.png\n"));
    write("labelled.txt", "other/0.png\n");
    std::fs::create_dir(path.join("other")).unwrap();
    std::fs::copy(path.join("pictures/0.png"), path.join("other/0.png")).unwrap();
    write("other/0.txt", &format!("{HOSTILE} .5 .5 .5 .5\n"));
    write("recipe.toml", &format!("workspace = \"out\"\n[model]\ncfg = {HOSTILE:?}\n"));
    write("tool.toml", "a = 1\nb = \"\x1b[31m\"\n");
    let masks = format!("{{\"format\": \"{HOSTILE}\"}}");
    write("masks.json", &masks);
    let named = path.join(format!("{HOSTILE}.cfg"));
    std::fs::copy(path.join("net.cfg"), &named).unwrap();

    write("main.cfg", &format!("[pruning]\nmodelcfg=net.cfg\n{HOSTILE}=1\nworkspace=x\x1b[31m\n"));

    let labels = ["--list", "list.txt", "--names", "names"];
    let lost = ["map", "net.sct", "--list", "lost.txt", "--names", "names"];
    let labelled = ["map", "net.sct", "--list", "labelled.txt", "--names", "names"];
    let escaped = "x\\u{1b}[31m\\u{1b}]0;t\\u{7}";
    for (arguments, code, shows) in [
        (vec!["info", "net.sct"], 0, escaped),
        (vec!["detect", "net.sct", "pictures/0.png", "--thresh", "0.01"], 0, escaped),
        (vec!["run", "net.sct", "pictures/0.png", "--thresh", "0.01"], 0, escaped),
        ([&["map", "net.sct", "--per-class"], &labels[..]].concat(), 0, escaped),
        (vec!["info", "section.cfg"], 1, "section.cfg"),
        (vec!["info", "value.cfg"], 1, "control character"),
        (lost.to_vec(), 1, escaped),
        (labelled.to_vec(), 1, escaped),
        (vec!["info", HOSTILE], 1, escaped),
        (vec!["stat", "main.cfg"], 0, "is ignored"),
        (vec!["info", named.to_str().unwrap(), "net.weights"], 0, "layers"),
        (vec!["info", named.to_str().unwrap(), "names"], 1, ""),
        (vec!["build", "recipe.toml"], 1, "recipe.toml"),
        (vec!["build", "tool.toml"], 1, "tool.toml"),
        (vec!["compile", "net.int8", "--target", HOSTILE], 1, escaped),
        (vec!["models", "get", HOSTILE], 1, escaped),
        (vec!["transform", "net.cfg", "net.weights", "--masks", "masks.json"], 1, "masks.json"),
        (vec!["info", "--no-such\x1b[31m"], 2, "no-such"),
        (vec!["\x1b[31m"], 2, ""),
    ] {
        let arguments: Vec<&OsStr> = arguments.iter().map(OsStr::new).collect();
        harmless(path, &arguments, code, shows);
    }
    harmless(path, &[OsStr::new("info"), OsStr::from_bytes(b"a\xff\x1b[2J")], 1, "\\u{1b}[2J");

    // JSON stays JSON, and its strings are the names.
    for verb in [
        vec!["detect", "net.sct", "pictures/0.png", "--thresh", "0.01", "--json"],
        [&["map", "net.sct", "--json"], &labels[..]].concat(),
    ] {
        let arguments: Vec<&OsStr> = verb.iter().map(OsStr::new).collect();
        let output = harmless(path, &arguments, 0, "\\u001b[31m");
        let value: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        let name = &value.pointer(if verb[0] == "map" { "/classes/0/name" } else { "/0/objects/0/name" });
        assert!(name.unwrap() == HOSTILE || name.unwrap() == "disc", "{name:?}");
    }
}

#[test]
fn output_that_cannot_be_written_is_an_error_of_its_own() {
    let project = tiny_project();
    for (line, code, says) in [
        // Nobody can be told, but the exit code stays that of the failure.
        ("secateur info nope 2>/dev/full", 1, ""),
        ("secateur info nope 2>&-", 1, ""),
        ("secateur no-such-verb 2>/dev/full", 2, ""),
        ("secateur --help >/dev/full", 1, "No space left"),
        ("secateur models list >/dev/full", 1, "No space left"),
        ("secateur completions bash >/dev/full", 1, "No space left"),
        ("secateur info net.cfg >/dev/full", 1, "No space left"),
        ("secateur stat net.cfg --json >/dev/full", 1, "No space left"),
        ("secateur info net.cfg >/dev/full 2>/dev/full", 1, ""),
        ("secateur info net.cfg >&-", 0, ""),
    ] {
        let output = shell(project.path(), line);
        let error = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{line}: {error}");
        assert!(error.contains(says), "{line}: {error}");
    }
}

#[test]
fn a_reader_that_goes_away_does_not_stop_the_work() {
    let project = tiny_project();
    let map = "secateur map net.cfg net.weights --list list.txt --names names";
    let output = shell(project.path(), &format!("set -o pipefail; {map} --report a.json | true"));
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(output.stderr.is_empty());
    assert!(project.path().join("a.json").exists());
    // Progress and warnings that cannot be written do not, either.
    let output = shell(project.path(), &format!("{map} --report b.json -vv 2>/dev/full"));
    assert_eq!(output.status.code(), Some(0));
    assert!(project.path().join("b.json").exists());
}

#[test]
fn the_number_of_threads_is_bounded() {
    for threads in ["0", "65535", "18446744073709551616", "-1", "x"] {
        let output =
            secateur().arg(format!("--threads={threads}")).args(["models", "list"]).output().unwrap();
        let error = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{threads}: {error}");
        assert!(error.contains("threads are allowed on this machine"), "{threads}: {error}");
    }
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let project = tiny_project();
    let most = (4 * cores).to_string();
    done(project.path(), &["--threads", &most, "detect", "net.cfg", "net.weights", "pictures/0.png"]);
}
