//! The accelerator from an int8 network to frames in RTL: against the runtime, under stalls, through
//! faults, and as a test bench of its own.

use std::cell::Cell;
use std::num::NonZero;
use std::panic::resume_unwind;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;
use std::time::Duration;

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use secateur_data::Sample;
use secateur_deploy::Deployed;
use secateur_deploy::sim;
use secateur_eval::Detector;
use secateur_runtime::Tensor;
use secateur_runtime::artefact::format::CRC_BYTES;
use secateur_runtime::artefact::{Model, crc32};
use secateur_runtime::npu::Npu;
use secateur_runtime::npu::driver::Error;
use secateur_runtime::npu::registers::FaultCode;
use secateur_sim::Simulator;
use secateur_sim::rtl::{BusFault, Rtl, Timing};
use secateur_testing::data_dir;
use secateur_tests::{TINY_CFG, compiled_project, done, secateur, tiny_project};

/// Runs the command in `folder`; it must fail with code 1. Returns its words.
#[track_caller]
fn refused(folder: &Path, arguments: &[&str]) -> String {
    let output = secateur().current_dir(folder).args(arguments).output().unwrap();
    let error = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{arguments:?}: {error}");
    let words = error.split(|c: char| c.is_whitespace() || c == '│').filter(|word| !word.is_empty());
    words.collect::<Vec<_>>().join(" ")
}

#[test]
fn a_frame_runs_in_rtl_and_in_the_emulator() {
    let project = compiled_project("npu-8x16");
    let folder = project.path();
    let image = "pictures/0.png";
    for extra in [&["--emulate"][..], &[], &["--stalls", "60", "--latency", "7", "--efficiency", "35"]] {
        let text = done(folder, &[&["sim", "net.sct", image], extra].concat());
        assert!(text.contains(", 0 differ"), "{extra:?}: {text}");
    }
    let files = ["--timeline", "frame.svg", "--waves", "frame.fst", "--window", "100..200", "-v"];
    let text = done(folder, &[&["sim", "net.sct", image], &files[..]].concat());
    assert!(text.contains("EXEC") && text.contains("depthwise"), "{text}");
    let svg = std::fs::read_to_string(folder.join("frame.svg")).unwrap();
    assert!(svg.starts_with("<svg") && svg.contains("layer 1: cycles"), "{svg}");
    let window = std::fs::metadata(folder.join("frame.fst")).unwrap().len();
    done(folder, &["sim", "net.sct", image, "--waves", "frame.fst"]);
    let whole = std::fs::metadata(folder.join("frame.fst")).unwrap().len();
    assert!(window > 0 && whole > window, "waves of {window} and {whole} bytes");
}

#[test]
fn the_processor_takes_what_it_is_allowed_to() {
    let project = tiny_project();
    let folder = project.path();
    // Layer 0 strides by 4, layer 3 is a leaky sum: neither is the accelerator's.
    let cfg = TINY_CFG.replacen("stride=2", "stride=4", 1);
    let (front, back) = cfg.split_once("from=-3\nactivation=linear").unwrap();
    std::fs::write(folder.join("net.cfg"), format!("{front}from=-3\nactivation=leaky{back}")).unwrap();
    done(folder, &["quantize", "net.cfg", "net.weights", "--list", "list.txt", "-o", "net.int8"]);
    let compile = ["compile", "net.int8", "--target", "npu-8x16"];
    let said = refused(folder, &compile);
    assert!(said.contains("net.cfg:6: layer 0 [conv]: the accelerator has no such stride"), "{said}");
    let said = done(folder, &[&compile[..], &["--allow-processor"]].concat());
    for part in ["layers 1 to 2 run on the accelerator", "layer 0: the acc", "layer 3: the acc"] {
        assert!(said.contains(part), "no {part:?} in {said}");
    }
    for extra in [&[][..], &["--emulate"]] {
        let said = done(folder, &[&["sim", "net.sct", "pictures/0.png"], extra].concat());
        assert!(said.contains("of 2 layers compared with the runtime, 0 differ"), "{said}");
    }
    let listing = done(folder, &["disasm", "net.sct"]);
    assert!(
        listing.contains("; input tensor 1: 8x8x8") && listing.contains("; output tensor 3"),
        "{listing}"
    );
    done(folder, &["compile", "net.int8", "--target", "host", "-o", "host.sct"]);
    let found = |artefact: &str| {
        let text = done(folder, &["detect", artefact, "pictures/0.png", "--thresh", "0.01", "--out", "a"]);
        text.lines().skip(1).map(str::to_owned).collect::<Vec<_>>()
    };
    assert!(found("net.sct").len() > 1);
    assert_eq!(found("net.sct"), found("host.sct"));
}

