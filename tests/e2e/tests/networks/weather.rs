//! What happens to networks while they are used, and what must not follow from it.

use std::fs;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use weft_test_support::{Background, SOON, eventually};
use weft_wan::tun::Side;
use weft_wan::{Bottleneck, LinkSpec, Loss, Probability, Rate, Reorder};

use super::World;
use super::site::{BIG, Site};

/// A path whose routers drop what is too big and do not say so.
const BLACK_HOLE_MTU: usize = 1280;
/// Within this, traffic goes on after a path has become one.
const BLACK_HOLE_WAIT: Duration = Duration::from_secs(10);
/// Bytes of a body that takes long on a slow path.
const HUGE: usize = 1_500_000;
/// Requests at once over a path that loses and reorders.
const ABREAST: usize = 24;

impl World {
    /// ap's router forgets all translations while a body is on its way, and gives new
    /// ports to what comes next.
    pub(crate) fn rebinding(&self) -> Result<()> {
        let (us, ap) = (&self.us, &self.ap);
        let before = Connections::of(ap)?;
        let mut slow = Slow::start(ap, us, "rebinding")?;
        ap.load(REBOUND)?;
        // What has no device loses its translations: masquerading says so.
        let out = us.router.name();
        ap.router.sh(&format!(
            "ip link set dev {out} down; ip link set dev {out} up"
        ))?;
        for _ in 0..5 {
            ensure!(ap.get(us, "name", &[])? == us.name);
            ensure!(us.get(ap, "name", &[])? == ap.name);
        }
        slow.arrives()?;
        let rules = ap.router.sh("nft list chain inet weft-test after")?;
        ensure!(!rules.contains("counter packets 0"), "not rebound: {rules}");
        before.stand(ap)
    }

    /// The path shrinks in the middle of a body.
    pub(crate) fn black_hole(&self) -> Result<()> {
        let (us, ap) = (&self.us, &self.ap);
        let before = Connections::of(us)?;
        let mut slow = Slow::start(us, ap, "black-hole")?;
        self.us_ap.set(LinkSpec {
            delay: Duration::from_millis(40),
            mtu: Some(BLACK_HOLE_MTU),
            ..LinkSpec::default()
        })?;
        let shrunk = Instant::now();
        for (from, to) in [(us, ap), (ap, us)] {
            from.reads_big(to, 30)?;
        }
        let took = shrunk.elapsed();
        ensure!(took < BLACK_HOLE_WAIT, "only after {took:?}");
        slow.arrives()?;
        let dropped = self.us_ap.stats()?;
        let too_big = weft_wan::DropReason::TooBig;
        ensure!(
            dropped.from_a.dropped(too_big) + dropped.from_b.dropped(too_big) > 0,
            "nothing was too big"
        );
        before.stand(us)?;
        self.us_ap.set(LinkSpec::default())
    }

    /// 80 ms, one packet in twenty lost, one in ten late.
    pub(crate) fn bad_weather(&self) -> Result<()> {
        let (us, ap) = (&self.us, &self.ap);
        self.us_ap.set(LinkSpec {
            delay: Duration::from_millis(40),
            loss: Loss::Independent(Probability::new(0.05)?),
            reorder: Some(Reorder {
                probability: Probability::new(0.1)?,
                hold: Duration::from_millis(15),
            }),
            ..LinkSpec::default()
        })?;
        let before = Connections::of(us)?;
        let mut all = Vec::new();
        for number in 0..ABREAST {
            let (from, to) = if number % 2 == 0 { (us, ap) } else { (ap, us) };
            let log = from.host.scratch().join(format!("weather-{number}"));
            let words = from.curl(to, "page", &["--max-time", "60"]);
            all.push(Background::start(&mut from.host.command(words), &log)?);
        }
        for request in &mut all {
            ensure!(request.wait_within(SOON)? == Some(0), "{}", request.said());
            ensure!(
                request.said().len() == super::site::PAGE,
                "{}",
                request.said().len()
            );
        }
        before.stand(us)?;
        self.us_ap.set(LinkSpec::default())
    }

