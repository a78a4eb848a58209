//! The processor: start, printing and exit by semihosting, markers for the counting plugin.

use core::fmt::{self, Write};

core::arch::global_asm!(
    "
    .section .vectors, \"a\", %progbits
    .word stack_top
    .word reset
    .rept 14
    .word fault
    .endr
    .text
    .global reset
    .type reset, %function
    .thumb_func
reset:
    @ The floating-point unit on: compilers move data through its registers.
    ldr r0, =0xe000ed88
    ldr r1, [r0]
    orr r1, r1, #(0xf << 20)
    str r1, [r0]
    dsb
    isb
    bl run
    .type fault, %function
    .thumb_func
fault:
    bl faulted
    "
);

unsafe extern "Rust" {
    safe fn program() -> bool;
}

#[unsafe(no_mangle)]
extern "C" fn run() -> ! {
    exit(program())
}

#[unsafe(no_mangle)]
extern "C" fn faulted() -> ! {
    let _ = writeln!(Host, "fault");
    exit(false)
}

#[panic_handler]
fn panic(info: &core::panic::PanicInfo<'_>) -> ! {
    let _ = writeln!(Host, "{info}");
    exit(false)
}

/// A request to the emulator.
fn request(operation: u32, argument: usize) -> i32 {
    let answer;
    // SAFETY: semihosting reads and writes memory that the argument names, and changes r0 alone.
    unsafe {
        core::arch::asm!("bkpt #0xab", inout("r0") operation => answer, in("r1") argument, options(nostack));
    }
    answer
}

/// Ends the program: the emulator exits with 0 or 1.
pub fn exit(success: bool) -> ! {
    const EXIT_EXTENDED: u32 = 0x20;
    const APPLICATION_EXIT: u32 = 0x20026;
    let arguments = [APPLICATION_EXIT, u32::from(!success)];
    request(EXIT_EXTENDED, arguments.as_ptr() as usize);
    loop {
        core::hint::spin_loop();
    }
}

/// The last argument that the emulator was given for the program, with the zero that ends it.
pub fn argument(line: &mut [u8; 1024]) -> Option<&[u8]> {
    const GET_COMMAND_LINE: u32 = 0x15;
    let mut arguments = [line.as_mut_ptr() as usize, line.len()];
    request(GET_COMMAND_LINE, arguments.as_mut_ptr() as usize);
    let end = line.iter().position(|&byte| byte == 0)?;
    let start = line[..end].iter().rposition(|&byte| byte == b' ').map_or(0, |space| space + 1);
    line.get(start..=end)
}

/// Reads a file of the emulator's machine, whose name ends with a zero; `None` where it is missing or too long.
pub fn read_file<'a>(name: &[u8], to: &'a mut [u8]) -> Option<&'a [u8]> {
    const OPEN: u32 = 0x01;
    const READ: u32 = 0x06;
    const LENGTH: u32 = 0x0c;
    const BINARY: usize = 1;
    let arguments = [name.as_ptr() as usize, BINARY, name.len().checked_sub(1)?];
    let file = usize::try_from(request(OPEN, arguments.as_ptr() as usize)).ok()?;
    let length = usize::try_from(request(LENGTH, [file].as_ptr() as usize)).ok()?;
    let to = to.get_mut(..length)?;
    let arguments = [file, to.as_mut_ptr() as usize, length];
    (request(READ, arguments.as_ptr() as usize) == 0).then_some(to)
}

/// Standard output of the emulator.
pub struct Host;

impl Write for Host {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        const WRITE_TEXT: u32 = 0x04;
        for part in text.as_bytes().chunks(63) {
            let mut line = [0; 64];
            line[..part.len()].copy_from_slice(part);
            request(WRITE_TEXT, line.as_ptr() as usize);
        }
        Ok(())
    }
}

/// A span whose count is known: 3001 instructions, of which 1000 load a second register.
pub fn known_span() {
    // SAFETY: the loop reads what is on top of the stack.
    unsafe {
        core::arch::asm!(
            ".inst.n 0x46d2",
            "movw {n}, #1000",
            "2: ldrd {a}, {b}, [sp]",
            "subs {n}, #1",
            "bne 2b",
            ".inst.n 0x46db",
            n = out(reg) _, a = out(reg) _, b = out(reg) _,
            options(readonly),
        );
    }
}

/// Runs `work` between the plugin's markers.
#[inline(never)]
pub fn counted(work: impl FnOnce()) {
    // SAFETY: the markers are moves of a register to itself.
    unsafe { core::arch::asm!(".inst.n 0x46d2") };
    work();
    // SAFETY: as above.
    unsafe { core::arch::asm!(".inst.n 0x46db") };
}
