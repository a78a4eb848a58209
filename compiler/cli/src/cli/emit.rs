//! `emit`: an artefact as the files of a C or Rust program, a test bench of the RTL, and generated RTL sources.

use std::path::{Path, PathBuf};

use clap::Subcommand;
use secateur_base::{Error, Result, errln, files, outln};
use secateur_boards::{Board, EMBEDDING_FILES, Embedding, Workshop};
use secateur_codegen::target::Target;
use secateur_data::Sample;
use secateur_deploy::emit;
use secateur_deploy::{Deployed, read_artefact};
use secateur_eval::Detector;
use secateur_sim::package;

use super::Global;

/// Write an artefact as a C or Rust program, a test bench of a frame, or the accelerator's generated sources.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// A C program: the artefact as an array, a header, a static library with the kernels that it needs, an
    /// example.
    #[command(after_help = "Examples:
  secateur compile net.int8 --target cortex-m4 -o net.sct
  secateur emit c net.sct --image photo.jpg -o embedded

The library is for the processor of the target that the artefact was compiled for. It needs no heap and
no floating point. main.c runs the image; CMakeLists.txt builds it.")]
    C(C),
    /// A Rust program: a Cargo project with the artefact, the sources of the runtime and of the kernels, an example.
    #[command(after_help = "Examples:
  secateur compile net.int8 --target cortex-m4 -o net.sct
  secateur emit rust net.sct --image photo.jpg -o embedded
  cd embedded && cargo run --release

The project is for a Cortex-M and links the kernels that the network needs. memory.x and the runner are
those of --board; put your chip's memory in their place. src/main.rs runs the image.")]
    Rust(Rust),
    /// Self-checking SystemVerilog test bench of one frame, with RTL and memory images.
    #[command(after_help = "Examples:
  secateur emit testbench yolo-fastest.sct dog.jpg -o bench && bench/run

The bench prints PASS or the first mismatch, and the frame's cycles. It needs Verilator 5.006 or later
and nothing else.")]
    Testbench(Testbench),
    /// SystemVerilog package and register manual of an accelerator.
    #[command(after_help = "Examples:
  secateur emit rtl-package --target npu-8x16 -o hw

Writes DIR/rtl/npu_pkg.sv and DIR/doc/registers.md.")]
    RtlPackage(RtlPackage),
}

#[derive(Debug, clap::Args)]
struct C {
    /// The artefact that `compile --target` wrote for a processor (.sct).
    artefact: PathBuf,
    /// The example's image (JPEG, PNG or BMP) [default: grey].
    #[arg(long)]
    image: Option<PathBuf>,
    /// Folder to write to.
    #[arg(short, long, value_name = "DIR")]
    output: PathBuf,
}

#[derive(Debug, clap::Args)]
struct Rust {
    #[command(flatten)]
    program: C,
    /// A known board's name or a board file (.toml) [default: the board that QEMU has with the artefact's processor].
    #[arg(long, value_name = "BOARD")]
    board: Option<String>,
}

#[derive(Debug, clap::Args)]
struct Testbench {
    /// The artefact that `compile --target npu-…` wrote (.sct).
    artefact: PathBuf,
    /// An image (JPEG, PNG or BMP).
    image: PathBuf,
    /// Folder to write to.
    #[arg(short, long, value_name = "DIR")]
    output: PathBuf,
}

#[derive(Debug, clap::Args)]
struct RtlPackage {
    /// A known accelerator's name or a target file (.toml).
    #[arg(long, default_value = "npu-8x16")]
    target: String,
    /// Folder to write to.
    #[arg(short, long, value_name = "DIR")]
    output: PathBuf,
}

pub(crate) fn run(args: Args, _global: &Global) -> Result<()> {
    match args.what {
        What::C(args) => c_program(&args),
        What::Rust(args) => rust_program(&args),
        What::Testbench(args) => testbench(&args),
        What::RtlPackage(args) => rtl_package(&args),
    }
}

