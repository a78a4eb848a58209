//! Artefacts on the command line: from an int8 network to detections, and what damaged ones lead to.

use std::path::Path;

use secateur_tests::{compiled_project, done, secateur};

/// Runs the command in `folder`; it must fail with code 1, say `says` and leave nothing new behind.
#[track_caller]
fn refused(folder: &Path, arguments: &[&str], says: &str) {
    let files = || std::fs::read_dir(folder).unwrap().count();
    let before = files();
    let output = secateur().current_dir(folder).args(arguments).output().unwrap();
    let error = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{arguments:?}: {error}");
    assert!(!error.contains("panicked"), "{arguments:?}: {error}");
    let flat: Vec<&str> =
        error.split(|c: char| c.is_whitespace() || c == '│').filter(|word| !word.is_empty()).collect();
    assert!(flat.join(" ").contains(says), "{arguments:?} does not say {says:?}: {error}");
    assert_eq!(before, files(), "{arguments:?} left files");
}

#[test]
fn an_artefact_is_described_run_dumped_and_measured() {
    let project = compiled_project("host");
    let folder = project.path();
    let manifest: serde_json::Value =
        serde_json::from_slice(&std::fs::read(folder.join("net.sct.json")).unwrap()).unwrap();
    let bytes = std::fs::metadata(folder.join("net.sct")).unwrap().len();
    assert_eq!(manifest["artefact"]["bytes"], bytes);
    assert_eq!(manifest["layers"].as_array().unwrap().len(), 6);
    // 16 × 16 × (8·27 + 8·9 + 12·8 + 14·12)
    assert_eq!(manifest["macs"], 256 * (216 + 72 + 96 + 168));
    let arena = manifest["arena"]["bytes"].as_u64().unwrap();

    let info = done(folder, &["info", "net.sct"]);
    assert!(info.contains(&format!("arena {arena} bytes")), "{info}");
    assert!(info.contains("square, disc"), "{info}");
    let run = done(folder, &["run", "net.sct", "pictures/0.png", "-v"]);
    assert!(run.contains(&format!("arena {arena} bytes")) && run.contains("depthwise"), "{run}");
    done(folder, &["detect", "net.sct", "pictures/0.png", "--out", "drawn"]);
    assert!(folder.join("drawn/0.png").exists());
    let map = done(folder, &["map", "net.sct", "--list", "list.txt", "--names", "names"]);
    assert!(map.contains("mAP@0.50"), "{map}");

    // The float network and its artefact under the same names, layer by layer close to each other.
    let quantize = ["quantize", "net.cfg", "net.weights", "--list", "list.txt", "--no-equalize"];
    done(folder, &[&quantize[..], &["-o", "plain.int8"]].concat());
    done(folder, &["compile", "plain.int8"]);
    done(folder, &["dump", "net.cfg", "net.weights", "pictures/0.png", "-o", "float"]);
    done(folder, &["dump", "plain.sct", "float/input.npy", "-o", "int8"]);
    let index = |of: &str| -> serde_json::Value {
        serde_json::from_slice(&std::fs::read(folder.join(of).join("index.json")).unwrap()).unwrap()
    };
    let (float, int8) = (index("float"), index("int8"));
    let layers = |index: &serde_json::Value| index["layers"].as_array().unwrap().clone();
    assert_eq!(layers(&float).len(), 7);
    for (float, int8) in layers(&float).iter().zip(&layers(&int8)) {
        assert_eq!((&float["file"], &float["shape"]), (&int8["file"], &int8["shape"]));
        assert!(folder.join("int8").join(int8["file"].as_str().unwrap()).exists());
        // A head's output is decoded in float and not in the artefact.
        if float["operator"] != "yolo" {
            let difference = float["mean"].as_f64().unwrap() - int8["mean"].as_f64().unwrap();
            let range = float["max"].as_f64().unwrap() - float["min"].as_f64().unwrap();
            assert!(difference.abs() < 0.02 * range, "{float} {int8}");
        }
    }
}

