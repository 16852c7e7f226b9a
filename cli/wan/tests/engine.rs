//! Properties of the engine: for any traffic on any link.

#![allow(clippy::unwrap_used, reason = "in a test a panic is the report")]

use std::time::Duration;

use proptest::prelude::*;
use weft_wan::{
    Bottleneck, DropReason, GilbertElliott, Impairment, Jitter, Link, LinkSpec, Loss, Moment,
    Overtaking, Probability, Rate, Reorder, Verdict,
};

fn at_us(micros: u64) -> Moment {
    Moment::after(Duration::from_micros(micros))
}

fn probability(fraction: f64) -> Probability {
    Probability::new(fraction).unwrap()
}

/// A packet: microseconds since the one before it, and its length.
type Packet = (u64, usize);

fn traffic() -> impl Strategy<Value = Vec<Packet>> {
    prop::collection::vec((0_u64..3_000, 0_usize..2_000), 1..200)
}

fn bottleneck() -> impl Strategy<Value = Bottleneck> {
    (1_000_u64..1_000_000_000, 0_u64..100_000).prop_map(|(bits, queue_bytes_max)| Bottleneck {
        rate: Rate::from_bits_per_second(bits).unwrap(),
        queue_bytes_max,
    })
}

fn any_loss() -> impl Strategy<Value = Loss> {
    prop_oneof![
        Just(Loss::None),
        (0.0..=1.0).prop_map(|p| Loss::Independent(probability(p))),
        (0.0..0.5, 1.0..30.0).prop_map(|(p, burst)| Loss::Bursts(
            GilbertElliott::from_bursts(probability(p), burst).unwrap()
        )),
    ]
}

/// Everything but what may change the order.
fn ordered_spec() -> impl Strategy<Value = LinkSpec> {
    let delays = (0_u64..500_000, 0_u64..50_000);
    let rest = (
        any_loss(),
        0.0..=1.0,
        prop::option::of(bottleneck()),
        prop::option::of(0_usize..2_000),
    );
    (delays, rest).prop_map(
        |((delay, jitter), (loss, duplicate, bottleneck, mtu))| LinkSpec {
            delay: Duration::from_micros(delay),
            jitter: Jitter {
                range: Duration::from_micros(jitter),
                overtaking: Overtaking::Forbidden,
            },
            loss,
            reorder: None,
            duplicate: probability(duplicate),
            bottleneck,
            mtu,
        },
    )
}

fn any_spec() -> impl Strategy<Value = LinkSpec> {
    let disorder = (any::<bool>(), prop::option::of((0.0..=1.0, 0_u64..100_000)));
    (ordered_spec(), disorder).prop_map(|(mut spec, (allowed, reorder))| {
        if allowed {
            spec.jitter.overtaking = Overtaking::Allowed;
        }
        spec.reorder = reorder.map(|(p, hold)| Reorder {
            probability: probability(p),
            hold: Duration::from_micros(hold),
        });
        spec
    })
}

/// Offers the traffic and returns (when offered, length, verdict) for each packet.
fn offer_all(link: &mut Impairment, packets: &[Packet]) -> Vec<(Moment, usize, Verdict)> {
    let mut now = Moment::START;
    let offer = |&(gap, bytes): &Packet| {
        now = now + Duration::from_micros(gap);
        (now, bytes, link.offer(now, bytes))
    };
    packets.iter().map(offer).collect()
}

/// Pushes numbered packets and polls as time goes by; returns what came out, when.
fn carry_all(link: &mut Link<usize>, packets: &[Packet]) -> Vec<(Moment, usize)> {
    let mut arrived = Vec::new();
    let mut drain = |link: &mut Link<usize>, until: Option<Moment>| {
        while let Some(at) = link
            .next_deadline()
            .filter(|at| until.is_none_or(|until| *at <= until))
        {
            arrived.push((at, link.poll(at).unwrap()));
        }
    };
    let mut now = Moment::START;
    for (number, &(gap, bytes)) in packets.iter().enumerate() {
        now = now + Duration::from_micros(gap);
        drain(link, Some(now));
        let _ = link.push(now, bytes, number);
    }
    drain(link, None);
    arrived
}

