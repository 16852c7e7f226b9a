//! `weft sample`: one of `weft dev`'s sample services. Hidden: it shows weft, it is not weft.

use std::net::SocketAddr;

use super::Outcome;
use crate::problem::{Exit, Problem};
use crate::sample::{Sample as Service, Upstream};

/// Serve `GET /` in JSON, calling upstreams through a proxy first.
#[derive(Debug, clap::Args)]
pub(crate) struct Sample {
    /// The service's name, as it says it.
    #[arg(long)]
    name: String,
    /// The version, as it says it.
    #[arg(long)]
    version: String,
    /// The region, as it says it.
    #[arg(long)]
    region: String,
    /// Listen here.
    #[arg(long)]
    listen: SocketAddr,
    /// Services called for each request: `http://checkout.shop/`.
    #[arg(long)]
    upstream: Vec<Upstream>,
    /// The HTTP proxy they are called through: the sidecar's outbound port.
    #[arg(long)]
    proxy: Option<SocketAddr>,
}

impl Sample {
    pub(crate) fn run(self) -> Outcome {
        let service = Service {
            name: self.name,
            version: self.version,
            region: self.region,
            upstreams: self.upstream,
            proxy: self.proxy,
        };
        let listen = self.listen;
        super::block_on(async move {
            service.serve(listen).await.map_err(|error| {
                Problem::new(
                    weft_model::code::PORT_IN_USE,
                    format!("cannot serve on {listen}"),
                )
                .detail(error)
            })?;
            Ok(Exit::Done)
        })
    }
}
