//! What a linked program must not contain: panics, allocations, float instructions. For tests.

use object::{Object, ObjectSection, ObjectSymbol, SectionKind};

/// Parts of symbols that no program has: what panics, what allocates.
const FORBIDDEN: [&str; 8] = [
    "panicking",
    "rust_begin_unwind",
    "unwrap_failed",
    "expect_failed",
    "__rust_alloc",
    "__rdl_alloc",
    "malloc",
    "alloc::",
];

/// Forbidden symbols and float instructions of an ELF file; empty where all is well.
pub(crate) fn faults(bytes: &[u8], vectors: bool) -> Vec<String> {
    let file = object::File::parse(bytes).expect("an ELF file");
    let names: Vec<&str> = file.symbols().filter_map(|symbol| symbol.name().ok()).collect();
    assert!(names.iter().any(|name| name.contains("secateur")), "the symbol table is there");
    let forbidden = names.iter().filter(|name| FORBIDDEN.iter().any(|word| name.contains(word)));
    let mut faults: Vec<String> = forbidden.map(|name| (*name).to_owned()).collect();
    let mut instructions = 0;
    for section in file.sections().filter(|section| section.kind() == SectionKind::Text) {
        let code = section.data().expect("code is in the file");
        for (start, end) in code_ranges(&file, section.address(), code.len()) {
            let units: Vec<u16> =
                code[start..end].chunks_exact(2).map(|unit| u16::from_le_bytes([unit[0], unit[1]])).collect();
            let mut at = 0;
            while at < units.len() {
                let next = units.get(at + 1).copied().unwrap_or(0);
                let (length, float) = match file.architecture() {
                    object::Architecture::Arm => thumb(units[at], next, vectors),
                    _ => riscv(units[at], next, file.is_64()),
                };
                if float {
                    let address = section.address() as usize + start + 2 * at;
                    faults.push(format!("{address:#x}: float instruction {:04x} {next:04x}", units[at]));
                }
                (at, instructions) = (at + length, instructions + 1);
            }
        }
    }
    assert!(instructions > 1000, "the code is there");
    faults
}

/// Offsets of code between data, by the mapping symbols; the whole section where there are none.
fn code_ranges(file: &object::File<'_>, address: u64, length: usize) -> Vec<(usize, usize)> {
    let inside = address..address + length as u64;
    let mut marks: Vec<(usize, bool)> = file
        .symbols()
        .filter(|symbol| inside.contains(&symbol.address()))
        .filter_map(|symbol| {
            let name = symbol.name().ok()?;
            let code = name.starts_with("$t") || name.starts_with("$x");
            (code || name.starts_with("$d")).then_some(((symbol.address() - address) as usize, code))
        })
        .collect();
    marks.sort_unstable();
    if marks.is_empty() {
        return vec![(0, length)];
    }
    let ends = marks.iter().skip(1).map(|mark| mark.0).chain([length]);
    let ranges = marks.iter().zip(ends).filter(|((start, code), end)| *code && start < end);
    ranges.map(|((start, _), end)| (*start, end)).collect()
}

/// Half words of a Thumb instruction, and whether it touches float registers. Where the processor has Helium, whose
/// vectors are those registers, only float arithmetic counts.
fn thumb(first: u16, second: u16, vectors: bool) -> (usize, bool) {
    if !(0b11101..=0b11111).contains(&(first >> 11)) {
        return (1, false);
    }
    let (group, coprocessor) = (first >> 8, second >> 8 & 0xF);
    let float = match group {
        0xEE | 0xFE if vectors => (9..=11).contains(&coprocessor) && second & 0x10 == 0,
        0xEC | 0xED | 0xEE | 0xFE if !vectors => (9..=11).contains(&coprocessor),
        // Helium's float additions, multiplications and multiply-adds.
        0xEF | 0xFF if vectors => matches!(coprocessor, 12 | 13),
        _ => false,
    };
    (2, float)
}

/// Half words of a RISC-V instruction, and whether it belongs to the extensions F or D.
fn riscv(first: u16, second: u16, wide: bool) -> (usize, bool) {
    if first & 3 != 3 {
        // Loads and stores of doubles; those of floats are loads and stores of 64 bits on RV64.
        let double = matches!((first & 3, first >> 13), (0 | 2, 1 | 5));
        let single = !wide && matches!((first & 3, first >> 13), (0 | 2, 3 | 7));
        return (1, double || single);
    }
    let opcode = first & 0x7F;
    let csr = second >> 4;
    // Control registers of the float unit: fflags, frm, fcsr; the start-up code of riscv-rt clears the last, `fscsr zero`.
    let control = opcode == 0x73 && first >> 12 & 7 != 0 && (1..=3).contains(&csr);
    let control = control && (first, second) != (0x1073, 0x0030);
    (2, control || matches!(opcode, 0x07 | 0x27 | 0x43 | 0x47 | 0x4B | 0x4F | 0x53))
}

#[test]
fn float_instructions_are_recognised() {
    // vadd.f32 s0, s0, s1; vldr s0, [r0]; vmov r0, s0; vcvt.s32.f32 s0, s0.
    for (first, second) in [(0xEE30, 0x0A20), (0xED90, 0x0A00), (0xEE10, 0x0A10), (0xEEBD, 0x0AC0)] {
        assert_eq!(thumb(first, second, false), (2, true), "{first:04x} {second:04x}");
    }
    // With Helium: vadd.f32 s0, s0, s1; vadd.f32 q0, q0, q0; not vldrb.8 q0, [r0], vadd.i32 q0, q0, q0, vmov r0, s0.
    for (first, second, float) in [
        (0xEE30, 0x0A20, true),
        (0xEF00, 0x0D40, true),
        (0xED90, 0x1E00, false),
        (0xEF20, 0x0840, false),
        (0xEE10, 0x0A10, false),
    ] {
        assert_eq!(thumb(first, second, true), (2, float), "{first:04x} {second:04x}");
    }
    // movs r0, #0; smlad r0, r1, r2, r3.
    assert_eq!(thumb(0x2000, 0, false), (1, false));
    assert_eq!(thumb(0xFB21, 0x3002, false), (2, false));
    // fadd.s fa0, fa0, fa1; flw fa0, 0(a0); fscsr a0 and fscsr zero; c.fld fa0, 0(a0); c.flw fa0, 0(a0) or c.ld a0, 0(a0).
    assert_eq!(riscv(0x7553, 0x00B5, false), (2, true));
    assert_eq!(riscv(0x2507, 0x0005, false), (2, true));
    assert_eq!((riscv(0x1073, 0x0035, false), riscv(0x1073, 0x0030, false)), ((2, true), (2, false)));
    assert_eq!(riscv(0x2108, 0, true), (1, true));
    assert_eq!((riscv(0x6108, 0, false).1, riscv(0x6108, 0, true).1), (true, false));
    // addi a0, a0, 1; csrr a0, minstret.
    assert_eq!(riscv(0x0513, 0x0015, true), (2, false));
    assert_eq!(riscv(0x2573, 0xB020, true), (2, false));
}