/// A train list may be long: calibration keeps its images in memory.
#[test]
fn calibration_takes_some_images_of_a_long_list() {
    let project = compiled_project("host");
    let folder = project.path();
    let list = std::fs::read_to_string(folder.join("list.txt")).unwrap();
    let lines: Vec<&str> = list.lines().collect();
    let count = lines.len();
    let write = |name: &str, lines: &[&str]| std::fs::write(folder.join(name), lines.join("\n")).unwrap();
    let quantize = |list: &str, options: &[&str], output: &str| {
        let arguments = ["quantize", "net.cfg", "net.weights", "--list", list, "-o", output];
        done(folder, &[&arguments[..], options].concat())
    };
    assert!(!quantize("list.txt", &[], "all.int8").contains("calibrating on"));
    let said = quantize("list.txt", &["--images", "2"], "two.int8");
    assert!(said.contains(&format!("calibrating on 2 of {count} images")), "{said}");
    write("half.txt", &[lines[0], lines[count / 2]]);
    quantize("half.txt", &[], "half.int8");
    let read = |name: &str| std::fs::read(folder.join(name)).unwrap();
    assert!(read("two.int8") == read("half.int8") && read("two.int8") != read("all.int8"));
    let long: Vec<&str> = lines.iter().copied().cycle().take(129).collect();
    write("long.txt", &long);
    let said = quantize("long.txt", &[], "long.int8");
    assert!(said.contains("calibrating on 128 of 129 images"), "{said}");
}

#[test]
fn int8_verbs_do_not_overwrite_their_inputs() {
    let project = compiled_project("host");
    let folder = project.path();
    let quantize = ["quantize", "net.cfg", "net.weights", "--list", "list.txt", "-o"];
    refused(folder, &[&quantize[..], &["net.weights"]].concat(), "would overwrite an input");
    refused(
        folder,
        &[&quantize[..], &["new.int8", "--report", "list.txt"]].concat(),
        "would overwrite an input",
    );
    refused(folder, &["compile", "net.int8", "-o", "net.int8"], "would overwrite an input");
}

#[test]
fn split_channels_cost_what_was_allowed() {
    let project = compiled_project("host");
    let folder = project.path();
    let manifest = |name: &str| -> serde_json::Value {
        serde_json::from_slice(&std::fs::read(folder.join(name)).unwrap()).unwrap()
    };
    let whole = manifest("net.sct.json")["macs"].as_u64().unwrap();
    let quantize = ["quantize", "net.cfg", "net.weights", "--list", "list.txt", "-o", "twice.int8"];
    done(folder, &[&quantize[..], &["--split", "40"]].concat());
    done(folder, &["compile", "twice.int8", "--target", "npu-8x16"]);
    let macs = manifest("twice.sct.json")["macs"].as_u64().unwrap();
    assert!(macs > whole && macs * 10 <= whole * 14, "{macs} of {whole}");
    done(folder, &["detect", "twice.sct", "pictures/0.png", "--out", "drawn"]);
    let output = secateur().current_dir(folder).args([&quantize[..], &["--split", "301"]].concat()).output();
    assert_eq!(output.unwrap().status.code(), Some(2));
}

#[test]
fn the_same_network_gives_the_same_bytes() {
    let project = compiled_project("host");
    let folder = project.path();
    for threads in ["1", "2"] {
        done(folder, &["--threads", threads, "compile", "net.int8", "-o", "again.sct"]);
        for ending in ["", ".json"] {
            let read = |name: &str| std::fs::read(folder.join(format!("{name}{ending}"))).unwrap();
            assert!(read("net.sct") == read("again.sct"), "{threads} threads, {ending}");
        }
    }
    let text = done(folder, &["compile", "net.int8", "--dump-after", "views", "--dump-after", "place"]);
    assert!(text.contains("; after views") && text.contains("; after place"), "{text}");
}

