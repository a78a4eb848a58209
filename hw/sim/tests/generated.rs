//! Files in the tree that follow from the encodings are current.

use secateur_runtime::npu::isa::Parameters;
use secateur_sim::package;

fn assert_current(found: &str, expected: &str, file: &str, verb: &str) {
    let differing = found.lines().zip(expected.lines()).position(|(a, b)| a != b);
    let line = differing.unwrap_or_else(|| found.lines().count().min(expected.lines().count())) + 1;
    assert!(
        found == expected,
        "{file} differs from line {line} on: write it again with `secateur emit {verb}`"
    );
}

#[test]
fn package_is_current() {
    let expected = package::package(&Parameters::NPU_8X16);
    let verb = "rtl-package --target npu-8x16 -o hw";
    assert_current(include_str!("../../rtl/npu_pkg.sv"), &expected, "hw/rtl/npu_pkg.sv", verb);
}

#[test]
fn manual_is_current() {
    let found = include_str!("../../../docs/accelerator/registers.md");
    let verb = "rtl-package --target npu-8x16 -o out` and copy out/doc/registers.md to `docs/accelerator/";
    assert_current(found, &package::manual(), "docs/accelerator/registers.md", verb);
}
