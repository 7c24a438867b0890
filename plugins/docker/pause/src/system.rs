//! The system calls of Linux that the program needs. All that is unsafe is here, but for the entry.
//!
//! Numbers and constants are of the kernel's headers (asm/unistd.h, asm-generic/fcntl.h), which differ by architecture.

use core::arch::asm;
use core::ffi::CStr;

#[cfg(target_arch = "x86_64")]
mod numbers {
    pub(super) const WRITE: usize = 1;
    pub(super) const CLOSE: usize = 3;
    pub(super) const LSEEK: usize = 8;
    pub(super) const RT_SIGPROCMASK: usize = 14;
    pub(super) const WAIT4: usize = 61;
    pub(super) const UMASK: usize = 95;
    pub(super) const RT_SIGTIMEDWAIT: usize = 128;
    pub(super) const GETDENTS64: usize = 217;
    #[cfg(target_os = "none")]
    pub(super) const EXIT_GROUP: usize = 231;
    pub(super) const OPENAT: usize = 257;
    pub(super) const MKDIRAT: usize = 258;
    pub(super) const UNLINKAT: usize = 263;
    pub(super) const RENAMEAT: usize = 264;
    pub(super) const LINKAT: usize = 265;
    pub(super) const SYMLINKAT: usize = 266;
    pub(super) const READLINKAT: usize = 267;
    pub(super) const O_DIRECTORY: usize = 0o200_000;
    pub(super) const O_NOFOLLOW: usize = 0o400_000;
}

#[cfg(target_arch = "aarch64")]
mod numbers {
    pub(super) const MKDIRAT: usize = 34;
    pub(super) const UNLINKAT: usize = 35;
    pub(super) const SYMLINKAT: usize = 36;
    pub(super) const LINKAT: usize = 37;
    pub(super) const RENAMEAT: usize = 38;
    pub(super) const OPENAT: usize = 56;
    pub(super) const CLOSE: usize = 57;
    pub(super) const GETDENTS64: usize = 61;
    pub(super) const LSEEK: usize = 62;
    pub(super) const WRITE: usize = 64;
    pub(super) const READLINKAT: usize = 78;
    #[cfg(target_os = "none")]
    pub(super) const EXIT_GROUP: usize = 94;
    pub(super) const RT_SIGPROCMASK: usize = 135;
    pub(super) const RT_SIGTIMEDWAIT: usize = 137;
    pub(super) const UMASK: usize = 166;
    pub(super) const WAIT4: usize = 260;
    pub(super) const O_DIRECTORY: usize = 0o40_000;
    pub(super) const O_NOFOLLOW: usize = 0o100_000;
}

use numbers::{
    CLOSE, GETDENTS64, LINKAT, LSEEK, MKDIRAT, O_DIRECTORY, O_NOFOLLOW, OPENAT, READLINKAT, RENAMEAT, RT_SIGPROCMASK,
    RT_SIGTIMEDWAIT, SYMLINKAT, UMASK, UNLINKAT, WAIT4, WRITE,
};

const O_CLOEXEC: usize = 0o2_000_000;
const O_PATH: usize = 0o10_000_000;
const AT_FDCWD: usize = -100_isize as usize;
const AT_REMOVEDIR: usize = 0x200;
const SIG_BLOCK: usize = 0;
const WNOHANG: usize = 1;
const STDERR: usize = 2;
/// Bytes of the kernel's set of signals.
const SIGNALS: usize = 8;

/// The kernel's number of a failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Errno(isize);

impl Errno {
    pub(crate) const NOT_FOUND: Self = Self(2);
    pub(crate) const EXISTS: Self = Self(17);
    pub(crate) const NO_DIRECTORY: Self = Self(20);
    pub(crate) const IS_DIRECTORY: Self = Self(21);
    pub(crate) const INVALID: Self = Self(22);
    /// A link where none may be, or a directory that is too deep.
    pub(crate) const LINK: Self = Self(40);

    /// For people, as far as it is likely.
    pub(crate) const fn text(self) -> &'static str {
        match self.0 {
            1 | 13 => "permission denied",
            2 => "no such file or directory",
            5 => "input/output error",
            16 => "busy",
            17 => "exists",
            18 => "on another file system",
            20 => "not a directory",
            22 => "not a name that can be here",
            26 => "in use",
            28 => "no space left",
            30 => "read-only file system",
            40 => "a link, or too deep",
            _ => "failed",
        }
    }
}

pub(crate) type Result<T> = core::result::Result<T, Errno>;

/// An open directory. Closed when it is dropped.
#[derive(Debug)]
pub(crate) struct Fd(usize);

impl Drop for Fd {
    fn drop(&mut self) {
        // SAFETY: the descriptor is this one's own, and nobody has it any more.
        let _ = unsafe { call(CLOSE, [self.0, 0, 0, 0, 0]) };
    }
}

