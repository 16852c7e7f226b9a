//! `weft tap`: single requests, as they are answered, from every caller in the federation.

use std::collections::{BTreeMap, BTreeSet};
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use serde::Deserialize;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout_at};
use tokio_stream::wrappers::ReceiverStream;
use tonic::Status;
use weft_model::{ClusterName, RegionName, TapFilter, code};
use weft_proto::api::TapDocument;
use weft_proxy::{TapId, Value};

use super::view::{SilentView, TapEndView, TapEventView, TapHeaderView, TapLine};
use crate::api::refusal;
use crate::hub::Hub;
use crate::observe::{Batch, Sent, far, near};

/// The answer: a document a line.
pub(super) type Lines =
    Pin<Box<dyn tokio_stream::Stream<Item = Result<TapDocument, Status>> + Send>>;

/// Batches between the gateways' readers and the stream.
const BATCHES: usize = 32;
/// Documents between the stream and a client that reads slowly.
const LINES: usize = 256;
/// A tap lasts at most this long: who wants more opens another one.
const LASTING_MAX: Duration = Duration::from_secs(3600);

/// What is asked for.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
struct Asked {
    service: Option<String>,
    from: Option<String>,
    to: Option<String>,
    region: Option<String>,
    status: Option<String>,
    method: Option<String>,
    path: Option<String>,
    for_ms: u64,
    max: u64,
}

/// A tap, as it is carried out.
struct Tap {
    filter: TapFilter,
    /// Whose callers are shown.
    from: BTreeSet<ClusterName>,
    regions: BTreeMap<ClusterName, RegionName>,
    lasting: Duration,
    max: u64,
}

/// Opens a tap; it ends when its time is over, enough was seen, or nobody reads.
pub(super) fn open(hub: &Arc<Hub>, json: &[u8]) -> Result<Lines, Status> {
    let asked: Asked = serde_json::from_slice(json)
        .map_err(|error| refusal(code::USAGE, format!("the arguments do not read: {error}")))?;
    let tap = Tap::of(hub, &asked)?;
    let (lines, stream) = mpsc::channel(LINES);
    let hub = Arc::clone(hub);
    tokio::spawn(async move { tap.run(hub, lines).await });
    Ok(Box::pin(ReceiverStream::new(stream)))
}

impl Tap {
    fn of(hub: &Hub, asked: &Asked) -> Result<Self, Status> {
        let state = hub.registry().state();
        let members = state.clusters();
        let regions: BTreeMap<ClusterName, RegionName> = members
            .map(|(name, member)| (name.clone(), member.spec.region.clone()))
            .collect();
        let place = |named: &String| -> Result<BTreeSet<ClusterName>, Status> {
            let found = regions
                .iter()
                .filter(|(cluster, region)| cluster.as_str() == named || region.as_str() == named);
            let found: BTreeSet<_> = found.map(|(cluster, _)| cluster.clone()).collect();
            match found.is_empty() {
                true => Err(refusal(
                    code::NO_SUCH_PLACE,
                    format!("there is no cluster or region {named:?}"),
                )),
                false => Ok(found),
            }
        };
        let usage = |what: String| refusal(code::USAGE, what);
        let to = asked.to.as_ref().map(place).transpose()?;
        let region = asked.region.as_ref().map(place).transpose()?;
        let clusters = match (to, region) {
            (Some(to), Some(region)) => Some(to.intersection(&region).cloned().collect()),
            (one, other) => one.or(other),
        };
        let service = asked.service.as_ref().map(|named| {
            let key = named.parse();
            key.map_err(|error| usage(format!("{named:?} is not namespace/name: {error}")))
        });
        let status = asked
            .status
            .as_ref()
            .map(|text| text.parse().map_err(usage));
        let everywhere = || regions.keys().cloned().collect();
        Ok(Self {
            filter: TapFilter {
                service: service.transpose()?,
                clusters,
                status: status.transpose()?,
                method: asked.method.clone(),
                path: asked.path.clone(),
            },
            from: match &asked.from {
                Some(named) => place(named)?,
                None => everywhere(),
            },
            lasting: Duration::from_millis(asked.for_ms).min(LASTING_MAX),
            max: asked.max,
            regions,
        })
    }

    async fn run(self, hub: Arc<Hub>, lines: mpsc::Sender<Result<TapDocument, Status>>) {
        let deadline = Instant::now() + self.lasting;
        let (tell, mut batches) = mpsc::channel(BATCHES);
        // Ended with this function: what they had open ends by itself then.
        let _readers = self.read(&hub, tell);
        let mut end = End::default();
        while end.seen < self.max {
            let batch = tokio::select! {
                batch = timeout_at(deadline, batches.recv()) => batch,
                () = lines.closed() => return,
            };
            let Ok(Some(batch)) = batch else {
                break;
            };
            for event in self.events(&mut end, batch) {
                let sent = lines.send(document(&TapLine::Event(Box::new(event)))).await;
                if sent.is_err() {
                    return;
                }
            }
        }
        let _gone = lines.send(document(&TapLine::End(end.view()))).await;
    }

