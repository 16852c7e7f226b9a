//! Opaque connections: balanced once each, when they open.

use std::num::NonZeroU16;
use std::rc::Rc;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use weft_decide::{Outcome, Reason, Scope};
use weft_model::{Carried, FlowClass, ServiceKey};

use super::attempts::Attempts;
use super::flight::Flight;
use super::limits::Permit;
use super::withdrawn::{Cut, until_cut};
use super::{Chosen, Hint, Outbound, Shared, blame};
use crate::inner::{InnerStream, Protocol, Target};
use crate::metrics::{Labels, Reporter};
use crate::pipe::pipe_until;
use crate::stream::Stream;

/// An inner connection that the endpoint's app has accepted.
pub(super) struct Opened {
    stream: InnerStream,
    flight: Flight,
    labels: Labels,
    cut: Option<Cut>,
    _permit: Permit,
}

impl Outbound {
    /// Forwards one client connection to `service`, until both sides ended.
    ///
    /// If no endpoint can be reached the client's connection is reset, as a direct
    /// connection would be refused; the reason is logged and counted.
    pub async fn serve_tcp(&self, client: impl Stream, service: &ServiceKey, port: NonZeroU16) {
        let to = Hint {
            service: service.clone(),
            port,
            scope: Scope::Any,
        };
        self.serve_tcp_to(client, &to).await;
    }

    /// The same for the part of a service that `to` says.
    pub async fn serve_tcp_to(&self, mut client: impl Stream, to: &Hint) {
        let opened = match self.shared.choose_service(to) {
            Ok(chosen) => self.shared.open(chosen).await,
            Err(reason) => Err(reason),
        };
        match opened {
            Ok(opened) => self.shared.carry(client, opened).await,
            Err(reason) => {
                let Hint { service, port, .. } = to;
                tracing::debug!(%service, %port, reason = reason.label(), "connection refused");
                self.shared.refused(Some(service), "tcp", reason);
                client.reset();
            }
        }
    }
}

impl Shared {
    /// Connects to an endpoint, trying others while none accepted.
    pub(super) async fn open(self: &Rc<Self>, mut chosen: Chosen) -> Result<Opened, Reason> {
        let permit = self.enter(&chosen, |limits, max| {
            limits.connections.enter(max.connections)
        })?;
        let mut attempts = Attempts::new(0);
        loop {
            let view = attempts.next(self, &mut chosen)?;
            let mut flight = Flight::start(self, &chosen, view).after(&attempts);
            match self.connect(&chosen, &flight).await {
                Ok(stream) => {
                    flight.answered();
                    flight.tally(Carried::Connection, FlowClass::Success);
                    let labels = flight.labels("tcp", 0);
                    self.recorder.connection_opened(labels.clone());
                    return Ok(Opened {
                        cut: self.cut_of(&chosen, &flight.view),
                        stream,
                        flight,
                        labels,
                        _permit: permit,
                    });
                }
                Err(reason) => {
                    attempts.unreached(&flight, reason);
                    flight.end(blame(reason));
                }
            }
        }
    }

    async fn connect(&self, chosen: &Chosen, flight: &Flight) -> Result<InnerStream, Reason> {
        let target = Target {
            endpoint: flight.view.endpoint.id,
            service: chosen.service.key().clone(),
            port: chosen.port,
        };
        let (mut stream, _) = self
            .dialer
            .dial(&flight.view, chosen.port, Protocol::Tcp)
            .await?;
        stream
            .write_all(&target.to_frame())
            .await
            .map_err(|_| Reason::ConnectFailed)?;
        stream.flush().await.map_err(|_| Reason::ConnectFailed)?;
        let status = stream.read_u8().await.map_err(|_| Reason::ConnectFailed)?;
        Reason::from_wire(status)?;
        Ok(stream)
    }

    pub(super) async fn carry(&self, mut client: impl Stream, opened: Opened) {
        let Opened {
            mut stream,
            flight,
            labels,
            cut,
            _permit,
        } = opened;
        let transfer = pipe_until(&mut client, &mut stream, until_cut(cut.as_ref())).await;
        if let Err(error) = &transfer.end {
            tracing::debug!(%error, "connection cut");
        }
        self.recorder
            .connection_closed(labels, transfer.backward, transfer.forward);
        // A cut connection may be the client's doing: it tells nothing of the endpoint.
        flight.end(match transfer.end {
            Ok(()) => Outcome::Success,
            Err(_) => Outcome::Cancelled,
        });
    }

    pub(super) fn refused(&self, service: Option<&ServiceKey>, protocol: &'static str, r: Reason) {
        let labels = Labels {
            reporter: Reporter::Source,
            source: None,
            service: service.cloned(),
            destination_cluster: None,
            destination_version: None,
            protocol,
            code: if protocol == "tcp" {
                0
            } else {
                r.http_status()
            },
            flags: r.response_flag(),
        };
        let carried = if protocol == "tcp" {
            self.recorder.connection_closed(labels, 0, 0);
            Carried::Connection
        } else {
            self.recorder.request(labels, std::time::Duration::ZERO);
            Carried::Request
        };
        if let Some(service) = service {
            let class = match r.http_status() {
                ..500 => FlowClass::ClientError,
                _ => FlowClass::Failed,
            };
            self.recorder.flows.unanswered(service, carried, class);
        }
    }
}
