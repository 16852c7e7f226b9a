//! A service that answers from the fixture's federation, and ways to ask it.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream, UdpSocket};
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use hickory_proto::op::{Edns, Message, Query};
use hickory_proto::rr::rdata::opt::{EdnsCode, EdnsOption};
use hickory_proto::rr::{Name as HickoryName, RecordType};
use weft_gateway::dns::{DnsService, DnsServiceConfig, ZonesSource};
use weft_model::fixture::{federation, name};
use weft_model::{EndpointId, Health, VirtualIpRanges};
use weft_plan::dns::{AddressFamilies, HeadlessEndpoint, Input, Liveness, LocalVips, Name, Zones};

/// Generous: these tests wait for answers, they do not measure them.
pub(super) const PATIENCE: Duration = Duration::from_secs(20);

/// The fixture's zones as us-east-1 sees them, with `endpoints` of data/orders there.
pub(super) fn zones(endpoints: Option<u8>) -> Zones {
    let ranges = VirtualIpRanges {
        ipv4: name("127.64.0.0/16"),
        ipv6: Some(name("fd00:77:65:66::/64")),
    };
    let endpoint = |id: u8| HeadlessEndpoint {
        id: EndpointId([id; 16]),
        hostname: Some(name(&format!("orders-{id}"))),
        workload: Some([10, 1, 0, id].into()),
        weight: 100,
        health: Health::Ready,
    };
    let mut liveness = Liveness {
        generation: endpoints.map_or(1, |_| 2),
        ..Liveness::default()
    };
    if let Some(count) = endpoints {
        let place = (name("data/orders"), name("us-east-1"));
        let all = (1..=count).map(endpoint).collect();
        liveness.endpoints.insert(place, all);
    }
    let input = Input {
        federation: &federation(),
        liveness: &liveness,
        cluster: &name("us-east-1"),
        ranges: &ranges,
        families: AddressFamilies::DualStack,
        zone: &Name::parse(Zones::OWN).unwrap(),
        servers: &["127.0.0.1".parse().unwrap()],
        previous: None,
    };
    Zones::build(&input, &mut LocalVips::new(&ranges))
}

pub(super) fn source(zones: Zones) -> ZonesSource {
    Arc::new(ArcSwap::from_pointee(zones))
}

/// Listens on a free port of 127.0.0.1.
pub(super) fn start(upstreams: &[SocketAddr], zones: ZonesSource) -> DnsService {
    start_with(config(upstreams), zones)
}

pub(super) fn start_with(config: DnsServiceConfig, zones: ZonesSource) -> DnsService {
    DnsService::start(config, zones).unwrap()
}

pub(super) fn config(upstreams: &[SocketAddr]) -> DnsServiceConfig {
    DnsServiceConfig {
        bind: "127.0.0.1:0".parse().unwrap(),
        upstreams: upstreams.to_vec(),
        interest: None,
    }
}

/// A runtime of its own threads, so that a test may block.
pub(super) fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap()
}

/// A query as a stub resolver sends it.
pub(super) fn query(id: u16, name: &str, kind: RecordType, payload: Option<u16>) -> Message {
    let mut query = Message::query();
    query.metadata.id = id;
    query.metadata.recursion_desired = true;
    query.add_query(Query::query(HickoryName::from_ascii(name).unwrap(), kind));
    if let Some(payload) = payload {
        let mut edns = Edns::new();
        edns.set_max_payload(payload);
        query.set_edns(edns);
    }
    query
}

pub(super) fn udp() -> UdpSocket {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    socket
}

pub(super) fn tcp(server: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(server).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream
}

/// Asks over UDP.
pub(super) fn ask_udp(server: SocketAddr, packet: &[u8]) -> Vec<u8> {
    let socket = udp();
    socket.send_to(packet, server).unwrap();
    let mut buffer = vec![0; 65_535];
    let (length, from) = socket.recv_from(&mut buffer).unwrap();
    assert_eq!(
        from, server,
        "the answer comes from the address that was asked"
    );
    buffer.truncate(length);
    buffer
}

/// Asks over TCP.
pub(super) fn ask_tcp(server: SocketAddr, packet: &[u8]) -> Vec<u8> {
    let mut stream = tcp(server);
    send_framed(&mut stream, packet);
    read_framed(&mut stream)
}

pub(super) fn send_framed(stream: &mut TcpStream, packet: &[u8]) {
    let length = u16::try_from(packet.len()).unwrap();
    let framed = [&length.to_be_bytes(), packet].concat();
    stream.write_all(&framed).unwrap();
}

pub(super) fn read_framed(stream: &mut TcpStream) -> Vec<u8> {
    let mut length = [0; 2];
    stream.read_exact(&mut length).unwrap();
    let mut message = vec![0; u16::from_be_bytes(length).into()];
    stream.read_exact(&mut message).unwrap();
    message
}

/// Asks over UDP and decodes the answer.
pub(super) fn ask(server: SocketAddr, name: &str, kind: RecordType) -> Message {
    let packet = query(77, name, kind, Some(1232)).to_vec().unwrap();
    Message::from_vec(&ask_udp(server, &packet)).unwrap()
}

/// The code of the answer's extended error (RFC 8914).
pub(super) fn extended_error(message: &Message) -> u16 {
    let opt = message.edns.as_ref().unwrap();
    match opt.option(EdnsCode::from(15)).unwrap() {
        EdnsOption::Unknown(15, bytes) => u16::from_be_bytes([bytes[0], bytes[1]]),
        other => panic!("{other:?}"),
    }
}
