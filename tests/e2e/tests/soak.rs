//! Mixed load and churn for as long as it takes: memory and descriptors stay where they are.
//!
//! A minute here; `cargo xtask soak` runs an hour of it (`WEFT_SOAK_MINUTES`) and shows the table.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::{JoinHandle, spawn};
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use weft_e2e::{GREETER, greeter, python};
use weft_test_support::{
    Dev, Footprint, History, Load, SOON, Target, command, eventually, isolated, kill, run, signal,
    wait_until_gone,
};

/// From here on a slope means something; before, a process still grows into its work.
const LONG: Duration = Duration::from_secs(10 * 60);
/// The most that memory of its own may grow by in ten minutes of a long run. (Pages of the program
/// file come in as its code is first used, 7 MiB in the first ten minutes: no more than the file has.)
const SLOPE_MAX: f64 = (1 << 20) as f64;
/// The most that it may grow by in a short one, bytes: what the allocator keeps of a burst.
const GROWTH_MAX: u64 = 8 << 20;
/// Descriptors more than before that may be open at the end: the sample shop's own
/// customers have a connection here or there.
const SLACK: usize = 12;
/// Pooled connections close after 90 s, looked for every 15 s.
const POOLS_EMPTY: Duration = Duration::from_secs(240);

const SERVERS: &str = "
apiVersion: weft.dev/v1
kind: ServiceExport
metadata: { namespace: shop, name: echo }
spec:
  ports: [{ name: tcp, port: 7000, appProtocol: tcp }]
  exportTo: ['*']
---
apiVersion: weft.dev/v1
kind: WorkloadEntry
metadata: { namespace: shop, name: echo-1 }
spec: { service: echo, address: 127.2.9.7, ports: { tcp: 7000 } }
";

#[test]
fn mixed_load_and_churn_leave_memory_and_descriptors_flat() -> Result<()> {
    let name = "mixed_load_and_churn_leave_memory_and_descriptors_flat";
    isolated(name, || {
        Dev::with(&["--gateways", "2", "--leaf-lifetime", "60s"], |dev| {
            let _greeter = greeter(dev.scratch())?;
            serve_echo("127.2.9.7:7000")?;
            dev.apply("eu-west-1", GREETER)?;
            dev.apply("eu-west-1", SERVERS)?;
            let length = length()?;
            let before = footprints(dev)?;
            let mixed = Mixed::start(dev)?;
            // Into its work first: pools, buffers, a restart.
            churn(dev)?;
            let mut history = History::default();
            let begun = Instant::now();
            while begun.elapsed() < length {
                churn(dev)?;
                history.look(&dev.processes()?);
            }
            let did = mixed.end()?;
            print(&format!("{did:#?}\n{history}"));
            judge(&history, length)?;
            eventually("descriptors are what they were", POOLS_EMPTY, || {
                are_back(&before, &footprints(dev)?)
            })
        })
    })
}

fn length() -> Result<Duration> {
    let minutes: f64 = match std::env::var("WEFT_SOAK_MINUTES") {
        Ok(text) => text.parse()?,
        Err(_) => 1.0,
    };
    Ok(Duration::from_secs_f64(minutes * 60.0))
}

fn footprints(dev: &Dev) -> Result<BTreeMap<String, Footprint>> {
    let processes = dev.processes()?.into_iter();
    processes
        .map(|(name, pid)| Ok((name, Footprint::of(pid)?)))
        .collect()
}

fn judge(history: &History, length: Duration) -> Result<()> {
    for (name, trend) in history.trends() {
        let grown = trend.last.anonymous.saturating_sub(trend.first.anonymous);
        if length < LONG {
            ensure!(
                grown <= GROWTH_MAX,
                "{name} grew by {grown} bytes\n{history}"
            );
        } else if name != CHURNED {
            ensure!(trend.slope <= SLOPE_MAX, "{name} grows\n{history}");
        }
    }
    Ok(())
}

fn are_back(before: &BTreeMap<String, Footprint>, now: &BTreeMap<String, Footprint>) -> Result<()> {
    for (name, footprint) in before {
        let (then, now) = (footprint.descriptors, now.get(name).map(|f| f.descriptors));
        ensure!(
            now.is_some_and(|now| now <= then + SLACK),
            "{name} had {then} descriptors and has {now:?}"
        );
    }
    Ok(())
}

/// The gateway that is restarted in every round.
const CHURNED: &str = "us-east-1/gw-2";

/// A gateway drains and returns, a workload dies and returns.
fn churn(dev: &Dev) -> Result<()> {
    let gateway = dev.gateway("us-east-1", "gw-2")?.pid;
    let workload = dev.workload("eu-west-1", "shop/checkout")?.pid;
    let ended: Vec<u32> = gateway.into_iter().chain(workload).collect();
    if let Some(pid) = gateway {
        signal(pid, "TERM")?;
    }
    if let Some(pid) = workload {
        kill(pid)?;
    }
    wait_until_gone(&ended)?;
    dev.weft(["dev", "heal"])?.ok()?;
    Ok(())
}

