//! The accelerator's program on the emulator against the int8 network: every byte of every layer.

use std::cell::Cell;
use std::time::Duration;

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use secateur_runtime::artefact::Model;
use secateur_runtime::npu::isa::{Exec, Parameters, exec_flags};
use secateur_runtime::npu::stream::{Command, Commands, Queue};
use secateur_runtime::npu::{Bus, Npu, Placement, registers};
use secateur_runtime::{Engine, Tensor};
use secateur_sim::emulator::Emulator;
use secateur_sim::memory::Access;
use secateur_sim::{Memory, Simulator};

use super::*;
use secateur_base::Result;
use secateur_codegen::random;
use secateur_codegen::target::Target;
use secateur_codegen::{Compiled, NpuOptions, Patch, compile_with};
use secateur_quant::QNet;
use secateur_quant::exec;
use secateur_quant::net::QOp;

pub(super) fn packed(net: &QNet, target: &str, options: NpuOptions) -> Result<Compiled> {
    compile_with(net, &Target::load(target).unwrap(), options, Patch::Off, |_, _, _| {})
}

/// Targets with their rows.
const SIZES: [(&str, usize); 5] =
    [("npu-8x16", 8), ("npu-4x8", 4), ("npu-4x16", 4), ("npu-8x8", 8), ("npu-16x16", 16)];

/// Pixels that a command writes.
fn pixels(exec: &Exec, lanes: usize, map: usize) -> std::ops::Range<usize> {
    let get = |field: zerocopy::little_endian::U16| usize::from(field.get());
    if exec.flags & exec_flags::ROW_MODE != 0 {
        let first = get(exec.y_first) * get(exec.out_w);
        return first..first + get(exec.rows) * get(exec.out_w);
    }
    let first = get(exec.word_first) * lanes;
    first..(first + get(exec.tiles) * lanes).min(map)
}

