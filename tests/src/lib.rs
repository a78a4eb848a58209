//! What the whole-system tests share: the built command, and small files to run it on.

#[cfg(doctest)]
#[doc = include_str!("../../README.md")]
struct Readme;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

/// The workspace's root.
pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("tests/ lies in the workspace")
}

/// Path of the `secateur` command, built on the first call in the profile of the running test.
pub fn secateur_path() -> &'static Path {
    static PATH: OnceLock<PathBuf> = OnceLock::new();
    PATH.get_or_init(|| {
        let test = std::env::current_exe().expect("a test has a path");
        // target/PROFILE/deps/TEST
        let folder = test.parent().and_then(Path::parent).expect("tests lie in target/PROFILE/deps");
        let mut cargo = Command::new(env!("CARGO"));
        // Cargo unites features over what it builds, dependencies of tests with them. With one of the tests
        // beside the command they are those of the tests' own build, so that nothing is compiled twice.
        cargo.args(["build", "--quiet", "--locked", "--workspace", "--test", "system"]);
        cargo.args(["--bin", "secateur", "--bin", "secateur-run"]);
        cargo.args(["--features", "secateur/sim"]);
        cargo.arg("--target-dir").arg(folder.parent().expect("target"));
        if folder.ends_with("release") {
            cargo.arg("--release");
        }
        let built = cargo.current_dir(root()).status().expect("cargo starts");
        assert!(built.success(), "the command does not build");
        folder.join("secateur")
    })
}

/// Path of `secateur-run`, built with the command.
pub fn secateur_run_path() -> PathBuf {
    secateur_path().with_file_name("secateur-run")
}

/// The `secateur` command, ready for arguments; it runs in the workspace's root.
pub fn secateur() -> assert_cmd::Command {
    let mut command = assert_cmd::Command::new(secateur_path());
    command.current_dir(root()).env_remove("RUST_LOG").env("NO_COLOR", "1");
    command
}

/// A detector of two classes on 32×32 images, small enough to write down.
///
/// Layers: 0 convolution, 1 depthwise, 2 pointwise, 3 shortcut of unequal channels, 4 head, 5 yolo.
pub const TINY_CFG: &str = "\
[net]
width=32
height=32
channels=3

[convolutional]
batch_normalize=1
filters=8
size=3
stride=2
pad=1
activation=leaky

[convolutional]
batch_normalize=1
filters=8
groups=8
size=3
stride=1
pad=1
activation=leaky

[convolutional]
batch_normalize=1
filters=12
size=1
stride=1
pad=1
activation=linear

[shortcut]
from=-3
activation=linear

[convolutional]
filters=14
size=1
stride=1
pad=1
activation=linear

[yolo]
mask=0,1
anchors=4,4, 12,12, 20,20
classes=2
num=3
";

/// Trained numbers that fit [`TINY_CFG`]: seeded, every variance positive.
pub fn tiny_weights() -> Vec<u8> {
    use rand::{RngExt, SeedableRng};
    let mut random = rand_chacha::ChaCha8Rng::seed_from_u64(1);
    let mut bytes = Vec::new();
    for word in [0i32, 2, 5, 0, 0] {
        bytes.extend(word.to_le_bytes());
    }
    let mut put = |count: usize, low: f32, high: f32| {
        for _ in 0..count {
            bytes.extend(random.random_range(low..high).to_le_bytes());
        }
    };
    for (filters, weights) in [(8, 8 * 27), (8, 8 * 9), (12, 12 * 8)] {
        put(filters, -0.3, 0.3); // bias
        put(filters, 0.5, 1.5); // scale
        put(filters, -0.2, 0.2); // mean
        put(filters, 0.3, 1.2); // variance
        put(weights, -0.4, 0.4);
    }
    put(14, -0.3, 0.3);
    put(14 * 12, -0.4, 0.4);
    bytes
}

/// A folder with the tiny network and labelled images of its two classes: `net.cfg`, `net.weights`,
/// `names`, `list.txt`, `pictures/*.png`, `pictures/*.txt`.
pub fn tiny_project() -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a folder for the test");
    let write = |name: &str, bytes: &[u8]| {
        std::fs::write(folder.path().join(name), bytes).expect("the test's folder can be written");
    };
    write("net.cfg", TINY_CFG.as_bytes());
    write("net.weights", &tiny_weights());
    write("names", b"square\ndisc\n");
    std::fs::create_dir(folder.path().join("pictures")).expect("the test's folder can be written");
    let mut list = String::new();
    for i in 0..6u32 {
        let (class, side) = (i % 2, 8 + i);
        let image = image::RgbImage::from_fn(32, 32, |x, y| {
            let (dx, dy) = (x.abs_diff(16), y.abs_diff(16));
            let inside =
                if class == 0 { dx.max(dy) <= side / 2 } else { dx * dx + dy * dy <= side * side / 4 };
            image::Rgb(if inside { [220, 40 + 20 * i as u8, 30] } else { [20, 90, 20 * i as u8] })
        });
        image.save(folder.path().join(format!("pictures/{i}.png"))).expect("an image can be written");
        let share = f64::from(side) / 32.0;
        write(&format!("pictures/{i}.txt"), format!("{class} 0.5 0.5 {share} {share}\n").as_bytes());
        list += &format!("pictures/{i}.png\n");
    }
    write("list.txt", list.as_bytes());
    folder
}

/// Runs the command in `folder`; it must succeed. Returns what it printed.
#[track_caller]
pub fn done(folder: &Path, arguments: &[&str]) -> String {
    let output = secateur().current_dir(folder).args(arguments).output().unwrap();
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{arguments:?}: {error}");
    String::from_utf8(output.stdout).unwrap()
}

/// The tiny project with `net.int8` and, for `target`, `net.sct`.
pub fn compiled_project(target: &str) -> tempfile::TempDir {
    let project = tiny_project();
    let quantize = ["quantize", "net.cfg", "net.weights", "--list", "list.txt", "--names", "names"];
    done(project.path(), &[&quantize[..], &["-o", "net.int8"]].concat());
    done(project.path(), &["compile", "net.int8", "--target", target, "-o", "net.sct"]);
    project
}
