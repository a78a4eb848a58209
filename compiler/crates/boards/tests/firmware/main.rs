//! The bit-exact matrix: every board and processor that QEMU has, small networks with every operator, every step's bytes. And what the
//! linked programs must not contain.

mod c_program;
mod elf;
mod flash;
mod rust_program;

use std::cell::Cell;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use secateur_boards::{
    Board, Job, LinuxProcessor, Report, Workshop, emulate, emulate_linux, expected, expected_with, package,
};
use secateur_codegen::target::{Target, WeightOrder};
use secateur_codegen::{NpuOptions, Patch, compile, compile_with, random};
use secateur_data::read_npy;
use secateur_frontend::darknet::{self, Cfg};
use secateur_quant::net::Provenance;
use secateur_quant::{QNet, QuantiseOptions, quantise};
use secateur_runtime::artefact::format::StepKind;
use secateur_runtime::artefact::{Model, Step};
use secateur_runtime::kernels;
use secateur_runtime::packed::{PackedDepthwise, packed_depthwise};
use secateur_runtime::{Kernels, Tensor};
use secateur_testing::{RandomOptions, data_dir, random_network, random_weights, skipped};

const LIMIT: Duration = Duration::from_secs(300);
/// Thresholds that let some boxes pass and drop others, Q0.30.
const SCORE: u32 = 1 << 24;
const OVERLAP: u32 = 1 << 29;

fn workshop() -> Workshop {
    Workshop::new(Path::new(env!("CARGO_TARGET_TMPDIR")).join("workshop"))
}

/// Boards whose emulator is installed; without one the test prints that it was skipped, except in CI.
fn emulated_boards() -> Vec<Board> {
    let boards = Board::names().map(|name| Board::load(name).unwrap());
    boards
        .filter(|board| board.emulator.as_ref().is_some_and(|emulator| installed(&emulator.command)))
        .collect()
}

fn installed(command: &str) -> bool {
    let found = Command::new(command).arg("--version").output().is_ok();
    if !found {
        assert!(std::env::var_os("CI").is_none(), "{command} is not installed");
        skipped(&format!("{command} is not installed"));
    }
    found
}

/// The program of a board; `None` where the tool chain lacks its target, except in CI.
fn program(board: &Board) -> Option<PathBuf> {
    unless_skipped(&board.name, workshop().build(board, || ()))
}

fn unless_skipped(name: &str, program: secateur_base::Result<PathBuf>) -> Option<PathBuf> {
    match program {
        Ok(program) => Some(program),
        Err(e) if e.to_string().contains("lacks the target") && std::env::var_os("CI").is_none() => {
            skipped(&e.to_string());
            None
        }
        Err(e) => panic!("{name}: {e:?}"),
    }
}

/// Processors with Linux whose emulator and target are installed, each with its program.
fn linux_processors() -> Vec<(LinuxProcessor, PathBuf)> {
    let processors = LinuxProcessor::ALL.into_iter().filter(|processor| installed(processor.emulator));
    processors
        .filter_map(|processor| {
            let program = workshop().build_for_linux(processor, || ());
            Some((processor, unless_skipped(processor.name, program)?))
        })
        .collect()
}

/// A network and an image, `[h, w, c]`, q = pixel − 128.
struct Case {
    name: String,
    net: QNet,
    image: Vec<i8>,
}

impl Case {
    fn new(name: impl Into<String>, net: QNet, seed: u64) -> Self {
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        let image = (0..net.input.shape.len()).map(|_| random.random()).collect();
        Self { name: name.into(), net, image }
    }

    fn artefact(&self, target: &Target) -> Vec<u8> {
        compile(&self.net, target, |_, _, _| {}).unwrap_or_else(|e| panic!("{}: {e:?}", self.name)).artefact
    }

    fn job<'a>(&'a self, artefact: &'a [u8]) -> Job<'a> {
        let frame = [self.net.input.shape.w as u32, self.net.input.shape.h as u32];
        Job { artefact, image: &self.image, score_threshold: SCORE, overlap_threshold: OVERLAP, frame }
    }
}

fn quantised(name: &str, cfg: &str, weights: Option<&Path>, seed: u64) -> Case {
    let graph = darknet::build_graph(&Cfg::parse(Path::new(name), cfg.as_bytes()).unwrap()).unwrap();
    let weights = match weights {
        Some(path) => darknet::read_weights(&graph, path, &std::fs::read(path).unwrap()).unwrap().1,
        None => random_weights(seed, &graph),
    };
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    let images = [(0..graph.input.len()).map(|_| random.random()).collect::<Vec<f32>>()];
    let options = QuantiseOptions { correction: 0, ..QuantiseOptions::default() };
    let quantised = quantise(&graph, &weights, &images, &options, Vec::new(), Provenance::default());
    Case::new(name, quantised.unwrap_or_else(|e| panic!("{name}: {e:?}")).net, seed)
}

