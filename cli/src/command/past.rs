//! `--as-of`, command by command: what reads the past, and why the others do not.

use weft_model::code;

use crate::args::Command;
use crate::problem::Problem;

/// What a command has to do with the past.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Past {
    /// All that it tells is recorded in the log, or what is not is left out and said.
    Recorded,
    /// What it tells is in no entry of the log: why, and what does tell of then.
    Live(&'static str, &'static str),
    /// It changes something, or runs.
    Acts,
    /// It reads no registry.
    Aside,
}

use Past::{Acts, Aside, Live, Recorded};

/// What is asked instead where nothing else fits.
const STATUS: &str = "`weft status --as-of` has the members, gateways and services of then.";
const SERVICES: &str =
    "`weft service list --as-of` has the services of then, and who exported them.";
const DNS: &str = "what DNS answers depends on endpoints, on leases as a gateway sees them, and on \
                   addresses that each gateway gives out by itself, which are not recorded";
const VIRTUAL_IPS: &str = "`weft service list --as-of` has the ports and virtual IPs of services.";
const LEADS: &str = "who led, who voted and who was reached is in no record";

/// Every command by its words.
const COMMANDS: &[(&str, Past)] = &[
    ("apply", Acts),
    (
        "backup create",
        Live(
            "a backup is of all that is applied now",
            "A backup that was taken then has it: `weft backup inspect FILE`.",
        ),
    ),
    ("backup inspect", Aside),
    ("backup restore", Acts),
    (
        "bug-report",
        Live(
            "a report is of what is found now",
            "`weft events --as-of` has what the log said by then.",
        ),
    ),
    ("capture off", Acts),
    ("capture on", Acts),
    ("capture show", Aside),
    (
        "check",
        Live(
            "checks look at what is there now: paths, endpoints, clocks, disks",
            STATUS,
        ),
    ),
    ("cluster init", Acts),
    ("cluster join", Acts),
    ("cluster leave", Acts),
    ("cluster list", Recorded),
    ("cluster remove", Acts),
    ("cluster token create", Acts),
    ("cluster token list", Recorded),
    ("cluster token revoke", Acts),
    ("completion", Aside),
    ("context current", Aside),
    ("context list", Aside),
    ("context remove", Acts),
    ("context use", Acts),
    ("delete", Acts),
    ("describe", Recorded),
    ("dev", Acts),
    ("dev break cluster", Acts),
    ("dev break link", Acts),
    ("dev down", Acts),
    ("dev export", Acts),
    ("dev heal", Acts),
    ("dev status", Aside),
    ("diff", Recorded),
    ("dns explain", Live(DNS, VIRTUAL_IPS)),
    ("dns query", Live(DNS, VIRTUAL_IPS)),
    ("edges", Live("who called whom is not recorded", SERVICES)),
    ("events", Recorded),
    ("explain", Aside),
    ("gateway remove", Acts),
    ("gateway run", Acts),
    ("get", Recorded),
    ("help", Aside),
    ("history", Recorded),
    ("identity token create", Acts),
    ("man", Aside),
    (
        "netcheck",
        Live(
            "paths between gateways, and their clocks, are not recorded",
            STATUS,
        ),
    ),
    (
        "ping",
        Live(
            "a connection is made now",
            "`weft route explain --as-of` says where a request would have gone by the records.",
        ),
    ),
    (
        "proxy config",
        Live(
            "a sidecar says what it decides on now",
            "`weft route explain --as-of` says where a request would have gone by the records.",
        ),
    ),
    (
        "proxy status",
        Live("sessions of sidecars are not recorded", SERVICES),
    ),
    ("raft inspect", Aside),
    (
        "raft leader",
        Live(
            LEADS,
            "`weft status --as-of` has the gateways that were members.",
        ),
    ),
    (
        "raft members",
        Live(
            LEADS,
            "`weft status --as-of` has the gateways that were members.",
        ),
    ),
    ("raft recover", Acts),
    ("raft repair", Acts),
    ("raft transfer", Acts),
    ("release abort", Acts),
    ("release explain", Recorded),
    ("release history", Recorded),
    ("release list", Recorded),
    ("release pause", Acts),
    (
        "release plan",
        Live(
            "a plan goes by the endpoints that serve each version, which are not recorded",
            "`weft diff -f FILE --as-of` compares the file with what was recorded.",
        ),
    ),
    ("release promote", Acts),
    ("release resume", Acts),
    ("release rollback", Acts),
    ("release start", Acts),
    ("release status", Recorded),
    ("release who", Recorded),
    ("revert", Acts),
    ("route explain", Recorded),
    ("sample", Acts),
    ("schema", Aside),
    (
        "service endpoints",
        Live(
            "endpoints are not recorded, apart from workload entries",
            "`weft service list --as-of` has who exported the service, `weft get workloadentries --as-of` what was declared.",
        ),
    ),
    ("service list", Recorded),
    ("sidecar run", Acts),
    ("status", Recorded),
    (
        "tap",
        Live(
            "requests are not recorded",
            "`weft route explain --as-of` says where one would have gone by the records.",
        ),
    ),
    ("top", Live("traffic is not recorded", SERVICES)),
    ("version", Aside),
    (
        "wait",
        Live(
            "it waits for what comes",
            "`weft events --as-of` has what had come by then.",
        ),
    ),
];

