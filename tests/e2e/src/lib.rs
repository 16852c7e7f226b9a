//! What all of it does together: real processes, real namespaces, programs that
//! nobody here wrote. The tests are in `tests/`, one federation each; the harness is
//! `weft-test-support`.