/// Runs an artefact's program on the emulator. After every command of the array the pixels that it
/// wrote are compared with the network's layer; returns which elements of which value were seen.
pub(super) fn assert_exact(
    what: &str,
    net: &QNet,
    artefact: &[u8],
    image: &[f32],
    shuffle: u64,
) -> Vec<Vec<bool>> {
    let model = Model::from_bytes(artefact).unwrap();
    let (program, trace) = (model.program().unwrap(), model.trace().unwrap());
    let commands: Vec<Command<'_>> =
        Commands::new(program.stream()).collect::<std::result::Result<_, _>>().unwrap();
    assert_eq!(commands.len(), trace.len());
    let int8: Vec<i8> = exec::quantise_input(net, image).iter().map(Cell::get).collect();
    let layers = exec::run(net, image);
    let value = |v: usize| -> Vec<i8> {
        if v == 0 { int8.clone() } else { layers[v - 1].iter().map(Cell::get).collect() }
    };
    let shape = |v: usize| if v == 0 { net.input.shape } else { net.nodes[v - 1].output.shape };
    let mut memory = Memory::new();
    let placement = Placement {
        program: memory.allocate(program.bytes().len(), Access::ReadOnly),
        work: memory.allocate(program.header().work_bytes.get() as usize, Access::ReadWrite),
    };
    let mut emulator = Emulator::new(program.parameters(), memory);
    emulator.shuffle(shuffle);
    let mut npu = Npu::new(&mut emulator, program, placement).unwrap();
    for map in program.inputs() {
        let v = map.tensor.get() as usize;
        let int8: Vec<Cell<i8>> = value(v).into_iter().map(Cell::new).collect();
        let secateur_ir::Shape { c, h, w } = shape(v);
        npu.write_map(map, Tensor::dense(&int8, [h, w, c], 0).unwrap()).unwrap();
    }
    npu.start().unwrap();
    let rows = program.parameters().rows as usize;
    let lanes = program.parameters().lanes as usize;
    let executed: Vec<usize> =
        (0..commands.len()).filter(|&at| commands[at].queue() == Queue::Exec).collect();
    let mut seen: Vec<Vec<bool>> = (0..=net.nodes.len()).map(|v| vec![false; shape(v).len()]).collect();
    let mut expected: Option<(usize, Vec<i8>)> = None;
    let mut finished = 0;
    while let Some(event) = emulator.next_event() {
        finished += 1;
        if event.queue != Queue::Exec {
            continue;
        }
        let at = executed[event.index as usize];
        let Command::Exec(command) = commands[at] else { continue };
        let record = trace.get(at).unwrap();
        let v = record.tensor().unwrap();
        if expected.as_ref().is_none_or(|(known, _)| *known != v) {
            expected = Some((v, value(v)));
        }
        let wanted = &expected.as_ref().unwrap().1;
        let shape = shape(v);
        for channel in 0..usize::from(command.out_channels.get()) {
            let bank_channel = usize::from(command.out_origin.get()) + channel;
            let c = usize::from(record.channel.get()) + channel;
            for f in pixels(command, lanes, shape.plane()) {
                let (plane, first) =
                    (i32::from(command.out_plane.get()), i32::from(command.out_w_first.get()));
                let position = i32::from(command.out_pos_first.get()) + (f / lanes) as i32 - first;
                let position = if position >= plane { position - plane } else { position };
                let address = usize::from(command.out_base.get())
                    + bank_channel / rows * plane as usize
                    + position as usize;
                let found = emulator.bank_word(bank_channel % rows, address)[f % lanes].cast_signed();
                let index = f * shape.c + c;
                assert_eq!(
                    found,
                    wanted[index],
                    "{what}: value {v}, channel {c}, row {}, column {}, command {at}: {command:?}",
                    f / shape.w,
                    f % shape.w
                );
                seen[v][index] = true;
            }
        }
    }
    let [status, code, info] = [registers::STATUS, registers::FAULT, registers::FAULT_INFO]
        .map(|register| emulator.read_register(register).unwrap());
    assert_eq!(
        status,
        registers::STATUS_DONE,
        "{what}: fault {code}, {info:#x} after {finished} commands of {}: {:?}",
        commands.len(),
        commands.get(finished)
    );
    // Outputs for the processor are in memory.
    for map in program.outputs() {
        let v = map.tensor.get() as usize;
        let (wanted, shape) = (value(v), shape(v));
        let mut plane = vec![0; shape.plane()];
        for c in 0..shape.c {
            let address = placement.work + map.address.get() + c as u32 * map.pitch.get();
            emulator.memory().read(address, &mut plane).unwrap();
            for (f, &byte) in plane.iter().enumerate() {
                assert_eq!(byte.cast_signed(), wanted[f * shape.c + c], "{what}: output {v}");
            }
        }
    }
    let memory = emulator.memory();
    assert!(memory.strays().is_empty() && memory.broken_guard().is_none(), "{what}: stray accesses");
    seen
}

pub(super) fn random_image(net: &QNet, seed: u64) -> Vec<f32> {
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    (0..net.input.shape.len()).map(|_| random.random()).collect()
}

/// Every layer that a network computes is written whole, unless a sum has taken it over.
fn assert_complete(what: &str, net: &QNet, seen: &[Vec<bool>], fused: bool) {
    for (layer, node) in net.nodes.iter().enumerate() {
        let addressed = matches!(
            node.op,
            QOp::Route(_) | QOp::Identity | QOp::Softmax(_) | QOp::Crop { .. } | QOp::LocalAvgPool(_)
        );
        let computed = !addressed && !node.op.is_head();
        let seen = &seen[layer + 1];
        let whole = seen.iter().all(|&seen| seen);
        let taken_over = fused && matches!(node.op, QOp::Conv(_)) && seen.iter().all(|&seen| !seen);
        assert!(!computed || whole || taken_over, "{what}: layer {layer} {} is not whole", node.op.name());
    }
}

/// Zeroes half of the vectors of one input channel and `rows` outputs.
fn prune_vectors(net: &mut QNet, rows: usize, seed: u64) {
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    for node in &mut net.nodes {
        let outputs = node.output.shape.c;
        let QOp::Conv(conv) = &mut node.op else { continue };
        let inputs = conv.weights.len() / (outputs * conv.size * conv.size);
        for group in 0..outputs.div_ceil(rows) {
            for input in (0..inputs).filter(|_| random.random_bool(0.5)).collect::<Vec<_>>() {
                let taps = conv.size * conv.size;
                let cleared = group * rows * taps..((group + 1) * rows).min(outputs) * taps;
                cleared.for_each(|row| conv.weights[row * inputs + input] = 0);
            }
        }
    }
}