/// The project's own detector.
fn parts() -> Case {
    let parts = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../configs/networks/parts");
    let cfg = std::fs::read_to_string(parts.join("parts.cfg")).unwrap();
    quantised("parts", &cfg, Some(&parts.join("parts.weights")), 4)
}

/// Random constants in tangled networks, every generation of heads, and the project's own detector.
fn cases() -> Vec<Case> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../..");
    let mut cases: Vec<Case> = (0..8)
        .map(|seed| Case::new(format!("random {seed}"), random::network(seed, 12 + 4 * seed as usize), seed))
        .collect();
    for name in ["yolov1", "yolov2", "yolov4", "classifier"] {
        let text = std::fs::read_to_string(root.join(format!("tests/filetests/import/{name}.txt"))).unwrap();
        let (cfg, _) = text.split_once("----\n").unwrap();
        cases.push(quantised(name, cfg, None, 1));
    }
    let options = RandomOptions { rare: true, side: 24, ..RandomOptions::default() };
    let (text, ..) = random_network(3, &options);
    cases.push(quantised("rare", &text, None, 3));
    cases.push(parts());
    cases
}

#[test]
fn every_board_gives_the_bytes_of_this_machine() {
    let cases = cases();
    let (mut kinds, mut heads) = (BTreeSet::new(), BTreeSet::new());
    let (mut boxes, mut classes, mut dropped) = (0, 0, 0);
    for board in emulated_boards() {
        let Some(program) = program(&board) else { continue };
        let (mut steps, mut ticks) = (0, 0);
        for case in &cases {
            let artefact = case.artefact(&board.target);
            let model = Model::from_bytes(&artefact).unwrap();
            let job = case.job(&artefact);
            let what = format!("{} on {}", case.name, board.name);
            let found = emulate(&board, &program, &job, LIMIT).unwrap_or_else(|e| panic!("{what}: {e:?}"));
            let wanted = expected(&job).unwrap();
            found.compare(&wanted).unwrap_or_else(|e| panic!("{what}: {e:?}"));
            assert_eq!(found.steps.len(), model.step_count(), "{what}");
            assert!(found.steps.iter().all(|step| step.ticks > 0), "{what}: a step took no time");
            kinds.extend(model.steps().filter_map(|step| Some(step.kind()?.code())));
            heads.extend(model.heads().map(|head| head.kind.code()));
            (boxes, classes) = (boxes + found.detections.len(), classes + found.classes.len());
            dropped += found.dropped;
            steps += found.steps.len();
            ticks += found.steps.iter().map(|step| u64::from(step.ticks)).sum::<u64>();
        }
        let emulator = board.emulator.unwrap();
        let instructions = ticks * emulator.instructions / emulator.ticks;
        println!(
            "{}: {} networks, {steps} steps, {instructions} instructions, 0 differing bytes",
            board.name,
            cases.len()
        );
    }
    if !kinds.is_empty() {
        let missing: Vec<StepKind> =
            (0..=12).filter(|code| !kinds.contains(code)).filter_map(StepKind::from_code).collect();
        // The compiler writes every kind but this: it fuses tables into the step before.
        assert_eq!(missing, [StepKind::Activate]);
        assert_eq!(heads.len(), 4, "every kind of head: {heads:?}");
        assert!(
            boxes > 0 && classes > 0 && dropped > 0,
            "{boxes} boxes, {classes} classes, {dropped} dropped"
        );
    }
}

/// Kernels of packed constants on bands of rows, some of a single row, and on windows that move.
#[test]
fn networks_in_bands_give_the_bytes_of_this_machine() {
    let board = Board::load("mps2-an386").unwrap();
    if !installed(&board.emulator.as_ref().unwrap().command) {
        return;
    }
    let Some(program) = program(&board) else { return };
    let case = parts();
    for patch in [Patch::Auto, Patch::Bands(24)] {
        let compiled =
            compile_with(&case.net, &board.target, NpuOptions::default(), patch, |_, _, _| {}).unwrap();
        let bands = compiled.manifest.patch.expect("bands of this network need less RAM");
        let job = case.job(&compiled.artefact);
        let found = emulate(&board, &program, &job, LIMIT).unwrap();
        found.compare(&expected(&job).unwrap()).unwrap();
        println!("{patch:?}: {bands:?}, {} steps, 0 differing bytes", found.steps.len());
        let model = Model::from_bytes(&compiled.artefact).unwrap();
        let packed = |step: &Step<'_>| step.record().encoding != 0 && step.layer() < bands.layers as u32;
        assert!(model.steps().filter(packed).count() > bands.bands, "{patch:?}: bands of packed layers");
    }
}