proptest! {
    // The minimal input is printed; nothing is left in the tree.
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn equal_seeds_give_equal_traces(spec in any_spec(), seed: u64, packets in traffic()) {
        let trace = || {
            let mut link = Link::new(spec, seed);
            (carry_all(&mut link, &packets), *link.counters())
        };
        prop_assert_eq!(trace(), trace());
    }

    #[test]
    fn a_link_and_its_impairment_agree(spec in any_spec(), seed: u64, packets in traffic()) {
        let verdicts = offer_all(&mut Impairment::new(spec, seed), &packets);
        let mut expected: Vec<Moment> = Vec::new();
        for (_, _, verdict) in verdicts {
            if let Verdict::Deliver { at, copy } = verdict {
                expected.push(at);
                expected.extend(copy);
            }
        }
        expected.sort();
        let arrived = carry_all(&mut Link::new(spec, seed), &packets);
        prop_assert_eq!(arrived.into_iter().map(|(at, _)| at).collect::<Vec<_>>(), expected);
    }

    #[test]
    fn every_packet_arrives_or_is_counted_once(spec in any_spec(), seed: u64, packets in traffic()) {
        let mut link = Link::new(spec, seed);
        let arrived = carry_all(&mut link, &packets).len() as u64;
        let counters = link.counters();
        prop_assert_eq!(counters.offered, packets.len() as u64);
        prop_assert_eq!(counters.accepted + counters.dropped_total(), counters.offered);
        prop_assert_eq!(arrived, counters.accepted + counters.duplicated);
        prop_assert_eq!(link.in_flight(), 0);
    }

    #[test]
    fn nothing_arrives_before_the_delay(spec in any_spec(), seed: u64, packets in traffic()) {
        for (now, _, verdict) in offer_all(&mut Impairment::new(spec, seed), &packets) {
            if let Verdict::Deliver { at, copy } = verdict {
                prop_assert!(at.saturating_since(now) >= spec.delay);
                prop_assert!(copy.is_none_or(|copy| copy.saturating_since(now) >= spec.delay));
            }
        }
    }

    #[test]
    fn delay_alone_is_exact(delay in 0_u64..10_000_000, loss in any_loss(), seed: u64, packets in traffic()) {
        let spec = LinkSpec { loss, ..LinkSpec::with_delay(Duration::from_micros(delay)) };
        for (now, _, verdict) in offer_all(&mut Impairment::new(spec, seed), &packets) {
            if let Verdict::Deliver { at, copy } = verdict {
                prop_assert_eq!(at.saturating_since(now), spec.delay);
                prop_assert_eq!(copy, None);
            }
        }
    }

    #[test]
    fn order_is_kept_unless_told_otherwise(spec in ordered_spec(), seed: u64, packets in traffic()) {
        let arrived = carry_all(&mut Link::new(spec, seed), &packets);
        // A copy may arrive after later packets, a first one never does.
        let mut seen = std::collections::BTreeSet::new();
        let firsts: Vec<usize> =
            arrived.into_iter().map(|(_, number)| number).filter(|number| seen.insert(*number)).collect();
        prop_assert!(firsts.is_sorted(), "{firsts:?}");
    }

    #[test]
    fn order_is_kept_when_the_spec_changes(
        specs in prop::collection::vec(ordered_spec(), 2..5), seed: u64, packets in traffic(),
    ) {
        let mut link = Impairment::new(specs[0], seed);
        let mut last = Moment::START;
        for (index, spec) in specs.into_iter().enumerate() {
            link.set_spec(spec);
            for (number, &(_, bytes)) in packets.iter().enumerate() {
                let now = at_us((index * packets.len() + number) as u64);
                if let Verdict::Deliver { at, .. } = link.offer(now, bytes) {
                    prop_assert!(at >= last);
                    last = at;
                }
            }
        }
    }

    #[test]
    fn the_rate_is_never_exceeded(limit in bottleneck(), loss in any_loss(), seed: u64, packets in traffic()) {
        let spec = LinkSpec { bottleneck: Some(limit), loss, ..LinkSpec::default() };
        let mut previous: Option<Moment> = None;
        for (_, bytes, verdict) in offer_all(&mut Impairment::new(spec, seed), &packets) {
            if let Verdict::Deliver { at, .. } = verdict {
                // Between two arrivals there was time to send the second one.
                if let Some(previous) = previous {
                    prop_assert!(at.saturating_since(previous) >= limit.rate.time_to_send(bytes as u64));
                }
                previous = Some(at);
            }
        }
    }

    #[test]
    fn waiting_is_bounded_by_the_queue(limit in bottleneck(), seed: u64, packets in traffic()) {
        let spec = LinkSpec { bottleneck: Some(limit), ..LinkSpec::default() };
        // The largest packet is let in by an idle transmitter; a nanosecond per packet is rounding.
        let longest = limit.rate.time_to_send(limit.queue_bytes_max.max(2_000)) + Duration::from_nanos(200);
        for (now, _, verdict) in offer_all(&mut Impairment::new(spec, seed), &packets) {
            if let Verdict::Deliver { at, .. } = verdict {
                prop_assert!(at.saturating_since(now) <= longest);
            }
        }
    }

    #[test]
    fn other_impairments_do_not_change_what_is_lost(
        spec in any_spec(), loss in any_loss(), seed: u64, packets in traffic(),
    ) {
        let lost = |spec| -> Vec<bool> {
            let verdicts = offer_all(&mut Impairment::new(spec, seed), &packets);
            verdicts.into_iter().map(|(_, _, verdict)| matches!(verdict, Verdict::Drop(_))).collect()
        };
        let impaired = LinkSpec { loss, bottleneck: None, mtu: None, ..spec };
        prop_assert_eq!(lost(impaired), lost(LinkSpec { loss, ..LinkSpec::default() }));
    }

    #[test]
    fn extreme_figures_do_not_panic(micros: u64, bytes: usize, seed: u64) {
        let spec = LinkSpec {
            jitter: Jitter { range: Duration::MAX, overtaking: Overtaking::Forbidden },
            duplicate: Probability::ALWAYS,
            bottleneck: Some(Bottleneck {
                rate: Rate::from_bits_per_second(1).unwrap(),
                queue_bytes_max: u64::MAX,
            }),
            ..LinkSpec::with_delay(Duration::MAX)
        };
        let mut link = Impairment::new(spec, seed);
        for _ in 0..3 {
            let _ = link.offer(at_us(micros), bytes);
        }
        let _ = link.offer(Moment::after(Duration::MAX), bytes);
    }
}

