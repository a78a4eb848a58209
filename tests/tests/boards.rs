//! Boards on the command line: targets listed and shown, networks compiled for boards, run on emulated ones and flashed.

use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use predicates::str::contains;
use secateur_tests::{compiled_project, done, secateur, secateur_run_path};

#[test]
fn targets_and_boards_are_listed_and_shown() {
    let list = done(Path::new("."), &["targets", "list"]);
    for name in ["host", "npu-8x16", "cortex-m4", "riscv64gc", "mps3-an547", "nrf5340-dk", "esp32-c3"] {
        assert!(list.contains(&format!("\n  {name} ")), "{name} is not in {list}");
    }
    let target = done(Path::new("."), &["targets", "show", "cortex-m55"]);
    assert!(
        target.contains("Helium") && target.contains("thumbv8m.main-none-eabihf, cortex-m55"),
        "{target}"
    );
    let board = done(Path::new("."), &["targets", "show", "stm32f746g-disco"]);
    for part in ["STM32F746NGHx", "0x20010000", "262144 bytes", "not tried on hardware"] {
        assert!(board.contains(part), "{part} is not in {board}");
    }
    let system = done(Path::new("."), &["targets", "show", "ecpix5-85f"]);
    assert!(system.contains("DDR3 of 16 bits, clock of 75 MHz"), "{system}");
    let none = done(Path::new("."), &["targets", "show", "pico2"]);
    assert!(none.contains("none for this board"), "{none}");
    secateur().args(["targets", "show", "toaster"]).assert().code(1).stderr(contains("toaster"));
}

#[test]
fn a_network_is_compiled_for_a_board_or_told_what_would_fit() {
    let project = compiled_project("cortex-m4");
    let folder = project.path();
    let info = done(folder, &["compile", "net.int8", "--board", "stm32f407g-disc1", "-o", "board.sct"]);
    assert!(info.contains("for target cortex-m4"), "{info}");
    // Boards give memory, not bytes: the artefact is the target's.
    assert_eq!(
        std::fs::read(folder.join("board.sct")).unwrap(),
        std::fs::read(folder.join("net.sct")).unwrap()
    );
    let file =
        std::fs::read_to_string(secateur_tests::root().join("configs/boards/stm32f407g-disc1.toml")).unwrap();
    let small = file.replace("at = 0x20000000, bytes = 0x20000", "at = 0x20000000, bytes = 0x1000");
    assert_ne!(file, small);
    std::fs::write(folder.join("small.toml"), small).unwrap();
    let compile = |arguments: &[&str]| {
        let output = secateur().current_dir(folder).args(["compile", "net.int8"]).args(arguments).assert();
        let output = output.get_output().clone();
        (output.status.code(), String::from_utf8(output.stderr).unwrap().replace('\n', " "))
    };
    let (code, error) = compile(&["--board", "small.toml", "-o", "x.sct"]);
    assert_eq!(code, Some(1));
    for part in ["too many", "4096 bytes", "layer", "would fit"] {
        assert!(error.contains(part), "{part} is not in {error}");
    }
    assert_eq!(compile(&["--board", "virt", "--target", "host"]).0, Some(2));
    assert!(!folder.join("x.sct").exists());
}

#[test]
fn an_artefact_runs_on_an_emulated_board() {
    let project = compiled_project("cortex-m4");
    let folder = project.path();
    let run = |place: &str| {
        let mut command = secateur();
        command.current_dir(folder).args([
            "run",
            "net.sct",
            "pictures/0.png",
            "--thresh",
            "0.33",
            "--on",
            place,
        ]);
        command.env("SECATEUR_CACHE", Path::new(env!("CARGO_TARGET_TMPDIR")).join("workshop"));
        command
    };
    run("mps2-an386").assert().code(2).stderr(contains("qemu:BOARD"));
    run("qemu:toaster").assert().code(1).stderr(contains("toaster"));
    run("qemu:pico2").assert().code(1).stderr(contains("no firmware"));
    if std::process::Command::new("qemu-system-arm").arg("--version").output().is_err() {
        assert!(std::env::var_os("CI").is_none(), "QEMU is not installed");
        secateur_testing::skipped("qemu-system-arm is not installed");
        return;
    }
    let output = run("qemu:mps2-an386").assert().success();
    let text = String::from_utf8(output.get_output().stdout.clone()).unwrap();
    for part in
        ["depthwise", "per MAC", "every byte as on this machine", "they are no cycles", "objects over 0.33"]
    {
        assert!(text.contains(part), "{part} is not in {text}");
    }
    // The same boxes as without a board.
    let here = done(folder, &["run", "net.sct", "pictures/0.png", "--thresh", "0.33"]);
    assert_eq!(boxes(&text), boxes(&here));
}

