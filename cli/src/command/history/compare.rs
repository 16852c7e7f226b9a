//! What differs between two forms of a record.

use std::collections::BTreeSet;

use serde::Serialize;
use serde_json::Value;

/// A leaf that differs.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Leaf {
    /// `spec.rules`.
    pub(crate) path: String,
    /// As it was; none if it was not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) old: Option<Value>,
    /// As it is; none if it is not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) new: Option<Value>,
}

impl std::fmt::Display for Leaf {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let path = &self.path;
        match (&self.old, &self.new) {
            (Some(old), Some(new)) => write!(f, "~ {path}: {old} → {new}"),
            (Some(old), None) => write!(f, "- {path}: {old}"),
            (None, Some(new)) => write!(f, "+ {path}: {new}"),
            (None, None) => Ok(()),
        }
    }
}

/// One record at two moments.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Pair {
    /// Whose it is, for what one cluster owns.
    pub(super) cluster: Option<String>,
    pub(super) leaves: Vec<Leaf>,
}

/// Every leaf of spec and status that differs, but for what merely counts along.
pub(crate) fn leaves(old: Option<&Value>, new: Option<&Value>) -> Vec<Leaf> {
    let mut found = Vec::new();
    for part in ["spec", "status"] {
        let side = |value: Option<&Value>| value.and_then(|value| value.get(part)).cloned();
        collect(part, side(old).as_ref(), side(new).as_ref(), &mut found);
    }
    found.retain(|leaf| {
        let counts = COUNTS.contains(&&*leaf.path) || leaf.path.starts_with("status.history");
        !counts && !leaf.path.starts_with("status.conditions[")
    });
    found
}

/// What changes with every write, and says nothing.
const COUNTS: [&str; 3] = ["status.generation", "status.created", "status.conditions"];

fn collect(path: &str, old: Option<&Value>, new: Option<&Value>, found: &mut Vec<Leaf>) {
    match (old, new) {
        (old, new) if old == new => {}
        (Some(Value::Object(old)), Some(Value::Object(new))) => {
            let names: BTreeSet<&String> = old.keys().chain(new.keys()).collect();
            for name in names {
                let path = format!("{path}.{name}");
                collect(&path, old.get(name), new.get(name), found);
            }
        }
        // Where elements came or went, which is which is a guess: the list as a whole differs.
        (Some(Value::Array(old)), Some(Value::Array(new))) if old.len() == new.len() => {
            for (at, (old, new)) in old.iter().zip(new).enumerate() {
                collect(&format!("{path}[{at}]"), Some(old), Some(new), found);
            }
        }
        (None, Some(Value::Object(new))) => {
            for (name, value) in new {
                collect(&format!("{path}.{name}"), None, Some(value), found);
            }
        }
        (old, new) => found.push(Leaf {
            path: path.to_owned(),
            old: old.cloned(),
            new: new.cloned(),
        }),
    }
}

/// The records of two moments, each with itself: several if several clusters have one of the name.
pub(super) fn pairs(old: &[Value], new: &[Value]) -> Vec<Pair> {
    let owner = |item: &Value| {
        let owner = item.pointer("/status/cluster").and_then(Value::as_str);
        owner.map(str::to_owned)
    };
    let owners: BTreeSet<Option<String>> = old.iter().chain(new).map(owner).collect();
    let of = |side: &[Value], cluster: &Option<String>| {
        side.iter().find(|item| owner(item) == *cluster).cloned()
    };
    owners
        .into_iter()
        .map(|cluster| Pair {
            leaves: leaves(of(old, &cluster).as_ref(), of(new, &cluster).as_ref()),
            cluster,
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn leaves_say_what_came_went_and_changed() {
        let old =
            json!({ "spec": { "a": 1, "b": { "c": 2 }, "d": 3 }, "status": { "generation": 1 } });
        let new =
            json!({ "spec": { "a": 1, "b": { "c": 4 }, "e": 5 }, "status": { "generation": 2 } });
        let lines: Vec<String> = leaves(Some(&old), Some(&new))
            .iter()
            .map(ToString::to_string)
            .collect();
        assert_eq!(lines, ["~ spec.b.c: 2 → 4", "- spec.d: 3", "+ spec.e: 5"]);
        assert_eq!(leaves(Some(&new), Some(&new)), []);
        assert_eq!(leaves(None, Some(&json!({ "spec": { "a": 1 } }))).len(), 1);
    }

    #[test]
    fn elements_of_a_list_are_compared_one_by_one_if_none_came_or_went() {
        let rules = |weights: &[u16]| {
            let rules: Vec<Value> = weights.iter().map(|it| json!({ "weight": it })).collect();
            json!({ "spec": { "rules": rules } })
        };
        let check = |old: &[u16], new: &[u16], expect: &str| {
            let found = leaves(Some(&rules(old)), Some(&rules(new)));
            let paths: Vec<&str> = found.iter().map(|leaf| &*leaf.path).collect();
            assert_eq!(paths, [expect]);
        };
        check(&[1, 2], &[1, 3], "spec.rules[1].weight");
        check(&[1, 2], &[1], "spec.rules");
    }

    #[test]
    fn records_of_one_name_are_told_apart_by_their_cluster() {
        let export = |cluster: &str, port: u16| json!({ "spec": { "port": port }, "status": { "cluster": cluster } });
        let old = [export("a", 80), export("b", 80)];
        let new = [export("a", 80), export("b", 81)];
        let pairs = pairs(&old, &new);
        assert_eq!(pairs.len(), 2);
        assert_eq!(pairs[0].leaves, []);
        assert_eq!(pairs[1].cluster.as_deref(), Some("b"));
        assert_eq!(pairs[1].leaves.len(), 1);
    }
}