/// Lets a command with `--as-of` pass, or says why it has no past.
pub(super) fn admit(path: &str, command: &Command) -> Result<(), Problem> {
    let past = COMMANDS.iter().find(|(known, _)| *known == path);
    let refused = |why: &str| Problem::new(code::AS_OF_LIVE, format!("weft {path}: {why}"));
    match past.map_or(Acts, |(_, past)| *past) {
        Recorded => match against(command) {
            Some(why) => Err(refused(why).next("Leave one of the two out.")),
            None => Ok(()),
        },
        Live(why, instead) => Err(refused(why).next(format!("{instead} Or leave --as-of out."))),
        Acts => Err(refused("it acts, and does that now").next(LEAVE_OUT)),
        Aside => Err(refused("it reads no registry").next(LEAVE_OUT)),
    }
}

const LEAVE_OUT: &str = "Leave --as-of out.";

/// A flag that does not go with the past of a command that has one.
fn against(command: &Command) -> Option<&'static str> {
    const CONSISTENT: &str = "--consistent asks the leader for what is there now";
    const WATCH: &str = "-w goes on with what comes";
    match command {
        Command::Get(get) => get.is_consistent().then_some(CONSISTENT),
        Command::Status(status) if status.is_consistent() => Some(CONSISTENT),
        Command::Status(status) => status
            .fails_on_warnings()
            .then_some("problems of then are not recorded: there is nothing to fail on"),
        Command::Events(events) => events.watches().then_some(WATCH),
        Command::Release(release) => release.watches().then_some(WATCH),
        Command::History(history) if history.verifies() => {
            Some("--verify judges all that is kept, as it is kept now")
        }
        Command::History(history) => history
            .compares()
            .then_some("--diff names its two moments itself"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;
    use crate::args::Args;

    /// Every command that can run, by its words.
    fn runnable(command: &clap::Command, words: &str, found: &mut Vec<String>) {
        for below in command.get_subcommands() {
            let words = format!("{words} {}", below.get_name());
            if !below.is_subcommand_required_set() {
                found.push(words.trim().to_owned());
            }
            runnable(below, &words, found);
        }
    }

    #[test]
    fn every_command_says_whether_it_has_a_past() {
        let mut commands = Vec::new();
        runnable(&Args::command(), "", &mut commands);
        commands.sort();
        let mut listed: Vec<&str> = COMMANDS.iter().map(|(words, _)| *words).collect();
        listed.sort_unstable();
        assert_eq!(listed, commands);
    }

    fn admitted(line: &str) -> Result<(), Problem> {
        let words: Vec<_> = line.split(' ').map(std::ffi::OsString::from).collect();
        let args = Args::read(&words).unwrap();
        assert!(args.global.as_of.is_some(), "{line}");
        admit(&args.path, &args.command.unwrap())
    }

    #[test]
    fn what_is_recorded_is_read_as_of_then() {
        for line in [
            "weft status --as-of 41",
            "weft --as-of 41 svc list",
            "weft rel ls --as-of 15m",
            "weft cluster token list --as-of 41",
            "weft history route/shop/web --as-of 41",
            "weft events --since 2h --as-of 41",
            "weft diff -f x.yaml --as-of 41",
        ] {
            assert!(admitted(line).is_ok(), "{line}");
        }
    }

    #[test]
    fn what_has_no_past_says_why_and_what_has() {
        for (line, why, instead) in [
            ("weft top --as-of 41", "weft top: traffic", "service list"),
            ("weft raft leader --as-of 41", "who led", "weft status"),
            ("weft dns explain web.shop --as-of 41", "DNS", "virtual IPs"),
            ("weft delete route web --as-of 41", "it acts", "Leave"),
            ("weft version --as-of 41", "no registry", "Leave"),
            ("weft events -w --as-of 41", "-w goes on", "one of the two"),
            (
                "weft get routes --consistent --as-of 41",
                "leader",
                "one of",
            ),
            (
                "weft status --fail-on warn --as-of 41",
                "problems",
                "one of",
            ),
            ("weft history --verify --as-of 41", "--verify", "one of"),
            ("weft release status x -w --as-of 41", "-w", "one of"),
        ] {
            let problem = admitted(line).unwrap_err();
            assert_eq!(problem.code, code::AS_OF_LIVE, "{line}");
            let next = problem.next.as_deref().unwrap_or_default();
            assert!(problem.what.contains(why), "{line}: {problem}");
            assert!(next.contains(instead), "{line}: {problem}");
        }
    }
}
