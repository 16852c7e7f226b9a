//! What `weft dev` shows: once, what there is and what to try; then one line that is
//! kept up to date on a terminal.

use std::fmt::Write as _;
use std::io::Write as _;
use std::path::Path;
use std::time::Duration;

use weft_wan::Wan;

use super::contexts;
use super::federation::{Federation, Phase};
use super::load::{Figures, RATE};
use super::plan::{ClusterPlan, Plan};
use crate::output;

/// Erases the line that the cursor is in.
const ERASE: &str = "\r\x1b[2K";

/// What the first page says. Pure.
pub(super) fn page(federation: &Federation, program: &Path) -> String {
    let plan = &federation.plan;
    let after = match federation.phase.get() {
        Phase::Ready { after } => after,
        Phase::Starting | Phase::Stopping => federation.begun.elapsed(),
    };
    let mut text = format!(
        "weft {}   {} regions on this machine; Ctrl-C stops it{}\n\n",
        env!("CARGO_PKG_VERSION"),
        plan.clusters.len(),
        if federation.folder.stays() {
            ""
        } else {
            " and removes it all"
        },
    );
    for cluster in &plan.clusters {
        line(&mut text, &cluster_line(cluster));
    }
    if federation.wide_area.is_some() {
        line(&mut text, &format!("  ok  distances   {}", distances(plan)));
    }
    let rate = RATE as usize * plan.clusters.len();
    let ready = format!("ready in {:.1} s", after.as_secs_f32());
    line(
        &mut text,
        &format!("  ok  traffic     {rate} requests/s from customers of shop/web    {ready}\n"),
    );
    text.push_str(&addresses(plan));
    let release = federation.folder.sample_release();
    text.push_str(&things_to_try(plan, program, &release));
    line(
        &mut text,
        "  Something is wrong in the sample shop on purpose. Find it:  weft check\n",
    );
    line(
        &mut text,
        &format!("  Logs            {}", federation.folder.logs().display()),
    );
    line(
        &mut text,
        &format!(
            "  Configuration   {}/*/*/*.yaml",
            federation.folder.root().display()
        ),
    );
    line(
        &mut text,
        "                  weft dev export ./my-federation  writes it for you to go on with",
    );
    text
}

fn line(text: &mut String, line: &str) {
    text.push_str(line);
    text.push('\n');
}

/// `  ok  us-east-1   127.1.0.1   gw-1 gw-2   web, checkout v1 v2, payments, catalog`.
fn cluster_line(cluster: &ClusterPlan) -> String {
    let first = cluster
        .gateways
        .first()
        .map(|gateway| gateway.tunnel.ip().to_string());
    let gateways: Vec<&str> = cluster
        .gateways
        .iter()
        .map(|gateway| gateway.name.as_str())
        .collect();
    let services = cluster.services().into_iter().map(|service| {
        let versions: Vec<&str> = cluster
            .workloads
            .iter()
            .filter(|workload| workload.service == *service)
            .map(|workload| workload.version.as_str())
            .collect();
        match versions[..] {
            [_] => service.name.to_string(),
            _ => format!("{} {}", service.name, versions.join(" ")),
        }
    });
    format!(
        "  ok  {:11} {:10} {:10} {}",
        cluster.name,
        first.unwrap_or_default(),
        gateways.join(" "),
        services.collect::<Vec<_>>().join(", ")
    )
}

/// `us-east – eu-west 80 ms, …`: round trips.
fn distances(plan: &Plan) -> String {
    let wan = Wan::default_regions();
    let regions: Vec<&str> = plan
        .clusters
        .iter()
        .map(|cluster| cluster.region.as_str())
        .collect();
    let mut parts = Vec::new();
    for (at, a) in regions.iter().enumerate() {
        for b in &regions[at + 1..] {
            if let (Some(there), Some(back)) = (wan.spec(a, b), wan.spec(b, a)) {
                parts.push(format!(
                    "{a} – {b} {} ms",
                    (there.delay + back.delay).as_millis()
                ));
            }
        }
    }
    parts.join(", ")
}

fn addresses(plan: &Plan) -> String {
    let home = plan.founder();
    format!(
        "  Metrics    http://{}/metrics   (loopback only)\n  API        {}      DNS  {} port {}\n  \
         CLI        context \"{}\" is selected; your other contexts are untouched\n\n",
        home.console,
        home.api,
        home.dns.ip(),
        home.dns.port(),
        contexts::NAME,
    )
}

