//! The files of `emit rust`, built as they are and run in QEMU: the program prints what this machine finds.

use std::path::Path;
use std::process::{Command, Stdio};

use object::{Object, ObjectSection, SectionKind};
use secateur_boards::{Board, Embedding, Job, expected};
use secateur_runtime::artefact::Model;
use secateur_testing::skipped;

use super::c_program::{OVERLAP, SCORE, classifier, lines};
use super::{installed, parts, workshop};

/// Most code of one network's operators and of what prints, in bytes. With all kernels it is half as much again.
const MOST_CODE: u64 = 40 << 10;

/// Cargo in a folder that it finds no settings for but the project's own.
fn cargo(folder: &Path, verb: &str) -> Command {
    let mut cargo = Command::new("cargo");
    cargo.current_dir(folder).args([verb, "--release", "--locked", "--quiet"]).stdin(Stdio::null());
    cargo.env("CARGO_TARGET_DIR", Path::new(env!("CARGO_TARGET_TMPDIR")).join("rust-program"));
    for inherited in ["RUSTFLAGS", "CARGO_ENCODED_RUSTFLAGS", "CARGO_BUILD_TARGET"] {
        cargo.env_remove(inherited);
    }
    cargo
}

/// What the program prints, by the project's own runner: QEMU.
fn build_and_run(folder: &Path) -> String {
    let run = cargo(folder, "run").output().unwrap();
    let text = String::from_utf8_lossy(&run.stdout).into_owned();
    assert!(run.status.success(), "{text}{}", String::from_utf8_lossy(&run.stderr));
    assert!(run.stderr.is_empty(), "{}", String::from_utf8_lossy(&run.stderr));
    text
}

/// Bytes of code, all of it, and of initialised data that lie in flash.
fn sizes(triple: &str) -> [u64; 2] {
    let built = Path::new(env!("CARGO_TARGET_TMPDIR")).join("rust-program").join(triple);
    let bytes = std::fs::read(built.join("release/network")).unwrap();
    let file = object::File::parse(bytes.as_slice()).unwrap();
    let sum = |kinds: &[SectionKind]| {
        file.sections().filter(|section| kinds.contains(&section.kind())).map(|section| section.size()).sum()
    };
    [sum(&[SectionKind::Text]), sum(&[SectionKind::ReadOnlyData, SectionKind::ReadOnlyString])]
}

#[test]
fn an_emitted_project_finds_what_this_machine_finds() {
    if !installed("qemu-system-arm") {
        return;
    }
    for (name, case) in [("mps2-an386", parts()), ("mps2-an386", classifier()), ("mps2-an505", parts())] {
        let board = Board::load(name).unwrap();
        let artefact = case.artefact(&board.target);
        let model = Model::from_bytes(&artefact).unwrap();
        let embedding = match Embedding::new(&artefact, &workshop(), |_| ()) {
            Ok(embedding) => embedding,
            Err(e) if e.to_string().contains("lacks the target") && std::env::var_os("CI").is_none() => {
                return skipped(&e.to_string());
            }
            Err(e) => panic!("{}: {e:?}", case.name),
        };
        let folder = tempfile::tempdir().unwrap();
        let pixels: Vec<u8> = case.image.iter().map(|&code| code as u8 ^ 0x80).collect();
        for (name, bytes) in embedding.project(&board, &pixels).unwrap() {
            let path = folder.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, bytes).unwrap();
        }
        let [h, w, _] = model.input_shape();
        let (image, frame) = (&case.image, [w as u32, h as u32]);
        let job =
            Job { artefact: &artefact, image, score_threshold: SCORE, overlap_threshold: OVERLAP, frame };
        let expected = lines(&expected(&job).unwrap(), &model);
        assert_eq!(build_and_run(folder.path()), expected, "{} on {name}", case.name);
        let [code, constants] = sizes(board.target.processor.unwrap().triple.as_ref().unwrap());
        println!(
            "{} on {name}: {} lines alike, {code} bytes of code, {constants} of constants",
            case.name,
            expected.lines().count()
        );
        // The artefact is in the program, and most kernels are not.
        assert!(constants > artefact.len() as u64, "{constants} bytes of constants");
        assert!(code <= MOST_CODE, "{code} bytes of code");
    }
}

#[test]
fn a_project_for_another_processor_is_refused() {
    let case = classifier();
    let artefact = case.artefact(&Board::load("mps2-an386").unwrap().target);
    let Ok(embedding) = Embedding::new(&artefact, &workshop(), |_| ()) else {
        assert!(std::env::var_os("CI").is_none(), "the library is built");
        return skipped("the library does not build here");
    };
    for (name, says) in [("mps2-an500", "cortex-m7"), ("virt", "no Cortex-M"), ("pico2", "no firmware")] {
        let error = format!("{:?}", embedding.project(&Board::load(name).unwrap(), &[]).unwrap_err());
        assert!(error.contains(says), "{says} is not in {error}");
    }
}
