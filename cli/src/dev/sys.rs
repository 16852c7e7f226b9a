//! The three things asked of the kernel that the standard library has no safe way to ask.
#![allow(unsafe_code)]

use std::io;
use std::os::unix::process::CommandExt;
use std::process::Command;

/// Makes the kernel kill the command's process when the thread that spawns it ends,
/// and so whenever this process ends, however it does.
///
/// Call and spawn from a thread that lives as long as the process: the signal
/// follows the thread, not the process (prctl(2), PR_SET_PDEATHSIG).
pub(super) fn die_with_parent(command: &mut Command) {
    let parent = std::process::id();
    let arrange = move || {
        // SAFETY: prctl with PR_SET_PDEATHSIG reads its integer arguments only.
        let set = unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) };
        if set == -1 {
            return Err(io::Error::last_os_error());
        }
        // The parent may have ended before prctl took effect.
        if std::os::unix::process::parent_id() != parent {
            return Err(io::Error::from_raw_os_error(libc::ESRCH));
        }
        Ok(())
    };
    // SAFETY: between fork and exec the closure only makes async-signal-safe calls
    // (prctl, getppid); it allocates nothing and takes no lock.
    unsafe { command.pre_exec(arrange) };
}

/// Sends a signal to a process that has not been waited for, so that the id is its own.
pub(super) fn send_signal(pid: u32, signal: libc::c_int) -> io::Result<()> {
    let pid = libc::pid_t::try_from(pid).map_err(io::Error::other)?;
    // SAFETY: kill takes integers and touches no memory of ours.
    match unsafe { libc::kill(pid, signal) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// The effective user's id.
pub(super) fn user_id() -> u32 {
    // SAFETY: geteuid takes nothing and cannot fail.
    unsafe { libc::geteuid() }
}