/// The compiler's model of the kernels for the DSP extension, on a network that its constants were not measured on.
#[test]
fn packed_layers_take_the_instructions_that_the_compiler_expects() {
    let boards = emulated_boards().into_iter().filter(|board| board.target.weights == WeightOrder::Armv7em);
    let case = parts();
    for board in boards {
        let Some(program) = program(&board) else { continue };
        let compiled = compile(&case.net, &board.target, |_, _, _| {}).unwrap();
        let found = emulate(&board, &program, &case.job(&compiled.artefact), LIMIT).unwrap();
        let emulator = board.emulator.as_ref().unwrap();
        let mut counted = vec![0; case.net.nodes.len()];
        for step in &found.steps {
            counted[step.layer] += u64::from(step.ticks) * emulator.instructions / emulator.ticks;
        }
        let (all, expected) = (counted.iter().sum::<u64>(), compiled.manifest.instructions.unwrap());
        println!("{}: {all} instructions, {expected} expected", board.name);
        let near =
            |expected: u64, counted: u64, percent: u64| expected.abs_diff(counted) * 100 <= counted * percent;
        assert!(near(expected, all, 5), "{}: {all} instructions, {expected} expected", board.name);
        for (layer, &count) in compiled.manifest.layers.iter().zip(&counted) {
            let expected = layer.instructions.unwrap();
            let matters = count * 100 > all;
            assert!(
                !matters || near(expected, count, 10),
                "layer {}: {count}, {expected} expected",
                layer.layer
            );
        }
    }
}

#[test]
fn tiled_kernels_take_less_than_two_thirds_of_the_reference_on_risc_v() {
    let board = Board::load("virt").unwrap();
    let emulator = board.emulator.as_ref().unwrap();
    if !installed(&emulator.command) {
        return;
    }
    let case = parts();
    let artefact = case.artefact(&board.target);
    let job = case.job(&artefact);
    let count = |built: secateur_base::Result<PathBuf>| {
        let report = emulate(&board, &unless_skipped(&board.name, built)?, &job, LIMIT).unwrap();
        report.compare(&expected(&job).unwrap()).unwrap();
        let ticks: u64 = report.steps.iter().map(|step| u64::from(step.ticks)).sum();
        Some(ticks * emulator.instructions / emulator.ticks)
    };
    let Some(reference) = count(workshop().build_reference(&board, || ())) else { return };
    let Some(tiled) = count(workshop().build(&board, || ())) else { return };
    println!("virt: {reference} instructions by the reference kernels, {tiled} by the tiled ones");
    assert!(tiled * 3 < reference * 2, "{tiled} instructions, {reference} by the reference kernels");
}

#[test]
fn every_processor_with_linux_gives_the_bytes_of_this_machine() {
    let target = Target::load("cortex-a").unwrap();
    let cases = cases();
    for (processor, program) in linux_processors() {
        let mut steps = 0;
        for case in &cases {
            let what = format!("{} on {}", case.name, processor.name);
            steps += compare_on_linux(processor, &program, case, &target, &what);
        }
        println!("{}: {} networks, {steps} steps, 0 differing bytes", processor.name, cases.len());
    }
}

/// The number of steps, whose bytes are all equal.
fn compare_on_linux(
    processor: LinuxProcessor,
    program: &Path,
    case: &Case,
    target: &Target,
    what: &str,
) -> usize {
    let artefact = case.artefact(target);
    let job = case.job(&artefact);
    let found = emulate_linux(processor, program, &job, LIMIT).unwrap_or_else(|e| panic!("{what}: {e:?}"));
    found.compare(&expected(&job).unwrap()).unwrap_or_else(|e| panic!("{what}: {e:?}"));
    assert_eq!(found.steps.len(), Model::from_bytes(&artefact).unwrap().step_count(), "{what}");
    found.steps.len()
}