const PACKETS: u64 = 100_000;

/// How often `reason` struck in [`PACKETS`] packets, a microsecond apart.
fn losses(loss: Loss, seed: u64, reason: DropReason) -> f64 {
    let mut link = Impairment::new(
        LinkSpec {
            loss,
            ..LinkSpec::default()
        },
        seed,
    );
    for packet in 0..PACKETS {
        let _ = link.offer(at_us(packet), 1_200);
    }
    assert_eq!(
        link.counters().dropped_total(),
        link.counters().dropped(reason)
    );
    link.counters().dropped(reason) as f64
}

#[test]
fn independent_loss_lies_within_binomial_bounds() {
    for p in [0.0, 0.001, 0.01, 0.05, 0.3, 0.5, 0.99, 1.0] {
        for seed in 0..5 {
            let lost = losses(Loss::Independent(probability(p)), seed, DropReason::Loss);
            let deviation = (PACKETS as f64 * p * (1.0 - p)).sqrt();
            assert!(
                (lost - PACKETS as f64 * p).abs() <= 4.0 * deviation,
                "{p}, seed {seed}: {lost}"
            );
        }
    }
}

#[test]
fn bursts_have_their_share_and_their_length() {
    for (p, burst) in [(0.01, 3.0), (0.05, 10.0), (0.2, 1.5)] {
        let model = GilbertElliott::from_bursts(probability(p), burst).unwrap();
        let lost = losses(Loss::Bursts(model), 11, DropReason::BurstLoss);
        // Losses in a burst stand or fall together, so the binomial deviation grows by
        // about the root of (1 + c) / (1 - c), c being the chain's correlation.
        let correlation = 1.0 - model.good_to_bad.fraction() - model.bad_to_good.fraction();
        let inflation = ((1.0 + correlation) / (1.0 - correlation)).sqrt();
        let deviation = (PACKETS as f64 * p * (1.0 - p)).sqrt() * inflation;
        assert!(
            (lost - PACKETS as f64 * p).abs() <= 4.0 * deviation,
            "{p} in bursts of {burst}: {lost}"
        );

        let mut link = Impairment::new(
            LinkSpec {
                loss: Loss::Bursts(model),
                ..LinkSpec::default()
            },
            11,
        );
        let mut bursts = 0;
        let mut in_burst = false;
        for packet in 0..PACKETS {
            let dropped = matches!(link.offer(at_us(packet), 1_200), Verdict::Drop(_));
            bursts += u64::from(dropped && !in_burst);
            in_burst = dropped;
        }
        let mean = lost / bursts as f64;
        assert!(
            (mean - burst).abs() < 0.15 * burst,
            "bursts of {mean}, not {burst}"
        );
    }
}

