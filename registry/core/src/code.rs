//! The error codes: one table for the program, `weft explain` and the documentation.
//!
//! A number is never reused. `1xxx` configuration, `2xxx` identity, `3xxx`
//! tunnels, `4xxx` routing and proxy, `5xxx` releases, `6xxx` registry, `7xxx` DNS.

use std::fmt;

/// A stable error code and what is known about it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Code {
    /// Its number, as in `WEFT-1003`.
    pub number: u16,
    /// What happened, in a few words.
    pub title: &'static str,
    /// Why it happens.
    pub why: &'static str,
    /// What to do next.
    pub next: &'static str,
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "WEFT-{:04}", self.number)
    }
}

impl Code {
    /// Finds a code by `WEFT-1003`, `weft-1003` or `1003`.
    pub fn find(text: &str) -> Option<&'static Code> {
        let digits = text
            .get(..5)
            .filter(|prefix| prefix.eq_ignore_ascii_case("weft-"))
            .map_or(text, |_| &text[5..]);
        let number: u16 = digits.parse().ok()?;
        TABLE.iter().find(|code| code.number == number)
    }
}

macro_rules! codes {
    ($($name:ident = $number:literal, $title:literal, $why:literal, $next:literal;)*) => {
        $(
            #[doc = $title]
            pub const $name: Code = Code { number: $number, title: $title, why: $why, next: $next };
        )*
        /// Every code, by number.
        pub const TABLE: &[Code] = &[$($name),*];
    };
}