#[test]
fn what_cannot_be_simulated_is_said() {
    let project = compiled_project("npu-8x16");
    let folder = project.path();
    done(folder, &["compile", "net.int8", "--target", "host", "-o", "host.sct"]);
    let said = refused(folder, &["sim", "host.sct", "pictures/0.png"]);
    assert!(said.contains("no program for an accelerator"), "{said}");
    done(folder, &["compile", "net.int8", "--target", "npu-4x16", "-o", "small.sct"]);
    let said = refused(folder, &["sim", "small.sct", "pictures/0.png"]);
    assert!(said.contains("other sizes"), "{said}");
}

#[test]
fn a_difference_is_shown_with_its_place() {
    let project = compiled_project("npu-8x16");
    let folder = project.path();
    let mut bytes = std::fs::read(folder.join("net.sct")).unwrap();
    let weights = {
        let program = Model::from_bytes(&bytes).unwrap().program().unwrap();
        let start = program.bytes().as_ptr() as usize - bytes.as_ptr() as usize;
        let maps = program.header().map_offset.get() as usize + size_of_val(program.maps());
        start + maps.next_multiple_of(64)
    };
    // Other weights than the runtime has, in the first layer's first words.
    bytes[weights..weights + 16].iter_mut().for_each(|byte| *byte ^= 0x40);
    let body = bytes.len() - CRC_BYTES;
    let crc = crc32(&bytes[..body]).to_le_bytes();
    bytes[body..].copy_from_slice(&crc);
    std::fs::write(folder.join("other.sct"), bytes).unwrap();
    for extra in [&["--emulate"][..], &[]] {
        let said = refused(folder, &[&["sim", "other.sct", "pictures/0.png"], extra].concat());
        let place = "layer 0, channel 0, row 1, column 0: ";
        assert!(said.contains(place) && said.contains("the accelerator has"), "{said}");
        assert_eq!(said.contains("--window"), extra.is_empty(), "{said}");
    }
}