#[test]
fn an_artefact_becomes_a_c_program() {
    let project = compiled_project("cortex-m4");
    let folder = project.path();
    let emit = |arguments: &[&str]| {
        let mut command = secateur();
        command.current_dir(folder).args(["emit", "c"]).args(arguments);
        command.env("SECATEUR_CACHE", Path::new(env!("CARGO_TARGET_TMPDIR")).join("workshop"));
        command
    };
    let done = emit(&["net.sct", "--image", "pictures/0.png", "-o", "program"]).assert().success();
    let text = String::from_utf8(done.get_output().stdout.clone()).unwrap();
    assert!(text.contains("bytes of code") && text.contains("of arena"), "{text}");
    let files = ["secateur.h", "libsecateur.a", "model.h", "model.c", "image.c", "main.c", "CMakeLists.txt"];
    let size = |name: &str| std::fs::metadata(folder.join("program").join(name)).map_or(0, |file| file.len());
    assert!(files.iter().all(|name| size(name) > 0), "{files:?}");
    let model = std::fs::read_to_string(folder.join("program/model.h")).unwrap();
    let bytes = std::fs::read(folder.join("net.sct")).unwrap().len();
    assert!(model.contains(&format!("#define MODEL_BYTES {bytes}\n")), "{model}");
    // A grey image where none is given.
    emit(&["net.sct", "-o", "grey"]).assert().success();
    let image = std::fs::read_to_string(folder.join("grey/image.c")).unwrap();
    assert!(image.contains("128,128,128,"), "{image}");
    // What would be lost, and what is no artefact for a processor.
    std::fs::copy(folder.join("net.sct"), folder.join("main.c")).unwrap();
    emit(&["main.c", "-o", "."]).assert().code(1).stderr(contains("overwrite"));
    emit(&["net.int8", "-o", "none"]).assert().code(1).stderr(contains("net.int8"));
    assert!(!folder.join("none").exists());
}

#[test]
fn an_artefact_becomes_a_rust_program() {
    let project = compiled_project("cortex-m4");
    let folder = project.path();
    let emit = |arguments: &[&str]| {
        let mut command = secateur();
        command.current_dir(folder).args(["emit", "rust"]).args(arguments);
        command.env("SECATEUR_CACHE", Path::new(env!("CARGO_TARGET_TMPDIR")).join("workshop"));
        command
    };
    let done = emit(&["net.sct", "--image", "pictures/0.png", "-o", "program"]).assert().success();
    let text = String::from_utf8(done.get_output().stdout.clone()).unwrap();
    assert!(text.contains("bytes of code") && text.contains("of arena"), "{text}");
    let read = |name: &str| std::fs::read(folder.join("program").join(name)).unwrap();
    assert_eq!(read("model.sct"), std::fs::read(folder.join("net.sct")).unwrap());
    let map = |text: Vec<u8>| String::from_utf8(text).unwrap();
    assert!(map(read("memory.x")).contains("mps2-an386"), "QEMU's board with this processor");
    for name in
        ["vendor/LICENSE-MIT", "vendor/secateur-runtime/src/lib.rs", "vendor/secateur-kernels/Cargo.toml"]
    {
        assert!(!read(name).is_empty(), "{name}");
    }
    // Another board, and a grey image where none is given.
    emit(&["net.sct", "--board", "stm32f407g-disc1", "-o", "grey"]).assert().success();
    let grey = std::fs::read(folder.join("grey/image.bin")).unwrap();
    assert!(grey.len() == 32 * 32 * 3 && grey.iter().all(|&pixel| pixel == 128), "{} bytes", grey.len());
    assert!(map(std::fs::read(folder.join("grey/memory.x")).unwrap()).contains("0x8000000"));
    emit(&["net.sct", "--board", "stm32f746g-disco", "-o", "none"])
        .assert()
        .code(1)
        .stderr(contains("cortex-m7"));
    assert!(!folder.join("none").exists());
    std::fs::copy(folder.join("net.sct"), folder.join("model.sct")).unwrap();
    emit(&["model.sct", "-o", "."]).assert().code(1).stderr(contains("overwrite"));
}

/// QEMU, which waits for a debugger; it ends with its owner.
struct Waiting(Child);

impl Drop for Waiting {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn a_board_is_flashed_or_the_reason_is_said() {
    let project = compiled_project("cortex-m4");
    let flash = |arguments: &[&str]| {
        let mut command = secateur();
        command.current_dir(project.path()).args(["flash", "net.sct"]).args(arguments);
        command.env("SECATEUR_CACHE", Path::new(env!("CARGO_TARGET_TMPDIR")).join("workshop"));
        command
    };
    flash(&[]).assert().code(2).stderr(contains("--board"));
    flash(&["--board", "toaster"]).assert().code(1).stderr(contains("toaster"));
    flash(&["--board", "pico2", "--dry-run"]).assert().code(1).stderr(contains("no firmware"));
    flash(&["--board", "virt"]).assert().code(1).stderr(contains("no Cortex-M"));
    // The tests' own build has no feature `probe`.
    flash(&["--board", "stm32f407g-disc1"]).assert().code(1).stderr(contains("--features probe"));
    secateur().args(["probe", "list"]).assert().code(1).stderr(contains("--features probe"));
    flash(&["--board", "mps2-an386", "--probe", "gdb:127.0.0.1:1"])
        .assert()
        .code(1)
        .stderr(contains("-S -gdb"));