#[test]
fn random_networks_run_exactly_on_the_emulator() {
    let (cases, mut ran) = (secateur_testing::cases(400), 0);
    for seed in 0..cases {
        let mut net = random::network(seed, 2 + seed as usize % 9);
        let (target, rows) = SIZES[seed as usize % SIZES.len()];
        if seed % 4 == 0 {
            prune_vectors(&mut net, rows, seed);
        }
        let fused = seed % 3 > 0;
        let options = NpuOptions {
            fuse: fused,
            group: [1, 4, 16][seed as usize % 3],
            processor: false,
            ..NpuOptions::default()
        };
        let compiled = match packed(&net, target, options) {
            Ok(compiled) => compiled,
            Err(e) => {
                assert!(e.at_layer().is_some(), "seed {seed}: {e:?}");
                continue;
            }
        };
        let what = format!("seed {seed}");
        let seen = assert_exact(&what, &net, &compiled.artefact, &random_image(&net, seed), seed);
        assert_complete(&what, &net, &seen, fused);
        ran += 1;
    }
    println!("{ran} of {cases}");
    assert!(ran >= cases / 4, "only {ran} of {cases} networks are legal");
}

/// Contents of the heads of an artefact after a frame: by the engine alone, or with the emulator's share of it.
pub(super) fn heads(artefact: &[u8], int8: &[i8], on_accelerator: bool) -> Vec<Vec<i8>> {
    let model = Model::from_bytes(artefact).unwrap();
    // Nothing that the processor has not computed looks as if it had.
    let mut arena = vec![if on_accelerator { 0x55 } else { 0xaa }; model.arena_bytes()];
    let mut engine = Engine::new(&model, &mut arena).unwrap();
    if on_accelerator {
        let program = model.program().unwrap();
        let mut memory = Memory::new();
        let placement = Placement {
            program: memory.allocate(program.bytes().len(), Access::ReadOnly),
            work: memory.allocate(program.header().work_bytes.get() as usize, Access::ReadWrite),
        };
        let mut emulator = Emulator::new(program.parameters(), memory);
        engine.input().unwrap().copy_from(int8);
        let mut npu = Npu::new(&mut emulator, program, placement).unwrap();
        npu.run(&mut engine, Duration::from_secs(1)).unwrap();
    } else {
        engine.run(int8, &mut ());
    }
    let values = |index: usize| {
        let tensor = engine.tensor(index).unwrap();
        let mut int8 = vec![0; tensor.pixels() * tensor.c()];
        tensor.copy_to(&mut int8);
        int8
    };
    model.heads().map(|head| values(head.tensor)).collect()
}

/// The processor runs the layers that the accelerator cannot run; the driver runs both.
#[test]
fn shared_networks_run_exactly() {
    let (cases, mut kinds) = (secateur_testing::cases(300), [0; 4]);
    for seed in 0..cases {
        let net = random::network(seed, 3 + seed as usize % 12);
        let options = NpuOptions {
            fuse: seed % 3 > 0,
            group: [1, 4, 16][seed as usize % 3],
            processor: true,
            ..NpuOptions::default()
        };
        let (target, _) = SIZES[seed as usize % SIZES.len()];
        let compiled = match packed(&net, target, options) {
            Ok(compiled) => compiled,
            Err(e) => {
                assert!(e.at_layer().is_some(), "seed {seed}: {e:?}");
                continue;
            }
        };
        let what = format!("seed {seed}");
        let partition = compiled.manifest.accelerator.as_ref().unwrap().partition.as_ref();
        let [before, after] =
            partition.map_or([false; 2], |p| [p.layers[0] > 0, p.layers[1] + 1 < net.nodes.len()]);
        kinds[usize::from(before) + 2 * usize::from(after)] += 1;
        assert_eq!(
            partition.is_some(),
            packed(&net, target, NpuOptions { processor: false, ..options }).is_err()
        );
        let image = random_image(&net, seed);
        assert_exact(&what, &net, &compiled.artefact, &image, seed);
        let int8: Vec<i8> = exec::quantise_input(&net, &image).iter().map(Cell::get).collect();
        let [alone, shared] = [false, true].map(|accelerator| heads(&compiled.artefact, &int8, accelerator));
        assert_eq!(alone, shared, "{what}: {partition:?}");
    }
    println!("whole, only after, only before, both: {kinds:?}");
    assert!(kinds.iter().all(|&count| count >= cases / 30), "{kinds:?} of {cases}");
}

