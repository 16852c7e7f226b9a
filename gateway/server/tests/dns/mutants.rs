//! Packets that went wrong on the way: the server survives them, and never answers
//! what is no query.

use std::net::{SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

use hickory_proto::rr::RecordType;
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};

use super::world::*;

/// Printed on failure by the assertions; any number does.
const SEED: u64 = 0x77_65_66_74;
const MUTANTS: usize = 20_000;
/// Mutants between two looks at whether the server lives: few enough for the
/// kernel's smallest buffers.
const ROUND: usize = 100;

fn seeds() -> Vec<Vec<u8>> {
    let mut seeds = Vec::new();
    for (name, kind, payload) in [
        ("checkout.shop.svc.clusterset.local.", RecordType::A, None),
        (
            "checkout.shop.svc.clusterset.local.",
            RecordType::AAAA,
            Some(1232),
        ),
        (
            "_postgres._tcp.orders.data.svc.clusterset.local.",
            RecordType::SRV,
            Some(512),
        ),
        ("clusterset.local.", RecordType::ANY, Some(4096)),
        ("dns-version.clusterset.local.", RecordType::TXT, None),
        ("example.org.", RecordType::A, Some(1232)),
    ] {
        seeds.push(query(1, name, kind, payload).to_vec().unwrap());
    }
    // Compression that points at itself, at each other and forward.
    let head = [0, 1, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
    for name in [
        &[0xc0, 12][..],
        &[0xc0, 14, 0xc0, 12],
        &[0xc0, 20],
        &[1, b'a', 0xc0, 12],
    ] {
        seeds.push([&head[..], name, &[0, 1, 0, 1]].concat());
    }
    seeds
}

fn mutate(seed: &[u8], rng: &mut SmallRng) -> Vec<u8> {
    let mut packet = seed.to_vec();
    for _ in 0..rng.random_range(1..6) {
        let at = rng.random_range(0..packet.len());
        match rng.random_range(0..6) {
            0 => packet[at] ^= 1 << rng.random_range(0..8),
            1 => packet[at] = rng.random(),
            2 => packet.truncate(at.max(1)),
            3 => packet.insert(at, rng.random()),
            4 => packet.extend_from_within(at..),
            _ => packet[at] = [0, 0x3f, 0x40, 0xc0, 0xff][rng.random_range(0..5)],
        }
    }
    packet.truncate(4000);
    packet
}

/// Asks until it is answered; gives what came in before. UDP may lose a question
/// on a busy machine, so it is asked again.
fn until_alive(socket: &UdpSocket, server: SocketAddr, id: u16) -> Vec<Vec<u8>> {
    let name = "alive.shop.svc.clusterset.local.";
    let packet = query(id, name, RecordType::A, None).to_vec().unwrap();
    socket
        .set_read_timeout(Some(Duration::from_millis(500)))
        .unwrap();
    let deadline = Instant::now() + PATIENCE;
    let mut before = Vec::new();
    let mut buffer = [0; 65_535];
    socket.send_to(&packet, server).unwrap();
    loop {
        assert!(Instant::now() < deadline, "the server is dead, seed {SEED}");
        let Ok((length, from)) = socket.recv_from(&mut buffer) else {
            socket.send_to(&packet, server).unwrap();
            continue;
        };
        assert_eq!(from, server);
        let response = &buffer[..length];
        let is_alive =
            response[..2] == packet[..2] && response.get(12..packet.len()) == packet.get(12..);
        if is_alive {
            return before;
        }
        before.push(response.to_vec());
    }
}

#[test]
fn no_mutant_harms_the_server() {
    let runtime = runtime();
    let _inside = runtime.enter();
    let service = start(&[], source(zones(Some(20))));
    let server = service.local_addr();
    let mut rng = SmallRng::seed_from_u64(SEED);
    let seeds = seeds();
    let socket = udp();
    for round in 0..MUTANTS / ROUND {
        for _ in 0..ROUND {
            let seed = &seeds[rng.random_range(0..seeds.len())];
            let mutant = mutate(seed, &mut rng);
            socket.send_to(&mutant, server).unwrap();
        }
        for response in until_alive(&socket, server, round as u16) {
            assert!(
                response.len() >= 12 && response[2] & 0x80 != 0,
                "{response:?}"
            );
            assert!(response.len() <= 1232, "{} bytes", response.len());
        }
    }
    runtime.block_on(service.shutdown());
}

#[test]
fn no_mutant_harms_a_connection_but_its_own() {
    let runtime = runtime();
    let _inside = runtime.enter();
    let service = start(&[], source(zones(Some(20))));
    let server = service.local_addr();
    let mut rng = SmallRng::seed_from_u64(SEED);
    for _ in 0..200 {
        let mut stream = tcp(server);
        for seed in seeds() {
            send_framed(&mut stream, &mutate(&seed, &mut rng));
        }
        // What is left of the length of a message that never comes.
        std::io::Write::write_all(&mut stream, &[0xff, 0xff, 1]).unwrap();
    }
    let alive = query(7, "clusterset.local.", RecordType::SOA, None)
        .to_vec()
        .unwrap();
    assert_eq!(ask_tcp(server, &alive)[..2], [0, 7]);
    runtime.block_on(service.shutdown());
}

/// Two servers that answer each other's answers never stop.
#[test]
fn what_has_qr_set_gets_no_answer() {
    let runtime = runtime();
    let _inside = runtime.enter();
    let service = start(&[], source(zones(Some(20))));
    let server = service.local_addr();
    let mut rng = SmallRng::seed_from_u64(SEED);
    let socket = udp();
    for seed in seeds() {
        for _ in 0..ROUND / 5 {
            let mut mutant = mutate(&seed, &mut rng);
            if let Some(flags) = mutant.get_mut(2) {
                *flags |= 0x80;
            }
            socket.send_to(&mutant, server).unwrap();
        }
        let mut answers = until_alive(&socket, server, 9);
        // A second answer to the question itself, had it been asked twice.
        answers.retain(|answer| answer[..2] != [0, 9]);
        assert!(answers.is_empty(), "seed {SEED}: {answers:?}");
    }
    runtime.block_on(service.shutdown());
}
