//! A gateway whose disk is full: reads, DNS and traffic go on, writes are refused, nothing
//! acknowledged is lost, and it goes on by itself when there is room.

use std::fs::{self, File, OpenOptions};
use std::io::{ErrorKind, Write};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use weft_test_support::{
    Cases, Dev, RecordType, SOON, ask, command, eventually, isolated, kill, run, wait_until_gone,
};

/// The gateway whose disk it is.
const CLUSTER: &str = "eu-west-1";
const GATEWAY: &str = "eu-west-1/gw-1";
/// A refusal is prompt: not a write's whole time.
const PROMPT: Duration = Duration::from_secs(6);
/// With room again it writes again, and has what the others wrote, within this.
const HEALED: Duration = Duration::from_secs(10);
/// Left on a disk that is nearly full.
const LITTLE: u64 = 3 * 1024 * 1024;

#[test]
fn a_full_disk_stops_writes_and_nothing_else() -> Result<()> {
    isolated("a_full_disk_stops_writes_and_nothing_else", || {
        Dev::with(&["--wan", "off"], |dev| {
            let disk = Disk::under(dev)?;
            let mut cases = Cases::default();
            cases.run("with room, writes are taken", || written(dev, CLUSTER, 0));
            cases.run("with room, a release starts", || released(dev));
            cases.run("with room, names wait for the disk", || headless(dev));
            cases.run("nearly full: it refuses writes, and leads no more", || {
                nearly_full(dev, &disk)
            });
            cases.run("nearly full: a change takes no more of it", || unkept(dev));
            cases.run("full: all but writes goes on", || full(dev, &disk));
            cases.run("full: names follow what comes and goes", || followed(dev));
            cases.run("full: a local abort lowers, and says what is lost", || {
                clamped(dev)
            });
            cases.run("with room, the clamp outlives a crash", || kept(dev, &disk));
            cases.run("full: a restarted gateway serves", || {
                disk.fill()?;
                restarted(dev)
            });
            cases.run("with room again, it writes by itself", || {
                healed(dev, &disk)
            });
            cases.run("what was acknowledged survives", || survives(dev));
            cases.verdict()
        })
    })
}

/// A small disk under a gateway's state folder, and what fills it.
struct Disk {
    filler: PathBuf,
}

impl Disk {
    /// Moves the folder of a gateway that was stopped onto a small disk, and starts it again.
    fn under(dev: &Dev) -> Result<Self> {
        stop(dev)?;
        let state = dev.folder().join(GATEWAY).join("state");
        let aside = dev.scratch().join("aside");
        let (from, to) = (
            format!("{}/.", state.display()),
            aside.display().to_string(),
        );
        fs::create_dir(&aside)?;
        run(&mut command(["cp", "-a", &from, &to]))?.ok()?;
        let mount = command([
            "mount",
            "-t",
            "tmpfs",
            "-o",
            "size=40m,mode=0700",
            "tmpfs",
            &state.display().to_string(),
        ]);
        run(&mut { mount })?.ok()?;
        let (from, to) = (format!("{to}/."), state.display().to_string());
        run(&mut command(["cp", "-a", &from, &to]))?.ok()?;
        heal(dev)?;
        Ok(Self {
            filler: state.join("filler"),
        })
    }

    /// Fills it to the last byte.
    fn fill(&self) -> Result<()> {
        let mut file = self.open()?;
        let zeros = vec![0; 64 * 1024];
        loop {
            match file.write(&zeros) {
                Ok(0) => bail!("nothing was written"),
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::StorageFull => return Ok(()),
                Err(error) => return Err(error.into()),
            }
        }
    }

    fn fill_but_little(&self) -> Result<()> {
        self.fill()?;
        let file = self.open()?;
        let length = file.metadata()?.len();
        Ok(file.set_len(length.saturating_sub(LITTLE))?)
    }

    fn open(&self) -> Result<File> {
        let open = OpenOptions::new()
            .append(true)
            .create(true)
            .open(&self.filler);
        open.context("the filler")
    }

