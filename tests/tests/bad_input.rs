//! Mistakes in what the user brings: a clear error, exit code 1, no panic, bounded memory, nothing written.

use std::path::Path;

use secateur_tests::{TINY_CFG, secateur, secateur_path, tiny_project, tiny_weights};

/// Runs the command in `folder`; it must fail with code 1 and an error that says all of `says`.
#[track_caller]
pub(crate) fn refused(folder: &Path, arguments: &[&str], says: &[&str]) {
    let output = secateur().current_dir(folder).args(arguments).output().unwrap();
    let error = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{arguments:?}: {error}");
    assert!(!error.contains("panicked"), "{arguments:?}: {error}");
    // The message may be wrapped for the terminal.
    let flat = error.split(|c: char| c.is_whitespace() || c == '│').filter(|w| !w.is_empty());
    let flat = flat.collect::<Vec<_>>().join(" ");
    for text in says {
        assert!(flat.contains(text), "{arguments:?} does not say {text:?}: {error}");
    }
}

/// The line of `text` in the tiny cfg, 1-based.
fn line_of(cfg: &str, text: &str) -> usize {
    cfg.lines().position(|line| line.contains(text)).expect("the text is there") + 1
}

/// The line of the header of the section that `text` stands in, 1-based.
fn header_above(cfg: &str, text: &str) -> usize {
    let lines: Vec<_> = cfg.lines().take(line_of(cfg, text)).collect();
    lines.iter().rposition(|line| line.starts_with('[')).expect("the cfg begins with a header") + 1
}

#[test]
fn a_wrong_cfg_is_refused_at_its_line() {
    let project = tiny_project();
    let cases = [
        ("[shortcut]", "[shortcat]", "[shortcat]", "shortcat"),
        ("filters=12", "", "[convolutional]", "filters"),
        ("filters=12", "filters=0", "filters=0", "filters"),
        ("filters=12", "filters=-12", "filters=-12", "filters"),
        ("filters=12", "filters=1099511627776", "filters=1099511627776", "filters"),
        ("filters=12", "filters=twelve", "filters=twelve", "twelve"),
        ("width=32", "width=0", "width=0", "width"),
        ("width=32", "width=-32", "width=-32", "width"),
        ("width=32", "width=99999999999", "width=99999999999", "width"),
        ("size=3", "size=4000000000", "size=4000000000", "size"),
        ("stride=2", "stride=0", "stride=0", "stride"),
        ("groups=8", "groups=3", "[convolutional]", "groups"),
        ("from=-3", "from=9", "from=9", "layer 3"),
        ("from=-3", "from=-30", "from=-30", "layer 3"),
        ("from=-3", "from=3", "from=3", "layer 3"),
        ("from=-3", "", "[shortcut]", "from"),
        ("mask=0,1", "mask=0,7", "mask=0,7", "layer 5"),
        ("anchors=4,4, 12,12, 20,20", "anchors=4,4, 12", "anchors=4,4, 12", "anchors"),
        ("classes=2", "classes=3", "[yolo]", "layer 5"),
    ];
    for (from, to, at, says) in cases {
        let cfg = TINY_CFG.replacen(from, to, 1);
        std::fs::write(project.path().join("bad.cfg"), &cfg).unwrap();
        // An error about several keys, or one that is missing, stands at its section's header.
        let line = match at.starts_with('[') {
            true => header_above(TINY_CFG, from),
            false => line_of(&cfg, at),
        };
        for verb in ["info", "stat"] {
            refused(project.path(), &[verb, "bad.cfg"], &[&format!("bad.cfg:{line}"), says]);
        }
    }
}

#[test]
fn a_cfg_that_is_no_cfg_is_refused() {
    let project = tiny_project();
    let mut not_utf8 = TINY_CFG.as_bytes().to_vec();
    let place = TINY_CFG.find("linear").unwrap();
    not_utf8[place] = 0xff;
    let weights = tiny_weights();
    let cases: [(&str, &[u8]); 7] = [
        ("empty.cfg", b""),
        ("blank.cfg", b"\n \n# nothing\n"),
        ("headless.cfg", b"filters=3\n"),
        ("no-net.cfg", b"[convolutional]\nfilters=3\n"),
        ("unclosed.cfg", b"[net\nwidth=3\n"),
        ("bytes.cfg", &weights),
        ("latin1.cfg", &not_utf8),
    ];
    for (name, bytes) in cases {
        std::fs::write(project.path().join(name), bytes).unwrap();
        refused(project.path(), &["info", name], &[name]);
    }
    refused(project.path(), &["info", "pictures"], &["pictures"]);
}

