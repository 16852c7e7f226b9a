//! Members, gateways, tokens, signers and roles.

use weft_model::{
    ClusterRole, ClusterSpec, FormatLevel, Founding, GatewayRecord, GatewayRole, Percent,
    Redemption, RelayConsent, Role, RoleBindingSpec, SignerEpoch, SignerRecord, TokenGrant,
    VirtualIpRanges, WallTime,
};
use weft_proto::log;

use super::field::{
    WireError, choice, ders, id_bytes, invalid, key_bytes, name, names, optional, present,
    public_key, read_ders, text, texts, token, unspecified,
};

pub(super) fn write_role(role: ClusterRole) -> i32 {
    let role = match role {
        ClusterRole::Voter => log::ClusterRole::Voter,
        ClusterRole::Member => log::ClusterRole::Member,
        ClusterRole::Witness => log::ClusterRole::Witness,
    };
    role.into()
}

pub(super) fn read_role(number: i32) -> Result<ClusterRole, WireError> {
    match choice("role", number)? {
        log::ClusterRole::Unspecified => Err(unspecified("role")),
        log::ClusterRole::Voter => Ok(ClusterRole::Voter),
        log::ClusterRole::Member => Ok(ClusterRole::Member),
        log::ClusterRole::Witness => Ok(ClusterRole::Witness),
    }
}

pub(super) fn write_spec(spec: &ClusterSpec) -> log::ClusterSpec {
    let ClusterSpec {
        region,
        role,
        relay,
        drain,
        max_share,
        namespaces,
        virtual_ips,
    } = spec;
    log::ClusterSpec {
        region: region.to_string(),
        role: write_role(*role),
        relay: *relay == RelayConsent::Allow,
        drain: *drain,
        namespaces: texts(namespaces),
        virtual_ipv4: virtual_ips.ipv4.to_string(),
        virtual_ipv6: text(virtual_ips.ipv6),
        max_share: max_share.map(|share| share.value().into()),
    }
}

pub(super) fn read_spec(spec: &log::ClusterSpec) -> Result<ClusterSpec, WireError> {
    Ok(ClusterSpec {
        region: name("spec.region", &spec.region)?,
        role: read_role(spec.role)?,
        relay: match spec.relay {
            true => RelayConsent::Allow,
            false => RelayConsent::Deny,
        },
        drain: spec.drain,
        max_share: spec.max_share.map(read_share).transpose()?,
        namespaces: names("spec.namespaces", &spec.namespaces)?,
        virtual_ips: VirtualIpRanges {
            ipv4: name("spec.virtual_ipv4", &spec.virtual_ipv4)?,
            ipv6: optional("spec.virtual_ipv6", &spec.virtual_ipv6)?,
        },
    })
}

fn read_share(percent: u32) -> Result<Percent, WireError> {
    let share = u8::try_from(percent).ok().and_then(Percent::new);
    share.ok_or_else(|| {
        invalid(
            "spec.max_share",
            format_args!("{percent} is above 100 percent"),
        )
    })
}

pub(super) fn write_gateway(gateway: &GatewayRecord) -> log::Gateway {
    let GatewayRecord {
        name,
        tunnel,
        api,
        key,
        format,
        role,
    } = gateway;
    log::Gateway {
        name: name.to_string(),
        tunnel: text(tunnel.as_ref()),
        api: text(api.as_ref()),
        key: key_bytes(key),
        format: format.0,
        follower: *role == GatewayRole::Follower,
    }
}

pub(super) fn read_gateway(gateway: &log::Gateway) -> Result<GatewayRecord, WireError> {
    Ok(GatewayRecord {
        name: name("gateway.name", &gateway.name)?,
        tunnel: optional("gateway.tunnel", &gateway.tunnel)?,
        api: optional("gateway.api", &gateway.api)?,
        key: public_key("gateway.key", &gateway.key)?,
        format: FormatLevel(gateway.format),
        role: match gateway.follower {
            true => GatewayRole::Follower,
            false => GatewayRole::Member,
        },
    })
}

