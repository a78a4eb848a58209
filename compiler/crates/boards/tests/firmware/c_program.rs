//! The files of `emit c`, compiled by Arm's GCC and run in QEMU: the program prints what this machine finds.

use std::fmt::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};

use object::{Object, ObjectSection, SectionKind};
use secateur_boards::{Board, EMBEDDING_FILES, Embedding, Job, Report, expected};
use secateur_codegen::random;
use secateur_codegen::target::Target;
use secateur_runtime::artefact::Model;
use secateur_testing::skipped;

use super::{Case, installed, parts, quantised, workshop};

/// Thresholds of the examples.
pub(super) const SCORE: u32 = 1 << 28;
pub(super) const OVERLAP: u32 = 483_183_821;

/// Most code of one network's operators, in bytes.
const MOST_CODE: u64 = 24 << 10;

const GCC: &str = "arm-none-eabi-gcc";
const OPTIONS: [&str; 8] = [
    "-mcpu=cortex-m4",
    "-mthumb",
    "-mfloat-abi=hard",
    "-mfpu=fpv4-sp-d16",
    "-Os",
    "-Wall",
    "-Wextra",
    "-Werror",
];

/// Start of a program on QEMU's mps2-an386: vectors, then newlib's own start with semihosting.
const START: &str = "
extern void _start(void);
extern char stack_top;
static void fault(void) { for (;;) {} }
static void reset(void) {
    *(volatile unsigned *)0xE000ED88 |= 0xF << 20;
    _start();
}
__attribute__((section(\".vectors\"), used)) static void *const vectors[] = {
    &stack_top, reset, fault, fault, fault, fault, fault, fault, fault, fault, fault, fault, fault, fault, fault, fault,
};
";
const MAP: &str = "
MEMORY { CODE : ORIGIN = 0, LENGTH = 4M DATA : ORIGIN = 0x20000000, LENGTH = 4M }
SECTIONS {
  .text : { KEEP(*(.vectors)) *(.text .text.*) KEEP(*(.init)) KEEP(*(.fini)) *(.rodata .rodata.*) } > CODE
  .ARM.exidx : { *(.ARM.exidx*) } > CODE
  .init_array : { KEEP(*(.preinit_array)) KEEP(*(.init_array)) KEEP(*(.fini_array)) } > CODE
  .data : { *(.data .data.*) } > DATA
  .bss : { __bss_start__ = .; *(.bss .bss.*) *(COMMON) __bss_end__ = .; end = .; __end__ = .; } > DATA
}
stack_top = ORIGIN(DATA) + LENGTH(DATA);
__stack = stack_top;
";

/// The lines that the examples print for a report.
pub(super) fn lines(report: &Report, model: &Model<'_>) -> String {
    let mut text = String::new();
    for (class, probability) in report.classes.iter().enumerate() {
        let _ = writeln!(text, "class {class} {} probability {probability}", model.class_name(class));
    }
    for d in &report.detections {
        let name = model.class_name(d.class.into());
        let (class, score) = (d.class, d.score);
        let _ = writeln!(text, "box {class} {name} score {score} x {} y {} w {} h {}", d.x, d.y, d.w, d.h);
    }
    text
}

/// A program that opens and runs, and has no C library's start.
const RUN_ALONE: &str = "
#include \"model.h\"
#include \"secateur.h\"
static uint8_t arena[MODEL_ARENA_BYTES];
static secateur_model network;
static secateur_detection detections[4];
static size_t found;
int reset(void) {
    int failed = secateur_open_linked(&network, model, MODEL_BYTES) ||
                 secateur_run(&network, arena, sizeof arena, image, MODEL_IMAGE_BYTES);
#ifdef BOXES
    failed |= secateur_detect(&network, arena, sizeof arena, 0, 0, detections, 4, &found);
#endif
    (void)detections, (void)found;
    return failed;
}
";

/// Bytes of code that a network's kernels take, with all that reads the artefact and calls them; with `boxes` also
/// what finds boxes.
fn code_to_run(folder: &Path, boxes: bool) -> u64 {
    std::fs::write(folder.join("run.c"), RUN_ALONE).unwrap();
    let mut gcc = Command::new(GCC);
    gcc.current_dir(folder).args(OPTIONS).args([
        "-nostartfiles",
        "-Wl,--gc-sections,-ereset",
        "-o",
        "run.elf",
    ]);
    gcc.args(boxes.then_some("-DBOXES"));
    let built = gcc.args(["run.c", "model.c", "image.c", "libsecateur.a"]).output().unwrap();
    assert!(built.status.success(), "{}", String::from_utf8_lossy(&built.stderr));
    let bytes = std::fs::read(folder.join("run.elf")).unwrap();
    let file = object::File::parse(bytes.as_slice()).unwrap();
    let code = file.sections().filter(|section| section.kind() == SectionKind::Text);
    code.map(|section| section.size()).sum()
}

fn compile_and_run(folder: &Path) -> String {
    std::fs::write(folder.join("start.c"), START).unwrap();
    std::fs::write(folder.join("map.ld"), MAP).unwrap();
    let mut gcc = Command::new(GCC);
    gcc.current_dir(folder).args(OPTIONS).args(["--specs=rdimon.specs", "-Wl,--gc-sections", "-Tmap.ld"]);
    gcc.args(["start.c", "main.c", "model.c", "image.c", "libsecateur.a", "-o", "example.elf"]);
    let built = gcc.output().unwrap();
    assert!(built.status.success(), "{}", String::from_utf8_lossy(&built.stderr));
    let mut qemu = Command::new("qemu-system-arm");
    qemu.args([
        "-M",
        "mps2-an386",
        "-nographic",
        "-semihosting-config",
        "enable=on,target=native",
        "-kernel",
    ]);
    let run = qemu.arg(folder.join("example.elf")).stdin(Stdio::null()).output().unwrap();
    let text = String::from_utf8_lossy(&run.stdout).into_owned();
    assert!(run.status.success(), "{text}{}", String::from_utf8_lossy(&run.stderr));
    text
}

/// A network of three layers.
pub(super) fn classifier() -> Case {
    let cfg = "[net]\nheight=8\nwidth=8\nchannels=3\n[convolutional]\nfilters=10\nsize=3\nactivation=relu\n\
               [avgpool]\n[softmax]\n";
    quantised("classifier", cfg, None, 3)
}

#[test]
fn an_emitted_program_finds_what_this_machine_finds() {
    if !installed("qemu-system-arm") || !installed(GCC) {
        return;
    }
    // The board has more RAM than a typical part with this processor.
    let target = Board::load("mps2-an386").unwrap().target;
    let cases = [parts(), classifier()];
    for case in &cases {
        let artefact = case.artefact(&target);
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
        embedding.write(folder.path(), &pixels).unwrap();
        assert!(EMBEDDING_FILES.iter().all(|name| folder.path().join(name).exists()));
        let [h, w, _] = model.input_shape();
        let frame = [w as u32, h as u32];
        let image = &case.image;
        let job =
            Job { artefact: &artefact, image, score_threshold: SCORE, overlap_threshold: OVERLAP, frame };
        let expected = lines(&expected(&job).unwrap(), &model);
        assert_eq!(compile_and_run(folder.path()), expected, "{}", case.name);
        let [code, boxes] = [false, true].map(|boxes| code_to_run(folder.path(), boxes));
        let lines = expected.lines().count();
        println!("{}: {lines} lines alike, {code} bytes of code, with boxes {boxes}", case.name);
        assert!(boxes > code && code > 1000 && code <= MOST_CODE, "{}: {code} bytes", case.name);
    }
}

#[test]
fn an_artefact_for_no_processor_is_refused() {
    let case = Case::new("small", random::network(1, 6), 1);
    let artefact = case.artefact(&Target::load("host").unwrap());
    let error = format!("{:?}", Embedding::new(&artefact, &workshop(), |_| ()).unwrap_err());
    assert!(error.contains("host"), "{error}");
    assert!(error.contains("--target cortex-m4"), "{error}");
}