fn c_program(args: &C) -> Result<()> {
    refuse_overwrite(args, &EMBEDDING_FILES.map(|name| args.output.join(name)))?;
    let bytes = read_artefact(&args.artefact)?;
    let (embedding, pixels) = embed(args, &bytes)?;
    embedding.write(&args.output, &pixels)?;
    print_sizes(&args.output, EMBEDDING_FILES.len(), &embedding);
    Ok(())
}

fn rust_program(args: &Rust) -> Result<()> {
    let Rust { program, board } = args;
    let bytes = read_artefact(&program.artefact)?;
    let (embedding, pixels) = embed(program, &bytes)?;
    let board = match board {
        Some(name) => Board::load(name)?,
        None => emulated(embedding.target())?,
    };
    let files = embedding.project(&board, &pixels)?;
    let paths: Vec<PathBuf> = files.iter().map(|(name, _)| program.output.join(name)).collect();
    refuse_overwrite(program, &paths)?;
    paths.iter().zip(&files).try_for_each(|(path, (_, bytes))| files::write_bytes(path, bytes))?;
    print_sizes(&program.output, files.len(), &embedding);
    Ok(())
}

/// The board that an emulator shows with the processor of a target.
fn emulated(target: &str) -> Result<Board> {
    for name in Board::names() {
        let board = Board::load(name)?;
        if board.emulator.is_some() && board.target.name == target {
            return Ok(board);
        }
    }
    Err(Error::new(format!("QEMU has no board with the processor of target {target}"))
        .help("--board names the board that the program is for"))
}

fn refuse_overwrite(args: &C, outputs: &[PathBuf]) -> Result<()> {
    let inputs: Vec<_> = std::iter::once(&args.artefact).chain(&args.image).collect();
    files::refuse_overwrite(&inputs, outputs)
}

/// The artefact with its library, and the example's image.
fn embed<'a>(args: &C, artefact: &'a [u8]) -> Result<(Embedding<'a>, Vec<u8>)> {
    let deployed = Deployed::new(artefact, &args.artefact)?;
    let shape = deployed.input();
    let pixels = match &args.image {
        Some(image) => {
            let sample = Sample::load(image, shape, deployed.fit())?;
            deployed.quantise(&sample.input).iter().map(|&code| code as u8 ^ 0x80).collect()
        }
        None => vec![0x80; deployed.model().input_shape().iter().product()],
    };
    let begin = |target: &str| errln!("building the library for {target} …");
    let embedding = Embedding::new(artefact, &Workshop::of_user()?, begin);
    Ok((embedding.map_err(|e| e.file(&args.artefact))?, pixels))
}

fn print_sizes(folder: &Path, files: usize, embedding: &Embedding<'_>) {
    outln!(
        "{}: {files} files; flash: at most {} bytes of code and {} of its constants, {} of artefact; RAM: {} of arena",
        folder.display(),
        embedding.text,
        embedding.constants,
        embedding.artefact_bytes(),
        embedding.arena_bytes()
    );
}

fn testbench(args: &Testbench) -> Result<()> {
    let outputs = emit::FILES.map(|name| args.output.join(name));
    files::refuse_overwrite(&[&args.artefact, &args.image], &outputs)?;
    let bytes = read_artefact(&args.artefact)?;
    let deployed = Deployed::new(&bytes, &args.artefact)?;
    let sample = Sample::load(&args.image, deployed.input(), deployed.fit())?;
    let int8 = deployed.quantise(&sample.input);
    emit::testbench(&deployed, &int8, &args.output).map_err(|e| e.file(&args.artefact))?;
    outln!("{0}: run {0}/run", args.output.display());
    Ok(())
}

fn rtl_package(args: &RtlPackage) -> Result<()> {
    let target = Target::load(&args.target)?;
    let accelerator = target.accelerator.ok_or_else(|| {
        Error::new(format!("target {} has no accelerator", args.target)).help("choose npu-8x16 or npu-4x16")
    })?;
    let text = package::package(&accelerator.parameters());
    files::write_bytes(&args.output.join("rtl/npu_pkg.sv"), text.as_bytes())?;
    files::write_bytes(&args.output.join("doc/registers.md"), package::manual().as_bytes())
}