#[test]
fn what_a_processor_with_linux_cannot_run_is_an_error_with_a_reason() {
    let case = Case::new("small", random::network(1, 6), 1);
    let artefact = case.artefact(&Target::load("cortex-a").unwrap());
    let job = case.job(&artefact);
    let refused = |processor: LinuxProcessor, program: &Path, job: &Job<'_>, limit: Duration, says: &str| {
        let error = format!("{:?}", emulate_linux(processor, program, job, limit).unwrap_err());
        assert!(error.contains(says), "{says:?} is not in {error}");
    };
    let first = LinuxProcessor::ALL[0];
    let absent = LinuxProcessor { emulator: "qemu-none", ..first };
    refused(absent, Path::new("none"), &job, LIMIT, "apt-get install qemu-user");
    let unknown = LinuxProcessor { triple: "aarch64-unknown-none-softfloat", ..first };
    let error = format!("{:?}", workshop().build_for_linux(unknown, || ()).unwrap_err());
    assert!(error.contains("rustup target add aarch64-unknown-none-softfloat"), "{error}");
    for (processor, program) in linux_processors() {
        refused(processor, &program, &Job { image: &case.image[1..], ..job }, LIMIT, "image of another size");
        refused(
            processor,
            &program,
            &Job { artefact: &artefact[1..], ..job },
            LIMIT,
            "cannot run this artefact",
        );
        refused(processor, &program, &job, Duration::ZERO, "did not end within 0 s");
        refused(processor, Path::new("/nowhere"), &job, LIMIT, "failed");
        let unknown = LinuxProcessor { name: "cortex-none", ..processor };
        refused(unknown, &program, &job, LIMIT, "cortex-none");
    }
}

/// Networks of the test data, calibrated on the golden input alone; those that memory allows.
#[test]
#[ignore = "minutes, most in emulators; CI and `./check --all` run it"]
fn real_networks_give_the_bytes_of_this_machine() {
    let Some(data) = data_dir() else { return };
    let cases = ["ir-small-v4-40x40", "yoloface-50k", "yolo-fastest-1.1", "mobilenetv2-yolo-fastest-voc-v1"]
        .map(|name| {
            let folder = data.join("models").join(name);
            let network =
                darknet::load(&folder.join("model.cfg"), Some(&folder.join("model.weights"))).unwrap();
            let (_, input) = read_npy(&data.join("golden").join(name).join("input.npy")).unwrap();
            let options = QuantiseOptions { correction: 0, ..QuantiseOptions::default() };
            let weights = network.weights().unwrap();
            let images = [input];
            let quantised =
                quantise(&network.graph, weights, &images, &options, Vec::new(), Provenance::default())
                    .unwrap();
            let image = secateur_data::quantise_image(quantised.net.input.shape, &images[0]);
            Case { name: name.to_owned(), net: quantised.net, image }
        });
    for board in emulated_boards() {
        let Some(program) = program(&board) else { continue };
        for case in &cases {
            let artefact = case.artefact(&board.target);
            let job = case.job(&artefact);
            let what = format!("{} on {}", case.name, board.name);
            let found = emulate(&board, &program, &job, LIMIT).unwrap_or_else(|e| panic!("{what}: {e:?}"));
            found.compare(&expected(&job).unwrap()).unwrap_or_else(|e| panic!("{what}: {e:?}"));
            let emulator = board.emulator.as_ref().unwrap();
            let ticks: u64 = found.steps.iter().map(|step| u64::from(step.ticks)).sum();
            let instructions = ticks * emulator.instructions / emulator.ticks;
            println!("{what}: {} steps, {instructions} instructions, 0 differing bytes", found.steps.len());
        }
    }
    let target = Target::load("cortex-a").unwrap();
    for (processor, program) in linux_processors() {
        for case in &cases {
            let what = format!("{} on {}", case.name, processor.name);
            let steps = compare_on_linux(processor, &program, case, &target, &what);
            println!("{what}: {steps} steps, 0 differing bytes");
        }
    }
}

/// Kernels that are wrong in one value of each depthwise convolution.
struct Wrong;

fn spoil(output: Tensor<'_>) {
    let last = output.pixel(output.pixels() - 1).last().unwrap();
    last.set(last.get() ^ 1);
}

impl Kernels for Wrong {
    fn depthwise(&self, input: Tensor<'_>, output: Tensor<'_>, parameters: &kernels::Depthwise<'_>) {
        kernels::depthwise(input, output, parameters);
        spoil(output);
    }

    fn packed_depthwise(
        &self,
        input: Tensor<'_>,
        output: Tensor<'_>,
        parameters: &PackedDepthwise<'_>,
        _: &[Cell<i8>],
    ) {
        packed_depthwise(input, output, parameters);
        spoil(output);
    }
}

