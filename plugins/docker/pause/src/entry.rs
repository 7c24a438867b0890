//! Where the kernel enters the program, as there is no C runtime before it.

use core::ffi::{CStr, c_char};
use core::panic::PanicInfo;

use crate::{run, system};

/// As Rust's own programs end after a panic.
const PANICKED: i32 = 101;

#[cfg(target_arch = "x86_64")]
core::arch::global_asm!(
    ".globl _start",
    "_start:",
    "xor ebp, ebp",
    "mov rdi, rsp",
    "and rsp, -16",
    "call {start}",
    "ud2",
    start = sym start,
);

#[cfg(target_arch = "aarch64")]
core::arch::global_asm!(
    ".globl _start",
    "_start:",
    "mov x29, xzr",
    "mov x30, xzr",
    "mov x0, sp",
    "bl {start}",
    "brk #1",
    start = sym start,
);

/// The stack as the kernel leaves it: the number of arguments, then a pointer to each, then a null pointer.
extern "C" fn start(stack: *const usize) -> ! {
    // SAFETY: `_start` hands over the stack pointer that the kernel set, and the kernel's layout is as said above
    // (System V ABI, "Initial Process Stack"). Nothing writes there.
    let arguments = unsafe { core::slice::from_raw_parts(stack.add(1).cast::<*const c_char>(), *stack) };
    // SAFETY: each is a string with a zero at its end, and lives as long as the process.
    let texts = arguments.iter().skip(1).map(|text| unsafe { CStr::from_ptr(*text) });
    system::exit(run(texts))
}

#[panic_handler]
fn panicked(_: &PanicInfo<'_>) -> ! {
    system::complain(&[b"vk-pause: panicked\n"]);
    system::exit(PANICKED)
}
