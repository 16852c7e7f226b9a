//! Lists of places in which `*` is everybody.

use std::collections::BTreeSet;
use std::fmt::Display;
use std::str::FromStr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Names of places, or all: `["*"]`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(
    try_from = "Vec<String>",
    into = "Vec<String>",
    bound(
        serialize = "N: Clone + Display",
        deserialize = "N: Ord + FromStr, N::Err: Display"
    )
)]
pub enum Places<N> {
    /// Every one.
    All,
    /// These; perhaps none.
    Named(BTreeSet<N>),
}

impl<N> Default for Places<N> {
    fn default() -> Self {
        Self::Named(BTreeSet::new())
    }
}

impl<N: Ord> Places<N> {
    /// Whether it names nothing.
    pub fn is_empty(&self) -> bool {
        matches!(self, Self::Named(named) if named.is_empty())
    }

    /// Whether it names `place`.
    pub fn holds(&self, place: &N) -> bool {
        match self {
            Self::All => true,
            Self::Named(named) => named.contains(place),
        }
    }
}

impl<N> TryFrom<Vec<String>> for Places<N>
where
    N: Ord + FromStr,
    N::Err: Display,
{
    type Error = String;
    fn try_from(texts: Vec<String>) -> Result<Self, String> {
        if texts == ["*"] {
            return Ok(Self::All);
        }
        if texts.iter().any(|text| text == "*") {
            return Err("\"*\" means everybody and stands alone".into());
        }
        let named = texts.iter().map(|text| text.parse::<N>());
        let named: Result<BTreeSet<N>, N::Err> = named.collect();
        named.map(Self::Named).map_err(|error| error.to_string())
    }
}

impl<N: Display> From<Places<N>> for Vec<String> {
    fn from(places: Places<N>) -> Self {
        match places {
            Places::All => vec!["*".into()],
            Places::Named(named) => named.iter().map(ToString::to_string).collect(),
        }
    }
}

impl<N> JsonSchema for Places<N> {
    fn inline_schema() -> bool {
        true
    }
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Places".into()
    }
    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({ "type": "array", "items": { "type": "string" } })
    }
}