#[test]
fn an_accelerator_program_comes_beside_the_steps() {
    let project = compiled_project("host");
    let folder = project.path();
    let compile = ["compile", "net.int8", "--target", "npu-8x16", "-v"];
    let report = done(folder, &[&compile[..], &["-o", "npu.sct"]].concat());
    assert!(report.contains("cycles a frame") && report.contains("lost: edges"), "{report}");
    let manifest: serde_json::Value =
        serde_json::from_slice(&std::fs::read(folder.join("npu.sct.json")).unwrap()).unwrap();
    let cycles = manifest["accelerator"]["cycles"].as_u64().unwrap();
    // No fewer than the multipliers need.
    assert!(cycles >= manifest["macs"].as_u64().unwrap() / 128);
    let listing = done(folder, &["disasm", "npu.sct"]);
    assert!(listing.contains(&format!("{cycles} cycles expected")), "{listing}");
    for word in ["; input tensor 0", " exec 0 ", "depthwise 3x3/1", "map [", "weights [", " end"] {
        assert!(listing.contains(word), "no {word:?} in {listing}");
    }
    let commands = listing.lines().filter(|line| !line.starts_with(';')).count();
    assert_eq!(commands as u64, manifest["accelerator"]["commands"].as_u64().unwrap());
    // The processor runs the same file to the same detections.
    let found = |artefact: &str| {
        let text = done(folder, &["detect", artefact, "pictures/0.png", "--out", "a"]);
        // The first line tells the time that it took.
        text.lines().skip(1).map(str::to_owned).collect::<Vec<_>>()
    };
    assert!(found("npu.sct").len() > 1);
    assert_eq!(found("npu.sct"), found("net.sct"));
    let slow = done(folder, &[&compile[..], &["--layer-by-layer", "-o", "slow.sct"]].concat());
    assert_ne!(report.lines().last(), slow.lines().last());
    for threads in ["1", "2"] {
        done(
            folder,
            &["--threads", threads, "compile", "net.int8", "--target", "npu-8x16", "-o", "again.sct"],
        );
        let read = |name: &str| std::fs::read(folder.join(name)).unwrap();
        assert!(read("npu.sct") == read("again.sct"), "{threads} threads");
    }
    refused(folder, &["disasm", "net.sct"], "no accelerator program");
}

#[test]
fn damaged_artefacts_are_refused() {
    let project = compiled_project("host");
    let folder = project.path();
    let whole = std::fs::read(folder.join("net.sct")).unwrap();
    let bad = |bytes: &[u8], says: &str| {
        std::fs::write(folder.join("bad.sct"), bytes).unwrap();
        refused(folder, &["run", "bad.sct", "pictures/0.png"], says);
    };
    for length in [0, 1, 7, 8, 63, 64, whole.len() / 2, whole.len() - 1] {
        bad(&whole[..length], "");
    }
    for place in (0..whole.len()).step_by(whole.len() / 40) {
        let mut flipped = whole.clone();
        flipped[place] ^= 1 << (place % 8);
        bad(&flipped, "");
    }
    bad(&[&whole[..], b"more"].concat(), "bytes");
    let mut flipped = whole.clone();
    flipped[whole.len() / 2] ^= 0x10;
    bad(&flipped, "CRC");
    for verb in [
        &["info", "bad.sct"][..],
        &["detect", "bad.sct", "pictures/0.png"],
        &["dump", "bad.sct", "pictures/0.png", "-o", "out"],
        &["map", "bad.sct", "--list", "list.txt", "--names", "names"],
    ] {
        refused(folder, verb, "CRC");
    }
    refused(folder, &["run", "net.cfg", "pictures/0.png"], "not a .sct artefact");
    refused(folder, &["run", "net.sct", "names"], "not an image");
    refused(folder, &["run", "absent.sct", "pictures/0.png"], "absent.sct");
}

#[test]
fn what_cannot_be_compiled_is_refused() {
    let project = compiled_project("host");
    let folder = project.path();
    let whole = std::fs::read(folder.join("net.int8")).unwrap();
    refused(folder, &["compile", "net.cfg", "-o", "x.sct"], "not an int8 network");
    refused(folder, &["compile", "net.int8", "--target", "toaster", "-o", "x.sct"], "host");
    for length in (0..whole.len()).step_by(whole.len() / 20) {
        std::fs::write(folder.join("cut.int8"), &whole[..length]).unwrap();
        refused(folder, &["compile", "cut.int8", "-o", "x.sct"], "");
    }
    let small = "name = \"small\"\nalign = 16\noperators = \"all\"\n[regions]\nprogram = { bytes = 1 }\n\
                 package = { bytes = 1000000 }\ndata = { bytes = 1 }\narena = { bytes = 1024 }\n";
    std::fs::write(folder.join("small.toml"), small).unwrap();
    refused(folder, &["compile", "net.int8", "--target", "small.toml", "-o", "x.sct"], "1024 bytes");
    let few = "name = \"few\"\nalign = 16\noperators = [\"conv\", \"yolo\"]\n";
    std::fs::write(folder.join("few.toml"), few).unwrap();
    refused(folder, &["compile", "net.int8", "--target", "few.toml", "-o", "x.sct"], "layer 3 [shortcut]");
}
