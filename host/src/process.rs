//! What this process itself uses of the machine.

use std::time::Duration;

use nix::sys::resource::{UsageWho, getrusage};
use nix::unistd::{SysconfVar, sysconf};

/// Time on a core since its start, in user and kernel mode, all threads together.
pub fn cpu() -> Duration {
    let Ok(usage) = getrusage(UsageWho::RUSAGE_SELF) else { return Duration::ZERO };
    let of = |time: nix::sys::time::TimeVal| {
        Duration::from_micros(u64::try_from(time.tv_sec() * 1_000_000 + time.tv_usec()).unwrap_or_default())
    };
    of(usage.user_time()) + of(usage.system_time())
}

/// Resident memory in bytes; none: this system does not tell.
pub fn memory() -> Option<u64> {
    // Fields in pages: size, resident … (proc_pid_statm(5)).
    let pages: u64 = std::fs::read_to_string("/proc/self/statm").ok()?.split(' ').nth(1)?.parse().ok()?;
    let page = sysconf(SysconfVar::PAGE_SIZE).ok()??;
    Some(pages * u64::try_from(page).ok()?)
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_process_uses_something() {
        assert!(super::memory().is_some_and(|bytes| bytes > 1 << 20));
        let before = super::cpu();
        while super::cpu() == before {
            std::hint::black_box([0_u8; 4096]);
        }
    }
}