#[test]
fn a_saturated_link_carries_its_rate() {
    let rate = Rate::from_bits_per_second(10_000_000).unwrap();
    let bottleneck = Some(Bottleneck {
        rate,
        queue_bytes_max: 50_000,
    });
    let mut link = Impairment::new(
        LinkSpec {
            bottleneck,
            ..LinkSpec::default()
        },
        0,
    );
    // 1,250 bytes each 100 µs are 100 Mbit/s, for ten seconds.
    for packet in 0..100_000 {
        let _ = link.offer(at_us(packet * 100), 1_250);
    }
    let carried = link.counters().accepted_bytes * 8;
    assert!((100_000_000..=100_400_000).contains(&carried), "{carried}");
    assert!(link.counters().dropped(DropReason::QueueFull) > 80_000);
}

#[test]
fn held_back_packets_are_overtaken() {
    let reorder = Some(Reorder {
        probability: probability(0.1),
        hold: Duration::from_micros(2_500),
    });
    let mut link = Link::new(
        LinkSpec {
            reorder,
            ..LinkSpec::with_delay(Duration::from_millis(10))
        },
        3,
    );
    let arrived = carry_all(&mut link, &[(1_000, 100); 1_000]);
    let numbers: Vec<usize> = arrived.iter().map(|(_, number)| *number).collect();
    assert!(!numbers.is_sorted());
    // Held for two and a half gaps: no packet is later than three places.
    assert!(
        numbers
            .iter()
            .enumerate()
            .all(|(place, number)| place.abs_diff(*number) <= 3)
    );
    assert!(
        (60..140).contains(&link.counters().held_back),
        "{:?}",
        link.counters()
    );
}

#[test]
fn the_mtu_swallows_larger_packets_only() {
    let mut link = Link::new(
        LinkSpec {
            mtu: Some(1_280),
            ..LinkSpec::default()
        },
        0,
    );
    let arrived = carry_all(&mut link, &[(1, 1_280), (1, 1_281), (1, 40)]);
    assert_eq!(
        arrived
            .iter()
            .map(|(_, number)| *number)
            .collect::<Vec<_>>(),
        [0, 2]
    );
    assert_eq!(link.counters().dropped(DropReason::TooBig), 1);
}

#[test]
fn a_cut_drops_what_comes_and_not_what_is_under_way() {
    let mut link = Link::new(LinkSpec::with_delay(Duration::from_millis(40)), 0);
    let _ = link.push(at_us(0), 100, "before");
    link.cut();
    assert_eq!(
        link.push(at_us(1), 100, "during"),
        Verdict::Drop(DropReason::Cut)
    );
    link.heal();
    let _ = link.push(at_us(2), 100, "after");
    assert_eq!(link.poll(at_us(39_999)), None);
    assert_eq!(link.next_deadline(), Some(at_us(40_000)));
    assert_eq!(link.poll(at_us(40_000)), Some("before"));
    assert_eq!(link.poll(at_us(40_001)), None);
    assert_eq!(link.poll(at_us(40_002)), Some("after"));
    assert_eq!(link.counters().dropped(DropReason::Cut), 1);
}

#[test]
fn the_delay_line_is_bounded_and_empties() {
    const LINE_BYTES_MAX: usize = 16 << 20;
    let hour = Duration::from_secs(3_600);
    let mut link = Link::new(LinkSpec::with_delay(hour), 0);
    for flood in [Duration::ZERO, hour] {
        let now = Moment::after(flood);
        while link.poll(now).is_some() {}
        for _ in 0..2 * LINE_BYTES_MAX / 65_535 {
            let _ = link.push(now, 65_535, ());
        }
        assert_eq!(link.in_flight(), LINE_BYTES_MAX / 65_535);
    }
    assert!(link.counters().dropped(DropReason::LineFull) > 0);
}

#[test]
fn a_clock_that_steps_back_is_held() {
    // Without order to keep, which would hide it.
    let jitter = Jitter {
        range: Duration::ZERO,
        overtaking: Overtaking::Allowed,
    };
    let spec = LinkSpec {
        jitter,
        ..LinkSpec::default()
    };
    let mut link = Impairment::new(spec, 0);
    let _ = link.offer(at_us(500), 1);
    let held = Verdict::Deliver {
        at: at_us(500),
        copy: None,
    };
    assert_eq!(link.offer(at_us(100), 1), held);
}
