//! File tests: the input of a stage and what it must make of it, side by side in one file.
//!
//! `filetests/STAGE/NAME.txt` holds the input, a line `----`, and the expected output. Comment lines of the
//! input that begin with `; test:` set options, as in `; test: seed=3 rate=0.5`. With `BLESS=1` in the
//! environment the expected parts are written instead of compared; read the difference before committing it.
//!
//! | stage | input | expected | options |
//! |---|---|---|---|
//! | import | a cfg | the graph, or the error | |
//! | prune | a graph | the groups and the graph that remains | seed, rate, biases |
//! | quantise | a graph | the int8 network: structure and constants | seed |
//! | lower | a graph | the int8 network's program | seed, target, after |
//! | accelerate | a graph | the accelerator's commands | seed, target |
//!
//! Weights and calibration images are drawn from the seed (1 unless set).

use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::Path;
use std::str::FromStr;

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use secateur_base::Result;
use secateur_codegen::target::Target;
use secateur_codegen::{compile, cpu};
use secateur_deploy::disassemble;
use secateur_frontend::darknet::{Cfg, apply, build_graph};
use secateur_ir::{ChannelGroups, Graph, dump, parse, verify};
use secateur_prune::criteria::{self, L1};
use secateur_prune::{ChannelUnits, Masks, keep_count, transform};
use secateur_quant::net::Provenance;
use secateur_quant::{QNet, QuantiseOptions, quantise, text};
use secateur_testing::random_weights;

/// The line between input and expected output.
const SEPARATOR: &str = "\n----\n";

/// One file's input and options.
struct Case<'t> {
    path: &'t Path,
    input: &'t str,
    options: BTreeMap<&'t str, &'t str>,
}

impl<'t> Case<'t> {
    fn new(path: &'t Path, input: &'t str) -> Self {
        let lines = input.lines().filter_map(|line| line.strip_prefix("; test:"));
        let pairs = lines.flat_map(str::split_whitespace).map(|pair| {
            pair.split_once('=').unwrap_or_else(|| panic!("{}: {pair} is no KEY=VALUE", path.display()))
        });
        Self { path, input, options: pairs.collect() }
    }

    fn option<T: FromStr>(&self, key: &str, usual: T) -> T {
        let Some(text) = self.options.get(key) else { return usual };
        text.parse().unwrap_or_else(|_| panic!("{}: {key}={text} cannot be read", self.path.display()))
    }

    fn seed(&self) -> u64 {
        self.option("seed", 1)
    }

    fn graph(&self) -> Result<Graph> {
        let graph = parse(Path::new("input"), self.input)?;
        assert_eq!(
            parse(Path::new("again"), &dump(&graph))?.without_origins(),
            graph.clone().without_origins()
        );
        Ok(graph)
    }

    fn int8(&self) -> Result<QNet> {
        let graph = self.graph()?;
        let weights = random_weights(self.seed(), &graph);
        let mut rng = ChaCha8Rng::seed_from_u64(self.seed());
        let mut image = || (0..graph.input.len()).map(|_| rng.random_range(0.0..1.0)).collect();
        let images = vec![image(), image()];
        let provenance = Provenance { model: "input".to_owned(), ..Provenance::default() };
        Ok(quantise(&graph, &weights, &images, &QuantiseOptions::default(), Vec::new(), provenance)?.net)
    }

    fn target(&self, usual: &str) -> Target {
        let name: String = self.option("target", usual.to_owned());
        Target::load(&name).unwrap_or_else(|error| panic!("{}: {error:?}", self.path.display()))
    }
}

