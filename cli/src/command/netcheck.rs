//! `weft netcheck`: the network between gateways, as one of them sees it.

use std::time::Duration;

use clap_complete::engine::ArgValueCandidates;
use serde_json::json;
use weft_gateway::admin::view::{ConnectionView, LocalView, NetcheckView, PeerView};

use super::Outcome;
use super::status::microseconds;
use super::top::percent;
use crate::args::{Global, parse_duration};
use crate::client::Client;
use crate::complete;
use crate::live::{self, Look, Mode};
use crate::output::{self, Format};
use crate::problem::{Exit, Problem};

const EXAMPLES: &str = "\
Examples:
  weft netcheck                             as the context's cluster sees the others
  weft --cluster eu-west-1 netcheck --peer ap-south-1
  weft netcheck --every 5s -o json          one JSON document a line

LOSS is the share of all QUIC packets sent since the gateway started; MTU the largest UDP payload
that the path is known to carry; HANDSHAKE what the connection took to come up; CLOCK how far the
peer's wall clock is ahead, within half a round trip. It exits 1 if a peer cannot be reached.";

/// Nothing is sent for it but one question to each peer: what its clock says.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Netcheck {
    /// Only gateways of this cluster or region.
    #[arg(
        long,
        value_name = "CLUSTER|REGION",
        add = ArgValueCandidates::new(complete::clusters)
    )]
    peer: Option<String>,
    /// Again and again, this often.
    #[arg(long, value_parser = parse_duration)]
    every: Option<Duration>,
}

impl Netcheck {
    pub(crate) async fn run(self, global: &Global) -> Outcome {
        let mut check = Check {
            client: Client::connect(global).await?,
            peer: self.peer,
            format: global.output,
        };
        if let Some(every) = self.every {
            return live::run(check, Mode::of(true, global.output), every).await;
        }
        let seen = check.look().await?;
        check.print(&seen, Mode::Once);
        let is_well = seen.peers.iter().all(|peer| peer.path != "down");
        Ok(if is_well { Exit::Done } else { Exit::Failed })
    }
}

struct Check {
    client: Client,
    peer: Option<String>,
    format: Format,
}

impl Look for Check {
    type Seen = NetcheckView;

    async fn look(&mut self) -> Result<NetcheckView, Problem> {
        let arguments = json!({ "peer": self.peer });
        self.client.ask("netcheck", arguments).await
    }

    fn print(&self, seen: &NetcheckView, mode: Mode) {
        match (self.format, mode) {
            (Format::Json | Format::Yaml, Mode::Once) => output::value(self.format, seen),
            (Format::Json | Format::Yaml, _) => output::one_of_many(self.format, seen),
            (Format::Name, _) => seen.peers.iter().for_each(|peer| {
                output::data(&format!("{}/{}", peer.cluster, peer.gateway));
            }),
            (Format::Table | Format::Wide, _) => output::data(&text(seen, self.format)),
        }
    }

    fn screen(&self, seen: &NetcheckView) -> String {
        text(seen, self.format)
    }
}

fn text(seen: &NetcheckView, format: Format) -> String {
    let head = format!(
        "seen from {}/{}   {}\n",
        seen.cluster,
        seen.gateway,
        local(&seen.local)
    );
    let columns = [
        "PEER",
        "PATH",
        "ADDRESS",
        "RTT",
        "LOSS",
        "MTU",
        "HANDSHAKE",
        "CLOCK",
    ];
    let more = ["FAMILY", "DIALLED", "CWND", "CONNECTIONS"];
    let more = more.into_iter().filter(|_| format == Format::Wide);
    let header: Vec<&str> = columns.into_iter().chain(more).collect();
    let rows = seen.peers.iter().map(|peer| cells(peer, format));
    let table = output::table_text(&header, rows);
    format!(
        "{head}{}",
        table.as_deref().unwrap_or("there is no other gateway")
    )
}

fn local(local: &LocalView) -> String {
    let is = |on: bool| if on { "on" } else { "off" };
    format!(
        "listens on {}/udp   buffers {} KiB in, {} KiB out   GSO {}, GRO {}",
        local.listen,
        local.receive_buffer / 1024,
        local.send_buffer / 1024,
        is(local.gso),
        is(local.gro)
    )
}

fn cells(peer: &PeerView, format: Format) -> Vec<String> {
    let connection = peer.connection.as_ref();
    let of = |field: fn(&ConnectionView) -> String| connection.map_or_else(|| "-".into(), field);
    let mut cells = vec![
        format!("{}/{}", peer.cluster, peer.gateway),
        peer.path.clone(),
        of(|c| c.address.clone()),
        rtt(connection),
        loss(peer.loss),
        of(|c| c.mtu.to_string()),
        of(|c| microseconds(Some(c.handshake_us))),
        peer.clock.map_or_else(
            || "-".to_owned(),
            |clock| format!("{:+.0} ms ±{:.0}", clock.ahead_ms, clock.margin_ms),
        ),
    ];
    if format == Format::Wide {
        cells.extend([
            of(|c| c.family.clone()),
            of(|c| c.dialled.clone()),
            of(|c| c.congestion_window.to_string()),
            peer.data_connections.to_string(),
        ]);
    }
    cells
}

/// The round trip of a connection, or `-`.
pub(super) fn rtt(connection: Option<&ConnectionView>) -> String {
    microseconds(connection.map(|connection| connection.rtt_us))
}

/// A share of packets, or `-`.
pub(super) fn loss(share: Option<f64>) -> String {
    percent(share)
}
