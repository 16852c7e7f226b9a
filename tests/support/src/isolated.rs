//! A test in namespaces of its own.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

/// Set in the process that runs inside; names the file that shows it got there.
const INSIDE: &str = "WEFT_TEST_ISOLATED";

/// Maps further ids of ours (`/etc/subuid`) into a user namespace.
const NEWUIDMAP: &str = "/usr/bin/newuidmap";

/// Brings the loopback interface up. The second address makes glibc's resolver use
/// IPv4 at all: it looks for an address other than 127.0.0.1 (`AI_ADDRCONFIG`).
const PREPARE: &str = "ip link set lo up && ip address add 10.77.0.2/32 dev lo && exec \"$@\"";

/// Runs a test's body in network, mount, process and (for users other than root) user
/// namespaces of its own, by running this test program once more inside of them.
/// `name` is the test's own name. When the body ends, whatever it started is killed.
///
/// # Errors
/// What the body returned, or what went wrong inside, with all that was printed there.
pub fn isolated(name: &str, body: impl FnOnce() -> Result<()>) -> Result<()> {
    if let Some(shown) = std::env::var_os(INSIDE) {
        fs::write(Path::new(&shown), name).context("the file that shows we are inside")?;
        return body();
    }
    let shown = tempfile::NamedTempFile::new()?;
    let program = std::env::current_exe()?;
    let output = unshare()
        .args(["sh", "-c", PREPARE, "sh"])
        .arg(&program)
        .args([name, "--exact", "--nocapture", "--test-threads=1"])
        .env(INSIDE, shown.path())
        // Errors say what was being done; where in the harness is noise.
        .env("RUST_LIB_BACKTRACE", "0")
        .stdin(Stdio::null())
        .output()
        .context("unshare (util-linux)")?;
    let said = format!(
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    // Printed by the test's own thread, so that it is shown only when the test fails.
    print(&said);
    if fs::read_to_string(shown.path())? != name {
        bail!("no test called {name:?} ran inside the namespaces");
    }
    if !output.status.success() {
        bail!("inside the namespaces: {}", output.status);
    }
    Ok(())
}

fn unshare() -> Command {
    let mut command = Command::new("unshare");
    command.args([
        "--net",
        "--mount",
        "--pid",
        "--fork",
        "--kill-child",
        "--mount-proc",
    ]);
    if !is_root() {
        command.args(["--user", "--map-root-user"]);
        if Path::new(NEWUIDMAP).exists() {
            // Users beside root, for tests that tell programs apart by theirs.
            command.arg("--map-auto");
        }
    }
    command
}

/// Makes a name server the only one that programs inside ask.
///
/// # Errors
/// Outside of [`isolated`], or if the file system cannot be changed there.
pub fn use_resolver(address: &str) -> Result<()> {
    if std::env::var_os(INSIDE).is_none() {
        bail!("only a test in namespaces of its own may change its resolver");
    }
    // Programs of every user read it.
    let file = tempfile::Builder::new()
        .permissions(PermissionsExt::from_mode(0o644))
        .tempfile()?;
    fs::write(
        file.path(),
        format!("nameserver {address}\noptions timeout:5 attempts:3\n"),
    )?;
    let resolv = fs::canonicalize("/etc/resolv.conf")?;
    let status = Command::new("mount")
        .arg("--bind")
        .arg(file.path())
        .arg(&resolv)
        .status()?;
    if !status.success() {
        bail!("mount --bind: {status}");
    }
    Ok(())
}

/// Whether this process belongs to root, be it only inside a user namespace.
pub(crate) fn is_root() -> bool {
    fs::metadata("/proc/self").is_ok_and(|found| found.uid() == 0)
}

#[expect(
    clippy::print_stdout,
    reason = "the test program captures and shows it"
)]
fn print(text: &str) {
    print!("{text}");
}
