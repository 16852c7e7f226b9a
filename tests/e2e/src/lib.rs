//! What all of it does together: real processes, real namespaces, programs that
//! nobody here wrote. The tests are in `tests/`, one federation each; the harness is
//! `weft-test-support`.

mod host;

use std::path::Path;
use std::process::Command;

use anyhow::Result;
use weft_test_support::Background;

pub use host::Host;

/// The gRPC service of `grpc_server.py` at 127.2.9.1, for every cluster.
pub const GREETER: &str = "
apiVersion: weft.dev/v1
kind: ServiceExport
metadata: { namespace: shop, name: greeter }
spec:
  ports: [{ name: grpc, port: 50051, appProtocol: grpc }]
  exportTo: ['*']
---
apiVersion: weft.dev/v1
kind: WorkloadEntry
metadata: { namespace: shop, name: greeter-1 }
spec:
  service: greeter
  address: 127.2.9.1
  ports: { grpc: 50051 }
  checks: [{ tcp: { port: 50051 }, interval: 1s }]
";

/// A program below `tests/`, by Debian's interpreter: only that one sees Debian's modules.
pub fn python(script: &str) -> Command {
    let tests = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests");
    let mut python = Command::new("/usr/bin/python3");
    python.arg(tests.join(script));
    python
}

/// The same beside the test; what it says is in `scratch`, in a file of its name.
///
/// # Errors
/// It cannot be started.
pub fn python_beside(script: &str, args: &[&str], scratch: &Path) -> Result<Background> {
    let name = Path::new(script).file_stem().unwrap_or_default();
    let log = scratch.join(name).with_extension("log");
    Background::start(python(script).args(args), &log)
}

/// `grpc_server.py` where [`GREETER`] says that it is.
///
/// # Errors
/// It cannot be started.
pub fn greeter(scratch: &Path) -> Result<Background> {
    python_beside("http/grpc_server.py", &["127.2.9.1:50051"], scratch)
}
