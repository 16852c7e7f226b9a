//! The ring behind a lock, and its wire form.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use weft_model::{ClusterName, GatewayName, ServiceKey, SpiffeId};
use weft_plan::Moment;
use weft_plan::traffic::{Heard, Ring, Window, WindowRow};
use weft_proto::catalog as wire;
use weft_proxy::Taken;
use weft_proxy::catalog::wire::{WireError, parse};
use weft_proxy::catalog::{flow, to_flow};

use super::taps::TapTable;

/// What this gateway's sources reported. Clones share it.
#[derive(Clone)]
pub(crate) struct Observatory {
    ring: Arc<Mutex<Ring>>,
    taps: TapTable,
}

impl Observatory {
    /// Nothing yet.
    pub(crate) fn new(now: Moment) -> Self {
        Self {
            ring: Arc::new(Mutex::new(Ring::new(now))),
            taps: TapTable::default(),
        }
    }

    /// Takes a report of `source` in, as far as it is lawful.
    pub(crate) fn report(&self, now: Moment, source: &SpiffeId, report: &wire::Report) {
        let read = report.flows.iter().map(flow);
        let flows = read.filter_map(|flow| {
            flow.inspect_err(|why| tracing::debug!(%source, %why, "left a reported flow out"))
                .ok()
        });
        let taken = Taken {
            flows: flows.collect(),
            left_out: report.left_out,
        };
        self.take(now, source, taken);
    }

    /// Takes in what `source` counted.
    pub(crate) fn take(&self, now: Moment, source: &SpiffeId, taken: Taken) {
        let mut ring = self.ring();
        for (flow, tally) in taken.flows {
            ring.add(now, source, flow, &tally);
        }
        if taken.left_out > 0 {
            ring.leave_out(now, taken.left_out);
        }
    }

    /// The sums over the last `span`.
    pub(crate) fn window(&self, now: Moment, span: Duration) -> Window {
        self.ring().window(now, span)
    }

    /// The open taps.
    pub(crate) fn taps(&self) -> &TapTable {
        &self.taps
    }

    fn ring(&self) -> MutexGuard<'_, Ring> {
        self.ring.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A window as it is told, of the services that `is_told` admits.
pub(super) fn to_window(
    (cluster, gateway): (&ClusterName, &GatewayName),
    window: &Window,
    is_told: impl Fn(&ServiceKey) -> bool,
) -> wire::Window {
    let rows = window.rows.iter().filter(|row| is_told(&row.flow.service));
    wire::Window {
        cluster: cluster.to_string(),
        gateway: gateway.to_string(),
        covered_ms: millis(window.covered),
        age_ms: window.age.map(millis),
        rows: rows
            .map(|row| wire::SourceFlow {
                source: row.source.to_string(),
                flow: Some(to_flow(&row.flow, &row.tally)),
            })
            .collect(),
        left_out: window.left_out,
    }
}

/// Reads a window that another gateway told; `cluster` and `gateway` are who it is known to be.
pub(super) fn heard(
    cluster: ClusterName,
    gateway: GatewayName,
    from: &wire::Window,
) -> Result<Heard, WireError> {
    let row = |row: &wire::SourceFlow| {
        let counted = row.flow.as_ref();
        let counted = counted.ok_or_else(|| WireError::new("flow", "is missing"))?;
        let (flow, tally) = flow(counted)?;
        Ok(WindowRow {
            source: parse("source", &row.source)?,
            flow,
            tally,
        })
    };
    Ok(Heard {
        cluster,
        gateway,
        window: Window {
            covered: Duration::from_millis(from.covered_ms),
            age: from.age_ms.map(Duration::from_millis),
            rows: from.rows.iter().map(row).collect::<Result<_, _>>()?,
            left_out: from.left_out,
        },
    })
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}
