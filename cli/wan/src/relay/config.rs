//! Which sites there are, what lies between them, and where it is dialled.

use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use thiserror::Error;

use crate::spec::LinkSpec;

/// The name of a site; a gateway's, say.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SiteId(Arc<str>);

impl From<&str> for SiteId {
    fn from(name: &str) -> Self {
        Self(name.into())
    }
}

impl fmt::Display for SiteId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Two sites in order: one direction.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Pair {
    /// Where packets come from.
    pub from: SiteId,
    /// Where they go.
    pub to: SiteId,
}

impl Pair {
    /// The direction from `from` to `to`.
    pub fn new(from: impl Into<SiteId>, to: impl Into<SiteId>) -> Self {
        Self {
            from: from.into(),
            to: to.into(),
        }
    }

    /// The other direction.
    #[must_use]
    pub fn reverse(&self) -> Self {
        Self {
            from: self.to.clone(),
            to: self.from.clone(),
        }
    }

    /// Whether `site` is one of the two.
    pub(super) fn touches(&self, site: &SiteId) -> bool {
        self.from == *site || self.to == *site
    }
}

impl fmt::Display for Pair {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}→{}", self.from, self.to)
    }
}

/// A process with a UDP socket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Site {
    /// Its name.
    pub id: SiteId,
    /// The address it is bound to. The relay binds flows of this site's packets
    /// to its IP, so it must be one of this machine's.
    pub address: SocketAddr,
}

/// An address that stands for a site.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Front {
    /// What clients dial; port 0 takes a free one, see
    /// [`Relay::front_addresses`](super::Relay::front_addresses).
    pub listen: SocketAddr,
    /// The site they reach.
    pub target: SiteId,
    /// Whose packets arrive here.
    pub origin: Origin,
}

/// How a front knows where a packet comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// Everything that arrives comes from this site.
    Site(SiteId),
    /// From the site whose IP address the client has; packets from anywhere
    /// else are dropped and counted. Clients must dial from a socket bound to
    /// that address.
    ByAddress,
}

/// All that a relay is made of.
#[derive(Clone, Debug)]
pub struct RelayConfig {
    /// Decides, with the names of the two sites, what each link does.
    pub seed: u64,
    /// The processes to join.
    pub sites: Vec<Site>,
    /// What lies between them; a pair left out has a perfect link.
    pub links: BTreeMap<Pair, LinkSpec>,
    /// Where they are dialled.
    pub fronts: Vec<Front>,
    /// Most flows at a time over all fronts, one socket each. Default 1024. A
    /// packet that would need one more is dropped and counted.
    pub flows_max: usize,
    /// A flow without a packet in either direction for this long is forgotten;
    /// the client's next packet then comes from another port. Default 60 s.
    pub flow_idle_max: Duration,
}

impl RelayConfig {
    /// A relay without sites.
    pub fn new(seed: u64) -> Self {
        Self {
            seed,
            sites: Vec::new(),
            links: BTreeMap::new(),
            fronts: Vec::new(),
            flows_max: 1024,
            flow_idle_max: Duration::from_secs(60),
        }
    }

    /// Adds a process.
    #[must_use]
    pub fn site(mut self, id: impl Into<SiteId>, address: SocketAddr) -> Self {
        self.sites.push(Site {
            id: id.into(),
            address,
        });
        self
    }

    /// Says what lies between two sites, in one direction.
    #[must_use]
    pub fn link(mut self, from: impl Into<SiteId>, to: impl Into<SiteId>, spec: LinkSpec) -> Self {
        self.links.insert(Pair::new(from, to), spec);
        self
    }

    /// Adds an address that stands for `target`.
    #[must_use]
    pub fn front(mut self, listen: SocketAddr, target: impl Into<SiteId>, origin: Origin) -> Self {
        self.fronts.push(Front {
            listen,
            target: target.into(),
            origin,
        });
        self
    }

    /// Checks that every name is known and every front can work.
    pub(super) fn validate(&self) -> Result<(), ConfigError> {
        for (index, site) in self.sites.iter().enumerate() {
            if self.sites[..index].iter().any(|other| other.id == site.id) {
                return Err(ConfigError::DuplicateSite(site.id.clone()));
            }
        }
        for pair in self.links.keys() {
            self.address_of(&pair.from)?;
            self.address_of(&pair.to)?;
            if pair.from == pair.to {
                return Err(ConfigError::SelfLink(pair.from.clone()));
            }
        }
        self.fronts
            .iter()
            .try_for_each(|front| self.validate_front(front))
    }