codes! {
    FILE_UNREADABLE = 1001, "a file cannot be read or written",
        "The path is wrong, or this user may not use it.",
        "Check the path and its permissions.";
    SYNTAX = 1002, "a file is not valid YAML or JSON",
        "The parser stopped at the line and column shown.",
        "Correct the file there; nothing of it was applied.";
    UNKNOWN_FIELD = 1003, "a field is not known",
        "Fields are checked strictly, so that a misspelt one cannot be ignored in silence.",
        "Use the suggested name, or remove the field; `weft schema` lists all of them.";
    WRONG_VALUE = 1004, "a value has the wrong form",
        "The value does not parse as what the field holds.",
        "Write it in the form shown.";
    NOT_ENFORCED = 1005, "a kind or field is not enforced yet",
        "This version of weft would record it and do nothing, which would mislead you.",
        "Remove it, or use a version that enforces it; docs/status.md says what is enforced.";
    UNKNOWN_KIND = 1006, "a kind is not known",
        "`kind` or `apiVersion` names nothing that weft has.",
        "Use one of the kinds listed in the message.";
    PORT_IN_USE = 1007, "a port is in use",
        "Another process listens on the address.",
        "Stop it (`ss -lpn 'sport = :PORT'` names it), or choose another address in the configuration.";
    FOREIGN_STATE = 1008, "a state folder belongs to another cluster or gateway",
        "The folder was made for other names than the configuration has.",
        "Point stateDir at this gateway's own folder; never move one gateway's folder to another.";
    CORRUPT_STATE = 1009, "a state folder is damaged",
        "A file in it does not read back as it was written.",
        "Keep the folder, remove this gateway (`weft gateway remove`), and join it again with a new token.";
    NO_SPACE = 1010, "the disk is full",
        "A file in the state folder could not be written; nothing that was there is lost.",
        "Free space, then run the command or start the gateway again.";
    NO_CONTEXT = 1011, "no context is selected",
        "The command needs to know which federation to talk to, and as whom.",
        "Run `weft context list`, then `weft context use NAME`; `weft dev` makes one by itself.";
    ALREADY_RUNNING = 1012, "a federation is running here already",
        "One `weft dev` runs at a time for each user.",
        "Use it (`weft dev status`), or stop it (`weft dev down`).";
    INVALID_RESOURCE = 1013, "a resource breaks a rule of its kind",
        "The file parses, but what it asks for cannot be.",
        "Change what the message names; nothing was applied.";
    NOT_MEMBER = 1014, "this gateway belongs to no federation yet",
        "Its state folder holds no membership.",
        "Run `weft cluster init` for the first cluster, or `weft cluster join ADDRESS --token TOKEN`.";
    ALREADY_MEMBER = 1015, "this state folder belongs to a member already",
        "`init` and `join` make new identities and never overwrite existing ones.",
        "Choose an empty folder, or start the gateway with the existing one.";
    USAGE = 1016, "the command was used wrongly",
        "An argument is missing, unknown or contradicts another.",
        "See `weft help COMMAND`.";
    DIFFERENT_FEDERATION = 1017, "the resource names another federation",
        "It was written for other clusters than this federation has.",
        "Check the context with `weft context current`.";
    PROCESS_FAILED = 1018, "a process did not come up",
        "It ended, or it did not say in time that it is ready.",
        "Its output is shown above; its log has the rest.";
    STATE_IN_USE = 1019, "a state folder is in use",
        "Another gateway process has it open.",
        "Stop that process; two never share a folder.";
    WAIT_OVER = 1020, "what was waited for has not come yet",
        "The time given was too short, or something stands in the way.",
        "`weft status` and `weft check` say how things are; wait again, perhaps longer.";

    EXPIRED = 2001, "a certificate has expired, or is not valid yet",
        "The other side's clock or ours is wrong, or renewal has failed for half a lifetime.",
        "Compare the clocks; `weft status` shows when each certificate ends.";
    FOREIGN_TRUST_DOMAIN = 2002, "a certificate comes from a trust domain that is not a member",
        "Nobody in this federation vouches for the CA that signed it.",
        "Check the address; if the cluster was removed, it must join under a new name.";
    TOKEN_USED = 2003, "the token has been used",
        "A token makes one member, once. If you did not use it, someone else did.",
        "Look for an unexpected member (`weft get clusters`), then make a new token.";
    TOKEN_EXPIRED = 2004, "the token has expired",
        "Join tokens live for 10 minutes unless made otherwise.",
        "Make a new one: `weft cluster token create`.";
    TOKEN_REVOKED = 2005, "the token was revoked",
        "An administrator withdrew it.",
        "Ask for a new one.";
    TOKEN_MALFORMED = 2006, "the token does not read",
        "It is no token of this kind, or a part of it is missing or mistyped: a token carries a checksum.",
        "Copy the whole token again; it begins with wj1. or we1.";
    TOKEN_UNKNOWN = 2007, "the token is not known here",
        "It was made for another federation, cluster or workload than the configuration names, or its grant is not applied yet.",
        "Compare the names in the configuration with those the token was made for; then check the address.";
    NOT_AUTHORISED = 2008, "not authorised",
        "Your role does not allow this, or the record belongs to another cluster.",
        "`weft get rolebindings` shows who may; ask an administrator.";
    KEY_PERMISSIONS = 2009, "a key file is readable by others",
        "Private keys must be readable by their owner alone.",
        "chmod 600 the file, and think about who may have read it.";
    KEY_UNREADABLE = 2010, "a private key cannot be opened",
        "The key file or passphrase is missing or not the one it was encrypted with, or the file is damaged.",
        "Bring back the right keyFile; without it the identity is lost and the gateway must join again.";
    NOT_AN_SVID = 2011, "a certificate breaks the X.509-SVID rules",
        "It has not exactly one SPIFFE id, is a CA, or may sign others.",
        "Issue identities through weft; `openssl x509 -text` shows what is wrong with it.";
    WRONG_PEER = 2012, "the other side is someone else",
        "Its certificate is genuine, and names another identity than the one expected there.",
        "Check the address: another member answers on it.";
    PIN_MISMATCH = 2013, "the gateway is not the one the token was made for",
        "The hash of its CA differs from the one in the token.",
        "Check the address; if it is right, someone may be in between: do not go on.";
    NOT_ISSUER = 2014, "this gateway does not issue identities",
        "Only the gateway that holds the cluster's CA does.",
        "Ask another gateway of the cluster.";

    UNREACHABLE = 3001, "a gateway cannot be reached",
        "No TCP connection could be made to its API.",
        "Check that it runs (`weft status` on its host), the address, and the firewall for 7444/tcp.";
    UDP_BLOCKED = 3002, "UDP does not get through",
        "The API answers, but no QUIC packet came back from the tunnel port.",
        "Open 7443/udp both ways.";
    CLOCK_SKEW = 3003, "the clocks differ too much",
        "Certificates are judged by the clock; more than 5 minutes apart breaks trust.",
        "Synchronise both hosts.";
    NAME_UNRESOLVED = 3004, "a host name does not resolve",
        "DNS has no address for it.",
        "Check the spelling, or give an IP address.";
    MTU = 3005, "the path carries only small packets",
        "QUIC needs 1200 bytes of payload in one packet.",
        "Raise the MTU on the path to at least 1280.";
    ISOLATED = 3006, "this gateway reaches no other",
        "Every other gateway is down, or the network in between is.",
        "It goes on with what it last knew; look at the network: `weft netcheck`, and the other gateways' `weft status`.";

    NO_ROUTE = 4001, "no such service",
        "The host name or address names no service that this cluster may see.",
        "`weft service list` shows those it may; `weft route explain` says how a name is read.";
    NO_HEALTHY_UPSTREAM = 4002, "no endpoint is ready",
        "The service exists, and none of its endpoints takes work now.",
        "`weft service endpoints NAMESPACE/NAME` says why each is out.";
    CONNECT_FAILURE = 4003, "an endpoint could not be connected",
        "It, or the way to it, did not answer.",
        "Look at its sidecar's log; it is ejected after repeated failures.";
    UPSTREAM_RESET = 4004, "the endpoint broke the connection",
        "It closed before its answer was complete.",
        "Look at the workload's log.";
    TIMEOUT = 4005, "the endpoint did not answer in time",
        "The time limit of the request or the connection was reached.",
        "`weft service endpoints` shows latencies.";
    NOT_EXPORTED = 4006, "the service is not exported to this cluster",
        "Its ServiceExport does not name the caller's cluster in exportTo.",
        "Change exportTo in the serving cluster.";
    NO_PATH = 4007, "no tunnel to the serving cluster is up",
        "This gateway sees none of that cluster's gateways.",
        "`weft status` lists the tunnels; check UDP between the clusters.";
    OVERLOAD = 4008, "a limit was reached",
        "More connections or requests are waiting than the limit allows.",
        "Scale the service out, or raise the limit.";
    IDENTITY_MISMATCH = 4009, "the endpoint is not who it should be",
        "Its certificate names an identity that may not serve this service.",
        "Check ServiceExport.spec.identities and the workload's service account.";
    BAD_REQUEST = 4010, "the request is malformed",
        "Its framing is ambiguous or broken; guessing would let two programs read it differently.",
        "Correct the client.";
    HEADERS_TOO_LARGE = 4011, "the request's header is too large",
        "At most 100 fields and 60 KiB are taken.",
        "Send less, often fewer cookies.";
    DRAINING = 4012, "the process is draining",
        "It is about to stop and takes no new work.",
        "Retry: another instance answers.";
    NO_SUCH_PORT = 4013, "the service has no such port",
        "The service exists, and none of its exports or endpoints has this port.",
        "`weft service list` shows the ports of each service.";
    ENDPOINT_GONE = 4014, "the chosen endpoint is gone",
        "It was withdrawn between the choice and the connection.",
        "Retry: the next choice uses the current endpoints.";
    BAD_PREAMBLE = 4015, "the gateway refused the relay preamble",
        "The sidecar's session with that gateway has ended, or the preamble was used before.",
        "Retry: the sidecar opens a new session by itself; if it goes on, look at both logs.";
    UPSTREAM_PROTOCOL = 4016, "the endpoint's answer broke its protocol",
        "What came back is not what the port's appProtocol says.",
        "Correct appProtocol in the export or the sidecar's configuration, or the workload.";
    NOT_SUPPORTED = 4017, "the proxy does not do what the request asks for",
        "The scheme is not http, or the app speaks HTTP/2, where upgrades are not carried.",
        "Ask for http, or let the app speak HTTP/1.1; docs/status.md lists what is not carried.";
    NO_RULE = 4020, "no rule matches the request",
        "Routes are for the service, and none of their rules matches: such a request is answered 404.",
        "`weft route explain` shows each rule and what the request lacks; add a rule without matches for the rest.";
    NO_BACKEND = 4021, "the rule that matches has no such backend",
        "It names a service or port that is not known here, or all its weights are 0.",
        "Compare the route's backendRefs with `weft service list`.";
    REQUEST_STALLED = 4030, "the client stopped sending the request",
        "A part of the request's body did not come in time, though it was waited for.",
        "Look at the client and the network between; spec.http.bodyTimeout says how long is waited.";
    NFT_MISSING = 4031, "the nft program is not there",
        "Capture is made of nftables rules, and nft brings them to the kernel.",
        "Install it: `apt install nftables`, or your system's package of that name.";
    NOT_PRIVILEGED = 4032, "this user may not change the kernel's rules",
        "It takes CAP_NET_ADMIN in the network namespace that is to be captured.",
        "Run the command as root there; `--dry-run` prints what it would do without.";
    NFT_REFUSED = 4033, "the kernel refused the capture rules",
        "It lacks NAT in nftables for family inet (Linux 5.2, modules nft_redir and nf_conntrack), or nft is too old.",
        "What nft said is shown; `modprobe nft_redir`, or `weft capture on --dry-run` and nft by hand, say more.";
    NO_SUCH_PLACE = 4040, "there is no such cluster or region",
        "No member of the federation, as this gateway has applied it, has that name or that region.",
        "`weft status` lists clusters with their regions.";
    NOT_A_TAP = 4041, "a file is not what a tap wrote",
        "`weft tap --read` reads lines of `weft tap -o ndjson`, of this version of their format.",
        "Check the file at the line shown; a newer weft may read it.";
    RELAY_DENIED = 4042, "the cluster in between does not relay",
        "Its Cluster resource says relay: deny, or nothing, or its gateway has not heard of the change yet.",
        "Its administrator may set `relay: allow`; or mend the direct path: `weft netcheck`.";
    RELAY_TICKET = 4043, "a relay ticket does not hold",
        "It is forged, was used before, is for another gateway, or the clocks differ by more than five minutes.",
        "Compare the clocks with `weft netcheck`; if they agree, somebody tries tickets that are not theirs.";
    RELAY_QUOTA = 4044, "the cluster in between carries all that it may",
        "It holds 16 connections at once for each cluster that it relays for.",
        "Mend the direct path, or let another cluster consent to relay as well.";
    RELAY_NO_PATH = 4045, "the cluster in between does not reach the other either",
        "A detour has one hop: whoever carries must reach both directly.",
        "`weft top tunnels` shows who reaches whom.";

    RELEASES_LATER = 5001, "releases are not enforced yet (retired)",
        "Versions before releases said so; this one enforces them and never says it.",
        "Upgrade what still says it.";
    RELEASE_UNKNOWN = 5002, "there is no such release",
        "The registry, as this gateway has applied it, holds no release of that name.",
        "`weft get releases` lists them; mind the namespace (-n).";
    RELEASE_OTHER = 5003, "another release of the service is under way",
        "A service has one release at a time, so that each change of its traffic has one cause.",
        "Complete or abort the one that the message names, then start this one.";
    RELEASE_MOVED = 5004, "the release has moved on",
        "It is not at the stage, or not the run, that the command was made for: somebody moved it first.",
        "Look at it again, then decide.";
    RELEASE_PHASE = 5005, "the release's phase does not allow this",
        "Only what is under way is promoted, paused or resumed, and only what has ended is deleted.",
        "`weft describe release NAME` shows its phase and what was done with it.";
    RELEASE_FIXED = 5006, "the release is under way, and its spec is fixed",
        "What operators have approved step by step does not change under them.",
        "Abort it and apply the new spec, or give the new one another name.";
    RELEASE_SUPERSEDED = 5007, "a later release of the service counts",
        "Another release of the same service was started after this one, which is history since.",
        "Move the later one; this one can only be deleted.";
    RELEASE_PLACE = 5008, "the release has no such wave or stage",
        "The name or number is none of its spec's.",
        "`weft describe release NAME` shows its waves and steps.";

    RELEASE_VERSION = 5020, "no endpoint serves with that version",
        "The release names a version that no endpoint of the service has, or none of its stable ones is ready.",
        "`weft service endpoints NAMESPACE/NAME` shows the versions; start it with --force if they are to come.";
    RELEASE_THIN = 5021, "too few endpoints are ready for the release",
        "Where a version has none, its callers cross to another region; without a canary everybody meets stable.",
        "Start endpoints of the version there, or take the region out of the wave.";
    RELEASE_STARVED = 5022, "endpoints of other versions get nothing",
        "While a release is in effect, its service is served by its two versions alone.",
        "Give those endpoints one of the two versions, or leave them idle.";
    RELEASE_UNSEEN = 5023, "a region cannot be seen",
        "No gateway of it has been heard for a while: callers there go by the last entry that reached them.",
        "`weft status` says which tunnels are down. It does not advance meanwhile, and a local abort there works.";
    RELEASE_AUDIENCE = 5024, "the audience cannot be told there",
        "An audience is a matter of requests; on a port that carries bytes everybody meets the stable version.",
        "Leave the audience out, or let that port carry HTTP.";
    CLAMP_REGION = 5025, "a gateway clamps its own region alone",
        "A clamp lowers what one region's callers meet, and is made by a gateway of that region.",
        "Name a cluster of the region with --cluster, or abort for everybody without --local.";
    CLAMPS_FULL = 5026, "too many clamps are in force",
        "A cluster's gateways keep a bounded number of them, so that none can fill another's disk.",
        "Resume the releases that no longer need theirs: `weft release list` shows them.";
    CLAMP_NOT_KEPT = 5027, "the clamp is in force, but not on the gateway's disk",
        "Nobody in the region meets the canary any more, and other gateways know. A restart of this gateway before its disk takes the clamp would lose it.",
        "Free space there: it is written by itself then. To know that it is, give the order again.";
    CLAMPS_DAMAGED = 5028, "the file of clamps is damaged",
        "It does not read back as it was written, so that weights may be higher than somebody allowed.",
        "Move clamps.pb out of the state folder, start the gateway, and repeat local aborts that `weft release status` no longer shows.";
    RELEASE_ENDED = 5029, "the release has ended",
        "It came to another end than the one that was waited for, or ended with this very spec before.",
        "`weft release history NAME` says how. To run the same spec anew, delete it first.";
    RELEASE_NO_WAY_BACK = 5030, "that is no earlier stage of the release",
        "`rollback --to` takes the release back to the stage that it was at after a change of this run, and raises nothing.",
        "Take an index from `weft release history NAME`, or leave --to out: then nobody meets the canary.";

    NO_LEADER = 6001, "the registry has no leader",
        "A majority of its voters cannot reach each other. Reads, DNS and traffic go on.",
        "Retry; `weft raft members` shows who is missing. Nothing was written.";
    OUTCOME_UNKNOWN = 6002, "the write's outcome is not known",
        "The answer did not arrive in time. It may still be applied, at most once.",
        "Read the record, then decide.";
    REFUSED = 6003, "the registry refused the write",
        "Every replica came to the same verdict; nothing was changed.",
        "The message says what would be right.";
    STALE_INDEX = 6004, "the federation has changed since",
        "--if-index gave a position, and the record changed after it.",
        "Look at the difference (`weft diff`), then apply again.";
    DISK = 6005, "the log could not be written",
        "The disk failed a write or a sync, not for want of room. The gateway stops rather than acknowledge what may be lost.",
        "Check the disk; start the gateway again.";
    COMPACTED = 6006, "the history asked for is gone",
        "Each gateway keeps a bounded history; one that was brought up by a snapshot keeps what came after it.",
        "Ask another gateway (--cluster), whose history may reach further back; or read the current state, and watch from its index.";
    TOO_LARGE = 6007, "the record is too large",
        "One log entry holds at most 256 KiB.",
        "Split it.";
    QUARANTINED = 6008, "a committed record could not be read",
        "It was kept aside and changed nothing.",
        "Upgrade this gateway if others are newer; `weft status` shows the index.";
    READ_ONLY = 6009, "the gateway's disk is full",
        "Its log has no room to grow, so it takes no writes. Reads, DNS and traffic go on, and nothing acknowledged is lost.",
        "Free space under its stateDir: it goes on by itself within seconds. Or write through another gateway.";
    NOT_FOUND = 6010, "the resource does not exist",
        "The registry, as this gateway has applied it, holds no resource of that kind and name.",
        "`weft get KIND` lists those that do; mind the namespace (-n).";

    NOT_YET = 6030, "the log is not known that far here yet",
        "The log, as this gateway has applied it, ends before the index that was asked for; or the time asked for is later than when it last heard a leader, or than its clock.",
        "`weft raft members` shows how far the log is; ask again, ask for an earlier moment, or ask another gateway (--cluster).";
    AS_OF_LIVE = 6031, "there is no past of what is asked for",
        "--as-of reads what the log records: resources, members, gateways, tokens, and who changed them. Endpoints, tunnels, paths, who leads, traffic, clamps and what DNS answered are in no entry of it.",
        "Leave --as-of out to see them as they are now; `weft status --as-of` says what was recorded.";
    HISTORY_DAMAGED = 6032, "the gateway's history is damaged",
        "What its disk holds of the past does not read back as it was written. The state now is not affected.",
        "Ask another gateway (--cluster). Check the disk; join the gateway again if it goes on.";
    TRAIL_BROKEN = 6033, "the audit trail does not hold",
        "An entry that this gateway keeps is not what its author signed, or did not do what its state says.",
        "Compare with another gateway (`weft history --verify --cluster NAME`); do not trust this one's disk.";
    NOT_REVERSIBLE = 6034, "the change cannot be undone",
        "Some changes have effects outside the registry, or their record was made anew since.",
        "The message says what can be done instead.";
    DIVERGED = 6035, "a replica's state is not the others'",
        "At the same log position a majority has another state: its disk or memory has changed what it holds. It is fenced, over restarts too: it neither votes nor leads nor writes, and serves what it last had, marked stale.",
        "`weft raft repair --cluster NAME` has the leader's state take its place. Then check that host's disk and memory.";
    SPLIT = 6036, "replicas differ, and none is of a majority",
        "At the same log position gateways have different states, and too few agree to say who is right.",
        "`weft history --verify --cluster NAME` on each says whose trail holds; add a gateway, or restore from the one that does.";
    OUTRANKED = 6037, "the registry was founded anew without this gateway",
        "Its group had lost the majority, or seemed to, and an operator founded it anew on another gateway. What this one alone had committed is not in it. It writes nothing, and serves what it last had, marked stale.",
        "Keep its stateDir if what it alone holds matters (`weft raft inspect`). Then empty it, and join it again with a token.";
    AHEAD = 6038, "another gateway's log holds more",
        "To found the registry anew from this log would lose what the other one has, which may have been acknowledged.",
        "Run `weft raft recover` on the gateway that is named.";
    NOT_A_BACKUP = 6039, "the file is no sound backup",
        "It is another kind of file, was cut off or changed, or a newer program wrote it.",
        "Take another copy; `weft backup inspect FILE` says whether one is sound.";
    NOTHING_TO_RECOVER = 6040, "there is nothing to found the registry anew from",
        "This gateway's folder holds no state of the federation yet, or the federation does not know it as a gateway any more.",
        "Do it on another gateway; `weft raft inspect` on each says what it holds.";
    ROLE_SETTLED = 6041, "the gateway's role is settled",
        "A gateway is a member or a follower from when it joins on: what may have voted must not begin to forget, and what has forgotten must not begin to vote.",
        "Set role in gateway.yaml to what it was. To change it, `weft gateway remove`, empty its stateDir, and join it again with a token.";
    FOLLOWS_NOBODY = 6042, "a cluster's first gateway cannot be a follower",
        "It holds the cluster's CA, and is who a follower asks where the others are.",
        "Leave out `role: follower` here, or join through a gateway of this gateway's own cluster.";
    EARLY = 6043, "not every gateway can read that yet",
        "The record belongs to a format level that comes into force once every gateway knows it. An older gateway would read something else, so it is not taken into the log.",
        "Upgrade the gateways that run an older version, and remove those that are gone for good (`weft gateway remove`). The level rises by itself; then write again.";

    NOT_OUR_NAME = 7001, "the name is in none of weft's zones",
        "Only clusterset.local and the federation's own zone are answered here; others are forwarded.",
        "Configure dns.upstreams to forward it.";
    NO_SUCH_NAME = 7002, "the name does not exist",
        "No service of that name is visible to this cluster.",
        "`weft dns explain NAME` shows how it was read and what is near.";
    CANNOT_KNOW = 7003, "the answer cannot be known now",
        "This gateway has no state yet, or has not heard of the endpoints asked for.",
        "Retry; `weft status` shows the index and its age.";
    UPSTREAM_FAILED = 7004, "no upstream resolver answered",
        "The question is not weft's, and those it was forwarded to were silent.",
        "Check dns.upstreams.";
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_rise_and_every_text_is_a_sentence() {
        assert!(TABLE.is_sorted_by(|a, b| a.number < b.number));
        for code in TABLE {
            for text in [code.why, code.next] {
                assert!(
                    text.ends_with(['.', '?']) || code.number == 2006,
                    "{code}: {text}"
                );
            }
        }
    }

    #[test]
    fn a_code_is_found_in_every_spelling() {
        for spelling in ["WEFT-1007", "weft-1007", "1007"] {
            assert_eq!(Code::find(spelling), Some(&PORT_IN_USE));
        }
        for wrong in ["", "WEFT-", "WEFT-9999", "wéft-1"] {
            assert_eq!(Code::find(wrong), None, "{wrong}");
        }
    }
}
