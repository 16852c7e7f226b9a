//! The emulated wide-area network is what it says: judged by programs of others.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use weft_test_support::{Background, Cases, Namespace, SOON, Wire, eventually, isolated};
use weft_wan::tun::Side;
use weft_wan::{Bottleneck, LinkSpec, Loss, Probability, Rate, Reorder};

/// Pings that a loss is measured by, and their pause in seconds.
const PINGS: u32 = 2000;
const PAUSE: &str = "0.002";

#[test]
fn an_emulated_path_does_what_it_says() -> Result<()> {
    isolated("an_emulated_path_does_what_it_says", || {
        let scratch = tempfile::tempdir()?;
        let pair = Pair::new(scratch.path())?;
        let mut cases = Cases::default();
        cases.run("delay is a floor, and nearly the ceiling", || delay(&pair));
        cases.run("loss lies within its binomial bounds", || loss(&pair));
        cases.run("TCP crosses, at the rate of the bottleneck", || tcp(&pair));
        cases.run("UDP crosses out of order", || udp(&pair));
        cases.run("a black hole swallows what is too big, silently", || {
            black_hole(&pair)
        });
        cases.run("one direction is cut alone", || one_way(&pair));
        cases.verdict()
    })
}

/// Two namespaces, 192.0.2.1 and 192.0.2.2.
struct Pair {
    a: Namespace,
    b: Namespace,
    wire: Wire,
}

impl Pair {
    fn new(scratch: &std::path::Path) -> Result<Self> {
        let (a, b) = (Namespace::new("a", scratch)?, Namespace::new("b", scratch)?);
        let wire = Wire::between(&a, &b, 7)?;
        a.sh("ip address add 192.0.2.1 peer 192.0.2.2 dev b")?;
        b.sh("ip address add 192.0.2.2 peer 192.0.2.1 dev a")?;
        Ok(Self { a, b, wire })
    }

    fn ping(&self, args: &[&str]) -> Result<Pinged> {
        let words = ["ping", "-q", "-n"]
            .iter()
            .chain(args)
            .chain(&["192.0.2.2"]);
        Pinged::read(&self.a.run(words)?.stdout)
    }
}

/// What ping counts and measures.
#[derive(Debug)]
struct Pinged {
    sent: u32,
    received: u32,
    /// In milliseconds: least, mean, most.
    rtt: Option<(f64, f64, f64)>,
}

impl Pinged {
    /// `5 packets transmitted, 5 received, …` and `rtt min/avg/max/mdev = 1/2/3/4 ms`.
    fn read(text: &str) -> Result<Self> {
        let count = |word: &str| -> Result<u32> {
            let part = text.split(", ").find(|part| part.contains(word));
            let part = part.with_context(|| format!("no {word} in {text}"))?;
            let line = part.lines().last().context("a line")?;
            Ok(line.split(' ').next().context("a number")?.parse()?)
        };
        let rtt = text.split_once("rtt min/avg/max/mdev = ").map(|(_, rest)| {
            let mut figures = rest.split('/').map(str::parse::<f64>);
            let mut next = || figures.next().context("a figure")?.context("a number");
            anyhow::Ok((next()?, next()?, next()?))
        });
        Ok(Self {
            sent: count("transmitted")?,
            received: count("received")?,
            rtt: rtt.transpose()?,
        })
    }
}

fn delay(pair: &Pair) -> Result<()> {
    let each_way = LinkSpec::with_delay(Duration::from_millis(40));
    pair.wire.set(each_way)?;
    let pinged = pair.ping(&["-c", "100", "-i", "0.01"])?;
    ensure!(pinged.received == 100, "{pinged:?}");
    let (least, mean, _) = pinged.rtt.context("times")?;
    ensure!(least >= 80.0, "{pinged:?}");
    // What the machine adds is no business of the engine's; half of it again would be.
    ensure!(mean < 100.0, "{pinged:?}");
    Ok(())
}

fn loss(pair: &Pair) -> Result<()> {
    pair.wire.set(LinkSpec::default())?;
    let share = 0.05;
    let lossy = LinkSpec {
        loss: Loss::Independent(Probability::new(share)?),
        ..LinkSpec::default()
    };
    pair.wire.set_from(Side::A, lossy)?;
    let pinged = pair.ping(&["-c", &PINGS.to_string(), "-i", PAUSE])?;
    let (n, lost) = (
        f64::from(pinged.sent),
        f64::from(pinged.sent - pinged.received),
    );
    let deviation = (n * share * (1.0 - share)).sqrt();
    ensure!((lost - n * share).abs() < 4.0 * deviation, "{pinged:?}");
    Ok(())
}

