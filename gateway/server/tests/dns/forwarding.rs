//! Names of others: asked upstream, believed only if the answer fits.

use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::thread::JoinHandle;

use hickory_proto::op::{Message, ResponseCode};
use hickory_proto::rr::rdata::A;
use hickory_proto::rr::{Name, RData, Record, RecordType};

use super::world::*;

const NAME: &str = "www.example.org.";

/// An upstream that answers one query by UDP with what `answers` makes of it.
fn upstream(
    answers: impl FnOnce(Message) -> Vec<Vec<u8>> + Send + 'static,
) -> (SocketAddr, JoinHandle<()>) {
    let socket = udp();
    let address = socket.local_addr().unwrap();
    let thread = std::thread::spawn(move || {
        let (packet, from) = receive(&socket);
        for answer in answers(Message::from_vec(&packet).unwrap()) {
            socket.send_to(&answer, from).unwrap();
        }
    });
    (address, thread)
}

fn receive(socket: &UdpSocket) -> (Vec<u8>, SocketAddr) {
    let mut buffer = vec![0; 4096];
    let (length, from) = socket.recv_from(&mut buffer).unwrap();
    buffer.truncate(length);
    (buffer, from)
}

/// A useful answer with so many addresses.
fn reply(query: &Message, addresses: u8) -> Message {
    let mut reply = Message::response(query.metadata.id, query.metadata.op_code);
    reply.metadata.recursion_available = true;
    reply.add_query(query.queries[0].clone());
    for last in 0..addresses {
        let data = RData::A(A::new(192, 0, 2, last));
        reply.add_answer(Record::from_rdata(
            Name::from_ascii(NAME).unwrap(),
            60,
            data,
        ));
    }
    reply
}

#[test]
fn other_names_are_asked_upstream() {
    let runtime = runtime();
    let _inside = runtime.enter();
    let (address, thread) = upstream(|query| {
        assert_ne!(query.metadata.id, 31, "an id of our own");
        let opt = query.edns.as_ref().unwrap();
        assert_eq!(opt.max_payload(), 1232);
        assert!(
            opt.options().as_ref().is_empty(),
            "cookies are between neighbours"
        );
        vec![reply(&query, 1).to_vec().unwrap()]
    });
    let service = start(&[address], source(zones(Some(1))));
    let mut packet = query(31, NAME, RecordType::A, Some(4096)).to_vec().unwrap();
    // A cookie.
    let length_at = packet.len() - 1;
    packet[length_at] = 12;
    packet.extend(b"\0\x0a\0\x08weftweft");
    let message = Message::from_vec(&ask_udp(service.local_addr(), &packet)).unwrap();
    thread.join().unwrap();
    assert_eq!(message.metadata.id, 31);
    assert_eq!(message.answers[0].data.to_string(), "192.0.2.0");
    assert!(message.metadata.recursion_available && !message.metadata.authoritative);
    runtime.block_on(service.shutdown());
}

/// RFC 5452: another id, another question or no response is not an answer.
#[test]
fn forged_answers_are_not_believed() {
    let runtime = runtime();
    let _inside = runtime.enter();
    let (address, thread) = upstream(|query| {
        let right = reply(&query, 1);
        let mut other_id = reply(&query, 2);
        other_id.metadata.id = query.metadata.id.wrapping_add(1);
        let mut other_question = reply(&query, 2);
        other_question.queries[0].set_name(Name::from_ascii("evil.example.").unwrap());
        let mut no_response = reply(&query, 2).to_vec().unwrap();
        no_response[2] &= 0x7f;
        let forged = [
            other_id.to_vec().unwrap(),
            other_question.to_vec().unwrap(),
            no_response,
        ];
        let stubs = [vec![], vec![0; 5]];
        forged
            .into_iter()
            .chain(stubs)
            .chain([right.to_vec().unwrap()])
            .collect()
    });
    let service = start(&[address], source(zones(Some(1))));
    let message = ask(service.local_addr(), NAME, RecordType::A);
    thread.join().unwrap();
    assert_eq!(message.answers.len(), 1);
    runtime.block_on(service.shutdown());
}