#[test]
fn weights_that_do_not_fit_are_refused_with_the_layer() {
    let project = tiny_project();
    let good = tiny_weights();
    let write = |bytes: &[u8]| std::fs::write(project.path().join("bad.weights"), bytes).unwrap();
    let all = good.len();
    // Cut everywhere in the header, at and around the layers' borders, and just before the end.
    for cut in (0..24).chain([20 + 8 * 4, 20 + 32 * 4 + 100, all / 2, all - 4, all - 1]) {
        write(&good[..cut]);
        refused(project.path(), &["info", "net.cfg", "bad.weights"], &["bad.weights"]);
    }
    write(&good[..all - 4]);
    refused(project.path(), &["info", "net.cfg", "bad.weights"], &["layer 4"]);
    for extra in [1, 4, 1000] {
        let mut long = good.clone();
        long.resize(all + extra, 0);
        write(&long);
        refused(project.path(), &["info", "net.cfg", "bad.weights"], &["bad.weights"]);
    }
    secateur().current_dir(project.path()).args(["info", "net.cfg", "net.weights"]).assert().success();
}

#[test]
fn lists_images_and_labels_that_are_none_are_refused() {
    let project = tiny_project();
    let path = project.path();
    let map = ["map", "net.cfg", "net.weights", "--names", "names", "--list"];
    let with = |list: &'static str| [&map[..], &[list]].concat();
    secateur().current_dir(path).args(with("list.txt")).assert().success();

    std::fs::write(path.join("empty.txt"), "").unwrap();
    refused(path, &with("empty.txt"), &["empty.txt"]);
    std::fs::write(path.join("blank.txt"), "\n\n").unwrap();
    refused(path, &with("blank.txt"), &["blank.txt"]);
    std::fs::write(path.join("gone.txt"), "pictures/0.png\nimages/none.png\n").unwrap();
    refused(path, &with("gone.txt"), &["none.png"]);
    refused(path, &with("no-such-list.txt"), &["no-such-list.txt"]);

    std::fs::write(path.join("fake.png"), "this is text").unwrap();
    std::fs::write(path.join("fake.txt"), "0 0.5 0.5 0.1 0.1\n").unwrap();
    std::fs::write(path.join("fake-list.txt"), "fake.png\n").unwrap();
    refused(path, &with("fake-list.txt"), &["fake.png"]);
    refused(path, &["detect", "net.cfg", "net.weights", "fake.png"], &["fake.png"]);
    let png = std::fs::read(path.join("pictures/0.png")).unwrap();
    std::fs::write(path.join("cut.png"), &png[..png.len() / 2]).unwrap();
    refused(path, &["detect", "net.cfg", "net.weights", "cut.png"], &["cut.png"]);

    for label in [
        "0 nan 0.5 0.1 0.1",
        "0 0.5 inf 0.1 0.1",
        "2 0.5 0.5 0.1 0.1",
        "-1 0.5 0.5 0.1 0.1",
        "0 0.5 0.5 0.1",
        "zero 0.5 0.5 0.1 0.1",
    ] {
        std::fs::write(path.join("pictures/3.txt"), format!("1 0.5 0.5 0.2 0.2\n{label}\n")).unwrap();
        refused(path, &with("list.txt"), &["3.txt:2"]);
    }
}

/// 200 MB that compress to nothing and mean nothing, as every kind of input, in 600 MB of address space.
#[cfg(target_os = "linux")]
#[test]
fn garbage_of_200_mb_is_refused_in_bounded_memory() {
    use std::io::Write;
    let project = tiny_project();
    let path = project.path();
    let mut block = vec![0u8; 1 << 20];
    let mut state = 1u64;
    for byte in &mut block {
        state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        *byte = (state >> 56) as u8;
    }
    for name in ["garbage", "garbage.sct", "garbage.png", "garbage.jpg", "garbage.toml"] {
        let mut file = std::fs::File::create(path.join(name)).unwrap();
        for _ in 0..200 {
            file.write_all(&block).unwrap();
        }
    }
    let tool = secateur_path().display();
    for arguments in [
        "info garbage",
        "stat garbage",
        "info net.cfg garbage",
        "info garbage.sct",
        "map net.cfg net.weights --names names --list garbage",
        "map net.cfg net.weights --list list.txt --names garbage",
        "map net.cfg net.weights --data garbage",
        "map garbage.sct --list list.txt --names names",
        "detect net.cfg net.weights garbage.png",
        "detect net.cfg net.weights garbage.jpg",
        "detect garbage.sct pictures/0.png",
        "run garbage.sct pictures/0.png",
        "compile garbage --target host -o out.sct",
        "quantize net.cfg garbage --list list.txt -o out",
        "build garbage.toml",
    ] {
        let script = format!("ulimit -v 600000; exec {tool} --threads 2 {arguments}");
        let output = std::process::Command::new("bash")
            .args(["-c", &script])
            .current_dir(path)
            .env("NO_COLOR", "1")
            .output()
            .unwrap();
        let error = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{arguments}: {error}");
        assert!(error.contains("garbage"), "{arguments}: {error}");
        assert!(!error.contains("panicked") && error.len() < 4000, "{arguments}: {error}");
    }
    assert!(!path.join("out.sct").exists() && !path.join("out").exists());
}
