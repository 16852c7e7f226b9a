//! Routes and traffic policies.

use super::*;
use crate::fixture::{route, traffic_policy};

fn put_route(called: &str, parent: &str) -> Command {
    Command::PutRoute(name("shop"), name(called), Box::new(route(parent)))
}

fn put_policy(called: &str, target: &str) -> Command {
    Command::PutTrafficPolicy(name("shop"), name(called), Box::new(traffic_policy(target)))
}

/// Three clusters whose gateways all understand routes, with the level in force.
fn risen() -> Log {
    let mut log = three();
    log.raise(FormatLevel::ROUTES);
    log
}

#[test]
fn they_wait_for_their_format_level() {
    let log = three();
    for command in [put_route("a", "checkout"), put_policy("a", "checkout")] {
        refused(
            &log,
            log.admin(),
            command,
            "needs format level 2, 1 is in force",
        );
    }
}

#[test]
fn operators_write_them_and_gateways_do_not() {
    let mut log = risen();
    for command in [put_route("a", "checkout"), put_policy("a", "checkout")] {
        refused(&log, log.gateway(1), command.clone(), "may not");
        assert_eq!(log.accept(log.admin(), command.clone()).len(), 1);
        // The same again changes nothing.
        assert_eq!(log.accept(log.admin(), command), []);
    }
    let gone = Command::DeleteRoute(name("shop"), name("a"));
    assert_eq!(
        log.accept(log.admin(), gone.clone()),
        [Event::Deleted(Key::Route(name("shop/a")))]
    );
    refused(&log, log.admin(), gone, "does not exist");
}

#[test]
fn a_route_keeps_its_age_when_it_changes() {
    let mut log = risen();
    log.accept(log.admin(), put_route("a", "checkout"));
    let created = |log: &Log| log.state.routes().next().unwrap().1.created;
    let first = created(&log);
    log.accept(log.admin(), put_route("a", "payments"));
    assert_eq!(created(&log), first);
}

#[test]
fn a_service_has_one_policy() {
    let mut log = risen();
    log.accept(log.admin(), put_policy("a", "checkout"));
    let second = put_policy("b", "checkout");
    refused(
        &log,
        log.admin(),
        second,
        "shop/checkout has the policy shop/a already",
    );
    log.accept(log.admin(), put_policy("b", "payments"));
}