#[test]
fn real_networks_run_exactly_on_the_emulator() {
    for (name, net, input) in tests::real_networks() {
        if !["yoloface-50k", "yolo-fastest-1.1"].contains(&name.as_str()) {
            continue;
        }
        for options in [NpuOptions::LAYER_BY_LAYER, NpuOptions::default()] {
            let compiled = packed(&net, "npu-8x16", options).unwrap_or_else(|e| panic!("{name}: {e:?}"));
            let report = compiled.manifest.accelerator.as_ref().unwrap();
            println!("{name} {options:?}: {} cycles, {:.3}", report.cycles, report.utilisation());
            if name == "yolo-fastest-1.1" && options == NpuOptions::default() {
                // 92 % of 128 multipliers.
                assert!(report.cycles <= 1_065_228, "{report}");
            }
            let seen = assert_exact(&name, &net, &compiled.artefact, &input, 1);
            assert_complete(&name, &net, &seen, options.fuse);
        }
        for (target, _) in SIZES {
            let compiled =
                packed(&net, target, NpuOptions::default()).unwrap_or_else(|e| panic!("{name}: {e:?}"));
            let what = format!("{name}, {target}");
            let seen = assert_exact(&what, &net, &compiled.artefact, &input, 1);
            assert_complete(&what, &net, &seen, true);
        }
    }
}

/// A refused layer is named with its number and line.
#[test]
fn illegal_layers_are_named() {
    let mut refused = std::collections::BTreeSet::new();
    for seed in 0..200 {
        let net = random::network(seed, 10);
        if let Err(e) = packed(&net, "npu-8x16", NpuOptions::LAYER_BY_LAYER) {
            let layer = e.at_layer().unwrap();
            assert_eq!(e.at_line(), Some(net.nodes[layer].line), "{e:?}");
            refused.insert(e.what().to_owned());
        }
    }
    assert!(refused.len() >= 3, "{refused:?}");
}

/// A forged program is refused as a whole, or it is one that the accelerator can run to an end.
#[test]
fn forged_programs_never_crash() {
    let legal =
        (0..).find_map(|seed| packed(&random::network(seed, 6), "npu-8x16", NpuOptions::default()).ok());
    let whole = legal.unwrap().artefact;
    let program = Model::from_bytes(&whole).unwrap().program().unwrap().bytes().to_vec();
    let start = whole.windows(program.len()).position(|bytes| bytes == program).unwrap();
    let (mut refused, mut accepted) = (0, 0);
    for seed in 0..secateur_testing::cases(2000) {
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        let mut bytes = whole.clone();
        for _ in 0..random.random_range(1..4) {
            bytes[start + random.random_range(0..program.len())] ^= 1 << random.random_range(0..8);
        }
        let (content, checksum) = bytes.split_last_chunk_mut::<4>().unwrap();
        *checksum = secateur_runtime::artefact::crc32(content).to_le_bytes();
        match Model::from_bytes(&bytes) {
            Err(_) => refused += 1,
            Ok(model) => {
                let program = model.program().unwrap();
                let work_bytes = program.header().work_bytes.get() as usize;
                if work_bytes > 1 << 24 {
                    continue;
                }
                let mut memory = Memory::new();
                let placement = Placement {
                    program: memory.allocate(program.bytes().len(), Access::ReadOnly),
                    work: memory.allocate(work_bytes, Access::ReadWrite),
                };
                let mut emulator = Emulator::new(Parameters::NPU_8X16, memory);
                // The driver refuses programs for other sizes.
                if let Ok(mut npu) = Npu::new(&mut emulator, program, placement) {
                    let frame = npu.start().and_then(|()| npu.wait(Duration::from_secs(1)));
                    accepted += u32::from(frame.is_ok());
                }
                assert!(emulator.memory().strays().is_empty(), "seed {seed}");
            }
        }
    }
    assert!(refused > 0 && accepted > 0, "{refused} refused, {accepted} accepted");
}