#[test]
fn the_next_server_is_asked_when_one_fails() {
    let runtime = runtime();
    let _inside = runtime.enter();
    let (first, failing) = upstream(|query| {
        let mut failure = reply(&query, 0);
        failure.metadata.response_code = ResponseCode::ServFail;
        vec![failure.to_vec().unwrap()]
    });
    let (second, answering) = upstream(|query| vec![reply(&query, 1).to_vec().unwrap()]);
    let service = start(&[first, second], source(zones(Some(1))));
    let message = ask(service.local_addr(), NAME, RecordType::A);
    assert_eq!(message.answers.len(), 1);
    failing.join().unwrap();
    answering.join().unwrap();
    runtime.block_on(service.shutdown());
}

#[test]
fn silence_upstream_is_a_failure_and_says_so() {
    let runtime = runtime();
    let _inside = runtime.enter();
    let silent = udp();
    let service = start(&[silent.local_addr().unwrap()], source(zones(Some(1))));
    let message = ask(service.local_addr(), NAME, RecordType::A);
    assert_eq!(message.metadata.response_code, ResponseCode::ServFail);
    assert_eq!(
        extended_error(&message),
        22,
        "no reachable authority (RFC 8914)"
    );
    runtime.block_on(service.shutdown());
}

#[test]
fn more_than_udp_carries_is_truncated_and_whole_over_tcp() {
    let runtime = runtime();
    let _inside = runtime.enter();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let socket = UdpSocket::bind(address).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    let upstream = std::thread::spawn(move || {
        // By UDP twice: for the client that asks by UDP, then for the one by TCP.
        for _ in 0..2 {
            let (packet, from) = receive(&socket);
            let mut cut = reply(&Message::from_vec(&packet).unwrap(), 0);
            cut.metadata.truncation = true;
            socket.send_to(&cut.to_vec().unwrap(), from).unwrap();
        }
        let (mut stream, _) = listener.accept().unwrap();
        let whole = Message::from_vec(&read_framed(&mut stream)).unwrap();
        send_framed(&mut stream, &reply(&whole, 200).to_vec().unwrap());
    });
    let service = start(&[address], source(zones(Some(1))));
    let packet = query(8, NAME, RecordType::A, Some(1232)).to_vec().unwrap();
    let cut = Message::from_vec(&ask_udp(service.local_addr(), &packet)).unwrap();
    assert!(cut.metadata.truncation && cut.answers.is_empty());
    let whole = Message::from_vec(&ask_tcp(service.local_addr(), &packet)).unwrap();
    assert_eq!(
        (whole.metadata.truncation, whole.answers.len()),
        (false, 200)
    );
    upstream.join().unwrap();
    runtime.block_on(service.shutdown());
}

/// An upstream that ignores the client's limit does not get around ours.
#[test]
fn an_oversized_answer_is_cut_to_what_the_client_takes() {
    let runtime = runtime();
    let _inside = runtime.enter();
    let (address, thread) = upstream(|query| vec![reply(&query, 100).to_vec().unwrap()]);
    let service = start(&[address], source(zones(Some(1))));
    let packet = query(8, NAME, RecordType::A, None).to_vec().unwrap();
    let response = ask_udp(service.local_addr(), &packet);
    thread.join().unwrap();
    let message = Message::from_vec(&response).unwrap();
    assert!(message.metadata.truncation && response.len() == packet.len());
    runtime.block_on(service.shutdown());
}

#[test]
fn without_upstreams_or_recursion_other_names_are_refused() {
    let runtime = runtime();
    let _inside = runtime.enter();
    let service = start(&[], source(zones(Some(1))));
    let message = ask(service.local_addr(), NAME, RecordType::A);
    assert_eq!(message.metadata.response_code, ResponseCode::Refused);
    assert!(!message.metadata.recursion_available);
    runtime.block_on(service.shutdown());

    let service = start(&["192.0.2.1:53".parse().unwrap()], source(zones(Some(1))));
    let mut iterative = query(8, NAME, RecordType::A, None);
    iterative.metadata.recursion_desired = false;
    let response = ask_udp(service.local_addr(), &iterative.to_vec().unwrap());
    let message = Message::from_vec(&response).unwrap();
    assert_eq!(message.metadata.response_code, ResponseCode::Refused);
    runtime.block_on(service.shutdown());
}
