//! `--for KIND/NAME`: which entries are about a record.

use weft_gateway::admin::view::{EventView, RecordView};
use weft_model::Namespace;

use crate::command::get::parse_kind;

/// A record as the user names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct RecordFilter {
    /// As [`RecordView::kind`] has it.
    kind: String,
    name: String,
}

/// What the log names besides the kinds that users write.
const OTHER_KINDS: [(&str, &str); 6] = [
    ("service", "service"),
    ("svc", "service"),
    ("gateway", "gateway"),
    ("gw", "gateway"),
    ("token", "token"),
    ("signer", "signer"),
];

/// Parses `kind/name` and `kind/namespace/name`.
pub(super) fn parse(text: &str) -> Result<RecordFilter, String> {
    let (kind, name) = text
        .split_once('/')
        .filter(|(_, name)| !name.is_empty())
        .ok_or("write it as KIND/NAME: serviceexport/shop/checkout")?;
    let other = OTHER_KINDS.iter().find(|(known, _)| *known == kind);
    let kind = match other {
        Some((_, kind)) => (*kind).to_owned(),
        None => parse_kind(kind)
            .map_err(|problem| {
                format!(
                    "{}: use a kind of `weft get`, service, gateway, token or signer",
                    problem.what
                )
            })?
            .to_string()
            .to_lowercase(),
    };
    Ok(RecordFilter {
        kind,
        name: name.to_owned(),
    })
}

impl RecordFilter {
    /// Whether the entry asks for something of the record, or changed it.
    pub(super) fn is_about(&self, event: &EventView, namespace: Option<&Namespace>) -> bool {
        let changed = event
            .changes
            .iter()
            .filter_map(|change| change.record.as_ref());
        let mut touched = event.record.iter().chain(changed);
        touched.any(|record| self.names(record, namespace))
    }

    fn names(&self, record: &RecordView, namespace: Option<&Namespace>) -> bool {
        if record.kind != self.kind {
            return false;
        }
        match (record.name.split_once('/'), namespace) {
            _ if record.name == self.name => true,
            (Some((_, name)), None) => name == self.name,
            (Some((place, name)), Some(namespace)) => {
                name == self.name && place == namespace.as_str()
            }
            (None, _) => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(kind: &str, name: &str) -> RecordView {
        RecordView {
            kind: kind.into(),
            name: name.into(),
            cluster: None,
        }
    }

    #[test]
    fn a_record_is_named_with_its_namespace_or_without() {
        let checkout = record("serviceexport", "shop/checkout");
        let check = |filter: &str, namespace: Option<&str>, expect: bool| {
            let namespace = namespace.map(|text| text.parse().expect("a namespace"));
            let filter = parse(filter).expect("a filter");
            assert_eq!(
                filter.names(&checkout, namespace.as_ref()),
                expect,
                "{filter:?}"
            );
        };
        check("serviceexport/shop/checkout", None, true);
        check("exports/checkout", None, true);
        check("se/checkout", Some("shop"), true);
        check("se/checkout", Some("bank"), false);
        check("service/shop/checkout", None, false);
        check("se/shop", None, false);
        let gateway = record("gateway", "eu-west-1/gw-1");
        assert!(
            parse("gw/eu-west-1/gw-1")
                .expect("a filter")
                .names(&gateway, None)
        );
    }

    #[test]
    fn what_names_no_record_is_refused() {
        for wrong in ["checkout", "serviceexport/", "nonsense/x"] {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_derived_record_is_found_among_the_changes() {
        use weft_gateway::admin::view::ChangeView;
        let event = EventView {
            index: 1,
            time_ms: 0,
            author: "gateway a/gw-1".into(),
            by_order_of: None,
            command: "put export".into(),
            record: Some(record("serviceexport", "shop/web")),
            changes: vec![ChangeView {
                change: "put".into(),
                record: Some(record("service", "shop/web")),
            }],
            refused: None,
            proven: true,
        };
        let about = |filter: &str| parse(filter).expect("a filter").is_about(&event, None);
        assert!(about("service/shop/web"));
        assert!(about("se/web"));
        assert!(!about("cluster/a"));
    }
}