    let dry =
        flash(&["--board", "stm32f407g-disc1", "--image", "pictures/0.png", "--dry-run"]).assert().success();
    let text = String::from_utf8(dry.get_output().stdout.clone()).unwrap();
    for part in [
        "STM32F407VGTx",
        ".vector_table    0x08000000",
        "package          0x08040000",
        "host CRC-32",
        "nothing was written",
    ] {
        assert!(text.contains(part), "{part} is not in {text}");
    }

    if Command::new("qemu-system-arm").arg("--version").output().is_err() {
        assert!(std::env::var_os("CI").is_none(), "QEMU is not installed");
        secateur_testing::skipped("qemu-system-arm is not installed");
        return;
    }
    // A port that is free now.
    let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let mut qemu = Command::new("qemu-system-arm");
    qemu.args(["-display", "none", "-monitor", "none", "-serial", "none", "-machine", "mps2-an386", "-S"]);
    qemu.args(["-gdb", &format!("tcp:{address}")]).stdin(Stdio::null());
    let mut qemu = Waiting(qemu.spawn().unwrap());
    while TcpStream::connect(address).is_err() {
        assert!(qemu.0.try_wait().unwrap().is_none(), "QEMU has ended");
        std::thread::sleep(Duration::from_millis(50));
    }
    let probe = format!("gdb:{address}");
    let done =
        flash(&["--board", "mps2-an386", "--image", "pictures/0.png", "--probe", &probe]).assert().success();
    let text = String::from_utf8(done.get_output().stdout.clone()).unwrap();
    for part in ["depthwise", "every byte as on this machine", "objects over 0.25"] {
        assert!(text.contains(part), "{part} is not in {text}");
    }
}

/// Lines of `run` that say what was found.
fn boxes(text: &str) -> Vec<&str> {
    text.lines().filter(|line| line.contains(" left ") || line.contains("objects over")).collect()
}

#[test]
fn an_artefact_runs_on_a_processor_with_linux() {
    let project = compiled_project("cortex-a");
    let folder = project.path();
    let arguments = ["run", "net.sct", "pictures/0.png", "--thresh", "0.33"];
    let run = |place: &str| {
        let mut command = secateur();
        command.current_dir(folder).args(arguments).args(["--on", place]);
        command.env("SECATEUR_CACHE", Path::new(env!("CARGO_TARGET_TMPDIR")).join("workshop"));
        command
    };
    run("cortex-a7").assert().code(2).stderr(contains("cortex-a53"));
    if std::process::Command::new("qemu-aarch64").arg("--version").output().is_err() {
        assert!(std::env::var_os("CI").is_none(), "QEMU is not installed");
        secateur_testing::skipped("qemu-aarch64 is not installed");
        return;
    }
    let output = run("cortex-a53").assert().success();
    let text = String::from_utf8(output.get_output().stdout.clone()).unwrap();
    for part in ["depthwise", "every byte as on this machine", "counts no instructions"] {
        assert!(text.contains(part), "{part} is not in {text}");
    }
    assert!(!text.contains("per MAC"), "{text}");
    assert_eq!(boxes(&text), boxes(&done(folder, &arguments)));
}

#[test]
fn the_small_program_prints_what_detect_prints() {
    let project = compiled_project("cortex-a");
    let folder = project.path();
    let arguments = ["net.sct", "pictures/0.png", "pictures/1.png", "--thresh", "0.33"];
    let mut small = assert_cmd::Command::new(secateur_run_path());
    small.current_dir(folder);
    let output = small.args(arguments).assert().success();
    let text = String::from_utf8(output.get_output().stdout.clone()).unwrap();
    // But for the time that it took.
    let timeless = |text: &str| -> Vec<String> {
        let name = |line: &str| line.split_once(", ").map_or(line, |parts| parts.0).to_owned();
        text.lines().map(|line| if line.ends_with(" ms") { name(line) } else { line.to_owned() }).collect()
    };
    let expected = done(folder, &[&["detect"], &arguments[..]].concat());
    assert!(text.contains(" left "), "{text}");
    assert_eq!(timeless(&text), timeless(&expected));

    let mut reporting = assert_cmd::Command::new(secateur_run_path());
    let report =
        reporting.current_dir(folder).args(["net.sct", "pictures/0.png", "--report"]).assert().success();
    let report = String::from_utf8(report.get_output().stdout.clone()).unwrap();
    assert!(report.starts_with("secateur-job 1\nstep 0 0 ") && report.ends_with("\nend\n"), "{report}");
    let mut none = assert_cmd::Command::new(secateur_run_path());
    none.current_dir(folder)
        .args(["net.int8", "pictures/0.png"])
        .assert()
        .code(1)
        .stderr(contains("net.int8"));
}