    /// At 0.4 Mbit/s a body of half a minute: what waits in buffers delays every sign of
    /// life behind it by many seconds.
    pub(crate) fn slow_path(&self) -> Result<()> {
        self.us_ap.set(LinkSpec {
            delay: Duration::from_millis(40),
            bottleneck: Some(Bottleneck {
                rate: Rate::from_bits_per_second(400_000)?,
                queue_bytes_max: 32_000,
            }),
            ..LinkSpec::default()
        })?;
        let before = Connections::of(&self.us)?;
        let args = [
            "--max-time",
            "55",
            "-o",
            "/dev/null",
            "-w",
            "%{size_download}",
        ];
        let size = self.us.get(&self.ap, "huge", &args)?;
        ensure!(size == HUGE.to_string(), "{size}");
        before.stand(&self.us)?;
        self.us_ap.set(LinkSpec::default())
    }

    /// One direction is lost for longer than connections are kept, and returns.
    pub(crate) fn one_way(&self) -> Result<()> {
        let (us, ap) = (&self.us, &self.ap);
        self.us_ap.cut(Side::B)?;
        let down = "weft_tunnel_connections ";
        let all = Connections::up(us, down)?;
        eventually("the far side is given up", SOON, || {
            let left = Connections::up(us, down)?;
            ensure!(left < all, "{left} of {all}");
            Ok(())
        })?;
        // eu is not concerned.
        ensure!(us.get(&self.eu, "name", &[])? == self.eu.name);
        self.us_ap.heal(Side::B)?;
        for (from, to) in [(us, ap), (ap, us)] {
            let body = eventually("requests cross again", SOON, || {
                from.get(to, "name", &["--max-time", "5"])
            })?;
            ensure!(body == to.name);
        }
        Ok(())
    }
}

/// Translations after the rebinding have ports that none had before.
const REBOUND: &str = "
flush chain inet weft-test after
table inet weft-test {
  chain after {
    ip saddr 10.0.0.0/24 meta l4proto udp counter masquerade to :40000-40999
    ip saddr 10.0.0.0/24 masquerade
  }
}
";

/// A body that takes five seconds.
struct Slow {
    curl: Background,
    into: std::path::PathBuf,
}

impl Slow {
    /// Returns when the first bytes have arrived.
    fn start(from: &Site, to: &Site, name: &str) -> Result<Self> {
        let into = from.host.scratch().join(name);
        let path = into.to_str().context("a path in UTF-8")?;
        let words = from.curl(to, "slow", &["--no-buffer", "--output", path]);
        let log = from.host.scratch().join(format!("{name}.log"));
        let mut curl = Background::start(&mut from.host.command(words), &log)?;
        eventually("the first bytes", SOON, || {
            curl.still_runs()?;
            ensure!(fs::metadata(&into)?.len() > 0);
            Ok(())
        })?;
        Ok(Self { curl, into })
    }

    /// All of it, after all.
    fn arrives(&mut self) -> Result<()> {
        ensure!(
            self.curl.wait_within(SOON)? == Some(0),
            "{}",
            self.curl.said()
        );
        let length = fs::metadata(&self.into)?.len();
        ensure!(length == BIG as u64, "{length} bytes");
        Ok(())
    }
}

/// Tunnel connections that a gateway has made so far.
struct Connections(u64);

impl Connections {
    fn of(site: &Site) -> Result<Self> {
        Self::up(site, "weft_tunnel_connections_total ").map(Self)
    }

    /// No new ones were made since, so the old ones were kept.
    fn stand(&self, site: &Site) -> Result<()> {
        let now = Self::of(site)?.0;
        ensure!(now == self.0, "{} connections were made anew", now - self.0);
        Ok(())
    }

    fn up(site: &Site, metric: &str) -> Result<u64> {
        let metrics = site
            .host
            .run(["curl", "-s", "http://127.0.0.1:7480/metrics"])?
            .ok()?;
        let line = metrics.lines().find_map(|line| line.strip_prefix(metric));
        Ok(line
            .with_context(|| format!("no {metric}"))?
            .trim()
            .parse()?)
    }
}