impl Fd {
    /// Opens a directory, in another one or wherever the path leads. The last part may be no link.
    pub(crate) fn directory(at: Option<&Self>, path: &CStr) -> Result<Self> {
        let at = at.map_or(AT_FDCWD, |at| at.0);
        open(at, path, O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC)
    }
}

fn open(at: usize, path: &CStr, flags: usize) -> Result<Fd> {
    // SAFETY: the path is a string with a zero at its end, which the kernel reads during the call. No file is made, so
    // that no mode is read.
    unsafe { call(OPENAT, [at, path.as_ptr().addr(), flags, 0, 0]) }.map(Fd)
}

/// What an entry leads to is there.
pub(crate) fn leads_somewhere(at: &Fd, entry: &CStr) -> Result<bool> {
    match open(at.0, entry, O_PATH | O_CLOEXEC) {
        Ok(_) => Ok(true),
        Err(Errno::NOT_FOUND | Errno::NO_DIRECTORY) => Ok(false),
        Err(error) => Err(error),
    }
}

/// The beginning of what a link says.
pub(crate) fn read_link<'a>(at: &Fd, entry: &CStr, target: &'a mut [u8]) -> Result<&'a [u8]> {
    let (to, length) = (target.as_mut_ptr().addr(), target.len());
    // SAFETY: the kernel reads the name, and writes at most `length` bytes of `target`, which is borrowed for it.
    let read = unsafe { call(READLINKAT, [at.0, entry.as_ptr().addr(), to, length, 0]) }?;
    Ok(target.get(..read).unwrap_or_default())
}

/// Makes a symbolic link.
pub(crate) fn link(target: &CStr, at: &Fd, entry: &CStr) -> Result<()> {
    // SAFETY: the kernel reads two strings during the call.
    unsafe { call(SYMLINKAT, [target.as_ptr().addr(), at.0, entry.as_ptr().addr(), 0, 0]) }.map(drop)
}

/// It is a link. Its target is not looked at.
pub(crate) fn is_link(at: &Fd, entry: &CStr) -> Result<bool> {
    match read_link(at, entry, &mut [0]) {
        Ok(_) => Ok(true),
        Err(Errno::INVALID) => Ok(false),
        Err(error) => Err(error),
    }
}

/// Makes another name for a file. A link is not followed.
pub(crate) fn link_file(from: &Fd, old: &CStr, to: &Fd, new: &CStr) -> Result<()> {
    // SAFETY: the kernel reads two strings during the call. The fifth argument, its flags, is none.
    unsafe { call(LINKAT, [from.0, old.as_ptr().addr(), to.0, new.as_ptr().addr(), 0]) }.map(drop)
}

/// Makes a directory that all may write to.
pub(crate) fn make_directory(at: &Fd, entry: &CStr) -> Result<()> {
    // SAFETY: the kernel reads a string during the call.
    unsafe { call(MKDIRAT, [at.0, entry.as_ptr().addr(), 0o777, 0, 0]) }.map(drop)
}

/// Rights of what is made are as they are asked for.
pub(crate) fn mask_nothing() {
    // SAFETY: no memory is handed over.
    let _ = unsafe { call(UMASK, [0; 5]) };
}

/// Gives an entry another name, in place of what has it, at one moment.
pub(crate) fn rename(from: &Fd, old: &CStr, to: &Fd, new: &CStr) -> Result<()> {
    // SAFETY: the kernel reads two strings during the call.
    unsafe { call(RENAMEAT, [from.0, old.as_ptr().addr(), to.0, new.as_ptr().addr(), 0]) }.map(drop)
}

/// Removes a file or a link.
pub(crate) fn unlink(at: &Fd, entry: &CStr) -> Result<()> {
    // SAFETY: the kernel reads a string during the call.
    unsafe { call(UNLINKAT, [at.0, entry.as_ptr().addr(), 0, 0, 0]) }.map(drop)
}

/// Removes a directory that is empty.
pub(crate) fn remove_directory(at: &Fd, entry: &CStr) -> Result<()> {
    // SAFETY: the kernel reads a string during the call.
    unsafe { call(UNLINKAT, [at.0, entry.as_ptr().addr(), AT_REMOVEDIR, 0, 0]) }.map(drop)
}

/// Entries of a directory, `.` and `..` among them.
pub(crate) struct Entries<'a> {
    directory: &'a Fd,
    buffer: Buffer,
    filled: usize,
    at: usize,
}

/// The longest entry takes 280 bytes; the kernel wants its records aligned.
#[repr(align(8))]
struct Buffer([u8; 1024]);

/// `struct linux_dirent64`: where an entry's length and name are.
const LENGTH: usize = 16;
const NAME: usize = 19;