/// The network with another value of a weight of its first convolution, which is that layer.
fn with_a_wrong_weight(net: &QNet) -> (QNet, usize) {
    let mut net = net.clone();
    let first = net.nodes.iter_mut().enumerate().find_map(|(layer, node)| match &mut node.op {
        secateur_quant::net::QOp::Conv(conv) => Some((layer, conv.weights.first_mut()?)),
        _ => None,
    });
    let (layer, weight) = first.unwrap();
    *weight = if *weight > 0 { *weight - 64 } else { *weight + 64 };
    (net, layer)
}

#[test]
fn a_wrong_kernel_and_a_wrong_weight_are_found_at_their_layer() {
    let board = Board::load("mps2-an386").unwrap();
    if !installed("qemu-system-arm") {
        return;
    }
    let Some(program) = program(&board) else { return };
    let case = cases().pop().unwrap();
    let artefact = case.artefact(&board.target);
    let job = case.job(&artefact);
    let found = emulate(&board, &program, &job, LIMIT).unwrap();
    let model = Model::from_bytes(&artefact).unwrap();
    let first = |name: &str| {
        let step = model.steps().find(|step| format!("{:?}", step.kind().unwrap()) == name).unwrap();
        step.layer() as usize
    };
    let error = found.compare(&expected_with(&job, Wrong).unwrap()).unwrap_err();
    assert_eq!(error.at_layer(), Some(first("Depthwise")), "{error:?}");

    // The other way round: the board's own bytes are wrong, by one bit of a weight.
    let (net, layer) = with_a_wrong_weight(&case.net);
    let other = compile(&net, &board.target, |_, _, _| {}).unwrap().artefact;
    let found = emulate(&board, &program, &Job { artefact: &other, ..job }, LIMIT).unwrap();
    let error = found.compare(&expected(&job).unwrap()).unwrap_err();
    assert_eq!(error.at_layer(), Some(layer), "{error:?}");
}

#[test]
fn what_a_board_cannot_run_is_an_error_with_a_reason() {
    let board = Board::load("mps2-an386").unwrap();
    if !installed("qemu-system-arm") {
        return;
    }
    let Some(program) = program(&board) else { return };
    let case = Case::new("small", random::network(1, 6), 1);
    let artefact = case.artefact(&board.target);
    let job = case.job(&artefact);
    let refused = |board: &Board, job: &Job<'_>, limit: Duration, says: &str| {
        let error = format!("{:?}", emulate(board, &program, job, limit).unwrap_err());
        assert!(error.contains(says), "{says:?} is not in {error}");
    };
    refused(&board, &Job { image: &case.image[1..], ..job }, LIMIT, "image of another size");
    refused(&board, &job, Duration::ZERO, "did not end within 0 s");
    let mut small = board.clone();
    small.regions.arena.bytes = 16;
    refused(&small, &job, LIMIT, "too many");
    // Flash of a board that was never programmed: the package is elsewhere.
    let mut elsewhere = board.clone();
    elsewhere.regions.package.at = elsewhere.regions.arena.at;
    refused(&elsewhere, &job, LIMIT, "no package in flash");
    let mut absent = board.clone();
    absent.emulator.as_mut().unwrap().command = "qemu-system-none".to_owned();
    refused(&absent, &job, LIMIT, "apt-get install");
    let mut machine = board.clone();
    machine.emulator.as_mut().unwrap().machine = "no-such-machine".to_owned();
    refused(&machine, &job, LIMIT, "unsupported machine");
    assert!(emulate(&Board::load("nrf5340-dk").unwrap(), &program, &job, LIMIT).is_err());
    assert!(workshop().build(&Board::load("pico2").unwrap(), || ()).is_err());
    // Another board's program finds no memory where this one has it.
    let other = Board::load("mps2-an505").unwrap();
    assert!(emulate(&other, &program, &job, Duration::from_secs(5)).is_err());
    assert!(package(&job).unwrap().len() > artefact.len());
    assert!(Report::parse(&[]).is_err());
}

#[test]
fn linked_programs_have_no_panic_no_heap_and_no_float() {
    for name in Board::names() {
        let board = Board::load(name).unwrap();
        if board.firmware.is_none() {
            continue;
        }
        let Some(program) = program(&board) else { continue };
        let helium = board.target.name == "cortex-m55";
        let faults = elf::faults(&std::fs::read(program).unwrap(), helium);
        assert!(faults.is_empty(), "{name}: {faults:?}");
    }
}
