//! The kernel's rules, as the text that `nft` reads. Pure.
//!
//! Everything is in one table of ours, so that one transaction brings it, and
//! removing the table takes it all back. The text is written as `nft list table`
//! writes it, so that what the kernel has can be compared with what it should have.

use std::collections::BTreeSet;
use std::fmt::Write;
use std::num::NonZeroU16;

use ipnet::IpNet;

use crate::config::Capture;

/// Which of the tables: a machine may have a gateway and a sidecar.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Table {
    /// What programs of this machine send goes to its sidecar.
    Sidecar,
    /// What reaches this machine for its cluster's virtual IPs goes to its gateway.
    Gateway,
}

impl Table {
    /// Its name in the kernel; its family is `inet`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Sidecar => "weft",
            Self::Gateway => "weft_gateway",
        }
    }

    /// Removes it, whether it is there or not; nothing else is touched.
    pub fn removal(self) -> String {
        let name = self.name();
        // The first line makes sure that there is something to delete.
        format!("table inet {name}\ndelete table inet {name}\n")
    }

    fn chains(self) -> &'static [(&'static str, i16)] {
        match self {
            // -100 is the kernel's own place for destination NAT.
            Self::Sidecar => &[("output", -100)],
            // After the sidecar's table: of two NAT chains the first that matches decides.
            Self::Gateway => &[("prerouting", -90), ("output", -90)],
        }
    }
}

/// What is redirected where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rules {
    /// Their table.
    pub table: Table,
    /// Users whose packets are left alone.
    pub exempt: BTreeSet<u32>,
    /// Destinations, in order, none inside another.
    pub ranges: Vec<IpNet>,
    /// Where TCP to them goes.
    pub port: NonZeroU16,
    /// Where DNS to anybody goes.
    pub dns: Option<NonZeroU16>,
}

impl From<&Capture> for Rules {
    fn from(capture: &Capture) -> Self {
        Self {
            table: Table::Sidecar,
            exempt: capture.exempt.clone(),
            ranges: capture.ranges.clone(),
            port: capture.port,
            dns: capture.dns.as_ref().map(|dns| dns.port),
        }
    }
}

/// The families of addresses: nft's word, its set's name and type.
const FAMILIES: [(&str, &str, &str); 2] = [
    ("ip", "services4", "ipv4_addr"),
    ("ip6", "services6", "ipv6_addr"),
];

impl Rules {
    /// One transaction that replaces whatever the table held.
    pub fn script(&self) -> String {
        format!("{}{}", self.table.removal(), self.text())
    }

    /// Whether `listed`, as `nft list table` printed it, is these rules.
    pub fn equal(&self, listed: &str) -> bool {
        listed.split_whitespace().eq(self.text().split_whitespace())
    }

    /// The table as `nft` lists it, but for line breaks.
    pub fn text(&self) -> String {
        let mut text = format!("table inet {} {{\n", self.table.name());
        for (at, (_, set, kind)) in FAMILIES.into_iter().enumerate() {
            let members = self.members(at);
            if members.is_empty() {
                continue;
            }
            text += &format!(
                "\tset {set} {{\n\t\ttype {kind}\n\t\tflags interval\n\t\telements = {{ {} }}\n\t}}\n\n",
                members.join(", ")
            );
        }
        for (hook, priority) in self.table.chains() {
            text += &format!(
                "\tchain {hook} {{\n\t\ttype nat hook {hook} priority {priority}; policy accept;\n"
            );
            self.write_chain(&mut text, hook);
            text += "\t}\n";
        }
        text + "}\n"
    }

    fn write_chain(&self, text: &mut String, hook: &str) {
        let mut rule = |words: String| {
            writeln!(text, "\t\t{words}").expect("a string takes any text");
        };
        // A packet from elsewhere has no user here.
        if hook == "output"
            && let Some(users) = self.users()
        {
            rule(format!("meta skuid {users} return"));
        }
        for (at, (family, set, _)) in FAMILIES.into_iter().enumerate() {
            if !self.members(at).is_empty() {
                let port = self.port;
                rule(format!(
                    "{family} daddr @{set} meta l4proto tcp redirect to :{port}"
                ));
            }
        }
        if let Some(port) = self.dns {
            // Without an IPv6 range nobody listens on IPv6 loopback.
            let family = match self.members(1).is_empty() {
                true => "meta nfproto ipv4 ",
                false => "",
            };
            for protocol in ["udp", "tcp"] {
                rule(format!("{family}{protocol} dport 53 redirect to :{port}"));
            }
        }
    }

    fn users(&self) -> Option<String> {
        let users: Vec<String> = self.exempt.iter().map(ToString::to_string).collect();
        match &users[..] {
            [] => None,
            // nft may list a set of one as its member.
            [user] => Some(user.clone()),
            many => Some(format!("{{ {} }}", many.join(", "))),
        }
    }

    /// The ranges of a family as nft lists them: a single address has no length.
    fn members(&self, family: usize) -> Vec<String> {
        let own = |net: &&IpNet| usize::from(net.addr().is_ipv6()) == family;
        let shown = |net: &IpNet| match net.prefix_len() == net.max_prefix_len() {
            true => net.addr().to_string(),
            false => net.trunc().to_string(),
        };
        self.ranges.iter().filter(own).map(shown).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rules(table: Table, exempt: &[u32], ranges: &[&str], dns: Option<u16>) -> Rules {
        Rules {
            table,
            exempt: exempt.iter().copied().collect(),
            ranges: ranges.iter().map(|range| range.parse().unwrap()).collect(),
            port: NonZeroU16::new(15002).unwrap(),
            dns: dns.and_then(NonZeroU16::new),
        }
    }

    #[test]
    fn a_sidecars_rules_leave_its_user_out_first() {
        let rules = rules(
            Table::Sidecar,
            &[0, 1337],
            &["240.0.0.0/4", "fd00:77::/64"],
            Some(15053),
        );
        let expect = "\
table inet weft {
	set services4 {
		type ipv4_addr
		flags interval
		elements = { 240.0.0.0/4 }
	}

	set services6 {
		type ipv6_addr
		flags interval
		elements = { fd00:77::/64 }
	}

	chain output {
		type nat hook output priority -100; policy accept;
		meta skuid { 0, 1337 } return
		ip daddr @services4 meta l4proto tcp redirect to :15002
		ip6 daddr @services6 meta l4proto tcp redirect to :15002
		udp dport 53 redirect to :15053
		tcp dport 53 redirect to :15053
	}
}
";
        assert_eq!(rules.text(), expect);
        assert!(rules.equal(expect));
        assert!(!rules.equal(&expect.replace("1337", "1338")));
        let script = rules.script();
        assert!(script.starts_with("table inet weft\ndelete table inet weft\ntable inet weft {\n"));
    }

    #[test]
    fn without_ipv6_no_rule_speaks_of_it() {
        let text = rules(Table::Sidecar, &[7], &["240.0.0.1/32"], Some(53)).text();
        assert!(!text.contains("services6"), "{text}");
        assert!(text.contains("elements = { 240.0.0.1 }"), "{text}");
        assert!(text.contains("meta skuid 7 return"), "{text}");
        assert!(text.contains("meta nfproto ipv4 udp dport 53"), "{text}");
    }

    #[test]
    fn a_gateways_rules_take_what_comes_from_elsewhere() {
        let text = rules(Table::Gateway, &[], &["240.1.0.0/16"], None).text();
        assert!(text.contains("hook prerouting priority -90"), "{text}");
        assert!(!text.contains("skuid") && !text.contains("dport"), "{text}");
    }
}
