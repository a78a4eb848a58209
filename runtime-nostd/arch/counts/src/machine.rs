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
fn request(operation: u32, argument: usize) {
    // SAFETY: semihosting reads the argument, and memory that it points to, and changes r0 alone.
    unsafe {
        core::arch::asm!("bkpt #0xab", inout("r0") operation => _, in("r1") argument, options(nostack));
    }
}

/// Ends the program: the emulator exits with 0 or 1.
pub fn exit(success: bool) -> ! {
    const EXIT_EXTENDED: u32 = 0x20;
    const APPLICATION_EXIT: u32 = 0x20026;
    let arguments = [APPLICATION_EXIT, u32::from(!success)];
    request(EXIT_EXTENDED, arguments.as_ptr() as usize);
    loop {}
}

/// The number that the emulator was given as the program's argument.
pub fn argument() -> Option<u64> {
    const GET_COMMAND_LINE: u32 = 0x15;
    let mut line = [0u8; 64];
    let mut arguments = [line.as_mut_ptr() as usize, line.len()];
    request(GET_COMMAND_LINE, arguments.as_mut_ptr() as usize);
    let end = line.iter().position(|&byte| byte == 0)?;
    core::str::from_utf8(&line[..end]).ok()?.split_whitespace().last()?.parse().ok()
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

/// Runs `work` between the plugin's markers.
#[inline(never)]
pub fn counted(work: impl FnOnce()) {
    // SAFETY: the markers are moves of a register to itself.
    unsafe { core::arch::asm!(".inst.n 0x46d2") };
    work();
    // SAFETY: as above.
    unsafe { core::arch::asm!(".inst.n 0x46db") };
}