    fn free(&self) -> Result<()> {
        Ok(fs::remove_file(&self.filler)?)
    }
}

fn stop(dev: &Dev) -> Result<()> {
    let pid = pid(dev)?;
    kill(pid)?;
    wait_until_gone(&[pid])
}

fn pid(dev: &Dev) -> Result<u32> {
    dev.gateway(CLUSTER, "gw-1")?.pid.context("it runs")
}

fn heal(dev: &Dev) -> Result<()> {
    dev.weft(["dev", "heal"])?.ok()?;
    eventually("the shop answers there", SOON, || serves(dev))
}

fn export(number: usize) -> String {
    format!(
        "\
apiVersion: weft.dev/v1
kind: ServiceExport
metadata: {{ namespace: shop, name: kept-{number} }}
spec:
  ports: [{{ name: http, port: 80, appProtocol: http }}]
  exportTo: ['*']
"
    )
}

fn written(dev: &Dev, cluster: &str, number: usize) -> Result<()> {
    eventually("a write is taken", SOON, || {
        dev.apply(cluster, &export(number))
    })
}

/// Reads, DNS and requests at the gateway and the sidecars beside it.
fn serves(dev: &Dev) -> Result<()> {
    let clusters = dev.weft(["--cluster", CLUSTER, "get", "clusters", "-o", "name"])?;
    let clusters = clusters.ok()?;
    ensure!(clusters.contains("ap-south-1"), "{clusters}");
    let server = dev.gateway(CLUSTER, "gw-1")?.dns;
    let (address, port) = server.rsplit_once(':').context("host:port")?;
    let name = "payments.shop.svc.clusterset.local";
    let (at, port) = (format!("@{address}"), port.to_owned());
    let mut dig = command([
        "dig", "+short", "+tries=3", "+time=5", &at, "-p", &port, name,
    ]);
    let found = run(&mut dig)?.ok()?;
    ensure!(found.starts_with("127."), "dig: {found:?}");
    let web = dev.workload(CLUSTER, "shop/web")?;
    let body = dev.curl(&web, "http://payments.shop/")?;
    ensure!(body.contains(r#""service":"payments""#), "{body}");
    Ok(())
}

fn page(dev: &Dev, path: &str) -> Result<String> {
    let url = format!("http://{}{path}", dev.gateway(CLUSTER, "gw-1")?.console);
    let mut curl = command([
        "curl",
        "--silent",
        "--show-error",
        "--fail",
        "--max-time",
        "10",
    ]);
    run(curl.arg(url))?.ok()
}

fn refused(dev: &Dev, number: usize) -> Result<()> {
    let path = dev.scratch().join(format!("refused-{number}.yaml"));
    fs::write(&path, export(number))?;
    let path = path.display().to_string();
    let begun = Instant::now();
    let refused = dev.weft(["--cluster", CLUSTER, "apply", "-f", &path])?;
    let took = begun.elapsed();
    refused.exits(7)?.says("WEFT-6009")?;
    ensure!(took < PROMPT, "it took {took:?}");
    Ok(())
}

fn nearly_full(dev: &Dev, disk: &Disk) -> Result<()> {
    eventually("it leads", SOON, || {
        dev.weft(["raft", "transfer", GATEWAY])?.ok()
    })?;
    disk.fill_but_little()?;
    eventually("it says so", SOON, || {
        let text = page(dev, "/readyz")?;
        ensure!(text.contains("WEFT-6009"), "{text}");
        Ok(())
    })?;
    refused(dev, 1)?;
    let check = dev.weft(["--cluster", CLUSTER, "check"])?;
    check.exits(3)?.says("WEFT-6009")?;
    let status = dev.weft(["--cluster", CLUSTER, "status"])?;
    status.exits(1)?.says("it takes no writes")?;
    let metrics = page(dev, "/metrics")?;
    ensure!(metrics.contains("weft_registry_read_only 1"), "{metrics}");
    eventually("somebody else leads", SOON, || {
        let leader = dev.weft(["raft", "leader"])?.ok()?;
        ensure!(leader.trim() != GATEWAY, "{leader}");
        Ok(())
    })?;
    written(dev, "us-east-1", 2)?;
    // Below the mark the log of the others is still written here.
    eventually("it still follows", SOON, || listed(dev, 2))?;
    serves(dev)
}

/// Names do not wait for what would take the registry's reserve.
fn unkept(dev: &Dev) -> Result<()> {
    dev.apply("ap-south-1", &cell(2, 100))?;
    eventually("it is named", SOON, || cells(dev, 2))?;
    eventually("it says that names are ahead", SOON, || ahead(dev, true))
}

fn full(dev: &Dev, disk: &Disk) -> Result<()> {
    disk.fill()?;
    let mut number = 100;
    eventually("its log needs room", SOON, || {
        // Written by the others alone.
        number += 1;
        dev.apply("us-east-1", &export(number))?;
        let text = page(dev, "/readyz")?;
        ensure!(text.contains("is full"), "{text}");
        Ok(())
    })?;
    refused(dev, 3)?;
    written(dev, "ap-south-1", 4)?;
    for _ in 0..5 {
        serves(dev)?;
    }
    let consistent = ["--cluster", CLUSTER, "get", "clusters", "--consistent"];
    // It can ask the leader, and cannot apply what it would have to show.
    ensure!(dev.weft(consistent)?.status.code() != Some(0));
    Ok(())
}

/// Every caller in the region meets the canary.
const RELEASE: &str = "\
apiVersion: weft.dev/v1
kind: Release
metadata: { namespace: shop, name: checkout-v2 }
spec:
  service: checkout
  stable: v1
  canary: v2
  waves: [{ name: eu, regions: [eu-west], steps: [{ setWeight: 100 }] }]
";

fn released(dev: &Dev) -> Result<()> {
    let path = dev.scratch().join("release.yaml");
    fs::write(&path, RELEASE)?;
    let path = path.display().to_string();
    // Format levels are raised once everybody is there.
    eventually("it starts", SOON, || {
        dev.weft(["release", "start", "-f", &path])?.ok()
    })?;
    eventually("its callers meet the canary", SOON, || meets(dev, "v2"))
}

/// Which version the region's callers meet, ten times.
fn meets(dev: &Dev, version: &str) -> Result<()> {
    let web = dev.workload(CLUSTER, "shop/web")?;
    let expect = format!(r#""version":"{version}""#);
    for _ in 0..10 {
        let body = dev.curl(&web, "http://checkout.shop/")?;
        ensure!(body.contains(&expect), "{body}");
    }
    Ok(())
}

/// A service of another cluster that is its endpoints: here they are known by the catalog alone.
const CELL: &str = "
apiVersion: weft.dev/v1
kind: ServiceExport
metadata: { namespace: shop, name: cell }
spec:
  type: Headless
  ports: [{ name: http, port: 80, appProtocol: http }]
  exportTo: ['*']
";

/// As many as fit into a short answer.
const CELLS: usize = 20;

fn cell(number: usize, weight: usize) -> String {
    format!(
        "\
apiVersion: weft.dev/v1
kind: WorkloadEntry
metadata: {{ namespace: shop, name: cell-{number} }}
spec: {{ service: cell, address: 127.2.9.{number}, ports: {{ http: 8080 }}, weight: {weight} }}
"
    )
}

fn headless(dev: &Dev) -> Result<()> {
    dev.apply("ap-south-1", CELL)?;
    dev.apply("ap-south-1", &cell(1, 100))?;
    eventually("its name is there", SOON, || cells(dev, 1))?;
    ahead(dev, false)
}

/// How many addresses its name has there.
fn cells(dev: &Dev, expect: usize) -> Result<()> {
    let server = dev.gateway(CLUSTER, "gw-1")?.dns;
    let answer = ask(&server, "cell.shop.svc.clusterset.local", RecordType::A)?;
    ensure!(answer.data.len() == expect, "{answer:?}");
    Ok(())
}

/// Whether names wait for the disk no longer, as it says.
fn ahead(dev: &Dev, expect: bool) -> Result<()> {
    let metrics = page(dev, "/metrics")?;
    let row = format!("weft_names_ahead_of_disk {}\n", u8::from(expect));
    ensure!(metrics.contains(&row), "not {row}");
    let text = page(dev, "/readyz")?;
    let said = text.contains("names answer by endpoints that the disk does not take");
    ensure!(said == expect, "{text}");
    Ok(())
}

fn followed(dev: &Dev) -> Result<()> {
    let mut weight = 100;
    eventually("it says that names are ahead", SOON, || {
        weight += 1;
        let all: Vec<String> = (1..=CELLS).map(|number| cell(number, weight)).collect();
        dev.apply("ap-south-1", &all.join("---\n"))?;
        eventually("they are named", SOON, || cells(dev, CELLS))?;
        ahead(dev, true)
    })?;
    let delete = ["--cluster", "ap-south-1", "delete", "workloadentry"];
    let last = format!("cell-{CELLS}");
    dev.weft(delete.into_iter().chain(["-n", "shop", &last]))?
        .ok()?;
    eventually("it is named no longer", SOON, || cells(dev, CELLS - 1))
}

const LOCAL_ABORT: [&str; 6] = [
    "release",
    "abort",
    "checkout-v2",
    "--region",
    "eu-west",
    "--local",
];

fn clamped(dev: &Dev) -> Result<()> {
    dev.weft(LOCAL_ABORT)?
        .exits(1)?
        .says("WEFT-5027")?
        .says("meet the canary no more")?
        .says("would forget that in a restart")?;
    eventually("nobody there meets it", SOON, || meets(dev, "v1"))?;
    eventually("others know", SOON, || {
        dev.weft(["--cluster", "us-east-1", "release", "status", "checkout-v2"])?
            .exits(0)?
            .says("at most 0 % in eu-west, by ")
    })?;
    Ok(())
}

fn kept(dev: &Dev, disk: &Disk) -> Result<()> {
    disk.free()?;
    dev.weft(LOCAL_ABORT)?.exits(0)?.says("is on the disk of")?;
    eventually("names wait for the disk again", SOON, || ahead(dev, false))?;
    stop(dev)?;
    heal(dev)?;
    dev.weft(["--cluster", CLUSTER, "release", "status", "checkout-v2"])?
        .exits(0)?
        .says("at most 0 % in eu-west, by ")?;
    meets(dev, "v1")
}

fn restarted(dev: &Dev) -> Result<()> {
    stop(dev)?;
    heal(dev)?;
    refused(dev, 5)
}

#[expect(clippy::print_stdout, reason = "the measure is what the test is for")]
fn healed(dev: &Dev, disk: &Disk) -> Result<()> {
    let before = pid(dev)?;
    disk.free()?;
    let freed = Instant::now();
    written(dev, CLUSTER, 3)?;
    let wrote = freed.elapsed();
    eventually("it has what the others wrote", SOON, || listed(dev, 4))?;
    let caught_up = freed.elapsed();
    println!(
        "room again: it wrote after {wrote:?}, and had what the others wrote after {caught_up:?}"
    );
    ensure!(caught_up < HEALED, "only after {caught_up:?}");
    ensure!(pid(dev)? == before, "it was started again");
    let text = page(dev, "/readyz")?;
    ensure!(!text.contains("read-only"), "{text}");
    Ok(())
}

fn survives(dev: &Dev) -> Result<()> {
    stop(dev)?;
    heal(dev)?;
    let consistent = ["--cluster", CLUSTER, "get", "clusters", "--consistent"];
    eventually("it has caught up", SOON, || dev.weft(consistent)?.ok())?;
    // Write 1 was refused.
    [0, 2, 3, 4]
        .into_iter()
        .try_for_each(|number| listed(dev, number))
}

/// Whether its own replica has the write.
fn listed(dev: &Dev, number: usize) -> Result<()> {
    let names = dev.weft(["--cluster", CLUSTER, "service", "list", "-o", "name"])?;
    let names = names.ok()?;
    let name = format!("shop/kept-{number}");
    ensure!(names.lines().any(|line| line == name), "{names}");
    Ok(())
}
