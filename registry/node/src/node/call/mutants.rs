//! Calls between registries with their bytes changed: read or refused, and no panic.

use weft_mutants::Decoder;

use super::*;

#[test]
fn no_mutant_of_a_call_panics() {
    let answer = |taken, leader| ProposeAnswer {
        taken,
        leader,
        no_room: !taken,
        unproven: taken,
        ..ProposeAnswer::default()
    };
    let digests: Digests = (1..40).map(|at| (Index(at * 8), at << 40)).collect();
    let positions: Vec<Index> = (1..40).map(|at| Index(at * 256)).collect();
    let read = |bytes: &[u8]| Bytes::copy_from_slice(bytes);
    weft_mutants::check(&[
        Decoder::new(
            "an answer to a proposal",
            [answer(true, 1), answer(false, 300)].map(|it| propose_answer(&it)),
            |bytes| read_propose_answer(read(bytes)),
        ),
        Decoder::new("a hand-over", [transfer_request(NodeId(300))], |bytes| {
            read_transfer(read(bytes))
        }),
        Decoder::new(
            "an answer to a hand-over",
            [transfer_answer(true)],
            |bytes| TransferAnswer::decode(bytes),
        ),
        Decoder::new(
            "a question for digests",
            [digests_request(&positions)],
            |bytes| read_digests_request(read(bytes)),
        ),
        Decoder::new(
            "digests",
            [
                digests_answer(&digests, true),
                digests_answer(&digests, false),
            ],
            |bytes| read_digests_answer(read(bytes)),
        ),
    ]);
}
