//! `compile`: an int8 network as an artefact for a target.

use std::path::{Path, PathBuf};

use secateur_base::terminal::print;
use secateur_base::{Result, errln, files, outln};
use secateur_codegen::cpu::PASSES;
use secateur_codegen::target::{Board, Target};
use secateur_codegen::{LiveAtLayer, Manifest, NpuOptions, Patch, compile_with};
use secateur_quant::QNet;
use secateur_report::MemoryPicture;

use super::Global;

/// Pack an int8 network into an artefact for a target.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  secateur compile yolo-fastest.int8 --target host -o yolo-fastest.sct
  secateur compile yolo-fastest.int8 --target npu-8x16 -v
  secateur compile resnet.int8 --target npu-8x16 --allow-processor
  secateur compile yolo-fastest.int8 --board stm32f746g-disco
  secateur compile yolo-fastest.int8 --board stm32f407g-disc1 --patch --memory-picture ram.svg
  secateur compile yolo-fastest.int8 --dump-after place

With a target that has an accelerator the artefact holds its program beside the processor's steps;
-v prints where its cycles go, `secateur disasm` its commands. A layer that the accelerator cannot
run is an error; with --allow-processor it gets the run of supported consecutive layers with the most
multiply-accumulates, and the processor runs the layers before and after.

The manifest is written beside the artefact, as NET.sct.json.")]
pub(crate) struct Args {
    /// The int8 network that `quantize` wrote.
    #[arg(value_name = "NET.int8")]
    net: PathBuf,
    /// A known target's name or a target file (.toml).
    #[arg(long, default_value = "host", value_name = "TARGET")]
    target: String,
    /// Compile for a board's processor and memory: a known board's name or a board file (.toml).
    #[arg(long, value_name = "BOARD", conflicts_with = "target")]
    board: Option<String>,
    /// The artefact to write [default: the network's name with .sct].
    #[arg(short, long, value_name = "NET.sct")]
    output: Option<PathBuf>,
    /// Accelerator: run each layer on its own, every feature map through memory; for finding faults.
    #[arg(long)]
    layer_by_layer: bool,
    /// Accelerator: let the processor run the layers that the accelerator cannot run, and all before or after
    /// them; the report names them.
    #[arg(long)]
    allow_processor: bool,
    /// Run the first layers in bands of rows, with the same bytes in less RAM: in so many bands, or with the fewest steps
    /// that fit the memory, or else the least RAM.
    #[arg(long, value_name = "BANDS", num_args = 0..=1, value_parser = clap::value_parser!(u16).range(2..))]
    patch: Option<Option<u16>>,
    /// Draw the RAM by layer, and with --patch that without it too.
    #[arg(long, value_name = "FILE.svg")]
    memory_picture: Option<PathBuf>,
    /// Print the program after this pass; may be given several times.
    #[arg(long, value_name = "PASS", value_parser = clap::builder::PossibleValuesParser::new(PASSES))]
    dump_after: Vec<String>,
}

pub(crate) fn run(args: Args, global: &Global) -> Result<()> {
    let output = args.output.clone().unwrap_or_else(|| args.net.with_extension("sct"));
    let mut manifest_path = output.clone().into_os_string();
    manifest_path.push(".json");
    let manifest_path = PathBuf::from(manifest_path);
    let described = args.board.as_ref().unwrap_or(&args.target);
    let mut outputs = vec![&output, &manifest_path];
    outputs.extend(&args.memory_picture);
    files::refuse_overwrite(&[args.net.as_path(), Path::new(described)], &outputs)?;
    let target = match &args.board {
        Some(board) => Board::load(board)?.target,
        None => Target::load(&args.target)?,
    };
    let net = QNet::load(&args.net)?;
    let options = match args.layer_by_layer {
        true => NpuOptions::LAYER_BY_LAYER,
        false => NpuOptions::default(),
    };
    let options = NpuOptions { processor: args.allow_processor, ..options };
    let patch = match args.patch {
        None => Patch::Off,
        Some(None) => Patch::Auto,
        Some(Some(bands)) => Patch::Bands(bands.into()),
    };
    let compiled = compile_with(&net, &target, options, patch, |pass, took, program| {
        if global.verbose > 0 {
            errln!("pass {pass:<10} {:>8.1} ms", took.as_secs_f64() * 1e3);
        }
        if args.dump_after.iter().any(|wanted| wanted == pass) {
            print(format_args!("; after {pass}\n{}", program.dump()));
        }
    })
    // Lines are those of the .cfg that the network was made from.
    .map_err(|e| match e.at_line() {
        Some(_) => e.file(&net.provenance.model),
        None => e.file(&args.net),
    })?;
    files::write_bytes(&output, &compiled.artefact)?;
    files::write_bytes(&manifest_path, compiled.manifest.to_json().as_bytes())?;
    if let Some(path) = &args.memory_picture {
        let bytes = |profile: &[LiveAtLayer]| profile.iter().map(|at| (at.layer, at.bytes)).collect();
        let picture = MemoryPicture {
            title: net.provenance.model.clone(),
            layers: net.nodes.len(),
            bytes: bytes(&compiled.memory),
            before: compiled.memory_before.as_deref().map(bytes),
        };
        files::write_bytes(path, picture.to_svg()?.as_bytes())?;
    }
    outln!("{}: {}", output.display(), summary(&compiled.manifest));
    let most = |profile: &[LiveAtLayer]| profile.iter().map(|at| at.bytes).max().unwrap_or(0);
    match (&compiled.manifest.patch, &compiled.memory_before) {
        (Some(patch), Some(before)) => outln!(
            "patch: layers 0 to {} in {} bands, live bytes {} instead of {}; {} multiply-accumulates recomputed, {} bytes moved",
            patch.layers - 1,
            patch.bands,
            most(&compiled.memory),
            most(before),
            patch.recomputed,
            patch.moved
        ),
        _ if patch != Patch::Off => {
            outln!("patch: no bands of the first layers need less RAM, so there are none")
        }
        _ => {}
    }
    if let Some(count) = compiled.manifest.instructions {
        outln!("processor: about {:.2} M instructions a frame", count as f64 / 1e6);
    }
    if let Some(report) = &compiled.manifest.accelerator {
        if global.verbose > 0 {
            print(format_args!("{report}"));
        }
        if let Some(partition) = &report.partition {
            print(format_args!("{partition}"));
        }
        outln!(
            "accelerator: {} cycles a frame, MACs (those with zeros too) are {:.1} % of what its multipliers can do, {:.2} MB over the bus",
            report.cycles,
            100.0 * report.utilisation(),
            report.bytes as f64 / 1e6
        );
        if let Some(soc) = &target.soc {
            let rate = soc.frames_per_second(report.cycles);
            outln!(
                "at {} MHz the accelerator does {rate:.1} frames a second, the processor left aside",
                soc.clock_mhz
            );
        }
    }
    Ok(())
}

fn summary(manifest: &Manifest) -> String {
    let arena = &manifest.arena;
    let over = 100.0 * (arena.bytes as f64 / arena.lower_bound.max(1) as f64 - 1.0);
    format!(
        "{} bytes for target {}, {:.1} M multiply-accumulates\n\
         arena {} bytes, {over:.1} % over the lower bound of {}; concatenations copy {} bytes",
        manifest.artefact.bytes,
        manifest.target,
        manifest.macs as f64 / 1e6,
        arena.bytes,
        arena.lower_bound,
        arena.copied,
    )
}
