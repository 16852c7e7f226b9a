//! `weft schema`: JSON schemas from the very types that are parsed.

use schemars::schema_for;
use weft_model::{
    Cluster, Release, RoleBinding, Route, ServiceExport, TrafficPolicy, WorkloadEntry,
};

use super::Outcome;
use crate::output;
use crate::problem::Exit;

/// Prints the JSON schema of one kind, or of all in one document.
#[derive(Debug, clap::Args)]
pub(crate) struct Schema {
    /// A kind; all of them if left out.
    #[arg(value_enum)]
    kind: Option<SchemaKind>,
}

/// The kinds that have a schema.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, clap::ValueEnum)]
#[value(rename_all = "PascalCase")]
enum SchemaKind {
    Cluster,
    ServiceExport,
    WorkloadEntry,
    RoleBinding,
    Route,
    TrafficPolicy,
    Release,
    GatewayConfig,
    SidecarConfig,
}

impl SchemaKind {
    fn schema(self) -> schemars::Schema {
        match self {
            Self::Cluster => schema_for!(Cluster),
            Self::ServiceExport => schema_for!(ServiceExport),
            Self::WorkloadEntry => schema_for!(WorkloadEntry),
            Self::RoleBinding => schema_for!(RoleBinding),
            Self::Route => schema_for!(Route),
            Self::TrafficPolicy => schema_for!(TrafficPolicy),
            Self::Release => schema_for!(Release),
            Self::GatewayConfig => schema_for!(weft_gateway::config::GatewayConfigFile),
            Self::SidecarConfig => schema_for!(weft_proxy::SidecarConfig),
        }
    }
}

impl Schema {
    pub(crate) fn run(self) -> Outcome {
        let schema = match self.kind {
            Some(kind) => serde_json::json!(kind.schema()),
            None => {
                let kinds: Vec<_> = <SchemaKind as clap::ValueEnum>::value_variants()
                    .iter()
                    .map(|k| k.schema())
                    .collect();
                serde_json::json!({
                    "$schema": "https://json-schema.org/draft/2020-12/schema",
                    "oneOf": kinds,
                })
            }
        };
        output::value(output::Format::Json, &schema);
        Ok(Exit::Done)
    }
}
