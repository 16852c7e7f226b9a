//! A large body arrives as it was sent.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;
use std::time::Duration;

use anyhow::{Result, bail, ensure};
use weft_test_support::{Background, Dev, SOON, command, eventually, isolated, run};

/// A gibibyte.
const BYTES: u64 = 1 << 30;
/// Enough for a slow machine, and for a program without optimisation.
const TRANSFER_WAIT: Duration = Duration::from_secs(600);

const FILES: &str = include_str!("../../../cli/samples/files.yaml");

#[test]
fn a_gibibyte_arrives_byte_for_byte() -> Result<()> {
    isolated("a_gibibyte_arrives_byte_for_byte", || {
        // The delay of the emulated network would only make it longer.
        Dev::with(&["--wan", "off"], |dev| {
            let folder = dev.scratch().join("files");
            std::fs::create_dir(&folder)?;
            write_noise(&folder.join("blob"))?;
            std::fs::write(folder.join("small"), "here\n")?;
            let args = [
                "python3",
                "-m",
                "http.server",
                "9000",
                "--bind",
                "127.2.9.3",
                "--directory",
            ];
            let log = dev.scratch().join("files.log");
            let _server = Background::start(command(args).arg(&folder), &log)?;
            dev.apply("eu-west-1", FILES)?;
            let web = dev.workload("us-east-1", "shop/web")?;
            eventually("the file server is reached", SOON, || {
                ensure!(dev.curl(&web, "http://files.shop/small")? == "here");
                Ok(())
            })?;
            let mut fetch = fetch(&web.outbound, &folder.join("blob"), dev.scratch())?;
            eventually("the transfer ends", TRANSFER_WAIT, || {
                match fetch.still_runs() {
                    Ok(()) => bail!("it goes on"),
                    Err(_) => Ok(()),
                }
            })?;
            ensure!(
                fetch.wait()? == Some(0),
                "curl or cmp failed: {}",
                fetch.said()
            );
            Ok(())
        })
    })
}

/// Fetches the file through a sidecar, and compares it as it comes.
fn fetch(proxy: &str, original: &Path, scratch: &Path) -> Result<Background> {
    let script = "curl --silent --show-error --fail --proxy \"http://$0\" \
                  http://files.shop/blob | cmp - \"$1\"";
    let mut fetch = command(["bash", "-o", "pipefail", "-c", script, proxy]);
    Background::start(fetch.arg(original), &scratch.join("fetch.log"))
}

/// Bytes without a pattern (xorshift64*), so that a block that is lost, doubled or
/// moved shows.
fn write_noise(path: &Path) -> Result<()> {
    let mut file = BufWriter::with_capacity(1 << 20, File::create(path)?);
    let mut state: u64 = 0x9E37_79B9_7F4A_7C15;
    for _ in 0..BYTES / 8 {
        state ^= state >> 12;
        state ^= state << 25;
        state ^= state >> 27;
        file.write_all(&state.wrapping_mul(0x2545_F491_4F6C_DD1D).to_le_bytes())?;
    }
    file.flush()?;
    ensure!(
        run(&mut command([
            "stat",
            "--format=%s",
            &path.display().to_string()
        ]))?
        .ok()?
            == BYTES.to_string()
    );
    Ok(())
}