    /// A reader for each gateway whose callers are asked about.
    fn read(&self, hub: &Arc<Hub>, tell: mpsc::Sender<Batch>) -> JoinSet<()> {
        let id = TapId(rand::random());
        let mut readers = JoinSet::new();
        let state = hub.registry().state();
        for (node, record) in state.nodes() {
            if !self.from.contains(&record.cluster) {
                continue;
            }
            let (hub, filter, tell) = (Arc::clone(hub), self.filter.clone(), tell.clone());
            let who = (node, record.cluster.clone(), record.gateway.name.clone());
            match node == hub.node() {
                true => readers.spawn(async move { near(&hub, id, filter, tell).await }),
                false => readers.spawn(async move { far(&hub, who, id, filter, tell).await }),
            };
        }
        readers
    }

    /// The events of a batch that are still wanted.
    fn events(&self, end: &mut End, batch: Batch) -> Vec<TapEventView> {
        let who = (batch.cluster.to_string(), batch.gateway.to_string());
        let reading = match batch.reading {
            Ok(reading) => {
                end.silent.remove(&who);
                reading
            }
            Err(why) => {
                end.silent.insert(who, why);
                return Vec::new();
            }
        };
        // What another gateway says of itself.
        end.dropped = end.dropped.saturating_add(reading.dropped);
        let left = usize::try_from(self.max - end.seen).unwrap_or(usize::MAX);
        let wanted = reading.sent.into_iter().take(left);
        let views: Vec<_> = wanted.map(|sent| self.view(&batch.cluster, sent)).collect();
        end.seen += views.len() as u64;
        views
    }

    fn view(&self, from: &ClusterName, sent: Sent) -> TapEventView {
        let Sent { source, event } = sent;
        let region = |cluster| self.regions.get(cluster).map(ToString::to_string);
        let served = event.served.as_ref();
        TapEventView {
            api_version: "weft.dev/v1".into(),
            time_ms: event.at.0,
            latency_us: u64::try_from(event.latency.as_micros()).unwrap_or(u64::MAX),
            source_identity: source.to_string(),
            source_cluster: from.to_string(),
            source_region: region(from).unwrap_or_default(),
            service: event.service.as_ref().map(ToString::to_string),
            endpoint: served.map(|served| served.endpoint.to_string()),
            destination_cluster: served.map(|served| served.cluster.to_string()),
            destination_region: served.and_then(|served| region(&served.cluster)),
            version: served.and_then(|served| Some(served.version.as_ref()?.to_string())),
            method: event.method,
            host: event.host,
            path: event.path,
            status: event.status,
            reason: event.reason,
            headers: event
                .headers
                .into_iter()
                .map(|header| TapHeaderView {
                    name: header.name,
                    value: match header.value {
                        Value::Told(value) => Some(value),
                        Value::Redacted => None,
                    },
                })
                .collect(),
        }
    }
}

/// What a tap has come to so far.
#[derive(Default)]
struct End {
    seen: u64,
    dropped: u64,
    silent: BTreeMap<(String, String), String>,
}

impl End {
    fn view(self) -> TapEndView {
        let silent = self.silent.into_iter();
        TapEndView {
            api_version: "weft.dev/v1".into(),
            seen: self.seen,
            dropped: self.dropped,
            silent: silent
                .map(|((cluster, gateway), why)| SilentView {
                    cluster,
                    gateway,
                    why,
                })
                .collect(),
        }
    }
}

fn document(line: &TapLine) -> Result<TapDocument, Status> {
    let json = serde_json::to_vec(line).map_err(|error| Status::internal(error.to_string()))?;
    Ok(TapDocument {
        json: Bytes::from(json),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The second such word once ended the tap.
    #[test]
    fn gateways_that_say_they_dropped_more_than_can_be_counted_are_heard_on() {
        let tap = Tap {
            filter: TapFilter::default(),
            from: BTreeSet::new(),
            regions: BTreeMap::new(),
            lasting: Duration::ZERO,
            max: 1,
        };
        let mut end = End::default();
        for _ in 0..2 {
            let mut batch = Batch {
                cluster: "eu-west-1".parse().unwrap(),
                gateway: "gw-1".parse().unwrap(),
                reading: Ok(Default::default()),
            };
            batch.reading.as_mut().unwrap().dropped = u64::MAX;
            assert_eq!(tap.events(&mut end, batch), []);
        }
        assert_eq!(end.view().dropped, u64::MAX);
    }
}