    fn validate_front(&self, front: &Front) -> Result<(), ConfigError> {
        let target = self.address_of(&front.target)?;
        if let Some(site) = self.sites.iter().find(|site| site.address == front.listen) {
            return Err(ConfigError::FrontOnSite {
                listen: front.listen,
                site: site.id.clone(),
            });
        }
        let families_differ = |address: SocketAddr| address.is_ipv4() != target.is_ipv4();
        match &front.origin {
            Origin::Site(id) if *id == front.target => Err(ConfigError::SelfLink(id.clone())),
            Origin::Site(id) if families_differ(self.address_of(id)?) => Err(
                ConfigError::Families(Pair::new(id.clone(), front.target.clone())),
            ),
            Origin::Site(_) => Ok(()),
            Origin::ByAddress => self.validate_addresses_differ(),
        }
    }

    fn validate_addresses_differ(&self) -> Result<(), ConfigError> {
        for (index, site) in self.sites.iter().enumerate() {
            let same_ip = |other: &&Site| other.address.ip() == site.address.ip();
            if let Some(other) = self.sites[..index].iter().find(same_ip) {
                return Err(ConfigError::SharedAddress(
                    other.id.clone(),
                    site.id.clone(),
                ));
            }
        }
        Ok(())
    }

    fn address_of(&self, id: &SiteId) -> Result<SocketAddr, ConfigError> {
        let site = self.sites.iter().find(|site| site.id == *id);
        site.map(|site| site.address)
            .ok_or_else(|| ConfigError::UnknownSite(id.clone()))
    }
}

/// A configuration that describes no relay.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum ConfigError {
    /// A link or front names a site that is not there.
    #[error("no site is called {0}")]
    UnknownSite(SiteId),
    /// Two sites with one name.
    #[error("two sites are called {0}")]
    DuplicateSite(SiteId),
    /// A link from a site to itself.
    #[error("a link from {0} to itself")]
    SelfLink(SiteId),
    /// A front would take the address of a site.
    #[error("front {listen} is the address of {site} itself")]
    FrontOnSite {
        /// The front's address.
        listen: SocketAddr,
        /// Whose it is.
        site: SiteId,
    },
    /// Two sites on one IP cannot be told apart by address.
    #[error("{0} and {1} share an IP address, so a front cannot tell them apart by it")]
    SharedAddress(SiteId, SiteId),
    /// One side is IPv4 and the other IPv6.
    #[error("{0} joins an IPv4 site with an IPv6 one")]
    Families(Pair),
}

#[cfg(test)]
mod tests {
    use super::*;

    fn two_sites() -> RelayConfig {
        RelayConfig::new(0)
            .site("a", "127.1.0.1:7443".parse().unwrap())
            .site("b", "127.2.0.1:7443".parse().unwrap())
    }

    fn check(config: &RelayConfig, expect: ConfigError) {
        assert_eq!(config.validate(), Err(expect));
    }

    #[test]
    fn mistakes_are_named() {
        let free: SocketAddr = "127.2.0.1:17443".parse().unwrap();
        let spec = LinkSpec::default();
        let taken = "127.2.0.1:7443".parse().unwrap();
        let v6 = two_sites().site("c", "[::1]:7443".parse().unwrap());
        let a = SiteId::from("a");

        check(
            &two_sites().link("a", "x", spec),
            ConfigError::UnknownSite("x".into()),
        );
        check(
            &two_sites().site("a", free),
            ConfigError::DuplicateSite(a.clone()),
        );
        check(
            &two_sites().link("a", "a", spec),
            ConfigError::SelfLink(a.clone()),
        );
        check(
            &two_sites().front(taken, "b", Origin::ByAddress),
            ConfigError::FrontOnSite {
                listen: taken,
                site: "b".into(),
            },
        );
        check(
            &two_sites().site("c", free).front(
                "127.2.0.1:1".parse().unwrap(),
                "a",
                Origin::ByAddress,
            ),
            ConfigError::SharedAddress("b".into(), "c".into()),
        );
        check(
            &v6.front(free, "c", Origin::Site(a)),
            ConfigError::Families(Pair::new("a", "c")),
        );
        assert_eq!(
            two_sites().front(free, "b", Origin::ByAddress).validate(),
            Ok(())
        );
    }
}