pub(super) fn write_founding(founding: &Founding) -> log::Founding {
    let Founding {
        domain,
        cluster,
        spec,
        bundle,
        operators,
        gateway,
        admin: (admin, admin_key),
    } = founding;
    log::Founding {
        domain: domain.to_string(),
        cluster: cluster.to_string(),
        spec: Some(write_spec(spec)),
        bundle: ders(bundle),
        operators: ders(operators),
        gateway: Some(write_gateway(gateway)),
        admin: admin.to_string(),
        admin_key: key_bytes(admin_key),
    }
}

pub(super) fn read_founding(founding: &log::Founding) -> Result<Founding, WireError> {
    Ok(Founding {
        domain: name("domain", &founding.domain)?,
        cluster: name("cluster", &founding.cluster)?,
        spec: read_spec(present("spec", founding.spec.as_ref())?)?,
        bundle: read_ders(&founding.bundle),
        operators: read_ders(&founding.operators),
        gateway: read_gateway(present("gateway", founding.gateway.as_ref())?)?,
        admin: (
            name("admin", &founding.admin)?,
            public_key("admin_key", &founding.admin_key)?,
        ),
    })
}

pub(super) fn write_grant(grant: &TokenGrant) -> log::TokenGrant {
    let TokenGrant {
        key,
        cluster,
        region,
        role,
        expires,
    } = grant;
    log::TokenGrant {
        key: key_bytes(key),
        cluster: cluster.to_string(),
        region: region.to_string(),
        role: write_role(*role),
        expires_ms: expires.0,
    }
}

pub(super) fn read_grant(grant: &log::TokenGrant) -> Result<TokenGrant, WireError> {
    Ok(TokenGrant {
        key: public_key("key", &grant.key)?,
        cluster: name("cluster", &grant.cluster)?,
        region: name("region", &grant.region)?,
        role: read_role(grant.role)?,
        expires: WallTime(grant.expires_ms),
    })
}

pub(super) fn write_redemption(redemption: &Redemption) -> log::Redemption {
    let Redemption {
        token,
        bundle,
        spec,
        gateway,
    } = redemption;
    log::Redemption {
        token: id_bytes(&token.0),
        bundle: ders(bundle),
        spec: Some(write_spec(spec)),
        gateway: Some(write_gateway(gateway)),
    }
}

pub(super) fn read_redemption(redemption: &log::Redemption) -> Result<Redemption, WireError> {
    Ok(Redemption {
        token: token("token", &redemption.token)?,
        bundle: read_ders(&redemption.bundle),
        spec: read_spec(present("spec", redemption.spec.as_ref())?)?,
        gateway: read_gateway(present("gateway", redemption.gateway.as_ref())?)?,
    })
}

pub(super) fn write_signer(signer: &SignerRecord) -> log::Signer {
    let SignerRecord { user, epoch, key } = signer;
    log::Signer {
        user: user.to_string(),
        epoch: epoch.0,
        key: key_bytes(key),
    }
}

pub(super) fn read_signer(signer: &log::Signer) -> Result<SignerRecord, WireError> {
    Ok(SignerRecord {
        user: name("user", &signer.user)?,
        epoch: SignerEpoch(signer.epoch),
        key: public_key("key", &signer.key)?,
    })
}

pub(super) fn write_binding(binding: &RoleBindingSpec) -> log::RoleBindingSpec {
    let role = match binding.role {
        Role::Viewer => log::Role::Viewer,
        Role::Operator => log::Role::Operator,
        Role::Admin => log::Role::Admin,
    };
    log::RoleBindingSpec {
        role: role.into(),
        users: texts(&binding.users),
    }
}

pub(super) fn read_binding(binding: &log::RoleBindingSpec) -> Result<RoleBindingSpec, WireError> {
    let role = match choice("role", binding.role)? {
        log::Role::Unspecified => return Err(unspecified("role")),
        log::Role::Viewer => Role::Viewer,
        log::Role::Operator => Role::Operator,
        log::Role::Admin => Role::Admin,
    };
    Ok(RoleBindingSpec {
        role,
        users: names("users", &binding.users)?,
    })
}