/// Runs `command` of an emitted bench. A frame as small as these takes less than a compiler that optimises.
fn bench_says(bench: &Path, command: &str) -> String {
    let mut command = Command::new(bench.join(command));
    let output = command.current_dir(bench).env("MAKEFLAGS", "OPT_FAST=-O0").output().unwrap();
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[test]
#[ignore = "a Verilator run; CI where the accelerator or its compiler changed, and ./check --all run it"]
fn the_test_bench_passes_and_can_fail() {
    let project = compiled_project("npu-8x16");
    let folder = project.path();
    done(folder, &["emit", "testbench", "net.sct", "pictures/1.png", "-o", "bench"]);
    let bench = folder.join("bench");
    let text = bench_says(&bench, "run");
    assert!(text.contains("PASS: "), "{text}");
    // The bench and `sim` have the same memory: the same cycles.
    let sim = done(folder, &["sim", "net.sct", "pictures/1.png"]);
    let cycles = sim.split("frame: ").nth(1).and_then(|rest| rest.split(' ').next()).unwrap();
    assert!(text.contains(&format!("; {cycles} cycles")), "{text} {sim}");
    let expected = bench.join("expected.hex");
    let good = std::fs::read_to_string(&expected).unwrap();
    let (first, rest) = good.split_once('\n').unwrap();
    let other = if first == "00" { "01" } else { "00" };
    std::fs::write(&expected, format!("{other}\n{rest}")).unwrap();
    let text = bench_says(&bench, "obj/Vnpu_tb");
    assert!(text.contains("MISMATCH layer 5, channel 0, row 0, column 0"), "{text}");
    assert!(text.contains("FAIL: 1 bytes differ"), "{text}");
}

/// Benches bring the RTL in the sizes of their artefact.
#[test]
#[ignore = "four Verilator runs; CI where the accelerator or its compiler changed, and ./check --all run it"]
fn test_benches_of_other_sizes_pass() {
    for target in ["npu-4x8", "npu-4x8-axi4", "npu-8x8", "npu-16x16-axi16"] {
        let project = compiled_project(target);
        let folder = project.path();
        done(folder, &["emit", "testbench", "net.sct", "pictures/1.png", "-o", "bench"]);
        let text = bench_says(&folder.join("bench"), "run");
        assert!(text.contains("PASS: "), "{target}: {text}");
    }
}

#[test]
fn generated_files_are_those_of_the_tree() {
    let folder = tempfile::tempdir().unwrap();
    done(folder.path(), &["emit", "rtl-package", "--target", "npu-8x16", "-o", "."]);
    let files =
        [("rtl/npu_pkg.sv", "hw/rtl/npu_pkg.sv"), ("doc/registers.md", "docs/accelerator/registers.md")];
    for (written, file) in files {
        let found = std::fs::read_to_string(folder.path().join(written)).unwrap();
        let tree = std::fs::read_to_string(secateur_tests::root().join(file)).unwrap();
        assert_eq!(found, tree, "{file}");
    }
}

/// A real network's artefact for the accelerator, in a folder of its own.
fn real(data: &Path, model: &str) -> (tempfile::TempDir, Vec<u8>) {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str| data.join("models").join(model).join(name).display().to_string();
    let images: Vec<String> = images(data).iter().map(|path| path.display().to_string()).collect();
    std::fs::write(folder.path().join("list"), images.join("\n")).unwrap();
    let quantize =
        ["quantize", &file("model.cfg"), &file("model.weights"), "--list", "list", "-o", "net.int8"];
    done(folder.path(), &quantize);
    done(folder.path(), &["compile", "net.int8", "--target", "npu-8x16", "-o", "net.sct"]);
    let bytes = std::fs::read(folder.path().join("net.sct")).unwrap();
    (folder, bytes)
}

/// Five images.
fn images(data: &Path) -> Vec<PathBuf> {
    let mut found: Vec<PathBuf> = std::fs::read_dir(data.join("coco128/images/train2017"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "jpg"))
        .collect();
    found.sort();
    found.truncate(5);
    assert_eq!(found.len(), 5);
    found
}

/// Real networks' artefacts for the accelerator, by name, two pruned ones among them.
fn networks(data: &Path) -> Vec<(&'static str, Vec<u8>)> {
    let models = ["yoloface-50k", "ir-small-v4-40x40", "yoloface-500k-v2", "yolo-fastest-1.1"];
    let whole = models.map(|model| (model, real(data, model).1));
    whole.into_iter().chain(pruned(data)).collect()
}

/// Frames of the smallest network, every layer against the runtime, under all stalls.
#[test]
fn a_real_network_agrees_with_the_runtime_in_rtl() {
    let Some(data) = data_dir() else { return };
    let networks = [("yoloface-50k", real(&data, "yoloface-50k").1)];
    run_frames(&networks, &images(&data), &STALLS);
}

/// A frame of every network, every layer against the runtime: the cycle model's promise holds, and the frame takes
/// the cycles that it took.
#[test]
#[ignore = "four million cycles of RTL; CI and ./check --all run it"]
fn real_networks_take_the_cycles_that_they_took() {
    let Some(data) = data_dir() else { return };
    let networks = networks(&data);
    let frames = run_frames(&networks, &images(&data), &STALLS[..1]);
    let mut table = String::new();
    for ((name, _), frames) in networks.iter().zip(frames) {
        let (predicted, cycles) = frames[0];
        let error = f64::from(cycles) / predicted as f64 - 1.0;
        assert!(error.abs() < 0.01, "{name}: {cycles} cycles, {predicted} predicted");
        table += &format!("{name:<20} predicted {predicted:>9}  measured {cycles:>9}\n");
    }
    insta::assert_snapshot!("cycles", table);
}

/// The same frames under growing random stalls.
#[test]
#[ignore = "thirty million cycles of RTL; CI where the RTL changed, and ./check --all run it"]
fn stalled_frames_agree_with_the_runtime() {
    let Some(data) = data_dir() else { return };
    run_frames(&networks(&data), &images(&data), &STALLS[1..]);
}

/// Artefacts of a network whose channels were cut, and of the same with its weights then pruned in vectors.
fn pruned(data: &Path) -> [(&'static str, Vec<u8>); 2] {
    let images = images(data);
    let model = data.join("models/yolo-fastest-1.1");
    let file = |name: &str| model.join(name).display().to_string();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    let list: Vec<String> = images.iter().map(|path| path.display().to_string()).collect();
    std::fs::write(path.join("list"), list.join("\n")).unwrap();
    let names = data.join("coco128/names").display().to_string();
    let prune = |cfg: &str, weights: &str, output: &str, granularity: &str| {
        let uniform =
            ["--allocation", "uniform", "--rate", "0.25", "--criterion", "l1", "--no-reconstruction"];
        let lists = ["--list", "list", "--train", "list", "--names", &names, "--metric", "dp"];
        let words = ["prune", cfg, weights, "--granularity", granularity, "-o", output];
        done(path, &[&words[..], &uniform, &lists].concat());
    };
    prune(&file("model.cfg"), &file("model.weights"), "channels.weights", "channel");
    let cut = ["--masks", "channels.mask", "--out-cfg", "cut.cfg", "--out-weights", "cut.weights"];
    done(path, &[&["transform", &file("model.cfg"), "channels.weights"], &cut[..]].concat());
    prune("cut.cfg", "cut.weights", "sparse.weights", "vector:8");
    let kinds = [("1.1 cut", "cut.weights"), ("1.1 cut, vectors", "sparse.weights")];
    kinds.map(|(name, weights)| {
        done(path, &["quantize", "cut.cfg", weights, "--list", "list", "-o", "net.int8"]);
        done(path, &["compile", "net.int8", "--target", "npu-8x16", "-o", "net.sct"]);
        (name, std::fs::read(path.join("net.sct")).unwrap())
    })
}

/// Stalls of the memory while the images' frames run, in per cent of the cycles.
const STALLS: [u32; 5] = [0, 10, 30, 60, 85];

/// Runs a frame of every network and stall, each stall on an image of its own, on all processors; returns the cycles of
/// each by network and stall, predicted and measured.
fn run_frames(networks: &[(&str, Vec<u8>)], images: &[PathBuf], stalls: &[u32]) -> Vec<Vec<(u64, u32)>> {
    let mut frames = vec![vec![(0, 0); stalls.len()]; networks.len()];
    // Longest first, as far as bytes and stalls tell: nobody is left with a long one in the end.
    let mut jobs: Vec<(usize, usize)> =
        (0..networks.len()).flat_map(|network| (0..stalls.len()).map(move |n| (network, n))).collect();
    jobs.sort_by_key(|&(network, n)| networks[network].1.len() / (100 - stalls[n] as usize));
    let jobs = Mutex::new(jobs);
    let take = || jobs.lock().unwrap().pop();
    let worker = || {
        let mut ran = Vec::new();
        while let Some((network, n)) = take() {
            let (name, bytes) = &networks[network];
            ran.push((network, n, frame(name, bytes, &images[n], stalls[n])));
        }
        ran
    };
    std::thread::scope(|scope| {
        let count = std::thread::available_parallelism().map_or(1, NonZero::get);
        let workers: Vec<_> = (0..count).map(|_| scope.spawn(worker)).collect();
        for worker in workers {
            for (network, n, cycles) in worker.join().unwrap_or_else(|panic| resume_unwind(panic)) {
                frames[network][n] = cycles;
            }
        }
    });
    frames
}

/// Runs an image's frame, the memory stalling in `stalls` per cent of the cycles; returns its cycles, predicted and
/// measured.
fn frame(name: &str, bytes: &[u8], image: &Path, stalls: u32) -> (u64, u32) {
    let deployed = Deployed::new(bytes, Path::new("net.sct")).unwrap();
    let program = sim::program(&deployed).unwrap();
    let sample = Sample::load(image, deployed.input(), deployed.fit()).unwrap();
    let int8 = deployed.quantise(&sample.input);
    let (memory, placement) = sim::memory(&program);
    let mut rtl = Rtl::new(memory, Timing { stalls, seed: stalls.into(), ..Timing::default() });
    let frame = sim::frame(&mut rtl, &deployed, placement, &int8, |_| {}).unwrap();
    assert_eq!(frame.mismatch, None, "{name}, {}", image.display());
    assert!(frame.compared > 50_000, "{name}: {} bytes", frame.compared);
    (frame.predicted, frame.counters.cycles)
}

/// Faults and resets while a real frame is under way.
#[test]
fn a_real_frame_survives_faults_and_resets() {
    let Some(data) = data_dir() else { return };
    let (_folder, bytes) = real(&data, "yoloface-50k");
    let deployed = Deployed::new(&bytes, Path::new("net.sct")).unwrap();
    let program = sim::program(&deployed).unwrap();
    let sample = Sample::load(&images(&data)[0], deployed.input(), deployed.fit()).unwrap();
    let int8 = deployed.quantise(&sample.input);
    let (memory, placement) = sim::memory(&program);
    let mut rtl = Rtl::new(memory, Timing { stalls: 10, ..Timing::default() });
    let mut rng = ChaCha8Rng::seed_from_u64(3);
    for round in 0..24 {
        let mut npu = Npu::new(&mut rtl, program, placement).unwrap();
        npu.set_watchdog(30_000);
        let cycle = rng.random_range(0..14_000);
        let fault = match round % 4 {
            0 => None,
            1 => Some(BusFault::Read { beat: rng.random_range(0..4000), response: 2 }),
            2 => Some(BusFault::Write { burst: rng.random_range(0..4), response: 3 }),
            _ => Some(BusFault::Silence { cycle }),
        };
        npu.bus().inject(fault);
        let image = int8.iter().copied().map(Cell::new).collect::<Vec<_>>();
        let map = program.inputs().next().unwrap();
        npu.write_map(map, Tensor::dense(&image, deployed.model().input_shape(), 0).unwrap()).unwrap();
        npu.start().unwrap();
        if fault.is_none() {
            (0..cycle).for_each(|_| npu.bus().step());
        } else {
            let Err(Error::Fault { code, .. }) = npu.wait(Duration::from_millis(1)) else {
                panic!("{fault:?} has no consequence")
            };
            let expected: &[FaultCode] = match fault {
                Some(BusFault::Read { .. }) => &[FaultCode::BusRead, FaultCode::CommandRead],
                Some(BusFault::Write { .. }) => &[FaultCode::BusWrite],
                _ => &[FaultCode::Watchdog],
            };
            assert!(expected.contains(&code), "{fault:?}: {code}");
        }
        if let Some(BusFault::Silence { .. }) = fault {
            npu.bus().wake();
        }
        npu.reset().unwrap();
        npu.bus().inject(None);
        let frame = sim::frame(&mut rtl, &deployed, placement, &int8, |_| {}).unwrap();
        assert_eq!(frame.mismatch, None, "the frame after {fault:?}, cycle {cycle}");
        assert!(rtl.memory().strays().is_empty());
    }
}
