//! What is changed on the way.

use std::borrow::Cow;
use std::num::NonZeroU16;

use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::{Deserialize, Serialize};

use super::BackendRef;

/// One change, in the Gateway API's form: `type`, and one field named after it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "FilterFields", into = "FilterFields")]
pub enum RouteFilter {
    /// Changes the request's header fields.
    RequestHeaderModifier(HeaderModifier),
    /// Changes the answer's header fields.
    ResponseHeaderModifier(HeaderModifier),
    /// Answers with a redirect instead of asking a backend.
    RequestRedirect(RequestRedirect),
    /// Changes host and path before the request is sent.
    UrlRewrite(UrlRewrite),
    /// Sends a copy to another service, whose answer is thrown away.
    RequestMirror(RequestMirror),
}

/// Changes of header fields: `set` replaces, `add` appends, `remove` removes, in this order.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct HeaderModifier {
    /// Fields that have this value afterwards, and no other.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub set: Vec<HeaderValue>,
    /// Values added to those there are.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub add: Vec<HeaderValue>,
    /// Fields that are gone afterwards.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub remove: Vec<String>,
}

/// A header field.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct HeaderValue {
    /// Its name, in any case.
    pub name: String,
    /// Its value.
    pub value: String,
}

/// A redirect. What is left out stays as the request has it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RequestRedirect {
    /// `http` or `https`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scheme: Option<String>,
    /// The host.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hostname: Option<String>,
    /// The path.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<PathModifier>,
    /// The port; the scheme's own if a scheme is given and this is left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub port: Option<NonZeroU16>,
    /// 301, 302, 303, 307 or 308. Default 302.
    #[serde(default = "default_status")]
    pub status_code: u16,
}

fn default_status() -> u16 {
    302
}

/// A change of host and path.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct UrlRewrite {
    /// The host that the backend is told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hostname: Option<String>,
    /// The path.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<PathModifier>,
}

/// A change of the path; the query stays.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "PathFields", into = "PathFields")]
pub enum PathModifier {
    /// This path instead.
    ReplaceFullPath(String),
    /// This instead of the prefix that matched.
    ReplacePrefixMatch(String),
}

/// A copy of the requests that have no body, sent and forgotten: those with a body are not copied,
/// and none is when many copies are under way.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RequestMirror {
    /// Who gets the copy.
    pub backend_ref: BackendRef,
    /// Which share of the requests, in percent. Default 100.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub percent: Option<u8>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
enum FilterType {
    RequestHeaderModifier,
    ResponseHeaderModifier,
    RequestRedirect,
    #[serde(rename = "URLRewrite")]
    UrlRewrite,
    RequestMirror,
}

#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct FilterFields {
    #[serde(rename = "type")]
    kind: FilterType,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    request_header_modifier: Option<HeaderModifier>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    response_header_modifier: Option<HeaderModifier>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    request_redirect: Option<RequestRedirect>,
    #[serde(
        default,
        rename = "urlRewrite",
        skip_serializing_if = "Option::is_none"
    )]
    url_rewrite: Option<UrlRewrite>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    request_mirror: Option<RequestMirror>,
}

impl FilterFields {
    fn empty(kind: FilterType) -> Self {
        Self {
            kind,
            request_header_modifier: None,
            response_header_modifier: None,
            request_redirect: None,
            url_rewrite: None,
            request_mirror: None,
        }
    }
}

impl TryFrom<FilterFields> for RouteFilter {
    type Error = String;

    fn try_from(fields: FilterFields) -> Result<Self, String> {
        let kind = fields.kind;
        let given = [
            fields
                .request_header_modifier
                .map(Self::RequestHeaderModifier),
            fields
                .response_header_modifier
                .map(Self::ResponseHeaderModifier),
            fields.request_redirect.map(Self::RequestRedirect),
            fields.url_rewrite.map(Self::UrlRewrite),
            fields.request_mirror.map(Self::RequestMirror),
        ];
        let mut given = given.into_iter().flatten();
        match (given.next(), given.next()) {
            (Some(filter), None) if filter.kind() == kind => Ok(filter),
            _ => Err(format!(
                "a filter of type {kind:?} has exactly one more field, called after its type"
            )),
        }
    }
}

impl From<RouteFilter> for FilterFields {
    fn from(filter: RouteFilter) -> Self {
        let mut fields = Self::empty(filter.kind());
        match filter {
            RouteFilter::RequestHeaderModifier(it) => fields.request_header_modifier = Some(it),
            RouteFilter::ResponseHeaderModifier(it) => fields.response_header_modifier = Some(it),
            RouteFilter::RequestRedirect(it) => fields.request_redirect = Some(it),
            RouteFilter::UrlRewrite(it) => fields.url_rewrite = Some(it),
            RouteFilter::RequestMirror(it) => fields.request_mirror = Some(it),
        }
        fields
    }
}

impl RouteFilter {
    fn kind(&self) -> FilterType {
        match self {
            Self::RequestHeaderModifier(_) => FilterType::RequestHeaderModifier,
            Self::ResponseHeaderModifier(_) => FilterType::ResponseHeaderModifier,
            Self::RequestRedirect(_) => FilterType::RequestRedirect,
            Self::UrlRewrite(_) => FilterType::UrlRewrite,
            Self::RequestMirror(_) => FilterType::RequestMirror,
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
enum PathModifierType {
    ReplaceFullPath,
    ReplacePrefixMatch,
}

#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct PathFields {
    #[serde(rename = "type")]
    kind: PathModifierType,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    replace_full_path: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    replace_prefix_match: Option<String>,
}

impl TryFrom<PathFields> for PathModifier {
    type Error = String;

    fn try_from(fields: PathFields) -> Result<Self, String> {
        let kind = fields.kind;
        match (kind, fields.replace_full_path, fields.replace_prefix_match) {
            (PathModifierType::ReplaceFullPath, Some(path), None) => {
                Ok(Self::ReplaceFullPath(path))
            }
            (PathModifierType::ReplacePrefixMatch, None, Some(path)) => {
                Ok(Self::ReplacePrefixMatch(path))
            }
            _ => Err(format!(
                "a path of type {kind:?} has exactly one more field, called after its type"
            )),
        }
    }
}

impl From<PathModifier> for PathFields {
    fn from(path: PathModifier) -> Self {
        let (kind, full, prefix) = match path {
            PathModifier::ReplaceFullPath(path) => {
                (PathModifierType::ReplaceFullPath, Some(path), None)
            }
            PathModifier::ReplacePrefixMatch(path) => {
                (PathModifierType::ReplacePrefixMatch, None, Some(path))
            }
        };
        Self {
            kind,
            replace_full_path: full,
            replace_prefix_match: prefix,
        }
    }
}

impl JsonSchema for RouteFilter {
    fn schema_name() -> Cow<'static, str> {
        "RouteFilter".into()
    }
    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        FilterFields::json_schema(generator)
    }
}

impl JsonSchema for PathModifier {
    fn schema_name() -> Cow<'static, str> {
        "PathModifier".into()
    }
    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        PathFields::json_schema(generator)
    }
}
