//! T7: another's gateway as her deputy: to what is not exported to her, to its own ports.

use anyhow::{Context, Result, bail, ensure};
use bytes::Bytes;
use prost::Message;
use rand::random;
use serde_json::json;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;
use weft_gateway::relay::Reason;
use weft_mallory::CLUSTER;
use weft_proto::catalog as wire;
use weft_proto::catalog::peer_frame::Frame;
use weft_proto::peer::relay_stream::Target;
use weft_proto::peer::{RelayStream, ServiceTarget};
use weft_test_support::{Dev, SOON, eventually};

use crate::Stage;
use crate::t01_owner::{bytes, hello};

/// Who has it.
const VICTIM: &str = "us-east-1";

/// A server that is the gateway's own API, offered to one other cluster and not to hers.
pub(crate) fn prepare(dev: &Dev) -> Result<()> {
    dev.apply(
        VICTIM,
        "
apiVersion: weft.dev/v1
kind: ServiceExport
metadata: { namespace: shop, name: vault }
spec:
  ports: [{ name: tcp, port: 7444, appProtocol: tcp }]
  exportTo: [eu-west-1]
---
apiVersion: weft.dev/v1
kind: WorkloadEntry
metadata: { namespace: shop, name: vault-1 }
spec:
  service: vault
  address: 127.1.0.1
  ports: { tcp: 7444 }
",
    )
}

/// By relay streams: the service by name, its endpoints by ids that she should not know.
pub(crate) fn relays(stage: &Stage<'_>) -> Result<()> {
    let mallory = &stage.mallory;
    let vault = eventually("the vault has an endpoint", SOON, || {
        let asked = json!({ "service": "shop/vault" });
        let listed = stage
            .victims
            .question("us-east-1/gw-1", "endpoints", &asked)?;
        let id = listed["items"][0]["id"].as_str().context("none yet")?;
        bytes(id).context("an id")
    })?;
    let service = |name: &str, version: &str| {
        Some(Target::Service(ServiceTarget {
            namespace: "shop".into(),
            name: name.into(),
            version: version.into(),
        }))
    };
    let endpoint = |id: &[u8]| Some(Target::Endpoint(Bytes::copy_from_slice(id)));
    let own = random::<[u8; 16]>();
    let tried = [
        (service("vault", ""), 7444, Reason::NotExported),
        (endpoint(&vault), 7444, Reason::NotExported),
        (endpoint(&vault), 22, Reason::NotExported),
        (service("no-such", ""), 80, Reason::NoSuchEndpoint),
        (endpoint(&own), 80, Reason::NoSuchEndpoint),
        (endpoint(b"short"), 80, Reason::BadPreamble),
        (service("Not A Name", ""), 80, Reason::BadPreamble),
        (service("checkout", "\u{0}"), 80, Reason::BadPreamble),
        (service("checkout", "v99"), 80, Reason::NoSuchEndpoint),
        (service("checkout", ""), 22, Reason::NoSuchEndpoint),
        (service("checkout", ""), 0, Reason::BadPreamble),
        (service("checkout", ""), u32::MAX, Reason::BadPreamble),
        (None, 80, Reason::BadPreamble),
    ];
    for (target, port, reason) in tried {
        let what = format!("{target:?}:{port}");
        let header = RelayStream {
            target,
            port,
            priority: u32::MAX,
            hops: u32::MAX,
        };
        let (_stream, status) = mallory.relay(VICTIM, header)?;
        ensure!(
            status == Some(reason.to_wire()),
            "{what}: {status:?}, not {reason}"
        );
    }
    // The control: what is exported to her is connected, and there a proof is asked for.
    let open = RelayStream {
        target: service("checkout", ""),
        port: 80,
        ..RelayStream::default()
    };
    let (_stream, status) = mallory.relay(VICTIM, open)?;
    ensure!(status == Some(Reason::CONNECTED), "{status:?}");
    Ok(())
}

/// At the port for the victim's own sidecars: without a session's key nothing is carried.
pub(crate) fn preambles(stage: &Stage<'_>) -> Result<()> {
    for (cluster, gateway) in weft_mallory::GATEWAYS {
        let address = stage
            .dev
            .gateway(cluster, gateway)?
            .api
            .replace(":7444", ":7445");
        let wanted = RelayStream {
            target: Some(Target::Service(ServiceTarget {
                namespace: "shop".into(),
                name: "payments".into(),
                version: String::new(),
            })),
            port: 80,
            ..RelayStream::default()
        };
        let mut preamble = Vec::new();
        preamble.extend(random::<[u8; 16]>());
        preamble.extend(1u64.to_be_bytes());
        preamble.extend(wanted.encode_to_vec());
        preamble.extend(random::<[u8; 32]>());
        let mut stream = TcpStream::connect(&address)?;
        stream.set_read_timeout(Some(Duration::from_secs(15)))?;
        stream.write_all(&u16::try_from(preamble.len())?.to_be_bytes())?;
        stream.write_all(&preamble)?;
        let mut said = Vec::new();
        // A reset after the byte is as good.
        let _ = stream.read_to_end(&mut said);
        match said.as_slice() {
            [] => {}
            [status] if *status == Reason::BadPreamble.to_wire() => {}
            other => bail!("{cluster}: {other:?}"),
        }
    }
    Ok(())
}

/// By the catalog and by questions: what is not offered to her is not told to her.
pub(crate) fn tales(stage: &Stage<'_>) -> Result<()> {
    let mallory = &stage.mallory;
    let node = mallory.node_of(VICTIM, "gw-1")?;
    let mut stream = mallory.open_catalog(node)?;
    mallory.tell(&mut stream, Frame::Hello(hello(CLUSTER)))?;
    let everything = wire::PeerInterest {
        interest: Some(wire::Interest {
            services: Vec::new(),
            everything: true,
        }),
        revision: 1,
        ..wire::PeerInterest::default()
    };
    mallory.tell(&mut stream, Frame::Interest(everything))?;
    let (mut told, mut digests) = (0, 0);
    loop {
        let said = mallory.hear(&mut stream)?.context("the stream ended")?;
        ensure!(!format!("{said:?}").contains("vault"), "{said:?}");
        match said {
            Frame::Endpoint(endpoint) => {
                told += 1;
                ensure!(endpoint.address.is_empty(), "an address: {endpoint:?}");
                ensure!(endpoint.workload.is_empty(), "an address: {endpoint:?}");
            }
            Frame::Digest(_) => digests += 1,
            Frame::Mark(_) if told > 0 && digests > 0 => break,
            _ => {}
        }
    }
    let asked = wire::WindowQuestion { span_ms: 300_000 };
    let window = mallory.call(node, "observe.window", asked.encode_to_vec())?;
    let window = wire::Window::decode(window)?;
    ensure!(!format!("{window:?}").contains("vault"), "{window:?}");
    Ok(())
}
