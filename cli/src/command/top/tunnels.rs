//! `weft top tunnels`: each pair of gateways from either end.

use serde_json::json;
use weft_gateway::admin::view::{ObservedView, TunnelView};

use super::missing;
use crate::client::Client;
use crate::command::netcheck;
use crate::live::{Look, Mode};
use crate::output::{self, Format};
use crate::problem::Problem;

/// Tunnels, asked for again and again.
pub(super) struct Tunnels {
    client: Client,
    /// Only as seen from this cluster.
    from: Option<String>,
    format: Format,
}

impl Tunnels {
    pub(super) fn new(client: Client, from: Option<String>, format: Format) -> Self {
        Self {
            client,
            from,
            format,
        }
    }

    fn text(&self, seen: &ObservedView<TunnelView>) -> Option<String> {
        let columns = ["FROM", "TO", "PATH", "RTT", "LOSS", "MTU", "DIALLED"];
        let more = ["SENT", "CWND", "CONNECTIONS"];
        let more = more.into_iter().filter(|_| self.format == Format::Wide);
        let header: Vec<&str> = columns.into_iter().chain(more).collect();
        output::table_text(&header, seen.items.iter().map(|row| self.cells(row)))
    }

    fn cells(&self, row: &TunnelView) -> Vec<String> {
        let (from, to) = (
            format!("{}/{}", row.from_cluster, row.from_gateway),
            &row.to,
        );
        let connection = to.connection.as_ref();
        let shown = |text: Option<String>| text.unwrap_or_else(|| "-".to_owned());
        let mut cells = vec![
            from,
            format!("{}/{}", to.cluster, to.gateway),
            to.path.clone(),
            netcheck::rtt(connection),
            netcheck::loss(to.loss),
            shown(connection.map(|c| c.mtu.to_string())),
            shown(connection.map(|c| c.dialled.clone())),
        ];
        if self.format == Format::Wide {
            cells.extend([
                to.sent.to_string(),
                shown(connection.map(|c| c.congestion_window.to_string())),
                to.data_connections.to_string(),
            ]);
        }
        cells
    }
}

impl Look for Tunnels {
    type Seen = ObservedView<TunnelView>;

    async fn look(&mut self) -> Result<Self::Seen, Problem> {
        let mut seen: Self::Seen = self.client.ask("top-tunnels", json!({})).await?;
        if let Some(from) = &self.from {
            seen.items.retain(|row| row.from_cluster == *from);
        }
        Ok(seen)
    }

    fn print(&self, seen: &Self::Seen, mode: Mode) {
        match (self.format, mode) {
            (Format::Json | Format::Yaml, Mode::Once) => output::value(self.format, seen),
            (Format::Json | Format::Yaml, _) => output::one_of_many(self.format, seen),
            (Format::Name, _) => seen.items.iter().for_each(|row| {
                output::data(&format!("{}/{}", row.to.cluster, row.to.gateway));
            }),
            (Format::Table | Format::Wide, _) => {
                match self.text(seen) {
                    Some(text) => output::data(&text),
                    None => output::narrate("there is one gateway, and no tunnel"),
                }
                missing(seen).iter().for_each(|line| output::narrate(line));
            }
        }
    }

    fn screen(&self, seen: &Self::Seen) -> String {
        let head = "tunnels, from either end   q quits\n\n";
        let table = self.text(seen).unwrap_or_default();
        format!("{head}{table}\n\n{}", missing(seen).join("\n"))
    }
}