/// Runs every file of a stage.
fn stage(name: &str, least: usize, run: impl Fn(&Case<'_>) -> Result<String>) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("filetests").join(name);
    let bless = std::env::var_os("BLESS").is_some_and(|value| value == "1");
    let differing = run_folder(&folder, least, bless, run);
    assert!(differing.is_empty(), "{}\nBLESS=1 writes what came out", differing.join("\n"));
}

/// The files of `folder` whose output differs from what they expect, each with the first difference.
fn run_folder(
    folder: &Path,
    least: usize,
    bless: bool,
    run: impl Fn(&Case<'_>) -> Result<String>,
) -> Vec<String> {
    let mut differing = Vec::new();
    let mut count = 0;
    for entry in std::fs::read_dir(folder).expect("the stage's folder") {
        let path = entry.expect("entry").path();
        let text =
            std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let (input, expected) =
            text.split_once(SEPARATOR).unwrap_or_else(|| panic!("{}: no line ----", path.display()));
        // The separator's first line end is the input's last.
        let input = &text[..input.len() + 1];
        let output = run(&Case::new(&path, input)).unwrap_or_else(|error| format!("{error:?}\n"));
        count += 1;
        if output != expected && bless {
            std::fs::write(&path, format!("{}{}{output}", input.trim_end_matches('\n'), SEPARATOR))
                .unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        } else if output != expected {
            differing.push(format!("{}\n{}", path.display(), first_difference(expected, &output)));
        }
    }
    assert!(count >= least, "{}: {count} files", folder.display());
    differing
}

fn first_difference(expected: &str, output: &str) -> String {
    let (mut expected, mut output) = (expected.lines(), output.lines());
    for line in 1.. {
        match (expected.next(), output.next()) {
            (None, None) => break,
            (a, b) if a == b => {}
            (a, b) => {
                let show = |line: Option<&str>| line.unwrap_or("(end)").to_owned();
                return format!(
                    "line {line} of the output\n  expected: {}\n  found:    {}",
                    show(a),
                    show(b)
                );
            }
        }
    }
    "they differ in line ends only".to_owned()
}

#[test]
fn import() {
    stage("import", 14, |case| {
        let cfg = Cfg::parse(Path::new("input"), case.input.as_bytes())?;
        let graph = build_graph(&cfg)?;
        verify(&graph)?;
        assert_eq!(apply(&cfg, &graph).to_bytes(), case.input.as_bytes(), "{}", case.path.display());
        let text = dump(&graph);
        assert_eq!(parse(Path::new("output"), &text)?.without_origins(), graph.without_origins());
        Ok(text)
    });
}

#[test]
fn prune() {
    stage("prune", 6, |case| {
        let graph = case.graph()?;
        let mut weights = random_weights(case.seed(), &graph);
        let groups = ChannelGroups::new(&graph);
        let units = ChannelUnits::new(&graph, &weights);
        let rate = case.option("rate", 0.5);
        let mut masks = Masks::of_channels(&groups);
        for (group, ranking) in
            criteria::rank(&L1, &units, criteria::Evidence::default(), case.seed()).iter().enumerate()
        {
            masks.set(group, ranking.kept(keep_count(ranking.order.len(), rate, 1)));
        }
        // With their biases the removed channels put out constants, which not every consumer can fold.
        if case.option("biases", 0) == 0 {
            masks.apply(&graph, &groups, &mut weights);
        }
        let cut = transform(&graph, &groups, &weights, &masks);
        verify(&cut.graph)?;
        let mut text = String::new();
        for (number, group) in groups.groups.iter().enumerate() {
            let kept = masks.of_group(number).count_ones();
            writeln!(
                text,
                "; group {number}: {kept} of {} units, made by {:?}, through {:?}, read by {:?}",
                group.units.len(),
                group.producers,
                group.related,
                group.consumers
            )
            .expect("text");
        }
        if !cut.restored.is_empty() {
            writeln!(text, "; restored {} units", cut.restored.len()).expect("text");
        }
        Ok(text + &dump(&cut.graph))
    });
}

#[test]
fn quantise_to_int8() {
    stage("quantise", 6, |case| Ok(text::dump(&case.int8()?)));
}

#[test]
fn lower_to_a_program() {
    stage("lower", 6, |case| {
        let net = case.int8()?;
        let after: String = case.option("after", "place".to_owned());
        let mut text = String::new();
        cpu::lower_observed(&net, &case.target("host"), |pass, _, program| {
            if pass == after {
                text = program.dump();
            }
        })?;
        Ok(text)
    });
}

#[test]
fn accelerate() {
    stage("accelerate", 5, |case| {
        let net = case.int8()?;
        let compiled = compile(&net, &case.target("npu-4x8"), |_, _, _| {})?;
        disassemble(&compiled.artefact)
    });
}

/// Differences are seen, `BLESS` removes them, and a stage of too few files fails.
#[test]
fn the_runner_itself() {
    let folder = tempfile::tempdir().expect("folder");
    let path = folder.path().join("case.txt");
    std::fs::write(&path, "; test: seed=7\na\n----\nb\n").expect("case");
    let run = |case: &Case<'_>| Ok(format!("{}\n{}", case.seed(), case.input));
    let differing = run_folder(folder.path(), 1, false, run);
    assert!(differing.len() == 1 && differing[0].contains("expected: b\n  found:    7"), "{differing:?}");
    assert!(run_folder(folder.path(), 1, true, run).is_empty());
    let blessed = std::fs::read_to_string(&path).expect("case");
    assert_eq!(blessed, "; test: seed=7\na\n----\n7\n; test: seed=7\na\n");
    assert!(run_folder(folder.path(), 1, false, run).is_empty());
    assert!(std::panic::catch_unwind(|| run_folder(folder.path(), 2, false, run)).is_err());
}
