//! Every committed input of every target, on every `cargo test`; and short runs of mutated ones.

use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};

use flate2::read::GzDecoder;
use rand::seq::IndexedRandom;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use secateur_fuzz::{TARGETS, committed, mutate, target};

#[test]
fn corpora_and_regressions_hold() {
    for target in TARGETS {
        let inputs = committed(target.name);
        assert!(!inputs.is_empty(), "{} has no corpus", target.name);
        for (path, bytes) in inputs {
            println!("{}", path.display());
            (target.run)(&bytes);
        }
    }
}

#[test]
fn mutated_inputs_hold() {
    for target in TARGETS {
        let rng = &mut ChaCha8Rng::seed_from_u64(5);
        let inputs: Vec<Vec<u8>> = committed(target.name).into_iter().map(|(_, bytes)| bytes).collect();
        for _ in 0..if cfg!(miri) { 2 } else { 300 } {
            let (input, other) = (inputs.choose(rng).unwrap(), inputs.choose(rng).unwrap());
            (target.run)(&mutate::mutate(rng, input, other, target.words));
        }
    }
}

#[test]
fn mutation_changes_what_it_is_given() {
    let rng = &mut ChaCha8Rng::seed_from_u64(1);
    let input: Vec<u8> = (0..200).collect();
    let changed = (0..1000).filter(|_| mutate::mutate(rng, &input, b"other", &[b"word"]) != input).count();
    assert!(changed > 900, "{changed} of 1000");
    assert!(!mutate::mutate(rng, &[], &[], &[]).is_empty());
    let long = vec![0; mutate::MAX_BYTES];
    assert!(mutate::mutate(rng, &long, &long, &[]).len() <= mutate::MAX_BYTES);
    let _ = rng.random::<u8>();
}

/// Where inputs that failed users lie: SECATEUR_CASES_DIR, or `cases` beside the test data.
fn cases_dir() -> Option<PathBuf> {
    let folder = match std::env::var_os("SECATEUR_CASES_DIR") {
        Some(folder) => PathBuf::from(folder),
        None => match std::env::var_os("SECATEUR_DATA") {
            Some(data) => Path::new(&data).join("../cases"),
            None => Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/cases"),
        },
    };
    folder.is_dir().then_some(folder)
}

/// Artefacts and int8 networks among the cases, unpacked.
fn inputs(folder: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        if path.is_dir() {
            found.extend(inputs(&path));
        } else if name.ends_with(".sct") || name.ends_with(".int8") {
            found.push((path.clone(), fs::read(&path).unwrap()));
        } else if name.ends_with(".sct.gz") {
            let mut bytes = Vec::new();
            GzDecoder::new(fs::File::open(&path).unwrap()).read_to_end(&mut bytes).unwrap();
            found.push((path, bytes));
        }
    }
    found
}

#[test]
fn inputs_that_failed_users_hold() {
    let Some(folder) = cases_dir() else {
        println!("skipped: no folder of cases; SECATEUR_CASES_DIR names one");
        return;
    };
    for (path, bytes) in inputs(&folder) {
        let started = std::time::Instant::now();
        let int8 = path.extension().is_some_and(|extension| extension == "int8");
        let targets: &[&str] = if int8 { &["int8"] } else { &["artefact", "accelerator", "deployed"] };
        for name in targets {
            if let Some(target) = target(name) {
                (target.run)(&bytes);
            }
        }
        let spent = started.elapsed();
        println!("{}: {spent:?}", path.display());
        assert!(spent.as_secs() < 20, "{} took {spent:?}", path.display());
    }
}