/// curl reads 4 MB at 40 Mbit/s: at least 0.8 s.
fn tcp(pair: &Pair) -> Result<()> {
    const BYTES: u32 = 4_000_000;
    pair.wire.set(LinkSpec {
        delay: Duration::from_millis(5),
        bottleneck: Some(Bottleneck {
            rate: Rate::from_bits_per_second(40_000_000)?,
            queue_bytes_max: 200_000,
        }),
        ..LinkSpec::default()
    })?;
    let file = pair.b.scratch().join("body");
    std::fs::write(&file, vec![b'x'; BYTES as usize])?;
    let _server = http(&pair.b, "192.0.2.2")?;
    let args = [
        "--max-time",
        "30",
        "-o",
        "/dev/null",
        "-w",
        "%{size_download} %{time_total}",
    ];
    let curl = ["curl", "-s", "--fail"].iter().chain(&args);
    let said = pair
        .a
        .run(curl.chain(&["http://192.0.2.2:8000/body"]))?
        .ok()?;
    let (bytes, seconds) = said.split_once(' ').context("two figures")?;
    ensure!(bytes == BYTES.to_string(), "{said}");
    ensure!(seconds.parse::<f64>()? >= 0.8, "{said}");
    Ok(())
}

/// A thousand numbered datagrams, of which a tenth is held back.
fn udp(pair: &Pair) -> Result<()> {
    pair.wire.set(LinkSpec {
        reorder: Some(Reorder {
            probability: Probability::new(0.1)?,
            hold: Duration::from_millis(20),
        }),
        ..LinkSpec::default()
    })?;
    let log = pair.b.scratch().join("udp.log");
    let mut receiver = Background::start(
        &mut pair.b.command(["/usr/bin/python3", "-u", "-c", RECEIVE]),
        &log,
    )?;
    eventually("the receiver listens", SOON, || {
        receiver.still_runs()?;
        ensure!(receiver.said().contains("listening"));
        Ok(())
    })?;
    pair.a.run(["/usr/bin/python3", "-c", SEND])?.ok()?;
    ensure!(receiver.wait()? == Some(0), "{}", receiver.said());
    let said = receiver.said();
    let late: u32 = said.split_whitespace().last().context("a count")?.parse()?;
    ensure!((50..=200).contains(&late), "{said}");
    Ok(())
}

const SEND: &str = "
import socket, time
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
for i in range(1000):
    s.sendto(i.to_bytes(4), ('192.0.2.2', 9000)); time.sleep(0.001)
";
const RECEIVE: &str = "
import socket
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.bind(('192.0.2.2', 9000)); s.settimeout(20); print('listening')
order = [int.from_bytes(s.recv(100)) for _ in range(1000)]
assert sorted(order) == list(range(1000)), order
print(sum(b < max(order[:i], default=0) for i, b in enumerate(order)))
";

fn black_hole(pair: &Pair) -> Result<()> {
    pair.wire.set(LinkSpec {
        mtu: Some(1280),
        ..LinkSpec::default()
    })?;
    // An IP header of 20 bytes and one of 8 around the payload; no fragments.
    let fits = pair.ping(&["-c", "3", "-i", "0.01", "-M", "do", "-s", "1252"])?;
    ensure!(fits.received == 3, "{fits:?}");
    let too_big = pair.ping(&[
        "-c", "3", "-i", "0.01", "-W", "0.2", "-M", "do", "-s", "1253",
    ])?;
    ensure!(too_big.received == 0, "{too_big:?}");
    Ok(())
}

fn one_way(pair: &Pair) -> Result<()> {
    pair.wire.set(LinkSpec::default())?;
    pair.wire.cut(Side::B)?;
    let before = pair.wire.stats()?;
    let cut = pair.ping(&["-c", "3", "-i", "0.01", "-W", "0.2"])?;
    let after = pair.wire.stats()?;
    ensure!(cut.received == 0, "{cut:?}");
    ensure!(after.from_a.accepted > before.from_a.accepted);
    pair.wire.heal(Side::B)?;
    ensure!(pair.ping(&["-c", "3", "-i", "0.01"])?.received == 3);
    Ok(())
}

/// Debian's Python serves a namespace's folder.
fn http(at: &Namespace, address: &str) -> Result<Background> {
    let serve = [
        "/usr/bin/python3",
        "-m",
        "http.server",
        "--bind",
        address,
        "8000",
    ];
    let mut server = Background::start(&mut at.command(serve), &at.scratch().join("http.log"))?;
    eventually("the server answers", SOON, || {
        server.still_runs()?;
        at.run(["curl", "-s", &format!("http://{address}:8000/")])?
            .ok()
    })?;
    Ok(server)
}