/// All kinds of load at once.
struct Mixed {
    stop: Arc<AtomicBool>,
    load: Load,
    kinds: Vec<(&'static str, Arc<Count>, JoinHandle<()>)>,
}

/// How often one kind was done.
#[derive(Debug, Default)]
struct Count {
    done: AtomicUsize,
    failed: AtomicUsize,
}

type Act = Box<dyn Fn() -> Result<()> + Send>;

impl Mixed {
    fn start(dev: &Dev) -> Result<Self> {
        let stop = Arc::new(AtomicBool::new(false));
        let web = dev.workload("us-east-1", "shop/web")?.outbound;
        let far = dev.workload("ap-south-1", "shop/web")?.outbound;
        let dns = dev.gateway("us-east-1", "gw-1")?.dns;
        let load = Load::start(vec![
            Target::through_sidecar(&web, "payments.shop.svc.eu-west-1.cluster.weft.internal")?,
            Target::through_sidecar(&far, "payments.shop")?,
            Target::through_sidecar(&far, "checkout.shop")?,
        ]);
        let grpc_proxy = web.clone();
        let tcp_proxy = web.clone();
        let acts: [(&str, Act); 4] = [
            ("HTTP/2", Box::new(move || h2load(&web))),
            ("gRPC", Box::new(move || grpc(&grpc_proxy))),
            ("TCP", Box::new(move || tcp(&tcp_proxy))),
            ("DNS", Box::new(move || dig(&dns))),
        ];
        let kinds = acts.into_iter().map(|(name, act)| {
            let count = Arc::new(Count::default());
            let (stop, counted) = (Arc::clone(&stop), Arc::clone(&count));
            let thread = spawn(move || counted.go_on(&stop, &act));
            (name, count, thread)
        });
        let kinds = kinds.collect();
        Ok(Self { stop, load, kinds })
    }

    /// How often what was done.
    fn end(self) -> Result<BTreeMap<&'static str, String>> {
        self.stop.store(true, Ordering::Relaxed);
        let seen = self.load.end()?;
        ensure!(seen.failed.is_empty(), "{seen:#?}");
        let mut did = BTreeMap::new();
        let told = |done: usize, failed: usize| format!("{done}, and {failed} failed");
        did.insert("HTTP/1.1", told(seen.at_once, seen.retried.len()));
        for (name, count, thread) in self.kinds {
            ensure!(thread.join().is_ok(), "{name} panicked");
            let done = count.done.load(Ordering::Relaxed);
            let failed = count.failed.load(Ordering::Relaxed);
            // A gateway that is told to stop cuts at its deadline what cannot be moved.
            ensure!(done > failed, "{name}: {}", told(done, failed));
            did.insert(name, told(done, failed));
        }
        Ok(did)
    }
}

impl Count {
    fn go_on(&self, stop: &AtomicBool, act: &Act) {
        while !stop.load(Ordering::Relaxed) {
            let counter = match act() {
                Ok(()) => &self.done,
                Err(_) => &self.failed,
            };
            counter.fetch_add(1, Ordering::Relaxed);
            std::thread::sleep(PAUSE);
        }
    }
}

/// Between two acts of one kind.
const PAUSE: Duration = Duration::from_millis(200);

fn h2load(proxy: &str) -> Result<()> {
    let connect = format!("--connect-to={proxy}");
    let load = [
        "h2load",
        "--requests=100",
        "--clients=2",
        "--max-concurrent-streams=10",
        &connect,
        "http://checkout.shop/",
    ];
    let said = run(&mut command(load))?.ok()?;
    ensure!(said.contains("100 succeeded, 0 failed"), "{said}");
    Ok(())
}

fn grpc(proxy: &str) -> Result<()> {
    let said = run(python("http/grpc_short.py").arg(proxy))?.ok()?;
    ensure!(said == "ok", "{said}");
    Ok(())
}

/// 64 KiB to an echo and back, and an end.
fn tcp(proxy: &str) -> Result<()> {
    let mut stream = TcpStream::connect(proxy)?;
    stream.set_read_timeout(Some(SOON))?;
    write!(
        stream,
        "CONNECT echo.shop:7000 HTTP/1.1\r\nHost: echo.shop\r\n\r\n"
    )?;
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte)?;
        head.push(byte[0]);
    }
    ensure!(head.starts_with(b"HTTP/1.1 200"), "refused");
    let (sent, mut back) = (vec![7; 64 << 10], vec![0; 64 << 10]);
    stream.write_all(&sent)?;
    stream.read_exact(&mut back)?;
    ensure!(sent == back, "not what was sent");
    Ok(())
}

fn dig(dns: &str) -> Result<()> {
    let (server, port) = dns.rsplit_once(':').unwrap_or((dns, "53"));
    let server = format!("@{server}");
    let name = "checkout.shop.svc.clusterset.local";
    for way in ["+notcp", "+tcp"] {
        let said = run(&mut command([
            "dig", &server, "-p", port, "+short", way, name,
        ]))?
        .ok()?;
        ensure!(!said.is_empty(), "no address");
    }
    Ok(())
}

/// Gives back what it gets; its threads end with the test.
fn serve_echo(address: &str) -> Result<()> {
    let listener = TcpListener::bind(address)?;
    spawn(move || {
        for stream in listener.incoming().flatten() {
            spawn(move || {
                let mut reader = &stream;
                std::io::copy(&mut reader, &mut &stream)
            });
        }
    });
    Ok(())
}

#[expect(
    clippy::print_stdout,
    reason = "the test program captures and shows it"
)]
fn print(text: &str) {
    println!("{text}");
}