impl<'a> Entries<'a> {
    /// From the first one on.
    pub(crate) fn of(directory: &'a Fd) -> Result<Self> {
        // SAFETY: no memory is handed over.
        unsafe { call(LSEEK, [directory.0, 0, 0, 0, 0]) }?;
        Ok(Self { directory, buffer: Buffer([0; 1024]), filled: 0, at: 0 })
    }

    /// The next one; none: there is no more.
    pub(crate) fn next(&mut self) -> Result<Option<&CStr>> {
        if self.at >= self.filled {
            let (to, length) = (self.buffer.0.as_mut_ptr().addr(), self.buffer.0.len());
            // SAFETY: the kernel writes at most `length` bytes of the buffer, which is borrowed for it.
            self.filled = unsafe { call(GETDENTS64, [self.directory.0, to, length, 0, 0]) }?;
            self.at = 0;
        }
        let record = self.buffer.0.get(self.at..self.filled).filter(|record| !record.is_empty());
        let Some(record) = record else { return Ok(None) };
        let length = record.get(LENGTH..LENGTH + 2).and_then(|bytes| <[u8; 2]>::try_from(bytes).ok());
        self.at += usize::from(length.map_or(0, u16::from_ne_bytes)).max(NAME);
        let name = record.get(NAME..).and_then(|bytes| CStr::from_bytes_until_nul(bytes).ok());
        name.map(Some).ok_or(Errno::INVALID)
    }
}

/// Blocks all signals that can be blocked: from now on they wait to be taken.
pub(crate) fn block_signals() {
    let all = u64::MAX;
    // SAFETY: the kernel reads eight bytes of `all` during the call, and writes nothing, as the third argument is null.
    let _ = unsafe { call(RT_SIGPROCMASK, [SIG_BLOCK, (&raw const all).addr(), 0, SIGNALS, 0]) };
}

/// Waits for a blocked signal and takes it.
pub(crate) fn next_signal() -> i32 {
    let all = u64::MAX;
    // SAFETY: the kernel reads eight bytes of `all` during the call; it writes nothing and waits without end, as the
    // others are null.
    let signal = unsafe { call(RT_SIGTIMEDWAIT, [(&raw const all).addr(), 0, 0, SIGNALS, 0]) };
    // Interrupted without a signal: none.
    signal.ok().and_then(|signal| i32::try_from(signal).ok()).unwrap_or(0)
}

/// Takes in all children that have ended.
pub(crate) fn reap() {
    // SAFETY: the kernel writes nothing, as the pointers are null.
    while unsafe { call(WAIT4, [usize::MAX, 0, WNOHANG, 0, 0]) }.is_ok_and(|child| child > 0) {}
}

/// Writes to stderr. Nobody is there to be told that it cannot be written.
pub(crate) fn complain(words: &[&[u8]]) {
    for word in words {
        // SAFETY: the kernel reads the bytes during the call.
        let _ = unsafe { call(WRITE, [STDERR, word.as_ptr().addr(), word.len(), 0, 0]) };
    }
}

/// Ends the process.
#[cfg(target_os = "none")]
pub(crate) fn exit(code: i32) -> ! {
    loop {
        // SAFETY: no memory is handed over, and nothing of this process is used afterwards.
        let _ = unsafe { call(numbers::EXIT_GROUP, [code as usize, 0, 0, 0, 0]) };
    }
}

/// A system call, and what came of it.
///
/// # Safety
/// What is handed over as addresses must be valid for what the call does with them.
#[cfg(target_arch = "x86_64")]
unsafe fn call(number: usize, [a, b, c, d, e]: [usize; 5]) -> Result<usize> {
    let result: isize;
    // SAFETY: the kernel's convention (System V ABI, A.2.1): it changes rax, rcx and r11. The caller answers for the
    // addresses.
    unsafe {
        asm!(
            "syscall",
            inlateout("rax") number => result,
            in("rdi") a,
            in("rsi") b,
            in("rdx") c,
            in("r10") d,
            in("r8") e,
            lateout("rcx") _,
            lateout("r11") _,
            options(nostack),
        );
    }
    outcome(result)
}

/// A system call, and what came of it.
///
/// # Safety
/// What is handed over as addresses must be valid for what the call does with them.
#[cfg(target_arch = "aarch64")]
unsafe fn call(number: usize, [a, b, c, d, e]: [usize; 5]) -> Result<usize> {
    let result: isize;
    // SAFETY: the kernel's convention: the number is in x8, the answer in x0. The caller answers for the addresses.
    unsafe {
        asm!(
            "svc #0",
            in("x8") number,
            inlateout("x0") a => result,
            in("x1") b,
            in("x2") c,
            in("x3") d,
            in("x4") e,
            options(nostack),
        );
    }
    outcome(result)
}

/// Failures are small negative numbers.
fn outcome(result: isize) -> Result<usize> {
    usize::try_from(result).map_err(|_| Errno(result.saturating_neg()))
}
