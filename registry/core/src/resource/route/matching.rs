//! What a request must look like.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Conditions that hold together; one left out holds for every request.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RouteMatch {
    /// The path, without the query.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<PathMatch>,
    /// The method, to the letter.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub method: Option<String>,
    /// Header fields; all of them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub headers: Vec<HeaderMatch>,
    /// Query parameters; all of them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub query_params: Vec<QueryParamMatch>,
}

/// How a path is compared.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum PathMatchType {
    /// Byte for byte.
    Exact,
    /// By whole segments from the beginning: `/a` is a prefix of `/a` and `/a/b`, not of `/ab`.
    #[default]
    PathPrefix,
}

/// A condition on the path. The bytes compared are the bytes forwarded: nothing is decoded,
/// folded or joined first.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PathMatch {
    /// How it is compared. Default `PathPrefix`.
    #[serde(default, rename = "type")]
    pub kind: PathMatchType,
    /// What with. Default `/`.
    #[serde(default = "root")]
    pub value: String,
}

fn root() -> String {
    "/".into()
}

/// How a header field or a query parameter is compared.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum ExactMatch {
    /// Byte for byte.
    #[default]
    Exact,
}

/// A condition on a header field: one of its lines has this value.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct HeaderMatch {
    /// Always `Exact`.
    #[serde(default, rename = "type")]
    pub kind: ExactMatch,
    /// The field's name, in any case.
    pub name: String,
    /// Its value.
    pub value: String,
}

/// A condition on a query parameter: the first of its name has this value, as it travels.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct QueryParamMatch {
    /// Always `Exact`.
    #[serde(default, rename = "type")]
    pub kind: ExactMatch,
    /// The parameter's name.
    pub name: String,
    /// Its value.
    pub value: String,
}
