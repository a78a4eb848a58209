//! `soc`: a whole system for a board with an FPGA.

use std::path::{Path, PathBuf};
use std::process::Command;

use clap::Subcommand;
use secateur_base::{Error, Result, errln, files, outln};
use secateur_boards::Workshop;
use secateur_codegen::target::Target;
use secateur_data::Sample;
use secateur_deploy::{Deployed, read_artefact, sim};
use secateur_eval::{Detector, NMS_THRESH};
use secateur_soc::{Board, Build, flash_command};

use super::{Global, on_board, on_system};

/// Build a whole system, processor, memory controller and accelerator, for a board with an FPGA.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Synthesise, place and route a board's system, and write its bitstream.
    #[command(after_help = "Examples:
  secateur soc build --board ulx3s-85f -o system
  secateur soc build --board ecpix5-85f -o system

It takes an hour or more. Finished steps are kept in the folder: what was killed goes on where it was.
Needs Python 3 with venv and the network for its packages (Yosys and nextpnr among them), and
`rustup target add riscv32im-unknown-none-elf`. No bitstream was tried on a board.")]
    Build(BuildArgs),
    /// Write a bitstream, and a job that it runs when the board starts, to a board's flash with openFPGALoader.
    #[command(after_help = "Examples:
  secateur soc flash system/seed-1.bit --board ulx3s-85f --dry-run
  secateur soc flash system/seed-1.bit --board ulx3s-85f --job net.sct photo.jpg

What the flash held at these places is lost. The board reports over its serial line, 115200 baud. It was tried on
no board.")]
    Flash(FlashArgs),
}

#[derive(Debug, clap::Args)]
struct BuildArgs {
    /// The board: ulx3s-85f or ecpix5-85f.
    #[arg(long, value_name = "BOARD")]
    board: String,
    /// Folder of the build.
    #[arg(short, long, value_name = "DIR")]
    output: PathBuf,
}

#[derive(Debug, clap::Args)]
struct FlashArgs {
    /// The bitstream that `soc build` wrote.
    bitstream: PathBuf,
    /// The board: ulx3s-85f or ecpix5-85f.
    #[arg(long, value_name = "BOARD")]
    board: String,
    /// An artefact for the board's target, and an image (JPEG, PNG or BMP).
    #[arg(long, num_args = 2, value_names = ["ARTEFACT", "IMAGE"])]
    job: Option<Vec<PathBuf>>,
    /// Print the commands; write nothing, touch no board.
    #[arg(long)]
    dry_run: bool,
}

pub(crate) fn run(args: Args, global: &Global) -> Result<()> {
    match args.action {
        Action::Build(args) => build(args, global),
        Action::Flash(args) => flash(args),
    }
}

fn flash(args: FlashArgs) -> Result<()> {
    let board = Board::load(&args.board)?;
    if !args.bitstream.is_file() {
        return Err(Error::new("there is no such bitstream")
            .file(&args.bitstream)
            .help(format!("secateur soc build --board {} -o DIR makes one", board.name)));
    }
    let mut commands = vec![flash_command(board, &args.bitstream, false)];
    if let Some([artefact, image]) = args.job.as_deref() {
        let file = args.bitstream.with_extension("job");
        files::refuse_overwrite(&[artefact, image, &args.bitstream], &[&file])?;
        let job = job(board, artefact, image)?;
        if !args.dry_run {
            files::write_bytes(&file, &job)?;
        }
        commands.push(flash_command(board, &file, true));
    }
    for command in &commands {
        if args.dry_run {
            outln!("{}", command.join(" "));
            continue;
        }
        let [program, arguments @ ..] = command.as_slice() else { continue };
        let failed = |cause: String| {
            Error::new("the board's flash was not written")
                .found(format!("{program}: {cause}"))
                .help("on Debian: apt-get install openfpgaloader; the board is plugged in by USB")
        };
        let status = Command::new(program).args(arguments).status().map_err(|e| failed(e.to_string()))?;
        if !status.success() {
            return Err(failed(status.to_string()));
        }
    }
    Ok(())
}

/// An artefact and an image as they lie in the board's flash.
fn job(board: &Board, artefact: &Path, image: &Path) -> Result<Vec<u8>> {
    let bytes = read_artefact(artefact)?;
    let deployed = Deployed::new(&bytes, artefact)?;
    let program = sim::program(&deployed).map_err(|e| e.file(artefact))?;
    on_system::check(&Target::load(board.name)?, &program, artefact)?;
    let sample = Sample::load(image, deployed.input(), deployed.fit())?;
    let (w, h) = sample.frame.inner;
    let image = deployed.quantise(&sample.input);
    let job = on_board::job(&bytes, &image, [w, h], [on_system::SCORE, NMS_THRESH]);
    job.planar_package().ok_or_else(|| Error::new("artefact and image do not go together").file(artefact))
}

fn build(args: BuildArgs, global: &Global) -> Result<()> {
    let board = Board::load(&args.board)?;
    let workshop = Workshop::of_user()?;
    let begin = |what: &str| errln!("{what} …");
    let build = Build::new(board, &args.output, &workshop, begin)?;
    // More than nextpnr takes is cut off.
    let built = build.run((global.seed % (1 << 31)) as u32, begin)?;
    outln!("{}", built.report.to_string().trim_end());
    let soc = Target::load(board.name)?.soc;
    if let Some((soc, clock)) = soc.and_then(|soc| Some((soc, built.report.system_clock(soc.clock_mhz)?)))
        && clock.reached < f64::from(soc.clock_mhz)
    {
        outln!("{} does not reach its {} MHz by this", board.name, soc.clock_mhz);
    }
    match built.bitstream {
        Ok(path) => outln!("{}", path.display()),
        Err(why) => outln!("no bitstream: {why}"),
    }
    Ok(())
}