/// Five things that work, with what they show.
fn things_to_try(plan: &Plan, program: &Path, release: &Path) -> String {
    let (home, dns) = (&plan.founder().cluster, plan.founder().dns);
    let far = plan
        .clusters
        .last()
        .and_then(|far| far.workloads.first().map(|web| (far, web)));
    let mut text = String::from("  Try, in another terminal:\n");
    let mut item = |number: u8, command: &str, shows: &str| {
        let written = write!(text, "   {number}  {command}\n        {shows}\n");
        written.expect("a string takes any text");
    };
    item(
        1,
        &format!(
            "dig @{} -p {} +short checkout.shop.svc.clusterset.local",
            dns.ip(),
            dns.port()
        ),
        "the name that works in every cluster",
    );
    if let Some((far, web)) = far {
        item(
            2,
            &format!("curl -x http://{} http://payments.shop/", web.outbound),
            &format!("{} has no payments: the answer crosses regions", far.name),
        );
        item(
            3,
            &format!(
                "weft --cluster {} route explain GET http://payments.shop/",
                far.name
            ),
            "why it went where it went",
        );
    }
    item(
        4,
        &format!("weft dev break cluster {home}"),
        "pull a plug and see traffic move; then: weft dev heal",
    );
    item(
        5,
        &format!("weft release plan -f {}", release.display()),
        "version 2 of the checkout to one region; then: start, status -w, promote, abort",
    );
    item(6, "weft status", "quorum, clusters, tunnels, services");
    if !on_path(program) {
        let written = write!(
            text,
            "\n  `weft` is not on your PATH. Here:  alias weft={}\n",
            program.display()
        );
        written.expect("a string takes any text");
    }
    text.push('\n');
    text
}

/// Whether a shell would find this very program as `weft`.
fn on_path(program: &Path) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&path)
        .map(|folder| folder.join("weft"))
        .find(|p| p.exists());
    found
        .and_then(|found| found.canonicalize().ok())
        .is_some_and(|found| found == program)
}

/// The live line. Nothing where nobody looks.
#[derive(Debug)]
pub(super) struct Live {
    shown: bool,
}

impl Live {
    /// On a terminal, or not at all.
    pub(super) fn new() -> Self {
        Self {
            shown: output::is_terminal(),
        }
    }

    /// Writes the line anew.
    pub(super) fn refresh(&self, since: Duration, figures: &[Figures]) {
        if self.shown {
            self.write(&format!("{ERASE}  {}", live_line(since, figures)));
        }
    }

    /// Says something above the line.
    pub(super) fn say(&self, text: &str) {
        self.clear();
        output::narrate(text);
    }

    /// Takes the line away.
    pub(super) fn clear(&self) {
        if self.shown {
            self.write(ERASE);
        }
    }

    fn write(&self, text: &str) {
        let mut out = std::io::stdout().lock();
        let _nobody_looks = out.write_all(text.as_bytes()).and_then(|()| out.flush());
    }
}

/// `t+12 s   ok 100.0%   us-east 3 ms   eu-west 4 ms   ap-south 143 ms`.
fn live_line(since: Duration, figures: &[Figures]) -> String {
    let (ok, all) = figures
        .iter()
        .filter(|region| !region.paused)
        .fold((0, 0), |(ok, all), region| {
            (ok + region.recent_ok, all + region.recent)
        });
    let mut text = format!("t+{} s", since.as_secs());
    if let Some(permille) = (ok * 1000).checked_div(all) {
        let written = write!(text, "   ok {}.{}%", permille / 10, permille % 10);
        written.expect("a string takes any text");
    }
    for region in figures {
        text.push_str("   ");
        text.push_str(region.region.as_str());
        let written = match (region.paused, region.median) {
            (true, _) => write!(text, " off"),
            (false, Some(median)) => write!(text, " {} ms", median.as_millis()),
            (false, None) => write!(text, " -"),
        };
        written.expect("a string takes any text");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::super::options::Options;
    use super::*;

    #[test]
    fn a_cluster_is_one_line() {
        let plan = Plan::new(&Options::default());
        assert_eq!(
            cluster_line(&plan.clusters[0]),
            "  ok  us-east-1   127.1.0.1  gw-1 gw-2  web, checkout v1 v2, payments, catalog"
        );
    }

    #[test]
    fn distances_are_round_trips() {
        let plan = Plan::new(&Options::default());
        assert_eq!(
            distances(&plan),
            "us-east – eu-west 80 ms, us-east – ap-south 180 ms, eu-west – ap-south 140 ms"
        );
    }

    #[test]
    fn the_live_line_counts_what_is_on() {
        let figures = |region: &str, paused, recent_ok| Figures {
            cluster: "c".parse().unwrap(),
            region: region.parse().unwrap(),
            paused,
            ok: 0,
            failed: 0,
            recent_ok,
            recent: 100,
            median: Some(Duration::from_millis(3)),
        };
        let line = live_line(
            Duration::from_secs(12),
            &[figures("us-east", true, 0), figures("eu-west", false, 99)],
        );
        assert_eq!(line, "t+12 s   ok 99.0%   us-east off   eu-west 3 ms");
    }
}
