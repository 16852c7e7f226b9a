//! Servers that nobody here wrote.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};
use tempfile::TempDir;

use crate::isolated::is_root;
use crate::run::{command, run};
use crate::{Background, SOON, eventually};

/// Debian's PostgreSQL, with a database of its own, under a user of its own: it
/// refuses to run as root.
#[derive(Debug)]
pub struct PostgreSql {
    // Stopped before its folder goes.
    _server: Background,
    _folder: TempDir,
}

impl PostgreSql {
    /// Starts a server on an address, port 5432, and waits until it takes connections.
    ///
    /// # Errors
    /// It is not installed, or does not come up.
    pub fn start(address: &str) -> Result<Self> {
        let folder = tempfile::Builder::new()
            .prefix("weft-postgresql-")
            .permissions(std::os::unix::fs::PermissionsExt::from_mode(0o755))
            .tempdir()?;
        let data = folder.path().join("data");
        fs::create_dir(&data)?;
        if really_root()? {
            run(command(["chown", "postgres:postgres"]).arg(&data))?.ok()?;
        }
        let bin = bin_folder()?;
        let init = [
            "--username=postgres",
            "--auth=trust",
            "--no-sync",
            "--encoding=UTF8",
            "--locale=C",
        ];
        run(unprivileged(&bin.join("initdb"))?
            .args(init)
            .arg("--pgdata")
            .arg(&data))?
        .ok()?;
        let mut server = unprivileged(&bin.join("postgres"))?;
        server
            .arg("-D")
            .arg(&data)
            .args(["-h", address, "-p", "5432", "-c", "fsync=off"]);
        server
            .arg("-c")
            .arg(format!("unix_socket_directories={}", data.display()));
        let mut server = Background::start(&mut server, &folder.path().join("log"))?;
        eventually("PostgreSQL takes connections", SOON, || {
            server.still_runs()?;
            run(Command::new(bin.join("pg_isready")).args(["-q", "-h", address]))?.ok()
        })?;
        Ok(Self {
            _server: server,
            _folder: folder,
        })
    }
}

/// A Redis server on an address, port 6379, that keeps nothing.
///
/// # Errors
/// It is not installed, or does not come up.
pub fn redis(address: &str, scratch: &Path) -> Result<Background> {
    let args = [
        "--port",
        "6379",
        "--save",
        "",
        "--appendonly",
        "no",
        "--protected-mode",
        "no",
    ];
    let mut server = Command::new("redis-server");
    server
        .args(["--bind", address])
        .args(args)
        .arg("--dir")
        .arg(scratch);
    let mut server = Background::start(&mut server, &scratch.join("redis.log"))?;
    eventually("Redis takes connections", SOON, || {
        server.still_runs()?;
        run(&mut command(["redis-cli", "-h", address, "ping"]))?.says("PONG")
    })?;
    Ok(server)
}

/// Where Debian keeps the newest release's programs.
fn bin_folder() -> Result<PathBuf> {
    let releases = fs::read_dir("/usr/lib/postgresql").context("PostgreSQL is not installed")?;
    let bins = releases.flatten().map(|release| release.path().join("bin"));
    bins.filter(|bin| bin.join("initdb").exists())
        .max()
        .context("PostgreSQL has no initdb")
}

/// A command under a uid that is not root's: PostgreSQL's own where we may take it,
/// and another name for ours in a user namespace otherwise.
fn unprivileged(program: &Path) -> Result<Command> {
    let mut command = if really_root()? {
        command([
            "setpriv",
            "--reuid=postgres",
            "--regid=postgres",
            "--clear-groups",
        ])
    } else {
        command(["unshare", "--user", "--map-user=1000", "--map-group=1000"])
    };
    command.arg(program).current_dir("/");
    Ok(command)
}

/// Whether root here is root outside: all ids are mapped.
fn really_root() -> Result<bool> {
    let map = fs::read_to_string("/proc/self/uid_map")?;
    let identity = map.split_whitespace().eq(["0", "0", "4294967295"]);
    Ok(is_root() && identity)
}
